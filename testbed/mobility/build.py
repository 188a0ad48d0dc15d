"""From tracks to the timeline: association, radio and prediction put together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nodes.policies.association import LeastLoaded, Nearest, Policy
from nodes.policies.prediction import Prediction
from nodes.policies.radio import Radio
from testbed.mobility.associate import Course, Presence, Sites, along, follow
from testbed.mobility.foresee import Predictor, foresee
from testbed.mobility.schedules import Ways, of_radio, of_record
from testbed.mobility.timeline import Timeline
from testbed.mobility.tracks import Track

LONGEST = 24 * 3600.0
"""Seconds that a timeline may last."""
_BEFORE = 1e-8
"""Seconds before a moment that are before it for every look."""


@dataclass(frozen=True)
class Settings:
    """How a timeline is made of tracks.

    Attributes:
        policy: Association.
        radio: The radio model; None: every site is within reach, and links are as the file has them.
        sharing: How devices of a site share its air: ``time``, ``frames`` or ``none``.
        step: From look to look, s: how finely associations follow movement, but for the nearest of all sites, where
            borders are crossed exactly.
        interval: From step to step of links' schedules, s.
        predictor: How the next handover is predicted; None: not at all.
        come_and_go: Devices are there only while their tracks have positions; otherwise they are where the first has
            them before, and where the last has them after.
        gap: With ``come_and_go``: seconds without a position after which a device counts as gone. None: any gap is
            bridged.
        presence: When devices are there, instead (availability traces): from the begin of each interval until just
            before its end, s. Who comes later than movement ends is looked at until then.
        seed: Of shadowing.
        recorded: Links are as the tracks recorded it, in place of a radio model.
        recorded_up: Share of the recorded rates that the way up has; None leaves it to the file.
    """

    policy: Policy = field(default_factory=Nearest)
    radio: Radio | None = None
    sharing: str = "time"
    step: float = 0.1
    interval: float = 0.5
    predictor: Predictor | None = None
    come_and_go: bool = False
    gap: float | None = None
    presence: Presence | None = None
    seed: int = 1
    recorded: bool = False
    recorded_up: float | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.step <= 60:
            raise ValueError(f"step must be from 10 ms to 60 s, not {self.step:g} s")
        if self.sharing not in ("time", "frames", "none"):
            raise ValueError(f"there is no sharing {self.sharing!r}: time, frames or none")


def course_of(
    tracks: Mapping[str, Track], sites: Mapping[str, tuple[float, float]], settings: Settings,
    end: float | None = None, standing: Mapping[str, str] | None = None,
) -> Course:  # fmt: skip
    """Where devices are at each look (ValueError if there is nothing to look at, or for too long).

    ``standing``: those that do not move, and their sites, where they count and are counted to as those that move.
    """
    if not sites or not tracks:
        raise ValueError("a timeline needs sites and tracks")
    stay = {} if standing is None or not _shared(settings) else standing
    stays = {name: mine for name, mine in (settings.presence or {}).items() if name in tracks or name in stay}
    last = max(float(track.t[-1]) for track in tracks.values()) if end is None else end
    if end is None:
        last = max(last, _looked_at(stays, settings.step))
    if not (math.isfinite(last) and 0 <= last <= LONGEST):
        raise ValueError(f"movement must end within {LONGEST:g} s after the start, not at {last:g} s")
    presence = {name: tuple((begin, end - _BEFORE) for begin, end in mine) for name, mine in stays.items()}
    if settings.come_and_go:
        presence = {name: track.present(settings.gap) for name, track in tracks.items()} | presence
    if settings.radio is None and isinstance(settings.policy, Nearest):
        course = along(tracks, sites, last, settings.step, presence)
    else:
        where = Sites(sites, settings.radio, settings.seed)
        course = follow(tracks, where, settings.policy, last, settings.step, presence, stay)
    return replace(course, stays=stays)


def _shared(settings: Settings) -> bool:
    """Whether devices have to do with each other on a site: they share its air, or are counted."""
    return settings.radio is not None or isinstance(settings.policy, LeastLoaded)


def _looked_at(stays: Presence, step: float) -> float:
    """The look at which all have come and gone for the last time, s."""
    last = max((edge for mine in stays.values() for stay in mine for edge in stay if edge < math.inf), default=0.0)
    return round(math.ceil(last / step - 1e-9) * step, 9)


def timeline_of(
    tracks: Mapping[str, Track], sites: Mapping[str, tuple[float, float]], settings: Settings,
    access: Mapping[str, Ways] | None = None, end: float | None = None, standing: Mapping[str, str] | None = None,
) -> Timeline:  # fmt: skip
    """The timeline of tracks.

    Args:
        tracks: By device.
        sites: Positions of access points, m.
        settings: How.
        access: Each site's access links, up and down; needed with a radio model.
        end: When movement ends, s; None: with the last position.
        standing: Devices that do not move, and their sites.

    Raises:
        ValueError: Something cannot be; the message names the setting.
    """
    course = course_of(tracks, sites, settings, end, standing)
    schedules = {}
    if settings.radio is not None:
        if access is None:
            raise ValueError("a radio model needs the access links")
        schedules = of_radio(course, settings.radio, access, interval=settings.interval, sharing=settings.sharing)
    elif settings.recorded:
        found = {d: of_record(track, settings.recorded_up, course.end) for d, track in tracks.items()}
        schedules = {device: both for device, both in found.items() if both is not None}
    predictions: tuple[Prediction, ...] = ()
    if settings.predictor is not None:
        predictions = foresee(course, tracks, sites, settings.predictor)  # those that stand go nowhere
    return Timeline(course.starts(), course.moves(), course.end, schedules, course.down(), predictions)
