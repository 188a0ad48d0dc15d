"""The timeline: all that mobility does to a run, computed before it.

Who changes access points, and when; how each device's access link varies; when it is down; what was predicted. The
same traces, settings and seed make the same timeline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from nodes.policies.prediction import Prediction, Score, score
from testbed.emulation.links.shape import Schedule
from testbed.experiment.changes import Move, Outage
from testbed.mobility.borders import Way, places_of
from testbed.mobility.trace import Row

COVERAGE, ABSENT = "out of coverage", "absent"


@dataclass(frozen=True)
class Down:
    """An interval in which a device's access link is down, s after the start; ``end`` may be infinite.

    Attributes:
        begin: From when on. end: Until when. why: `COVERAGE` or `ABSENT`.
    """

    begin: float
    end: float
    why: str


@dataclass(frozen=True)
class Stay:
    """One stretch of time that a device is on one site.

    Attributes:
        device: Which. site: Where. begin: s. end: s. connected: Seconds of it that its link was up.
    """

    device: str
    site: str
    begin: float
    end: float
    connected: float


@dataclass(frozen=True)
class Timeline:
    """What mobility does to a run.

    Attributes:
        starts: Site of each device at the start.
        moves: Handovers in order of time, then of name; scripted ones in order of round.
        end: Seconds that movement goes on; everybody stays as they are then.
        schedules: How a device's access link varies, up and down, where a radio model or a trace says so.
        down: When a device's access link is down, in order, not overlapping. A device comes back at ``end``, where it
            may have to be handed over first: the move at that moment is to be carried out before the link is up.
        predictions: What was expected of the next handovers, in order of time, then of name.
    """

    starts: dict[str, str]
    moves: tuple[Move, ...]
    end: float = 0.0
    schedules: dict[str, tuple[Schedule, Schedule]] = field(default_factory=dict)
    down: dict[str, tuple[Down, ...]] = field(default_factory=dict)
    predictions: tuple[Prediction, ...] = ()

    def stays(self, device: str) -> list[Stay]:
        """Where a device is from the start to the end; only moves that have a time are known here."""
        edges = [(0.0, self.starts[device])]
        edges += [(m.at, m.to) for m in self.moves if m.device == device and m.at is not None]
        edges.append((max(self.end, edges[-1][0]), ""))
        found = []
        for (begin, site), (end, _) in pairwise(edges):
            lost = sum(max(0.0, min(d.end, end) - max(d.begin, begin)) for d in self.down.get(device, ()))
            found.append(Stay(device, site, begin, end, end - begin - lost))
        return found

    def up_at(self, device: str, at: float) -> bool:
        """Whether a device's link is up at a moment."""
        return not any(d.begin <= at < d.end for d in self.down.get(device, ()))

    def outages(self) -> tuple[Outage, ...]:
        """When links are down, in order of time, then of device."""
        found = [
            Outage(device, d.begin, None if math.isinf(d.end) else d.end, d.why)
            for device, downs in self.down.items()
            for d in downs
        ]
        return tuple(sorted(found, key=lambda o: (o.begin, o.device)))

    def score(self, notice: float = 0.0) -> Score:
        """How the predictions turn out; devices are told of handovers ``notice`` seconds before."""
        came = [(m.device, m.at, m.to) for m in self.moves if m.at is not None]
        return score(self.predictions, came, notice=notice, until=self.end)


def from_trace(rows: Iterable[Row], access_points: Mapping[str, tuple[float, float]]) -> Timeline:
    """Moves of a trace whose devices are on the nearest access point, straight and evenly from row to row.

    A device starts where its first row has it, whatever its time: nothing is known of it before. Rows are taken one at
    a time, and not kept.
    """
    places = places_of(access_points)
    ways: dict[str, Way] = {}
    end = 0.0
    for row in rows:
        way = ways.get(row.node)
        if way is None:
            way = ways[row.node] = Way(places)
        way.to(row.t, row.x, row.y)
        end = max(end, row.t)
    moves = (Move(device=node, to=to, at=at, wandered=True) for node, way in ways.items() for at, to in way.changes)
    return Timeline({node: way.first for node, way in ways.items()}, ordered(moves), end)


def ordered(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Moves in a fixed order: those by time, then those by round and progress; then by device."""
    return tuple(
        sorted(moves, key=lambda m: (m.at is None, m.at or 0.0, m.round or 0, m.progress or 0.0, m.device, m.to))
    )


def merged(intervals: Iterable[Down]) -> tuple[Down, ...]:
    """Intervals in order, those that touch for the same reason as one, without those of no length."""
    found: list[Down] = []
    for down in sorted(intervals, key=lambda d: (d.begin, d.end)):
        if down.end <= down.begin or math.isinf(down.begin):
            continue
        if found and found[-1].why == down.why and found[-1].end >= down.begin:
            found[-1] = Down(found[-1].begin, max(found[-1].end, down.end), down.why)
        else:
            found.append(down)
    return tuple(found)
