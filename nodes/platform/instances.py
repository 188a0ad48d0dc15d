"""The pool of a unit's instances: started for an invocation (cold), used again (warm), ended when nobody needs them.

It has no thread and never waits: its owner polls `Pool.fileno` beside its other sockets, calls `Pool.step` when that
is ready or `Pool.due` has passed, and gets outcomes by callback. All processes are its owner's thread's children.

Memory: every instance has so much reserved as its function declares, resident in all, and the sum never exceeds the
unit's. An address-space limit would be too blunt (torch maps gigabytes that it never touches), so what is resident is
looked at several times a second, and who has more is killed; in between the container's own limit holds.

This module has the queue; `tending` keeps the processes, `talking` is what is said to them and what they answer,
`admission` says who gets one.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from nodes.errors import InputError
from nodes.platform import messages as ms
from nodes.platform import outcomes
from nodes.platform.billing import Life
from nodes.platform.needs import Needs, dispensable, warm
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.processes import Launch, launch
from nodes.platform.slots import Call
from nodes.platform.store import Store
from nodes.platform.talking import Talk
from nodes.platform.tending import Slots

KEEP_ALIVE = 60.0
"""Seconds of the experiment that an instance stays after its last invocation."""

Done = Callable[[Outcome], None]


class Pool:
    """The instances of one unit.

    Args:
        store: The unit's blobs. memory: Bytes that all instances together may have.
        keep_alive: Seconds that one stays after its last invocation; 0: it ends at once.
        dilation: Real seconds that a second of the experiment takes; limits and ``keep_alive`` are so much longer.
        speed: What paced work of all instances together is held to; None: to nothing.
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
        speed: float | None = None,
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
        self._clock = clock
        self._slots = Slots(
            store, keep_alive=keep_alive, dilation=dilation, speed=speed, clock=clock, launch=launch
        )  # fmt: skip
        self._needs = Needs(memory)
        self._queue: deque[Call] = deque()
        self._talk = Talk(
            self._slots, self._needs, end=self._end, again=self._queue.appendleft,
            forward=forward or (lambda *_: None), say=say or (lambda *_: None),
        )  # fmt: skip
        self._ids = itertools.count(1)
        self._over: deque[tuple[Done, Outcome]] = deque()
        self._closing = False
        self.cold: Counter[str] = Counter()    # processes started, by function
        self.warm: Counter[str] = Counter()    # invocations that found one there
        self.failed: Counter[str] = Counter()  # invocations by the kind of their failure

    # --- what its owner calls ---------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when there is something to do for `step`: one descriptor, whatever instances there are."""
        return self._slots.fileno()

    def due(self) -> float | None:
        """Seconds until `step` should be called although nothing is ready; None: no need."""
        if self._over:
            return 0.0
        until = self._slots.due()
        return None if until is None else max(until - self._clock(), 0.0)

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
        for slot in self._slots:
            if slot.call is not None and slot.call.id == id_:
                self._slots.kill(slot, outcomes.CANCELLED, reason)

    def send(self, id_: int, message: ms.Passed | ms.Said, frames: ms.Frames = ()) -> bool:
        """Pass something on to an invocation that streams; False: there is no such one."""
        slot = next((s for s in self._slots if s.call is not None and s.call.id == id_), None)
        call = slot.call if slot else next((c for c in self._queue if c.id == id_), None)
        if call is None or (slot is not None and slot.ending):
            return False
        self._talk.give(slot, call, message, frames)
        return True

    def step(self) -> None:
        """Do all that can be done now."""
        for slot, ended in self._slots.ready():
            if not slot.ending:
                self._talk.hear(slot)
            if ended:
                self._slots.kill(slot)  # if it has ended by itself: what it had started has not
                fate = self._slots.reap(slot)
                if slot.call is not None:
                    self._end(slot.call, *fate)
        for slot, kind, reason in self._slots.overdue():
            self._slots.kill(slot, kind, reason)
        self._admit()
        while self._over:
            done, outcome = self._over.popleft()
            try:
                done(outcome)
            finally:
                self.store.unpin(outcome.outputs.values())

    def drain(self, keep: Mapping[str, tuple[int, int]] | None = None) -> None:
        """End all instances that have nothing to do, but so many of a built-in function with so many bytes reserved."""
        left = Counter({(name, memory): count for name, (count, memory) in (keep or {}).items()})
        for slot in self._slots:
            if slot.state == "idle":
                name, source = slot.key
                left[name, slot.reserved] -= not source
                if source or left[name, slot.reserved] < 0:
                    self._slots.kill(slot)

    def hold(self, held: bool) -> None:
        """Whether instances with nothing to do stay however long; once they do not, ``keep_alive`` begins anew."""
        self._slots.hold(held)

    def close(self) -> None:
        """End everything, and wait until it has ended."""
        self._closing = True
        while self._queue:
            self._end(self._queue.popleft(), outcomes.CANCELLED, "the unit ends")
        for slot in self._slots:
            self._slots.kill(slot, outcomes.CANCELLED, "the unit ends")
        self.step()
        while self._slots:
            self._slots.wait()
            self.step()
        self._slots.close()

    # --- what it is asked -------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes reserved, for instances that are ending too: their memory is not back yet."""
        return self._slots.used

    @property
    def free(self) -> int:
        """Bytes that another invocation would find: instances that have nothing to do make room, or are ending."""
        taken = sum(slot.reserved for slot in self._slots if slot.state in ("starting", "busy"))
        return max(self.memory - taken - sum(self._needs.memory(call.invocation) for call in self._queue), 0)

    @property
    def lives(self) -> list[Life]:
        """Accounts of instances that have ended; whoever bills them takes them out."""
        return self._slots.lives

    @property
    def waiting(self) -> int:
        """Invocations that wait for memory."""
        return len(self._queue)

    def warm_functions(self) -> Counter[str]:
        """Instances with nothing to do, by function."""
        return Counter(slot.key[0] for slot in self._slots if slot.state == "idle")

    def alive(self) -> list[Life]:
        """The instances that there are, with their accounts up to now."""
        return [slot.life(self._clock()) for slot in self._slots]

    def pids(self) -> list[int]:
        """Their processes."""
        return [slot.process.pid for slot in self._slots]

    # --- admission --------------------------------------------------------------------------------------

    def _refusal(self, invocation: Invocation) -> tuple[str, str] | None:
        missing = self.store.missing(invocation.digests())
        if missing:
            return outcomes.DAMAGED, "not in this unit's store: " + ", ".join(digest[:12] for digest in missing)
        if self._closing:
            return outcomes.CANCELLED, "the unit ends"
        return self._needs.refusal(invocation, len(self._queue))

    def _admit(self) -> None:
        """Give waiting invocations an instance, in their order: who needs much is not passed by for ever."""
        while self._queue:
            call = self._queue[0]
            needed = self._needs.memory(call.invocation)
            slot = None if call.invocation.idle else warm(self._slots, call.key, needed)
            if slot is not None:
                self._queue.popleft()
                self.warm[call.key[0]] += 1
                self._talk.invoke(slot, call)
            elif self.used + needed <= self.memory:
                self._queue.popleft()
                self._start(call, needed)
            else:
                slot = dispensable(self._slots, needed, self.memory)
                if slot is None:
                    return  # until something ends
                self._slots.kill(slot)

    def _start(self, call: Call, needed: int) -> None:
        try:
            self._slots.start(call, needed)
        except OSError as error:
            self._end(call, outcomes.NO_START, f"no process for function {call.key[0]}: {error.strerror}")
            return
        call.outcome = replace(call.outcome, cold=True)
        self.cold[call.key[0]] += 1

    def _end(self, call: Call, kind: str, reason: str) -> None:
        if kind:
            self.failed[kind] += 1
        self.store.unpin(call.invocation.digests())
        self._over.append((call.done, replace(call.outcome, kind=kind, reason=reason, ended=self._clock())))
