"""A timeline as people and programs look at it: who is where and when, in plain values that go into JSON and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nodes.policies import propagation
from nodes.policies.radio import Radio
from testbed.experiment.plan import Plan
from testbed.mobility.associate import Sites
from testbed.mobility.schedules import Ways, mean_rate
from testbed.mobility.timeline import Down, Timeline
from testbed.mobility.tracks import Track

MOST_POINTS = 1000
"""Positions of a path that are kept: what a drawing can show."""


@dataclass(frozen=True)
class Handover:
    """A change of access point; ``at`` is None for one that is due at a point of the training (``due`` in words)."""

    device: str
    at: float | None
    source: str
    to: str
    due: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Dwell:
    """One stretch of time that a device is on one site; rates are bit/s on average, None where nothing bounds them."""

    site: str
    begin: float
    end: float
    connected: float
    up: float | None
    down: float | None


@dataclass(frozen=True)
class Outage:
    """An interval in which a device's link is down; ``end`` None is never."""

    begin: float
    end: float | None
    why: str


@dataclass(frozen=True)
class Device:
    """One device: its path as (s, m, m), where it is on, and when its link is down."""

    name: str
    start: str
    path: tuple[tuple[float, float, float], ...]
    dwells: tuple[Dwell, ...]
    outages: tuple[Outage, ...]


@dataclass(frozen=True)
class Overview:
    """A whole timeline.

    Attributes:
        name: Of the experiment. end: Seconds that movement goes on. sites: Positions, m.
        reach: Metres up to which a site is usually within reach; None: everywhere, or not said.
        devices: In order of name. handovers: In order of time; those without one at the end.
        score: How predictions turn out (`nodes.policies.prediction.Score.as_dict`, and their ``policy``); None if none
            were asked for.
        pace: Seconds of the experiment that one of the trace's takes: below 1 it is replayed faster than recorded.
    """

    name: str
    end: float
    sites: dict[str, tuple[float, float]]
    reach: float | None
    devices: tuple[Device, ...]
    handovers: tuple[Handover, ...]
    score: dict[str, Any] | None = None
    pace: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Overview:
        """What `as_json` made."""
        devices = tuple(
            Device(
                d["name"], d["start"], tuple((p[0], p[1], p[2]) for p in d["path"]),
                tuple(Dwell(**w) for w in d["dwells"]), tuple(Outage(**o) for o in d["outages"]),
            )
            for d in data["devices"]
        )  # fmt: skip
        sites = {name: (at[0], at[1]) for name, at in data["sites"].items()}
        handovers = tuple(Handover(**h) for h in data["handovers"])
        return Overview(data["name"], data["end"], sites, data["reach"], devices, handovers, data["score"],
                        data.get("pace", 1.0))  # fmt: skip


def overview(
    name: str, timeline: Timeline, sites: Mapping[str, tuple[float, float]], access: Mapping[str, Ways],
    tracks: Mapping[str, Track] | None = None, radio: Radio | None = None, *, predictor: str | None = None,
    lead: float = 0.0, pace: float = 1.0,
) -> Overview:  # fmt: skip
    """The overview of a timeline.

    Args:
        name: Of the experiment.
        timeline: The timeline.
        sites: Positions of access points, m.
        access: Each site's access links, up and down.
        tracks: By device, where there are any.
        radio: The radio model, if there is one.
        predictor: The policy of prediction, if there is one.
        lead: Seconds before a handover at which its device is told.
        pace: Of the trace.
    """
    paths = tracks or {}
    return Overview(
        name,
        timeline.end,
        dict(sites),
        None if radio is None else reach(radio),
        tuple(_device(device, timeline, access, paths.get(device)) for device in sorted(timeline.starts)),
        tuple(_handovers(timeline, paths)),
        None if predictor is None else {"policy": predictor, **timeline.score(lead).as_dict()},
        pace,
    )


def of_plan(plan: Plan, tracks: Mapping[str, Track], radio: Radio | None = None, *, pace: float = 1.0) -> Overview:
    """The overview of a plan, and of the tracks that it was made from."""
    starts = {n.name: n.site or "" for n in plan.nodes if n.kind == "device"}
    ends = [float(track.t[-1]) for track in tracks.values()] + [m.at for m in plan.moves if m.at is not None]
    ends += [edge for o in plan.outages for edge in (o.begin, o.end) if edge is not None]
    down: dict[str, tuple[Down, ...]] = {}
    for outage in plan.outages:
        until = math.inf if outage.end is None else outage.end
        down[outage.device] = (*down.get(outage.device, ()), Down(outage.begin, until, outage.why))
    schedules = {
        link.a: (link.ab_trace, link.ba_trace)
        for link in plan.links
        if link.kind == "access" and link.ab_trace is not None and link.ba_trace is not None and link.roams
    }
    timeline = Timeline(starts, plan.moves, max(ends, default=0.0), schedules, down, plan.predictions)
    access = {site.name: (site.access_up, site.access_down) for site in plan.sites}
    places = {site.name: site.at for site in plan.sites}
    return overview(
        plan.name, timeline, places, access, tracks, radio, predictor=plan.predictor, lead=plan.lead, pace=pace
    )


def reach(radio: Radio) -> float:
    """Metres up to which a site is within reach without shadowing."""
    lost, _ = Sites({}, radio).thresholds()
    budget = radio.tx + radio.gain - lost - propagation.free_space_loss(radio.reference, radio.frequency)
    return radio.reference * 10 ** float(max(budget, 0.0) / (10 * radio.exponent))


def _device(name: str, timeline: Timeline, access: Mapping[str, Ways], track: Track | None) -> Device:
    both = timeline.schedules.get(name)

    def rate(way: int, site: str, begin: float, end: float) -> float | None:
        shape = access[site][way]
        return shape.rate if both is None else mean_rate(both[way], shape, begin, end)

    dwells = tuple(
        Dwell(
            s.site, s.begin, s.end, round(s.connected, 6), rate(0, s.site, s.begin, s.end),
            rate(1, s.site, s.begin, s.end),
        )
        for s in timeline.stays(name)
    )  # fmt: skip
    outages = tuple(
        Outage(d.begin, None if math.isinf(d.end) else d.end, d.why) for d in timeline.down.get(name, ())
    )
    return Device(name, timeline.starts[name], _path(name, timeline, track), dwells, outages)


def _path(name: str, timeline: Timeline, track: Track | None) -> tuple[tuple[float, float, float], ...]:
    if track is None:
        return ()
    times = track.t[(track.t >= 0) & (track.t <= timeline.end)]
    if len(times) > MOST_POINTS:
        times = np.linspace(times[0], times[-1], MOST_POINTS)
    changes = [m.at for m in timeline.moves if m.device == name and m.at is not None]
    changes += [t for d in timeline.down.get(name, ()) for t in (d.begin, d.end) if t <= timeline.end]
    times = np.unique(np.concatenate((times, np.array(changes, dtype=float))))
    x, y = track.at(times)
    return tuple(zip(times.tolist(), x.round(2).tolist(), y.round(2).tolist(), strict=True))


def _handovers(timeline: Timeline, tracks: Mapping[str, Track]) -> list[Handover]:
    here = dict(timeline.starts)
    found = []
    for move in timeline.moves:
        x = y = None
        if move.at is not None and move.device in tracks:
            px, py = tracks[move.device].at(np.array([move.at]))
            x, y = round(float(px[0]), 2), round(float(py[0]), 2)
        due = f"{move.at:g} s" if move.at is not None else f"{move.progress or 0:.0%} of round {move.round}"
        found.append(Handover(move.device, move.at, here[move.device], move.to, due, x, y))
        here[move.device] = move.to
    return found
