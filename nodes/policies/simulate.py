"""A pipeline played through, op by op: what a layout takes with any schedule, and who waits when.

Plain discrete events. A node does one op at a time, in the order in which they could have begun (the device of a
U-shape has two stages; at the same moment the later one's goes first). A wire carries one transfer at a time, in the
order in which they came up. The order of a stage's ops is fixed by the schedule, never by arrival:

- ``sequential``: one micro-batch at a time through all stages and back.
- ``sync`` (GPipe: Huang et al., 2019): all forward, then all back, then the update; the pipeline runs empty.
- ``1f1b`` (PipeDream: Narayanan et al., 2019): stage ``s`` begins with ``depth[s]`` forwards, then backward and
  forward in turn, on across batches; the update comes after the backward of a batch's last micro-batch.

The last stage does forward, loss and backward of a micro-batch at once: nobody waits in between.

Closed forms for one batch without U-shape, which tests hold against this:

    sequential   M latency + update(0)
    sync         update(0) + the longest of
                   latency + (M - 1) (slowest step or transfer, the last stage's step being forward and backward)
                   for each other stage s: a micro-batch to it and back (all but what is behind) + (M - 1) (slowest
                   forward step or transfer up to it + slowest backward one)
    1f1b         see `nodes.policies.depths`
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nodes.errors import InputError
from nodes.policies import order as fixed
from nodes.policies.costs import SCHEDULES, Chain

FORWARD, BACKWARD, BOTH, UPDATE = "F", "B", "FB", "U"
_LETTERS = {"forward": FORWARD, "backward": BACKWARD, "tail": BOTH, "update": UPDATE}
Op = tuple[str, int]
"""What a stage does, and with which micro-batch (counted through all batches); of an update the batch."""


@dataclass(frozen=True)
class Span:
    """One op on a node or transfer on a wire: stage, op (transfers: ``>`` and ``<``), micro-batch or batch, seconds."""

    where: str
    stage: int
    op: str
    index: int
    begin: float
    end: float


@dataclass(frozen=True)
class Played:
    """How it went.

    Attributes:
        ends: Seconds at which each batch was applied on the device (the first stage's update).
        end: Seconds at which the last op ended.
        busy: Seconds of work by node and wire.
        spans: What was when; empty unless asked for.
    """

    ends: tuple[float, ...]
    end: float
    busy: dict[str, float]
    spans: tuple[Span, ...] = ()

    def period(self, skip: int = 0, drop: int = 0) -> float:
        """Mean seconds a batch, the first ``skip`` (the pipeline fills) and the last ``drop`` (it drains) left out."""
        ends = self.ends[skip : len(self.ends) - drop]
        return (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else self.ends[-1] / len(self.ends)

    def idle(self, where: str) -> float:
        """Share of all the time that a node or wire had nothing to do (of a node: its bubble)."""
        return 1 - self.busy[where] / self.end if self.end else 0.0


def order(schedule: str, depth: int, micro: int, batches: int, *, last: bool) -> Iterator[Op]:
    """The ops of one stage, in the order that the runtime has them in (`nodes.policies.order`).

    Args:
        schedule: One of `SCHEDULES`.
        depth: Micro-batches that it has in flight with 1f1b.
        micro: Micro-batches a batch.
        batches: How many.
        last: Whether it is the last stage, which does forward, loss and backward at once.
    """
    ahead = {"sequential": 1, "sync": micro, "1f1b": depth}[schedule]
    for op in fixed.order(schedule, micro, batches, ahead, last=last):
        yield _LETTERS[op.kind], op.batch if op.kind == "update" else op.batch * micro + op.micro


def staleness(depth: int, micro: int) -> int:
    """Updates that at most come between a micro-batch's forward and its backward on a stage, with 1f1b."""
    return -(-(depth - 1) // micro)


def play(
    chain: Chain, schedule: str, micro: int, batches: int, depths: Sequence[int] = (), *, trace: bool = False
) -> Played:
    """Play so many batches through a chain.

    Args:
        chain: What each step takes.
        schedule: One of `SCHEDULES`.
        micro: Micro-batches a batch.
        batches: How many.
        depths: Micro-batches in flight by stage (1f1b); never more than on the stage before.
        trace: Whether to note every span.

    Raises:
        InputError: There is no such schedule, nothing to do, or depths that would wait for each other for ever.
    """
    stages = len(chain.stages)
    if schedule not in SCHEDULES or micro < 1 or batches < 1:
        raise InputError("no such schedule", wanted=f"{', '.join(SCHEDULES)}; a micro-batch and a batch at least",
                         found=f"{schedule}, {micro} micro-batches, {batches} batches")  # fmt: skip
    depth = list(depths) if schedule == "1f1b" else [1] * stages
    if len(depth) != stages or min(depth) < 1 or any(later > before for before, later in pairwise(depth)):
        raise InputError("depths that a pipeline cannot have", wanted="one a stage, at least 1, never more than on the"
                         " stage before", found=", ".join(map(str, depth)) or "none")  # fmt: skip
    return _Player(chain, schedule, micro, batches, depth, trace).run()


class _Player:
    """One run. Events: what a stage has done, and what has arrived at one."""

    def __init__(
        self, chain: Chain, schedule: str, micro: int, batches: int, depth: Sequence[int], trace: bool
    ) -> None:
        self.chain, self.last = chain, len(chain.stages) - 1
        self.orders = [deque(order(schedule, depth[s], micro, batches, last=s == self.last))
                       for s in range(self.last + 1)]  # fmt: skip
        self.there: list[deque[float]] = [deque() for _ in chain.stages]  # when what waits here came
        self.back: list[deque[float]] = [deque() for _ in chain.stages]
        self.since = [0.0] * (self.last + 1)  # when a stage's last op could have begun
        self.at: dict[str, list[int]] = {}
        for s, stage in enumerate(chain.stages):
            self.at.setdefault(stage.node, []).append(s)
        self.running: set[str] = set()
        self.free: dict[str, float] = {}
        self.busy = dict.fromkeys((*self.at, *(t.wire for t in chain.there + chain.back)), 0.0)
        self.events: list[tuple[float, int, int, str, int]] = []  # when, number, stage, what, micro-batch
        self.ends: list[float] = []
        self.spans: list[Span] | None = [] if trace else None
        self.number = 0

    def run(self) -> Played:
        now = 0.0
        self._dispatch(now)
        while self.events:
            now, _, stage, what, index = heapq.heappop(self.events)
            if what == ">":
                self.there[stage].append(now)
            elif what == "<":
                self.back[stage].append(now)
            else:
                self._done(now, stage, what, index)
            # What happens at the same moment is taken in before anybody chooses.
            if not self.events or self.events[0][0] > now:
                self._dispatch(now)
        return Played(tuple(self.ends), now, self.busy, tuple(self.spans or ()))

    def _push(self, at: float, stage: int, what: str, index: int) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, stage, what, index))

    def _ready(self, stage: int) -> float | None:
        """Since when a stage's next op could begin, but for the node; None: it waits for something, or is done."""
        if not self.orders[stage]:
            return None
        op = self.orders[stage][0][0]
        if op in (FORWARD, BOTH) and stage > 0:
            return max(self.there[stage][0], self.since[stage]) if self.there[stage] else None
        if op == BACKWARD and stage < self.last:
            return max(self.back[stage][0], self.since[stage]) if self.back[stage] else None
        return self.since[stage]

    def _dispatch(self, now: float) -> None:
        for node, stages in self.at.items():
            if node in self.running:
                continue
            ready = [(when, -s) for s in stages if (when := self._ready(s)) is not None]
            if ready:
                self._begin(now, node, -min(ready)[1])

    def _begin(self, now: float, node: str, stage: int) -> None:
        self.since[stage] = self._ready(stage) or 0.0
        op, index = self.orders[stage].popleft()
        cost = self.chain.stages[stage]
        seconds = {FORWARD: cost.forward, BACKWARD: cost.backward, UPDATE: cost.update,
                   BOTH: cost.forward + cost.backward}[op]  # fmt: skip
        if op in (FORWARD, BOTH) and stage > 0:
            self.there[stage].popleft()
        if op == BACKWARD and stage < self.last:
            self.back[stage].popleft()
        self.running.add(node)
        self._note(node, stage, op, index, now, now + seconds)
        self._push(now + seconds, stage, op, index)

    def _done(self, now: float, stage: int, op: str, index: int) -> None:
        self.running.discard(self.chain.stages[stage].node)
        if op == FORWARD and stage < self.last:
            self._send(now, stage, stage + 1, ">", index)
        if op in (BACKWARD, BOTH) and stage > 0:
            self._send(now, stage, stage - 1, "<", index)
        if op == UPDATE and stage == 0:
            self.ends.append(now)

    def _send(self, now: float, stage: int, to: int, what: str, index: int) -> None:
        transfer = self.chain.there[stage] if what == ">" else self.chain.back[to]
        begin = max(now, self.free.get(transfer.wire, 0.0))
        self.free[transfer.wire] = begin + transfer.busy
        self._note(transfer.wire, stage, what, index, begin, begin + transfer.busy)
        self._push(begin + transfer.busy + transfer.delay, to, what, index)

    def _note(self, where: str, stage: int, op: str, index: int, begin: float, end: float) -> None:
        self.busy[where] += end - begin
        if self.spans is not None:
            self.spans.append(Span(where, stage, op, index, begin, end))
