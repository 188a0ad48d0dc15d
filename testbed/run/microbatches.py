"""The ledger of micro-batches: which were applied in the attempt of each round that counted, out of the events.

A pipeline's round may be begun again when a server is lost. The aggregator takes all of a model from one attempt, and
says from which (events ``delivered``). In that one each stage has to have every micro-batch of each batch forward and
backward once, and one update, and the stages of a batch have to make up the model. This holds what nodes say of their
work against that.

Work that a standby does along, or again after a move (``replay-step``), is no second time: its original's counts. What
a server that died had done in its last moments is not in the events, as they die with it: that is told apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nodes.events import Span

MOST = 20
"""Most lines about single micro-batches in a summary."""
_WORK = ("forward", "backward", "tail-step", "update")


@dataclass(frozen=True)
class Row:
    """One round of one device.

    Attributes:
        device: Whose.
        round, attempt: Which, and the attempt that counted.
        batches, micro: How many, and micro-batches of each.
        given_up: Pieces of work of other attempts.
        missing: What was not done, in words.
        repeated: What was done more than once.
        unseen: What is in no event, and was to be done by a node that has died since.
    """

    device: str
    round: int
    attempt: int
    batches: int
    micro: int
    given_up: int = 0
    missing: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def applied(self) -> int:
        """Micro-batches that were, if nothing is missing."""
        return self.batches * self.micro


def ledger(spans: Iterable[Span], died: Collection[str] = ()) -> list[Row]:
    """A row for each round of a pipeline whose model has come to the aggregator, by device and round.

    Args:
        spans: The events of one task.
        died: Nodes that have died.
    """
    work: dict[tuple[str, int], list[Span]] = defaultdict(list)
    rounds: dict[tuple[str, int, int], int] = {}
    delivered: dict[tuple[str, int], int] = {}
    for span in spans:
        if span.kind in _WORK and "stage" in span.attrs:
            work[span.part.partition(":")[2], span.round].append(span)
        elif span.kind == "round":
            rounds[span.attrs["device"], span.round, span.attrs["attempt"]] = span.attrs["batches"]
        elif span.kind == "delivered":
            delivered[span.attrs["device"], span.round] = span.attrs["attempt"]
    return [
        _row(device, number, attempt, rounds.get((device, number, attempt), 0), work[device, number], set(died))
        for (device, number), attempt in sorted(delivered.items())
    ]


def section(rows: Sequence[Row]) -> dict[str, Any]:
    """What a summary says of it."""
    found = {name: [f"{row.device}, round {row.round}: {what}" for row in rows for what in getattr(row, name)]
             for name in ("missing", "repeated", "unseen")}  # fmt: skip
    return {
        "rounds": len(rows),
        "applied": sum(row.applied for row in rows),
        "given_up": sum(row.given_up for row in rows),
        "begun_again": sum(row.attempt > 0 for row in rows),
        "exact": not found["missing"] and not found["repeated"],
        **{name: lines[:MOST] for name, lines in found.items()},
        **{f"{name}_count": len(lines) for name, lines in found.items()},
    }


def wrong(rows: Sequence[Row]) -> list[str]:
    """What speaks against a run: rounds in which work is missing, or was done twice."""
    return [
        f"{row.device}, round {row.round}: " + ", ".join(
            f"{len(lines)} pieces of work {how}, {lines[0]} for one"
            for lines, how in ((row.missing, "missing"), (row.repeated, "done twice")) if lines
        )
        for row in rows if row.missing or row.repeated
    ]  # fmt: skip


def _row(device: str, number: int, attempt: int, batches: int, spans: Sequence[Span], died: set[str]) -> Row:
    mine = [span for span in spans if span.attrs.get("attempt", 0) == attempt]
    micro = 1 + max((span.micro for span in mine), default=-1)
    by_batch: dict[int, list[Span]] = defaultdict(list)
    for span in mine:
        by_batch[span.batch].append(span)
    missing: list[str] = []
    repeated: list[str] = []
    unseen: list[str] = []
    if not batches:
        missing.append("the end of the round")
    for batch in range(max(batches, max(by_batch, default=-1) + 1)):
        if batch >= batches > 0:
            repeated.append(f"batch {batch} of {batches}")
        lost, twice, gone = _batch(by_batch[batch], micro, mine, died)
        missing += [f"batch {batch}: {what}" for what in lost]
        repeated += [f"batch {batch}: {what}" for what in twice]
        unseen += [f"batch {batch}: {what}" for what in gone]
    return Row(
        device, number, attempt, batches, micro, len(spans) - len(mine), tuple(missing), tuple(repeated), tuple(unseen)
    )


def _batch(
    spans: Sequence[Span], micro: int, around: Sequence[Span], died: set[str]
) -> tuple[list[str], list[str], list[str]]:
    """What is missing of a batch, what is there twice, and what nobody has seen.

    Args:
        spans: The batch's.
        micro: Micro-batches that it is to have.
        around: The attempt's, from which it follows where stages were.
        died: Nodes that have died.
    """
    done = Counter((_stage(s), s.kind, s.micro) for s in spans)
    layers = {_stage(s): tuple(s.attrs["layers"]) for s in spans if s.kind == "update" and "layers" in s.attrs}
    last = max((_stage(s) for s in spans if s.kind == "tail-step"), default=None)
    # Without a last stage in sight, it is one that nobody has seen, or there is none.
    stages = last if last is not None else max((_stage(s) for s in around), default=0)
    expected: list[tuple[int, str, int]] = []
    for stage in range(stages + 1):
        bare = layers.get(stage) == (0, 0)  # it has nothing to go backward through
        kinds = ("tail-step",) if stage == stages else ("forward",) if bare else ("forward", "backward")
        expected += [(stage, kind, piece) for kind in kinds for piece in range(micro)]
        expected.append((stage, "update", micro - 1))
    lost = [key for key in expected if not done[key]]
    gone = {key for key in lost if any(_stage(s) == key[0] and s.node in died for s in around)}
    twice = [key for key, count in done.items() if count > 1] + sorted(done.keys() - set(expected))
    found = [_words(*key) for key in lost if key not in gone]
    bounds = [layers[stage] for stage in sorted(layers)]
    if not gone and len(bounds) == stages + 1:
        ends = [0, *(end for _, end in bounds)]
        if [first for first, _ in bounds] != ends[:-1]:
            found.append(f"layers between those of its stages: {bounds}")
    return found, [_words(*key) for key in sorted(set(twice))], [_words(*key) for key in sorted(gone)]


def _stage(span: Span) -> int:
    return int(span.attrs["stage"])


def _words(stage: int, kind: str, piece: int) -> str:
    return f"{kind} of micro-batch {piece} on stage {stage}"
