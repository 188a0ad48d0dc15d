"""The pool of a unit's instances: started for an invocation (cold), used again (warm), ended when nobody needs them.

It has no thread and never waits: its owner polls `Pool.fileno` beside its other sockets, calls `Pool.step` when that
is ready or `Pool.due` has passed, and gets outcomes by callback. All processes are its owner's thread's children.

Memory: every instance has so much reserved as its function declares, resident in all, and the sum never exceeds the
unit's. An address-space limit would be too blunt (torch maps gigabytes that it never touches), so what is resident is
looked at several times a second, and who has more is killed; in between the container's own limit holds.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodes.errors import InputError, RoambedError, RunError, WireError
from nodes.platform import library, outcomes
from nodes.platform import messages as ms
from nodes.platform.billing import Life
from nodes.platform.functions import MIB, Interface
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.processes import Launch, Wire, launch
from nodes.platform.slots import Call, Key, Slot
from nodes.platform.store import Store

KEEP_ALIVE = 60.0
"""Seconds of the experiment that an instance stays after its last invocation."""
START_LIMIT = 120.0
"""Seconds of the experiment that a process may take until it is ready."""
UNKNOWN_MEMORY = 512 * MIB
"""Bytes reserved for a function that has not said how much it needs; it says so once it has been started."""
WATCH_S = 0.2
"""Seconds between two looks at what instances have resident."""
QUEUE = 256
"""Invocations that may wait for memory."""
_REAP_S = 0.01

Done = Callable[[Outcome], None]


class Pool:
    """The instances of one unit.

    Args:
        store: The unit's blobs. memory: Bytes that all instances together may have.
        keep_alive: Seconds that one stays after its last invocation; 0: it ends at once.
        dilation: Real seconds that a second of the experiment takes; limits and ``keep_alive`` are so much longer.
        forward: Passes frames of an invocation that streams on to a node. say: Passes control messages on.
        clock, launch: Stand in for the machine's in tests.
    """

    def __init__(
        self,
        store: Store,
        memory: int,
        *,
        keep_alive: float = KEEP_ALIVE,
        dilation: float = 1.0,
        forward: Callable[[Invocation, str, ms.Frames], None] | None = None,
        say: Callable[[Invocation, bytes], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        launch: Launch = launch,
    ) -> None:
        if memory <= 0 or keep_alive < 0:
            raise InputError(
                "a pool of instances needs memory, and a time to keep them", wanted="memory > 0, keep_alive >= 0",
                found=f"{memory}, {keep_alive}",
            )  # fmt: skip
        self.store = store
        self.memory = memory
        self.keep_alive = keep_alive
        self._dilation = dilation
        self._forward = forward or (lambda *_: None)
        self._say = say or (lambda *_: None)
        self._clock = clock
        self._launch = launch
        self._epoll = select.epoll()
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._slots: dict[int, Slot] = {}
        self._queue: deque[Call] = deque()
        self._over: deque[tuple[Done, Outcome]] = deque()
        self._interfaces: dict[Key, Interface] = {}
        self._watched = clock()
        self._closing = False
        self.cold: Counter[str] = Counter()    # processes started, by function
        self.warm: Counter[str] = Counter()    # invocations that found one there
        self.failed: Counter[str] = Counter()  # invocations by the kind of their failure
        self.lives: list[Life] = []            # of instances that have ended; whoever bills them takes them out

    # --- what its owner calls ---------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when there is something to do for `step`: one descriptor, whatever instances there are."""
        return self._epoll.fileno()

    def due(self) -> float | None:
        """Seconds until `step` should be called although nothing is ready; None: no need."""
        if self._over:
            return 0.0
        if not self._slots:
            return None
        now, times = self._clock(), [self._watched + WATCH_S]
        for slot in self._slots.values():
            if slot.ending:
                times.append(now + _REAP_S)
            elif not slot.ready:
                times.append(slot.limit)
            elif slot.call is None:
                times.append(slot.since + self.keep_alive * self._dilation)
            elif slot.call.deadline is not None:
                times.append(slot.call.deadline)
        return max(min(times) - now, 0.0)

    def submit(self, invocation: Invocation, done: Done) -> int:
        """Have a function run; ``done`` is called with its outcome, from `step`. Returns the invocation's number.

        Its blobs have to be in the store; they stay there until it has ended. Outputs are pinned while ``done`` runs:
        whoever wants them kept pins them then.
        """
        id_, now = next(self._ids), self._clock()
        call = Call(id_, invocation, done, Outcome(id_, invocation, asked=now))
        refusal = self._refusal(invocation)
        self.store.pin(invocation.digests())
        if refusal:
            self._end(call, *refusal)
        else:
            self._queue.append(call)
            self._admit()
        return id_

    def cancel(self, id_: int, reason: str = "nobody wants it any more") -> None:
        """End an invocation, with its instance if it has one; one that has ended is fine."""
        for call in self._queue:
            if call.id == id_:
                self._queue.remove(call)
                self._end(call, outcomes.CANCELLED, reason)
                return
        for slot in self._slots.values():
            if slot.call is not None and slot.call.id == id_:
                self._kill(slot, outcomes.CANCELLED, reason)

    def send(self, id_: int, message: ms.Passed | ms.Said, frames: ms.Frames = ()) -> bool:
        """Pass something on to an invocation that streams; False: there is no such one."""
        call = next((c for c in self._queue if c.id == id_), None)
        slot = next((s for s in self._slots.values() if s.call is not None and s.call.id == id_), None)
        call = call or (slot.call if slot else None)
        if call is None or (slot is not None and slot.ending):
            return False
        size = sum(len(frame) for frame in frames)
        call.outcome = replace(call.outcome, received_bytes=call.outcome.received_bytes + size)
        if slot is None or not call.begun:
            call.early.append((message, frames))
        else:
            slot.wire.send(message, frames)
            self._poll(slot)
        return True

    def step(self) -> None:
        """Do all that can be done now."""
        for fd, _ in self._epoll.poll(0):
            slot = next((s for s in self._slots.values() if s.wire.fileno() == fd), None)
            if slot is not None:
                self._hear(slot)
        now = self._clock()
        look = now - self._watched >= WATCH_S
        if look:
            self._watched = now
        for slot in list(self._slots.values()):
            self._look_after(slot, now, look)
        self._admit()
        while self._over:
            done, outcome = self._over.popleft()
            try:
                done(outcome)
            finally:
                self.store.unpin(outcome.outputs.values())

    def drain(self) -> None:
        """End all instances that have nothing to do."""
        for slot in list(self._slots.values()):
            if slot.state == "idle":
                self._kill(slot)

    def close(self) -> None:
        """End everything, and wait until it has ended."""
        self._closing = True
        while self._queue:
            self._end(self._queue.popleft(), outcomes.CANCELLED, "the unit ends")
        for slot in list(self._slots.values()):
            self._kill(slot, outcomes.CANCELLED, "the unit ends")
        while self._slots:
            self.step()
            if self._slots:
                time.sleep(_REAP_S)
        self.step()
        self._epoll.close()

    # --- what it is asked -------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes reserved, for instances that are ending too: their memory is not back yet."""
        return sum(slot.reserved for slot in self._slots.values())

    @property
    def free(self) -> int:
        """Bytes that another invocation would find: instances that have nothing to do make room, or are ending."""
        taken = sum(slot.reserved for slot in self._slots.values() if slot.state in ("starting", "busy"))
        return max(self.memory - taken - sum(self._need(call.invocation) for call in self._queue), 0)

    @property
    def waiting(self) -> int:
        """Invocations that wait for memory."""
        return len(self._queue)

    def warm_functions(self) -> frozenset[str]:
        """Functions that have an instance with nothing to do."""
        return frozenset(slot.key[0] for slot in self._slots.values() if slot.state == "idle")

    def alive(self) -> list[Life]:
        """The instances that there are, with their accounts up to now."""
        return [slot.life(self._clock()) for slot in self._slots.values()]

    def pids(self) -> list[int]:
        """Their processes."""
        return [slot.process.pid for slot in self._slots.values()]

    # --- admission --------------------------------------------------------------------------------------

    def _refusal(self, invocation: Invocation) -> tuple[str, str] | None:
        missing = self.store.missing(invocation.digests())
        if missing:
            return outcomes.DAMAGED, "not in this unit's store: " + ", ".join(digest[:12] for digest in missing)
        try:
            needed = self._need(invocation)
        except RoambedError as error:
            return outcomes.REFUSED, str(error)
        if needed > self.memory:
            return outcomes.REFUSED, self._too_much(invocation.function, needed)
        if needed <= 0 or (invocation.time_limit is not None and not invocation.time_limit > 0):
            return outcomes.REFUSED, f"function {invocation.function} needs memory and time above 0"
        if self._closing:
            return outcomes.CANCELLED, "the unit ends"
        if len(self._queue) >= QUEUE:
            return outcomes.REFUSED, f"{QUEUE} invocations wait for memory already"
        return None

    def _too_much(self, function: str, needed: int) -> str:
        return f"function {function} needs {needed} bytes of memory, and the unit has {self.memory} for instances"

    def _need(self, invocation: Invocation) -> int:
        if invocation.memory is not None:
            return invocation.memory
        known = self._known(invocation)
        return known.memory if known is not None else min(UNKNOWN_MEMORY, self.memory)

    def _known(self, invocation: Invocation) -> Interface | None:
        key = invocation.function, invocation.source
        if key not in self._interfaces and not invocation.source:
            self._interfaces[key] = library.find(invocation.function).interface
        return self._interfaces.get(key)

    def _admit(self) -> None:
        """Give waiting invocations an instance, in their order: who needs much is not passed by for ever."""
        while self._queue:
            call = self._queue[0]
            needed = self._need(call.invocation)
            idle = [s for s in self._slots.values() if s.state == "idle"]
            fitting = [s for s in idle if s.key == call.key and s.reserved >= needed]
            if fitting:
                self._queue.popleft()
                self.warm[call.key[0]] += 1
                self._invoke(max(fitting, key=_recent), call)  # the others may come to their end
            elif self.used + needed <= self.memory:
                self._queue.popleft()
                self._start(call, needed)
            else:
                ending = sum(s.reserved for s in self._slots.values() if s.state == "ending")
                if not idle or self.used - ending + needed <= self.memory:
                    return  # until something ends
                self._kill(min(idle, key=_recent))

    def _start(self, call: Call, needed: int) -> None:
        number, now = next(self._numbers), self._clock()
        staging = self.store.staging(str(number))
        ours, theirs = socket.socketpair()
        wire = Wire(ours)
        spawned = time.monotonic()
        with theirs:
            try:
                process = self._launch(theirs, staging)
            except OSError as error:
                wire.close()
                self.store.discard(staging)
                self._end(call, outcomes.NO_START, f"no process for function {call.key[0]}: {error.strerror}")
                return
        call.outcome = replace(call.outcome, cold=True)
        limit = now + START_LIMIT * self._dilation
        slot = self._slots[number] = Slot(number, call.key, needed, process, wire, staging, now, limit, call)
        self.cold[call.key[0]] += 1
        wire.send(ms.Start(*call.key, str(self.store.directory.resolve()), str(staging.resolve()), spawned))
        self._poll(slot)

    def _invoke(self, slot: Slot, call: Call) -> None:
        known, now = self._interfaces[slot.key], self._clock()
        seconds = call.invocation.time_limit
        call.deadline = now + (known.time_limit if seconds is None else seconds) * self._dilation
        call.begun = True
        slot.spend(now)
        slot.call, slot.ready = call, True
        slot.calls += 1
        call.outcome = replace(call.outcome, sent=now, instance=slot.number, reserved=slot.reserved)
        inputs: Any = {name: d if isinstance(d, str) else dict(d) for name, d in call.invocation.inputs.items()}
        try:
            slot.wire.send(ms.Invoke(call.id, inputs, dict(call.invocation.values)))
        except WireError as error:
            self._answered(slot, call, outcomes.GIVEN, str(error))
            return
        for message, frames in call.early:
            slot.wire.send(message, frames)
        call.early.clear()
        self._poll(slot)

    # --- what instances say -----------------------------------------------------------------------------

    def _hear(self, slot: Slot) -> None:
        slot.wire.flush()
        try:
            come = slot.wire.receive()
        except WireError as error:
            self._kill(slot, outcomes.DIED, f"function {slot.key[0]}: {error}")
            return
        for message, frames in come:
            self._take(slot, message, frames)
            if slot.ending:
                return
        if slot.wire.closed:
            self._kill(slot)
        else:
            self._poll(slot)

    def _take(self, slot: Slot, message: ms.Message, frames: list[memoryview]) -> None:
        call = slot.call
        match message:
            case ms.Ready() if call is not None and not slot.ready:
                self._started(slot, call, message)
            case ms.Failed(id=0):
                self._kill(slot, outcomes.NO_START, message.reason)
            case ms.Result() if call is not None and message.id == call.id:
                self._returned(slot, call, message)
            case ms.Failed() if call is not None and message.id == call.id:
                if message.digest:
                    self.store.drop(message.digest)
                call.outcome = replace(call.outcome, cpu_s=message.cpu_s)
                self._answered(slot, call, message.kind, message.reason)
            case ms.Passed() if call is not None:
                size = sum(message.sizes)
                call.outcome = replace(call.outcome, sent_bytes=call.outcome.sent_bytes + size)
                self._forward(call.invocation, message.node, frames)
            case ms.Said() if call is not None:
                self._say(call.invocation, message.frame)
            case _:
                name = type(message).__name__
                self._kill(slot, outcomes.DIED, f"function {slot.key[0]}: its process sent {name} out of turn")

    def _started(self, slot: Slot, call: Call, ready: ms.Ready) -> None:
        self._interfaces[slot.key] = ready.interface
        call.outcome = replace(
            call.outcome, process_s=ready.process_s, imports_s=ready.imports_s, start_cpu_s=ready.cpu_s
        )
        needed = self._need(call.invocation)
        if needed > self.memory:
            self._kill(slot, outcomes.REFUSED, self._too_much(call.key[0], needed))
        elif self.used - slot.reserved + needed <= self.memory:
            slot.reserved = needed
            self._invoke(slot, call)
        else:  # it has only now said how much it needs, and there is not so much left: once more, when there is
            self._kill(slot)
            slot.call = None
            self._queue.appendleft(call)

    def _returned(self, slot: Slot, call: Call, result: ms.Result) -> None:
        kept: list[str] = []
        try:
            for digest in result.outputs.values():
                self.store.adopt(slot.staging, digest)
                self.store.pin([digest])
                kept.append(digest)
        except RunError as error:
            self.store.unpin(kept)
            self._answered(slot, call, outcomes.NO_ROOM, str(error))
            return
        call.outcome = replace(
            call.outcome, outputs=result.outputs, values=result.values, begin=result.begin, end=result.end,
            cpu_s=result.cpu_s, around_cpu_s=result.around_cpu_s, read=result.read, written=result.written,
            memory=result.memory,
        )  # fmt: skip
        self._answered(slot, call, "", "")

    def _answered(self, slot: Slot, call: Call, kind: str, reason: str) -> None:
        """An invocation has ended, and its process has not."""
        slot.spend(self._clock())
        slot.call = None
        self._end(call, kind, reason)
        if (kind and kind not in outcomes.INNOCENT) or not self.keep_alive:
            self._kill(slot)

    def _end(self, call: Call, kind: str, reason: str) -> None:
        if kind:
            self.failed[kind] += 1
        self.store.unpin(call.invocation.digests())
        self._over.append((call.done, replace(call.outcome, kind=kind, reason=reason, ended=self._clock())))

    # --- looking after processes ------------------------------------------------------------------------

    def _look_after(self, slot: Slot, now: float, look: bool) -> None:
        name, call = slot.key[0], slot.call
        if slot.ending:
            if slot.process.poll() is not None:
                self._reaped(slot, now)
        elif not slot.ready and now >= slot.limit:
            self._kill(slot, outcomes.NO_START, f"function {name} was not ready after {START_LIMIT:g} s")
        elif call is not None and call.deadline is not None and now >= call.deadline:
            took = (call.deadline - call.outcome.sent) / self._dilation
            self._kill(slot, outcomes.TIME, f"function {name} took longer than its {took:g} s, and was killed")
        elif slot.state == "idle" and now - slot.since >= self.keep_alive * self._dilation:
            self._kill(slot)
        elif look and (has := slot.process.memory()) > slot.reserved:
            if call is not None:
                call.outcome = replace(call.outcome, memory=has)
            reason = f"function {name} had {has} bytes resident, more than its {slot.reserved}, and was killed"
            self._kill(slot, outcomes.MEMORY, reason)

    def _kill(self, slot: Slot, kind: str = "", reason: str = "") -> None:
        """End a process. The outcome of its call, if it has one, comes when it is gone, and its memory back."""
        if slot.ending:
            return
        slot.spend(self._clock())
        slot.ending = True
        slot.fate = (kind, reason) if kind else None
        if slot.polled:
            self._epoll.unregister(slot.wire.fileno())
        slot.process.kill()
        slot.wire.close()

    def _reaped(self, slot: Slot, now: float) -> None:
        del self._slots[slot.number]
        self.store.discard(slot.staging)
        if slot.call is not None:
            otherwise = outcomes.DIED if slot.ready else outcomes.NO_START
            self._end(slot.call, *(slot.fate or (otherwise, _how(slot.key[0], slot.process.poll()))))
        self.lives.append(slot.life(now))

    def _poll(self, slot: Slot) -> None:
        """Poll for what is of interest now."""
        wanted = select.EPOLLIN | (select.EPOLLOUT if slot.wire.waiting else 0)
        if not slot.polled:
            self._epoll.register(slot.wire.fileno(), wanted)
        elif slot.polled != wanted:
            self._epoll.modify(slot.wire.fileno(), wanted)
        slot.polled = wanted


def _recent(slot: Slot) -> tuple[float, int]:
    return slot.since, slot.number


def _how(function: str, code: int | None) -> str:
    """How a process ended that nobody of ours had killed."""
    if code is not None and code < 0:
        more = ", perhaps for want of memory on the unit" if code == -9 else ""
        return f"the process of function {function} was killed by signal {-code}{more}"
    return f"the process of function {function} ended by itself with exit code {code}"
