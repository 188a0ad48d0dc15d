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
from testbed.mobility.row import Row
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
    access = {name: (site.access_up, site.access_down) for name, site in sites.items()}
    stays = attendance.presence(spec, document)
    how = replace(settings(spec), presence=stays)
    try:
        return attendance.standing(timeline_of(tracks(spec, document), points, how, access), stays)
    except ValueError as error:
        raise document.problem(("mobility",), f"no timeline can be made: {error}") from None


def tracks(spec: Spec, document: Document) -> dict[str, Track]:
    """Tracks of the devices that move along a trace or a model; none where moves are scripted."""
    if spec.mobility.trace is not None:
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
    radio = settings(spec).radio if spec.mobility.enabled else None
    return overviews.of_plan(plan, tracks(spec, document) if spec.mobility.enabled else {}, radio, pace=pace(spec))


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


def check(spec: Spec, document: Document) -> Iterator[InputError]:
    """What is wrong with the keys of mobility, taken together."""
    mobility, devices = spec.mobility, resolve.devices(spec)
    if mobility.trace is not None and mobility.model is not None:
        yield document.problem(("mobility", "model"), "there are a model and a trace", wanted="one of them",
                               remedy="take one out")  # fmt: skip
    if mobility.model is not None:
        if mobility.moves:
            yield document.problem(("mobility", "model"), "there are moves and a model", wanted="one of them",
                                   remedy="take one out")  # fmt: skip
        known = [*spec.devices, *devices]
        for i, name in enumerate(mobility.model.chosen.devices or ()):
            if name not in known:
                choice = next(f.alias or k for k, f in type(mobility.model).model_fields.items()
                              if getattr(mobility.model, k) is not None)  # fmt: skip
                yield document.problem(("mobility", "model", choice, "devices", i), f"there is no device {name!r}",
                                       wanted=", ".join(known))  # fmt: skip
    if not mobility.moving:
        for key in ("radio", "prediction"):
            if getattr(mobility, key) is not None:
                yield document.problem(
                    ("mobility", key), f"{key} needs to know where devices are", wanted="trace or model",
                    remedy=f"add 'trace: …' or 'model: random-waypoint', or take {key} out",
                )  # fmt: skip
        if mobility.association.nearest is None:
            yield document.problem(("mobility", "association"), "nobody moves but by script",
                                   wanted="trace or model", remedy="take association out")  # fmt: skip
    for key in ("association", "radio"):
        choice = getattr(mobility, key)
        if mobility.model is not None and choice is not None and choice.trace is not None:
            yield document.problem(("mobility", key), "movement that is made up records nothing", wanted="a trace",
                                   remedy=f"choose another {key}")  # fmt: skip
    cells = None if mobility.association.trace is None else mobility.association.trace.cells
    for cell, site in (cells or {}).items():
        if site not in spec.sites:
            yield document.problem(("mobility", "association", "trace", "cells", cell), f"there is no site {site!r}",
                                   wanted=", ".join(spec.sites))  # fmt: skip
    if mobility.presence.traced and mobility.trace is None:
        yield document.problem(("mobility", "presence"), "there is no trace to be present in", wanted="trace",
                               remedy="take presence out")  # fmt: skip
    if mobility.gap is not None and not mobility.presence.traced:
        yield document.problem(("mobility", "gap"), "gap means nothing unless devices come and go",
                               wanted="presence: trace", remedy="add it, or take gap out")  # fmt: skip


def check_sites(spec: Spec, document: Document, sites: Mapping[str, SitePlan]) -> Iterator[InputError]:
    """What is wrong between the radio model and the access links."""
    if spec.mobility.radio is None:
        return
    for name, site in sites.items():
        path = ("sites", name, "access") if ("sites", name, "access") in document.places else ("links", "access")
        if site.access_up_trace or site.access_down_trace:
            yield document.problem(path, f"access links at {name!r} have a trace, and there is a radio model",
                                   wanted="one of them", remedy="take one out")  # fmt: skip
        if site.access_up.bursts or site.access_down.bursts:
            yield document.problem(
                path, f"access links at {name!r} lose in bursts, and the radio model says how much is lost",
                wanted="a plain loss", remedy="write loss as a share, or take mobility.radio out",
            )  # fmt: skip
