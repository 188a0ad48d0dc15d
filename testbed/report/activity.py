"""What the nodes did when, out of the events: the spans that timelines are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from nodes.events import Span
from testbed.report.records import MoveRecord, RunRecord, SchemeRecord

FORWARDS = ("forward", "step")
ON_DEVICE = ("forward", "backward", "step", "wait")
STATE = ("capture", "transfer", "restore")


def owner(span: Span) -> str:
    """The device that a span's work is for."""
    return span.part.partition(":")[2] or str(span.attrs.get("device") or "")


def behind(span: Span) -> bool:
    """Whether this is work of a pipeline's stage behind the first: on the device only where labels stay."""
    return bool(span.attrs.get("stage"))


def edges(record: RunRecord) -> tuple[str, ...]:
    """Nodes that trained the edge halves, or stages behind the first, in any scheme, by name."""
    return tuple(sorted({s.node for scheme in record.schemes for s in scheme.spans if _on_edge(s)}))


def _on_edge(span: Span) -> bool:
    if behind(span):
        return span.kind in ("forward", "backward", "tail-step") and span.node != owner(span)
    return span.kind == "tail-step"


def of_device(scheme: SchemeRecord, device: str) -> list[Span]:
    """All spans of a device's work, on whichever node it was done."""
    return [s for s in scheme.spans if owner(s) == device or s.attrs.get("device") == device]


def thrown_away(spans: Sequence[Span]) -> list[tuple[float, float]]:
    """Intervals of a device's work that was for nothing: within a round, its batches began again from the first."""
    found = []
    forwards = [s for s in spans if s.kind in FORWARDS and not behind(s)]
    begun = forwards[0] if forwards else None
    for before, now in pairwise(forwards):
        again = (now.batch, now.micro) <= (before.batch, before.micro)
        if begun is not None and now.round == before.round and again:
            last = max(s.end for s in spans if s.kind in ON_DEVICE and begun.begin <= s.begin < now.begin)
            found.append((begun.begin, min(last, now.begin)))
        if now.round != before.round or again:
            begun = now
    return found


@dataclass(frozen=True)
class Moving:
    """What belongs to one move. Times are the clock's; ``end`` is when the device trained on."""

    move: MoveRecord
    begin: float
    end: float
    handover: float
    handover_end: float
    state: tuple[Span, ...]
    cycle: float


def moving(scheme: SchemeRecord, move: MoveRecord) -> Moving | None:
    """Gather a move's spans; None if the events do not show it."""
    if move.at_s is None:
        return None
    mine = of_device(scheme, move.device)
    at = scheme.begin + move.at_s
    port = min((s for s in mine if s.kind == "handover"), key=lambda s: abs(s.begin - at), default=None)
    handover, port_end = (port.begin, port.end) if port else (at, at)
    forwards = [s.begin for s in mine if s.kind in FORWARDS and not behind(s)]
    if not forwards:
        return None
    gaps = [b - a for a, b in pairwise(forwards)]
    cycle = median(gaps) if gaps else 1.0
    near = max(10 * cycle, 5.0)
    state = tuple(s for s in mine if s.kind in STATE and abs(s.begin - handover) < near) if move.state_bytes else ()
    lost = [span for span in thrown_away(mine) if abs(span[1] - handover) < near]
    events = [handover, *(s.begin for s in state), *(end for _, end in lost)]
    quiet = max([handover + (move.gap_s or 0.0), port_end, *(s.end for s in state), *(end for _, end in lost)])
    on = min((s.begin for s in mine if s.kind in ("forward", "backward", "step") and s.begin >= quiet), default=quiet)
    return Moving(move, min(events), on, handover, port_end, state, cycle)
