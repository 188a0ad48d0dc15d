"""What the timeline planned beside what a run did of it, in plain types, for the map and its tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.mobility.overview import Device, Handover, Overview
from testbed.report.records import MoveRecord, SchemeRecord, number

ABSENT = "absent"
_SAME = 0.05
"""Seconds by which a move's due time may be off that of its handover: both are rounded."""


@dataclass(frozen=True)
class Pair:
    """A handover of the timeline and the move that carried it out; either may be missing."""

    planned: Handover | None
    move: MoveRecord | None


def pairs(overview: Overview, scheme: SchemeRecord) -> list[Pair]:
    """Handovers beside moves: by device and site, and by due time where both have one; moves of no handover last."""
    left = list(scheme.moves)
    found = []
    for handover in overview.handovers:
        move = next((m for m in left if _same(handover, m)), None)
        if move is not None:
            left.remove(move)
        found.append(Pair(handover, move))
    return found + [Pair(None, move) for move in left]


def _same(handover: Handover, move: MoveRecord) -> bool:
    if (move.device, move.to) != (handover.device, handover.to):
        return False
    due = number(move.raw.get("due_s"))
    return handover.at is None or due is None or abs(due - handover.at) <= _SAME


def stays(overview: Overview, scheme: SchemeRecord, device: str) -> list[tuple[float, str]]:
    """From when on the device was on which site in a run, s after training began."""
    first = next((d.start for d in overview.devices if d.name == device), None)
    moves = sorted((m.at_s, m.to) for m in scheme.moves if m.device == device and m.at_s is not None)
    return [*([(0.0, first)] if first else []), *moves]


def planned_stays(device: Device) -> list[tuple[float, str]]:
    """From when on the device is on which site in the timeline, s."""
    return [(d.begin, d.site) for d in device.dwells] or [(0.0, device.start)]


def downs(scheme: SchemeRecord, device: str) -> list[tuple[float, float, str]]:
    """When the device's link was down in a run: begin, end (s after training began), why. Interruptions apart."""
    found = [
        (s.begin - scheme.begin, s.end - scheme.begin, str(s.attrs.get("why", "")))
        for s in scheme.spans
        if s.kind == "outage" and s.node == device
    ]
    return [down for down in found if down[2] != "handover"]


def place(device: Device, at: float) -> tuple[float, float] | None:
    """Where the device is at a moment, m; None without a path."""
    if not device.path:
        return None
    before = max((p for p in device.path if p[0] <= at), key=lambda p: p[0], default=device.path[0])
    after = next((p for p in device.path if p[0] > at), before)
    share = (at - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
    share = min(max(share, 0.0), 1.0)
    return before[1] + share * (after[1] - before[1]), before[2] + share * (after[2] - before[2])


def last(overview: Overview, schemes: Sequence[SchemeRecord]) -> float:
    """Seconds after training began at which the later of the movement and the longest training ends."""
    return max([overview.end, *(end(s) for s in schemes)])


def end(scheme: SchemeRecord) -> float:
    """Seconds that training went on, as far as is known."""
    if scheme.duration_s is not None:
        return scheme.duration_s
    return max((s.end - scheme.begin for s in scheme.spans), default=0.0)


def spans(stays_: Sequence[tuple[float, str]], until: float) -> Iterator[tuple[float, float, str]]:
    """Stretches of time on sites: begin, end, site."""
    ends = [*(at for at, _ in stays_[1:]), math.inf]
    for (begin, site), following in zip(stays_, ends, strict=True):
        if begin < until and following > begin:
            yield begin, min(following, until), site
