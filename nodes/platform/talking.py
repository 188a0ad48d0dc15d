"""What is said to instances, and what they answer: an invocation from when an instance has it until it has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nodes.errors import InputError, RunError, WireError
from nodes.platform import messages as ms
from nodes.platform import outcomes
from nodes.platform.needs import Needs
from nodes.platform.outcomes import Invocation
from nodes.platform.slots import Call, Slot
from nodes.platform.store import reject
from nodes.platform.tending import Slots


class Talk:
    """The agent's side of the talk with all instances.

    Args:
        slots: The instances. needs: What functions need; it learns that from instances that are ready.
        end: Called with a call that has ended, the kind of its failure (empty: none) and the reason.
        again: Called with a call that needs another instance, as soon as there is room for it.
        forward: Passes frames of an invocation that streams on to a node. say: Passes control messages on.
    """

    def __init__(
        self,
        slots: Slots,
        needs: Needs,
        *,
        end: Callable[[Call, str, str], None],
        again: Callable[[Call], None],
        forward: Callable[[Invocation, str, ms.Frames], None],
        say: Callable[[Invocation, bytes], None],
    ) -> None:
        self._slots = slots
        self._needs = needs
        self._end = end
        self._again = again
        self._forward = forward
        self._say = say

    def invoke(self, slot: Slot, call: Call) -> None:
        """Tell an instance to run its function; what has come for it early is passed on."""
        now = self._slots.clock()
        call.deadline = now + self._needs.time_limit(call.invocation) * self._slots.dilation
        call.begun = True
        slot.spend(now)
        slot.call, slot.ready = call, True
        slot.calls += 1
        call.outcome = replace(call.outcome, sent=now, instance=slot.number, reserved=slot.reserved)
        inputs: Any = {name: d if isinstance(d, str) else dict(d) for name, d in call.invocation.inputs.items()}
        seals = self._slots.store.seals(call.invocation.digests())
        try:
            slot.wire.send(ms.Invoke(call.id, inputs, dict(call.invocation.values), seals))
        except WireError as error:
            self._answered(slot, call, outcomes.GIVEN, str(error))
            return
        for message, frames in call.early:
            slot.wire.send(message, frames)
        call.early.clear()
        self._slots.poll(slot)

    def give(self, slot: Slot | None, call: Call, message: ms.Passed | ms.Said, frames: ms.Frames) -> None:
        """Pass something on to an invocation that streams; it is kept for one that has not begun."""
        size = sum(len(frame) for frame in frames)
        call.outcome = replace(call.outcome, received_bytes=call.outcome.received_bytes + size)
        if slot is None or not call.begun:
            call.early.append((message, frames))
        else:
            slot.wire.send(message, frames)
            self._slots.poll(slot)

    def hear(self, slot: Slot) -> None:
        """Take what an instance has said, and send what waits for it."""
        slot.wire.flush()
        try:
            come = slot.wire.receive()
        except WireError as error:
            self._slots.kill(slot, outcomes.DIED, f"function {slot.key[0]}: {error}")
            return
        for message, frames in come:
            self._take(slot, message, frames)
            if slot.ending:
                return
        if slot.wire.closed:
            self._slots.kill(slot)
        else:
            self._slots.poll(slot)

    def _take(self, slot: Slot, message: ms.Message, frames: list[memoryview]) -> None:
        call = slot.call
        match message:
            case ms.Ready() if call is not None and not slot.ready:
                self._started(slot, call, message)
            case ms.Failed(id=0):
                self._slots.kill(slot, outcomes.NO_START, message.reason)
            case ms.Result() if call is not None and message.id == call.id:
                self._returned(slot, call, message)
            case ms.Failed() if call is not None and message.id == call.id:
                if message.digest in call.invocation.digests():
                    self._slots.store.drop(message.digest)
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
                self._slots.kill(slot, outcomes.DIED, f"function {slot.key[0]}: its process sent {name} out of turn")

    def _started(self, slot: Slot, call: Call, ready: ms.Ready) -> None:
        self._needs.learn(slot.key, ready.interface)
        call.outcome = replace(
            call.outcome, process_s=ready.process_s, imports_s=ready.imports_s, start_cpu_s=ready.cpu_s,
            crowd=self._slots.started(slot),
        )  # fmt: skip
        needed = self._needs.memory(call.invocation)
        if needed > self._needs.limit:
            self._slots.kill(slot, *self._needs.too_much(call.key[0], needed))
        elif self._slots.used - slot.reserved + needed <= self._needs.limit:
            slot.reserved = needed
            if call.invocation.idle:
                slot.spend(self._slots.clock())
                slot.ready = True
                self._answered(slot, call, "", "")
            else:
                self.invoke(slot, call)
        else:  # it has only now said how much it needs, and there is not so much left: once more, when there is
            self._slots.kill(slot)
            slot.call = None
            self._again(call)

    def _returned(self, slot: Slot, call: Call, result: ms.Result) -> None:
        store = self._slots.store
        kept: list[str] = []
        try:
            for digest in result.outputs.values():
                store.adopt(slot.staging, digest)
                store.pin([digest])
                kept.append(digest)
        except (RunError, InputError) as error:
            store.unpin(kept)
            reject(slot.staging, result.outputs.values())
            if isinstance(error, RunError):
                self._answered(slot, call, outcomes.NO_ROOM, str(error))
            else:
                self._slots.kill(slot, outcomes.DIED, f"function {slot.key[0]}: its process sent no result: {error}")
            return
        call.outcome = replace(
            call.outcome, outputs=result.outputs, values=result.values, begin=result.begin, end=result.end,
            cpu_s=result.cpu_s, around_cpu_s=result.around_cpu_s, read=result.read, written=result.written,
            memory=result.memory,
        )  # fmt: skip
        self._answered(slot, call, "", "")

    def _answered(self, slot: Slot, call: Call, kind: str, reason: str) -> None:
        """An invocation has ended, and its process has not."""
        slot.spend(self._slots.clock())
        slot.call = None
        self._end(call, kind, reason)
        if (kind and kind not in outcomes.INNOCENT) or not self._slots.keep_alive:
            self._slots.kill(slot)
