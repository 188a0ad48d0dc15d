"""Predictions along a timeline: what was expected of each device's next handover, and when it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nodes.policies.association import nearest
from nodes.policies.prediction import Guess, Prediction, linear, oracle
from testbed.mobility.associate import NOWHERE, Course
from testbed.mobility.tracks import Track

_BORDER = 1e-3
"""Metres that are no distance: handovers are placed to the microsecond."""


@dataclass(frozen=True)
class Asked:
    """What a predictor may know of a device at a moment; an honest one leaves ``handovers`` alone.

    Attributes:
        now: s. track: Where the device was, is, and will be. here: Its site.
        handovers: Its handovers, all of them: (s, site). sites: Positions, m.
    """

    now: float
    track: Track
    here: str
    handovers: tuple[tuple[float, str], ...]
    sites: Mapping[str, tuple[float, float]]


class Predictor(Protocol):
    """How the next handover is predicted."""

    def __call__(self, asked: Asked) -> Guess | None:
        """The next handover as expected; None for none."""


def _horizon(seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"horizon must be more than 0, not {seconds:g}")


@dataclass(frozen=True)
class Oracle:
    """What the timeline itself knows, up to ``horizon`` seconds ahead."""

    horizon: float = 5.0

    def __post_init__(self) -> None:
        _horizon(self.horizon)

    def __call__(self, asked: Asked) -> Guess | None:
        """See `Predictor`."""
        return oracle(asked.now, asked.handovers, self.horizon)


@dataclass(frozen=True)
class Linear:
    """Straight on, from the positions of the last ``window`` seconds: the first other site that is nearest on the way.

    Attributes:
        horizon: s. window: s.
    """

    horizon: float = 5.0
    window: float = 3.0

    def __post_init__(self) -> None:
        _horizon(self.horizon)
        if not (math.isfinite(self.window) and self.window > 0):
            raise ValueError(f"window must be more than 0, not {self.window:g}")

    def __call__(self, asked: Asked) -> Guess | None:
        """See `Predictor`."""
        first = max(asked.now - self.window, float(asked.track.t[0]))
        if first >= asked.now:
            return None
        times = np.linspace(first, asked.now, 7)
        x, y = asked.track.at(times)
        fixes = list(zip(times.tolist(), x.tolist(), y.tolist(), strict=True))
        return linear(asked.now, fixes, asked.here, lambda px, py: _nearest(px, py, asked), horizon=self.horizon)


def _nearest(x: float, y: float, asked: Asked) -> str:
    """The nearest site; on the border, where a device may just have been handed over, its own."""
    there = nearest((x, y), asked.sites)
    mine, best = math.dist((x, y), asked.sites[asked.here]), math.dist((x, y), asked.sites[there])
    return asked.here if mine <= best + _BORDER else there


def foresee(
    course: Course, tracks: Mapping[str, Track], sites: Mapping[str, tuple[float, float]], predictor: Predictor,
    interval: float = 0.5,
) -> tuple[Prediction, ...]:
    """Ask a predictor about every device each ``interval`` seconds; what it says anew is kept.

    Anew is another site, none any more, or a moment that differs by more than a second. A handover ends what was
    expected. Of a device that is nowhere nothing is asked: what was said last stands.
    Those without a track do not move.
    """
    moves = course.moves()
    every = max(1, round(interval / (course.times[1] - course.times[0]))) if len(course.times) > 1 else 1
    found: list[Prediction] = []
    for d, device in enumerate(course.devices):
        if device not in tracks:
            continue
        handovers = tuple((m.at, m.to) for m in moves if m.device == device and m.at is not None)
        found += _of_device(course, d, tracks[device], sites, predictor, handovers, every)
    return tuple(sorted(found, key=lambda p: (p.made, p.device)))


def _of_device(
    course: Course, d: int, track: Track, sites: Mapping[str, tuple[float, float]], predictor: Predictor,
    handovers: tuple[tuple[float, str], ...], every: int,
) -> Iterator[Prediction]:  # fmt: skip
    said: Guess | None = None
    done = 0
    for i in range(0, len(course.times), every):
        now = float(course.times[i])
        while done < len(handovers) and handovers[done][0] <= now:
            said, done = None, done + 1
        site = int(course.on[i, d])
        if site == NOWHERE:
            continue
        guess = predictor(Asked(now, track, course.sites[site], handovers, sites))
        changed = (guess is None) != (said is None) or (
            guess is not None and said is not None and (guess.to != said.to or abs(guess.at - said.at) > 1.0)
        )
        if changed:
            yield Prediction(course.devices[d], now, guess)
            said = guess
