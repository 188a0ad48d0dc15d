"""What the orchestrator has asked a unit for: fetched for, run, and told of when it has ended, each exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nodes.errors import WireError
from nodes.events import Span
from nodes.platform import library, outcomes
from nodes.platform.blobs import Blobs, Need
from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.streaming import Parts
from nodes.wire.platform_messages import CallEnded, InvokeOn, KeepBlobs

_PRIVATE = frozenset({"select-data"})
"""Functions whose outputs stay on their unit."""
_WORK = frozenset({"aggregate", "evaluate"})
"""Functions that are work by themselves (`nodes.events.WORK`); parts tell of theirs as they do it."""


@dataclass
class _Call:
    asked: InvokeOn
    since: float
    id: int = 0        # of the pool; 0: it waits for blobs
    need: Need | None = None


class Calls:
    """The invocations of one unit that have not ended.

    Args:
        unit: This one. pool, parts, blobs: Its own.
        known: Values that the unit knows best (its name): built-in functions that take them are given these.
        tell: Says how one ended to the orchestrator. emit: Records an event.
        started: Hears how many seconds of the experiment a cold start of a function takes when no other one is under
            way: those on a unit share its speed.
        note: Takes what a person should read.
        dilation: Real seconds that a second of the experiment takes. clock: Stands in for the machine's in tests.
    """

    def __init__(
        self,
        unit: str,
        pool: Pool,
        parts: Parts,
        blobs: Blobs,
        *,
        known: Mapping[str, Any],
        tell: Callable[[CallEnded], None],
        emit: Callable[[Span], None] = lambda _: None,
        started: Callable[[str, float], None] = lambda *_: None,
        note: Callable[[str], None] = lambda _: None,
        dilation: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unit = unit
        self._pool = pool
        self._parts = parts
        self._blobs = blobs
        self._known = known
        self._tell = tell
        self._emit = emit
        self._started = started
        self._note = note
        self._dilation = dilation
        self._clock = clock
        self._calls: dict[int, _Call] = {}
        self._halted = ""

    def __len__(self) -> int:
        return len(self._calls)

    def invoke(self, asked: InvokeOn) -> None:
        """Run a function, once its blobs are here; `CallEnded` is told when it has ended, whatever happens."""
        if asked.call in self._calls:
            self._note(f"call {asked.call} was asked for twice")
            return
        call = self._calls[asked.call] = _Call(asked, self._clock())
        if self._halted:
            self._drop(call, self._halted)
            return
        invocation = Invocation(
            asked.function, asked.source, inputs=asked.inputs, values=self._values(asked), memory=asked.memory,
            time_limit=asked.time_limit, parts=asked.parts, task=asked.task,
        )  # fmt: skip

        def have(reason: str, need: Need) -> None:
            call.need = need
            if reason:
                self._over(call, Outcome(0, invocation, outcomes.MISSING, reason, ended=self._clock()))
            else:
                call.id = self._parts.submit(invocation, lambda outcome: self._over(call, outcome))

        call.need = self._blobs.need(invocation.digests(), asked.where, have, gently=asked.gently)

    def cancel(self, number: int) -> None:
        """Nobody wants it any more; one that has ended is fine."""
        if number in self._calls:
            self._drop(self._calls[number], "nobody wants it any more")

    def halt(self, reason: str) -> None:
        """End all that is at work or waits, and what is still asked for, for this reason; empty: go on as ever.

        The unit does that by itself: whoever has asked for it may be out of reach.
        """
        self._halted = reason
        if reason:
            for call in list(self._calls.values()):
                self._drop(call, reason)

    def _drop(self, call: _Call, reason: str) -> None:
        if call.id:
            self._pool.cancel(call.id, reason)
            return
        if call.need is not None:
            self._blobs.forget(call.need)
        gone = Outcome(0, Invocation(call.asked.function), outcomes.CANCELLED, reason, ended=self._clock())
        self._over(call, gone)

    def cancel_all(self) -> None:
        """Nobody wants any of them any more."""
        for number in list(self._calls):
            self.cancel(number)

    def _values(self, asked: InvokeOn) -> dict[str, Any]:
        if asked.function not in library.BUILT_IN:
            return asked.values
        takes = library.find(asked.function).inputs
        return asked.values | {name: value for name, value in self._known.items() if name in takes}

    def _over(self, call: _Call, outcome: Outcome) -> None:
        asked = call.asked
        del self._calls[asked.call]
        kept = list(outcome.outputs.values())
        if asked.function in _PRIVATE:
            self._blobs.private.update(kept)
        self._blobs.keep(KeepBlobs(pin=tuple(kept)))  # until the orchestrator lets them go
        if outcome.cold and outcome.start_s:
            self._started(asked.function, outcome.alone_s / self._dilation)
        sizes = {digest: self._blobs.store.size(digest) for digest in kept}
        ended = told(asked, outcome, call.need.came if call.need else {}, sizes, self._dilation)
        if outcome.kind in (outcomes.MISSING, outcomes.DAMAGED):
            here = [(digest, self._unit) for digest in self._blobs.store.missing(outcome.invocation.digests())]
            denied = call.need.denied if call.need else []
            ended = msgspec.structs.replace(ended, lacks=(*here, *denied))
        self._record(call, outcome, ended)
        try:
            self._tell(ended)
        except WireError as error:
            self._note(f"call {asked.call}: {error}")
            self._blobs.keep(KeepBlobs(unpin=tuple(kept)))  # nobody hears of them, so nobody lets them go
            bare: dict[str, Any] = {"outputs": {}, "sizes": {}, "values": {}}
            self._tell(msgspec.structs.replace(ended, kind=outcomes.RETURNED, reason=str(error), **bare))

    def _record(self, call: _Call, outcome: Outcome, ended: CallEnded) -> None:
        asked = call.asked
        label: dict[str, Any] = {"node": self._unit, "task": asked.task, "round": asked.round}
        attrs = {
            "function": asked.function, "call": asked.call, "owner": asked.owner, "kind": ended.kind,
            "cold": ended.cold, "start_s": outcome.start_s, "fetch_s": (outcome.asked or outcome.ended) - call.since,
            "work_begin": outcome.begin or None, "work_end": outcome.end or None, "reserved": outcome.reserved,
        }  # fmt: skip
        self._emit(
            Span(kind="function", begin=call.since, end=outcome.ended, cpu_s=ended.cpu_s, bytes=ended.fetched,
                 attrs=attrs, **label)
        )  # fmt: skip
        if asked.function in _WORK and outcome.ok:
            self._emit(Span(kind=asked.function, begin=outcome.begin, end=outcome.end, cpu_s=outcome.cpu_s, **label))


def told(
    asked: InvokeOn, outcome: Outcome, fetched: Mapping[str, int], sizes: dict[str, int], dilation: float
) -> CallEnded:
    """An outcome as the orchestrator is told of it: seconds of the experiment."""
    return CallEnded(
        call=asked.call, kind=outcome.kind, reason=outcome.reason, outputs=dict(outcome.outputs), sizes=sizes,
        values=dict(outcome.values), cold=outcome.cold, start_s=outcome.start_s / dilation,
        work_s=max(outcome.end - outcome.begin, 0.0) / dilation, held_s=outcome.held_s / dilation,
        cpu_s=outcome.start_cpu_s + outcome.cpu_s + outcome.around_cpu_s, reserved=outcome.reserved,
        sent=outcome.sent_bytes, received=outcome.received_bytes, fetched=sum(fetched.values()),
        fetched_from=dict(fetched), memory=outcome.memory,
    )  # fmt: skip
