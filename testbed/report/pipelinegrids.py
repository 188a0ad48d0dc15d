"""Tables of pipelines: how busy stages were, how stale their weights, how much they sent; probes and changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from nodes.events import Span
from testbed.report import words
from testbed.report.gantt import MOST_OWNERS
from testbed.report.grids import BAD, QUIET, Cell, Grid
from testbed.report.pipelines import CHANGES, Lane, Pipelined, lane_of, lanes, layers_of
from testbed.report.plots import MOST_DEVICES
from testbed.report.records import RunRecord, number, table, whole


@dataclass
class StageSums:
    """One stage on one node over all rounds; None: no round of it was finished there."""

    lane: Lane
    layers: tuple[str, ...] = ()
    depths: tuple[int, ...] = ()
    rounds: int = 0
    busy: float | None = None
    bubble: float | None = None
    staleness: float | None = None
    staleness_most: int | None = None
    sent: Counter[str] = field(default_factory=Counter)  # bytes by kinds of messages


def stage_sums(pipe: Pipelined) -> list[StageSums]:
    """A pipeline's stages in order, a stage that moved once for each of its nodes.

    Busy is the share of the owner's rounds, each from the first work of any stage to the last. The bubble is the share
    of the stage's own time, from its first work of a round to its last, and staleness is the mean by batches.
    """
    told: dict[Lane, list[Span]] = defaultdict(list)
    whole_rounds: dict[tuple[int, int], tuple[float, float]] = {}
    for span in pipe.rounds:
        told[lane_of(span)].append(span)
        begin, end = whole_rounds.get(_attempt(span), (span.begin, span.end))
        whole_rounds[_attempt(span)] = (min(begin, span.begin), max(end, span.end))
    sent: dict[Lane, Counter[str]] = defaultdict(Counter)
    for span in pipe.sends:
        sent[lane_of(span)][str(span.attrs.get("message"))] += span.bytes
    lasted = {key: end - begin for key, (begin, end) in whole_rounds.items()}
    return [_sums(lane, told[lane], lasted, sent[lane]) for lane in lanes([*pipe.work, *pipe.rounds])]


def pipeline_grid(found: Sequence[Pipelined]) -> Grid:
    """A row a stage, owner and scheme."""
    owners = list(dict.fromkeys(p.owner for p in found))
    crowd = f" {MOST_DEVICES} of {len(owners)} devices; those that moved come first." \
        if len(owners) > MOST_DEVICES else ""
    drawn = f" Drawn: {MOST_OWNERS} of {len(owners)}." if len(owners) > MOST_OWNERS else ""
    grid = Grid(
        "Stages of the pipelines",
        ("device", "stage", "node", "layers", "depth", "rounds", "busy", "bubble", "staleness", "worst",
         "activations sent", "gradients sent", "scheme"),
        note="Layers: the first, and the one after the last. Depth: micro-batches under way at most. Busy: share of "
        "the rounds, from the first work of any stage to the last. Bubble: share of the stage's own time, from its "
        "first work of a round to its last, in which it did nothing. Staleness: updates that the weights were behind, "
        f"mean and worst. Sent: to other nodes, activations to the next stage, gradients back.{crowd}{drawn}",
        names=4,
    )  # fmt: skip
    for pipe in found:
        if pipe.owner not in owners[:MOST_DEVICES]:
            continue
        for row in stage_sums(pipe):
            grid.add(
                pipe.owner, str(row.lane.stage), row.lane.node, ", ".join(row.layers) or words.DASH,
                ", ".join(map(str, row.depths)) or words.DASH, str(row.rounds), words.percent(row.busy),
                words.percent(row.bubble), words.DASH if row.staleness is None else f"{row.staleness:.2f}",
                words.plain(row.staleness_most), words.size(row.sent["activations"]),
                words.size(row.sent["gradients"]), Cell(pipe.scheme.name, QUIET),
            )  # fmt: skip
    return grid


def steering_grid(record: RunRecord) -> Grid:
    """A row an owner and scheme: what probes took, and how often the pipeline changed."""
    grid = Grid(
        "Probes and changes",
        ("device", "probes", "lost", "put off", "time", "of the training", "bytes", "of the link", "budget",
         "stages moved", "layers moved", "rounds again", "staleness", "scheme"),
        note="Of the training: time from each probe's begin to its end. Of the link: bytes of all that the device sent "
        "and received. Put off: the budget had nothing left. Rounds again: with another layout. Staleness: worst.",
    )  # fmt: skip
    for scheme in record.schemes:
        for owner, told in list(scheme.pipeline.items())[:MOST_DEVICES]:
            row, budget = table(told), number(table(told).get("probe_budget"))
            changes = table(row.get("changes"))
            shares = [number(row.get(f"probe_{what}_share")) for what in ("time", "bytes")]
            time, size = (
                Cell(words.percent(s), BAD if s is not None and budget is not None and s > budget else "")
                for s in shares
            )
            grid.add(
                owner, *(words.plain(whole(row.get(name))) for name in ("probes", "probes_lost", "probes_put_off")),
                words.seconds(number(row.get("probe_s"))), time, words.size(number(row.get("probe_bytes"))), size,
                words.percent(budget), *(words.plain(whole(changes.get(kind))) for kind in CHANGES),
                words.plain(whole(row.get("staleness_most"))), Cell(scheme.name, QUIET),
            )  # fmt: skip
    return grid


def _attempt(span: Span) -> tuple[int, int]:
    return span.round, whole(span.attrs.get("attempt")) or 0


def _sums(lane: Lane, told: Sequence[Span], lasted: dict[tuple[int, int], float], sent: Counter[str]) -> StageSums:
    sums = StageSums(lane, rounds=len({s.round for s in told}), sent=sent)
    if not told:
        return sums
    sums.layers = tuple(dict.fromkeys(filter(None, map(layers_of, told))))
    sums.depths = tuple(dict.fromkeys(d for s in told if (d := whole(s.attrs.get("depth"))) is not None))
    time = sum(lasted[_attempt(s)] for s in told)
    sums.busy = sum(number(s.attrs.get("busy_s")) or 0.0 for s in told) / time if time > 0 else None
    sums.bubble = _mean([(number(s.attrs.get("bubble")), s.end - s.begin) for s in told])
    sums.staleness = _mean([(number(s.attrs.get("staleness")), number(s.attrs.get("batches")) or 1.0) for s in told])
    worst = [n for s in told if (n := whole(s.attrs.get("staleness_most"))) is not None]
    sums.staleness_most = max(worst, default=None)
    return sums


def _mean(values: Sequence[tuple[float | None, float]]) -> float | None:
    """Weighted, of those that are known."""
    known = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total > 0 else None
