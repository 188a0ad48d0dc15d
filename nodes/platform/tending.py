"""The processes of a unit's instances: started, polled, held against their limits, killed, reaped.

All that there is to wait for hangs in one epoll: of each instance its socket, and a pidfd that is ready when it has
ended. So a process that is gone is an event, and nothing is looked at in vain but what is resident.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from nodes.platform import messages as ms
from nodes.platform import outcomes
from nodes.platform.billing import Life
from nodes.platform.processes import Launch, Wire
from nodes.platform.slots import Call, Crowd, Slot
from nodes.platform.store import Store

START_LIMIT = 120.0
"""Seconds of the experiment that a process may take until it is ready."""
TOUCH = 48 << 20
"""Bytes that an instance with torch has from the kernel beforehand, if it is provisioned: as if it had run before. Else
its first batches do, page by page, which takes more than twice their time."""
WATCH_S = 0.2
"""Seconds between two looks at what instances have resident."""


class Slots:
    """The instances that there are, and those of them that are being ended.

    Args:
        store: Where each has its staging directory. keep_alive: Seconds that one stays after its last invocation.
        dilation: Real seconds that a second of the experiment takes. speed: What paced work is held to.
        clock, launch: Stand in for the machine's in tests.
    """

    def __init__(
        self, store: Store, *, keep_alive: float, dilation: float, speed: float | None, clock: Callable[[], float],
        launch: Launch,
    ) -> None:  # fmt: skip
        self.store = store
        self.keep_alive = keep_alive
        self.dilation = dilation
        self._speed = speed
        self.clock = clock
        self.lives: list[Life] = []  # of those that have ended
        self._launch = launch
        self._epoll = select.epoll()
        self._numbers = itertools.count(1)
        self._slots: dict[int, Slot] = {}
        self._by_fd: dict[int, Slot] = {}
        self._watched = clock()
        self._crowd = Crowd(clock)
        self._held = False

    def __iter__(self) -> Iterator[Slot]:
        """All of them, as they are now: what is done with one may change which there are."""
        return iter(list(self._slots.values()))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def used(self) -> int:
        """Bytes reserved, for instances that are ending too: their memory is not back yet."""
        return sum(slot.reserved for slot in self._slots.values())

    def fileno(self) -> int:
        """Readable when `ready` has something."""
        return self._epoll.fileno()

    def due(self) -> float | None:
        """When there is a limit to be looked at (`overdue`), in the clock's time; None: never, as it stands."""
        up = [slot for slot in self._slots.values() if not slot.ending]
        return min([self._watched + WATCH_S, *(self._until(slot) for slot in up)]) if up else None

    def wait(self) -> None:
        """Wait until `ready` has something."""
        self._epoll.poll()

    def ready(self) -> list[tuple[Slot, bool]]:
        """Those with something to be read, or that have ended (True)."""
        found: dict[int, tuple[Slot, bool]] = {}
        for fd, _ in self._epoll.poll(0):
            slot = self._by_fd[fd]
            ended = fd == slot.process.fileno() or found.get(slot.number, (slot, False))[1]
            found[slot.number] = slot, ended
        return list(found.values())

    def start(self, call: Call, reserved: int) -> Slot:
        """Start an instance for a call.

        Raises:
            OSError: There is no process, descriptor or directory to be had; nothing of it is left.
        """
        number, now = next(self._numbers), self.clock()
        staging = self.store.staging(str(number))
        try:
            ours, theirs = socket.socketpair()
            wire = Wire(ours)
            spawned = time.monotonic()
            with theirs:
                try:
                    process = self._launch(theirs, staging)
                except OSError:
                    wire.close()
                    raise
        except OSError:
            self.store.discard(staging)
            raise
        limit = now + START_LIMIT * self.dilation
        slot = self._slots[number] = Slot(number, call.key, reserved, process, wire, staging, now, limit, call)
        slot.entered = self._crowd.enter()
        self._by_fd |= {process.fileno(): slot, wire.fileno(): slot}
        self._epoll.register(process.fileno(), select.EPOLLIN)
        where = str(self.store.directory.resolve()), str(staging.resolve())
        touch = TOUCH if call.invocation.idle else 0
        wire.send(ms.Start(*call.key, *where, spawned, self._speed, self.dilation, touch))
        self.poll(slot)
        return slot

    def started(self, slot: Slot) -> float:
        """An instance starts no more; how many did meanwhile on average, itself among them."""
        entered, slot.entered = slot.entered, None
        return 1.0 if entered is None else self._crowd.leave(entered)

    def poll(self, slot: Slot) -> None:
        """Poll its socket for what is of interest now."""
        wanted = select.EPOLLIN | (select.EPOLLOUT if slot.wire.waiting else 0)
        if not slot.polled:
            self._epoll.register(slot.wire.fileno(), wanted)
        elif slot.polled != wanted:
            self._epoll.modify(slot.wire.fileno(), wanted)
        slot.polled = wanted

    def overdue(self) -> Iterator[tuple[Slot, str, str]]:
        """Those that have come to a limit, with kind and reason of their end (empty: nobody needs it any more)."""
        now = self.clock()
        look = now - self._watched >= WATCH_S
        if look:
            self._watched = now
        for slot in self:
            if slot.ending:
                continue
            name, call = slot.key[0], slot.call
            if now >= self._until(slot):
                kind, reason = self._too_long(slot)
                yield slot, kind, reason
            elif look and (has := slot.process.memory()) > slot.reserved:
                if call is not None:
                    call.outcome = replace(call.outcome, memory=has)
                reason = f"function {name} had {has} bytes resident, more than its {slot.reserved}, and was killed"
                yield slot, outcomes.MEMORY, reason

    def kill(self, slot: Slot, kind: str = "", reason: str = "") -> None:
        """End a process, for this reason if there is one. It takes a moment: see `ready`, `reap`."""
        if slot.ending:
            return
        slot.spend(self.clock())
        self.started(slot)
        slot.ending = True
        slot.fate = (kind, reason) if kind else None
        self._epoll.unregister(slot.wire.fileno())
        del self._by_fd[slot.wire.fileno()]
        slot.process.kill()
        slot.wire.close()

    def reap(self, slot: Slot) -> tuple[str, str]:
        """Let go of a process that has ended. Returns kind and reason of its end, for the call that it had."""
        self._epoll.unregister(slot.process.fileno())
        del self._by_fd[slot.process.fileno()], self._slots[slot.number]
        code = slot.process.reap()
        self.store.discard(slot.staging)
        self.lives.append(slot.life(self.clock()))
        return slot.fate or (outcomes.DIED if slot.ready else outcomes.NO_START, _how(slot.key[0], code))

    def hold(self, held: bool) -> None:
        """See `nodes.platform.instances.Pool.hold`."""
        self._held = held
        now = self.clock()
        for slot in self:
            if slot.state == "idle":
                slot.spend(now)

    def close(self) -> None:
        """Give the descriptor back, once no instance is left."""
        self._epoll.close()

    def _until(self, slot: Slot) -> float:
        """When a slot that is not ending comes to the limit of what it is at."""
        if not slot.ready:
            return slot.limit
        if slot.call is None:
            return float("inf") if self._held else slot.since + self.keep_alive * self.dilation
        return float("inf") if slot.call.deadline is None else slot.call.deadline

    def _too_long(self, slot: Slot) -> tuple[str, str]:
        name = slot.key[0]
        if not slot.ready:
            return outcomes.NO_START, f"function {name} was not ready after {START_LIMIT:g} s"
        if slot.call is None or slot.call.deadline is None:
            return "", ""
        took = (slot.call.deadline - slot.call.outcome.sent) / self.dilation
        return outcomes.TIME, f"function {name} took longer than its {took:g} s, and was killed"


def _how(function: str, code: int | None) -> str:
    """How a process ended that nobody of ours had killed."""
    if code is not None and code < 0:
        more = ", perhaps for want of memory on the unit" if code == -9 else ""
        return f"the process of function {function} was killed by signal {-code}{more}"
    return f"the process of function {function} ended by itself with exit code {code}"
