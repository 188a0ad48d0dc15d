"""What the file says of movement, made into tracks and a timeline."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from testbed.errors import InputError
from testbed.experiment import attendance, resolve
from testbed.experiment.changes import Move
from testbed.experiment.document import Document
from testbed.experiment.model import Spec
from testbed.experiment.movement import GaussMarkov, Linear, Manhattan, Oracle, RandomWaypoint, Recorded
from testbed.experiment.plan import Plan, SitePlan
from testbed.mobility import generators, scripted, select
from testbed.mobility import overview as overviews
from testbed.mobility.build import Settings, timeline_of
from testbed.mobility.foresee import Linear as LinearPredictor
from testbed.mobility.foresee import Oracle as OraclePredictor
from testbed.mobility.readers import opened_trace
from testbed.mobility.row import Row
from testbed.mobility.schedules import Ways
from testbed.mobility.thin import thinned
from testbed.mobility.timeline import Timeline, from_trace
from testbed.mobility.tracks import Track, of_rows

FAR_AWAY = 50e3
"""Metres from the nearest site beyond which a first position is not of the same place."""
MARGIN = 50.0
"""Metres around the sites in which nodes move where no area is given."""


def timeline(spec: Spec, document: Document, sites: Mapping[str, SitePlan]) -> Timeline:
    """The timeline of an experiment.

    Devices move straight and evenly from row to row. On the nearest site, without a radio model, they are handed over
    where they cross a border, and a trace that nothing else is asked of is taken row by row. Otherwise they are looked
    at every 100 ms.

    Raises:
        InputError: The trace cannot be used, or the model makes no movement.
    """
    if not spec.mobility.moving:
        return attendance.scripted(_scripted(spec), attendance.presence(spec, document), spec, document)
    points = {name: site.at for name, site in sites.items()}
    if _by_rows(spec):
        return from_trace(_near(_rows(spec, document), spec, document), points)
    access = {name: _bounds(spec, site) for name, site in sites.items()}
    found, stays = tracks(spec, document), attendance.presence(spec, document)
    how = replace(settings(spec), presence=stays)
    try:
        made = timeline_of(found, points, how, access, standing=_standing(spec, found))
        return attendance.standing(made, stays)
    except ValueError as error:
        raise document.problem(("mobility",), f"no timeline can be made: {error}") from None


def _bounds(spec: Spec, site: SitePlan) -> Ways:
    """The access links at a site: a rate that nobody has written down bounds no radio model."""
    layers = resolve.access_layers(spec, site.name)
    asked = any(layer.section and layer.settings.rate is not None for layer in layers)
    if asked:
        return site.access_up, site.access_down
    return replace(site.access_up, rate=None), replace(site.access_down, rate=None)


def _standing(spec: Spec, moving: Mapping[str, Track]) -> dict[str, str]:
    """Devices without a track, and the site where they stay."""
    groups = {device: spec.devices[group].at for device, group in resolve.devices(spec).items()}
    return {device: resolve.site_of(spec, at) or at for device, at in groups.items() if at and device not in moving}


def tracks(spec: Spec, document: Document) -> dict[str, Track]:
    """Tracks of the devices that move along a trace or a model; none where moves are scripted."""
    if spec.mobility.trace is not None:
        _check_presence(spec, document)
        found = of_rows(_near(_rows(spec, document), spec, document), _cells(spec))
        _recorded(spec, document, found)
        return found
    if spec.mobility.model is None:
        return {}
    asked = spec.mobility.model.chosen
    if asked.area is not None:
        left, bottom, right, top = asked.area
        corner = _nearest_to(((left + right) / 2, (bottom + top) / 2), spec)
        if corner > FAR_AWAY + math.hypot(right - left, top - bottom):
            raise _far(spec, document, ("mobility", "model"), corner)
    try:
        return generators.tracks(_model(asked), movers(spec), _area(spec, asked.area), asked.duration, spec.seed)
    except ValueError as error:
        raise document.problem(("mobility", "model"), f"nothing can move so: {error}") from None


def overview(spec: Spec, document: Document, plan: Plan) -> overviews.Overview:
    """Who is where and when, of an experiment and its plan; reads the trace again."""
    if not spec.mobility.enabled:
        return overviews.of_plan(plan, {}, pace=pace(spec))
    if not _by_rows(spec):
        return overviews.of_plan(plan, tracks(spec, document), settings(spec).radio, pace=pace(spec))
    moments: dict[str, list[float]] = {}
    for move in plan.moves:
        if move.at is not None:
            moments.setdefault(move.device, []).append(move.at)
    rows = _near(_rows(spec, document), spec, document)
    return overviews.of_plan(plan, thinned(rows, moments, 2 * overviews.MOST_POINTS), pace=pace(spec))


def pace(spec: Spec) -> float:
    """Seconds of the experiment that one of the recorded seconds takes; 1 without a trace."""
    trace = spec.mobility.trace
    return 1.0 if trace is None or not spec.mobility.enabled else trace.scale.time


def predictor(spec: Spec) -> str | None:
    """The policy of prediction in words; None without one."""
    found = _predictor(spec) if spec.mobility.enabled else None
    if found is None:
        return None
    return f"{type(found).__name__.lower()}, {found.horizon:g} s ahead"


def trace_path(spec: Spec, document: Document) -> Path:
    """The file of the trace."""
    return document.path.parent / (spec.mobility.trace.file if spec.mobility.trace is not None else "")


def movers(spec: Spec) -> list[str]:
    """Devices that move by the model."""
    asked = None if spec.mobility.model is None else spec.mobility.model.chosen.devices
    return [d for d, group in resolve.devices(spec).items() if asked is None or d in asked or group in asked]


def settings(spec: Spec) -> Settings:
    """How the timeline is made of tracks."""
    mobility = spec.mobility
    asked = None if mobility.radio is None else mobility.radio.chosen
    recorded = asked if isinstance(asked, Recorded) else None
    radio = None if recorded is not None else asked
    return Settings(
        policy=mobility.association.chosen.policy(),
        radio=None if radio is None else radio.radio(),
        sharing="time" if radio is None else radio.sharing,
        interval=0.5 if radio is None else radio.interval,
        predictor=_predictor(spec),
        come_and_go=mobility.presence.traced,
        gap=mobility.gap,
        seed=spec.seed,
        recorded=recorded is not None,
        recorded_up=None if recorded is None else recorded.up,
    )


def _cells(spec: Spec) -> dict[str, str]:
    asked = spec.mobility.association.trace
    return {site: site for site in spec.sites} if asked is None or asked.cells is None else asked.cells


def _recorded(spec: Spec, document: Document, found: Mapping[str, Track]) -> None:
    """InputError if the trace does not hold what is to be taken from it."""
    asked = spec.mobility
    for device, track in found.items():
        if asked.association.trace is not None and not track.told:
            raise document.problem(
                ("mobility", "association"), f"the trace names no site that {device!r} is on", wanted="its cells",
                found=document.where(("mobility", "trace")), remedy="name sites by cells: association: {trace: "
                "{cells: {CELL: SITE}}}, or choose nearest",
            )  # fmt: skip
        if asked.radio is not None and asked.radio.trace is not None and not (len(track.rate) or len(track.rtt)):
            raise document.problem(
                ("mobility", "radio"), f"the trace holds neither rates nor round-trip times of {device!r}",
                wanted="a drive log", remedy="choose wifi or lte, or take radio out",
            )  # fmt: skip


def _check_presence(spec: Spec, document: Document) -> None:
    """InputError if devices are to come and go with a trace that does not say when they do."""
    if not spec.mobility.presence.traced:
        return
    named_at = document.where(("mobility", "trace"))
    with opened_trace(trace_path(spec, document), named_at=named_at) as trace:
        if trace.format.waypoints:
            raise document.problem(
                ("mobility", "presence"), "the trace does not say when nodes are gone",
                wanted="samples of where they are while they are there",
                found=f"{trace.format.title}: the corners of ways, and after the last a node stays ({named_at})",
                remedy="write 'presence: always', or sample the trace into a format whose rows are samples",
            )  # fmt: skip


def _by_rows(spec: Spec) -> bool:
    mobility = spec.mobility
    plain = mobility.radio is None and mobility.presence.always and _predictor(spec) is None
    return mobility.trace is not None and mobility.association.nearest is not None and plain


def _rows(spec: Spec, document: Document) -> Iterator[Row]:
    asked = spec.mobility.trace
    assert asked is not None, "who asks for rows has seen that there is a trace"
    return select.read(
        trace_path(spec, document), list(resolve.devices(spec)), asked.selection(spec.mobility.gap),
        named_at=document.where(("mobility", "trace")), plane=asked.plane(),
    )  # fmt: skip


def _near(rows: Iterator[Row], spec: Spec, document: Document) -> Iterator[Row]:
    """The rows, if the first one is anywhere near a site: metres of one map mean nothing on another."""
    first = next(rows, None)
    if first is None:
        return
    off = _nearest_to((first.x, first.y), spec)
    if off > FAR_AWAY:
        raise _far(spec, document, ("mobility", "trace"), off)
    yield first
    yield from rows


def _nearest_to(place: tuple[float, float], spec: Spec) -> float:
    return min((math.dist(place, site.at) for site in spec.sites.values()), default=0.0)


def _far(spec: Spec, document: Document, path: tuple[str, ...], off: float) -> InputError:
    return document.problem(
        path, "all sites are far outside of where devices move", wanted=f"a site within {FAR_AWAY / 1e3:g} km",
        found=f"the nearest is {off / 1e3:.0f} km away ({document.where(('sites', next(iter(spec.sites))))})",
        remedy="bring both to the same origin, in metres: sites by 'at' or 'file', the trace by 'origin'",
    )  # fmt: skip


def _scripted(spec: Spec) -> Iterator[Move]:
    devices = resolve.devices(spec)
    for m in spec.mobility.moves:
        to = resolve.site_of(spec, m.to) or m.to
        if m.every is None:
            yield Move(m.device, to, m.at, m.round, None if m.round is None else m.progress or 0.0)
        else:
            home = spec.devices[devices[m.device]].at or ""
            yield from scripted.repeated(m.device, home, [to], m.every, spec.workload.rounds, m.progress or 0.0)


def _model(asked: object) -> generators.Model:
    if isinstance(asked, RandomWaypoint):
        return generators.RandomWaypoint(asked.speed, asked.pause)
    if isinstance(asked, GaussMarkov):
        return generators.GaussMarkov(asked.speed, asked.deviation, asked.turn, asked.memory)
    assert isinstance(asked, Manhattan)
    return generators.Manhattan(asked.speed, asked.block, asked.turn)


def _area(spec: Spec, asked: tuple[float, float, float, float] | None) -> generators.Area:
    if asked is not None:
        return generators.Area(*asked)
    xs, ys = zip(*(site.at for site in spec.sites.values()), strict=True)
    return generators.Area(min(xs) - MARGIN, min(ys) - MARGIN, max(xs) + MARGIN, max(ys) + MARGIN)


def _predictor(spec: Spec) -> OraclePredictor | LinearPredictor | None:
    asked = None if spec.mobility.prediction is None else spec.mobility.prediction.chosen
    if isinstance(asked, Oracle):
        return OraclePredictor(asked.horizon)
    return LinearPredictor(asked.horizon, asked.window) if isinstance(asked, Linear) else None
