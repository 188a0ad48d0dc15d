"""Movement made up: random waypoint, Gauss-Markov, Manhattan grid.

Each node draws from a generator of its own, keyed by seed, model and name: it goes the same way whoever else there is.
Nodes never leave the area. Speeds are metres a second, times seconds, angles radians, areas metres.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nodes.policies.randomness import generator
from testbed.mobility.tracks import Track, track

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Area:
    """A rectangle in metres; it has an inside."""

    left: float
    bottom: float
    right: float
    top: float

    def __post_init__(self) -> None:
        _finite(self, "left", "bottom", "right", "top")
        if not (self.left < self.right and self.bottom < self.top):
            raise ValueError(f"an area goes from lower left to upper right, not from ({self.left:g}, {self.bottom:g}) "
                             f"to ({self.right:g}, {self.top:g})")  # fmt: skip

    def clip(self, x: float, y: float) -> tuple[float, float]:
        """The nearest place inside."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)


class Model(Protocol):
    """How nodes move."""

    @property
    def name(self) -> str:
        """As in the experiment file."""

    def points(self, draw: np.random.Generator, area: Area, duration: float) -> Iterator[Point]:
        """Positions of one node from 0 to at least ``duration``."""


def tracks(model: Model, nodes: Iterable[str], area: Area, duration: float, seed: int) -> dict[str, Track]:
    """Tracks of these nodes from 0 to ``duration`` seconds exactly."""
    if not (math.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be more than 0, not {duration:g}")
    return {
        node: _cut(model.points(generator(seed, "mobility", model.name, node), area, duration), duration)
        for node in nodes
    }


@dataclass(frozen=True)
class RandomWaypoint:
    """Straight to a place drawn evenly from the area, at a speed drawn evenly, then a pause; and on.

    Johnson and Maltz, Mobile Computing, 1996. The lowest speed is above 0: otherwise nodes grow slower for ever (Yoon
    et al., Random waypoint considered harmful, INFOCOM 2003). Nodes begin somewhere with a walk, not in the steady
    state: they are nearer to the middle later on.

    Attributes:
        speed: Lowest and highest, m/s. pause: s.
    """

    speed: tuple[float, float] = (0.5, 2.0)
    pause: float = 0.0
    name: str = "random-waypoint"

    def __post_init__(self) -> None:
        low, high = self.speed
        if not (0 < low <= high < math.inf):
            raise ValueError(f"speed goes from above 0 to a highest, not from {low:g} to {high:g}")
        _not_negative(self, "pause")

    def points(self, draw: np.random.Generator, area: Area, duration: float) -> Iterator[Point]:
        """See `Model`."""
        t, x, y = 0.0, float(draw.uniform(area.left, area.right)), float(draw.uniform(area.bottom, area.top))
        yield t, x, y
        while t <= duration:
            tx, ty = float(draw.uniform(area.left, area.right)), float(draw.uniform(area.bottom, area.top))
            t += math.hypot(tx - x, ty - y) / float(draw.uniform(*self.speed))
            x, y = tx, ty
            yield t, x, y
            if self.pause:
                t += self.pause
                yield t, x, y


@dataclass(frozen=True)
class GaussMarkov:
    """Speed and direction that remember: Liang and Haas, INFOCOM 1999; Camp et al., WCMC 2(5), 2002, 2.5.

    ``s_n = a s_(n-1) + (1 - a) s_mean + sqrt(1 - a^2) g``, the direction likewise; g is Gaussian. At the border of the
    area a node turns back as light from a mirror, its mean direction with it. Speeds below 0 become 0.

    Attributes:
        speed: Mean, m/s. speed_deviation: m/s. turn: Deviation of the direction, radians.
        memory: a, from 0 (each step its own) to 1 (always straight on). interval: s from step to step.
    """

    speed: float = 1.4
    speed_deviation: float = 0.4
    turn: float = 0.6
    memory: float = 0.85
    interval: float = 1.0
    name: str = "gauss-markov"

    def __post_init__(self) -> None:
        _not_negative(self, "speed", "speed_deviation", "turn")
        if not (0 <= self.memory <= 1 and 0 < self.interval < math.inf):
            raise ValueError(f"memory is from 0 to 1 and interval above 0, not {self.memory:g} and {self.interval:g}")

    def points(self, draw: np.random.Generator, area: Area, duration: float) -> Iterator[Point]:
        """See `Model`."""
        x, y = float(draw.uniform(area.left, area.right)), float(draw.uniform(area.bottom, area.top))
        mean = float(draw.uniform(-math.pi, math.pi))
        speed, angle = self.speed, mean
        noise = math.sqrt(1 - self.memory**2)
        for n in range(math.ceil(duration / self.interval) + 2):
            yield n * self.interval, x, y
            x, flip_x = _mirror(x + speed * self.interval * math.cos(angle), area.left, area.right)
            y, flip_y = _mirror(y + speed * self.interval * math.sin(angle), area.bottom, area.top)
            if flip_x:
                angle, mean = math.pi - angle, math.pi - mean
            if flip_y:
                angle, mean = -angle, -mean
            g, h = draw.standard_normal(2)
            speed = max(0.0, self.memory * speed + (1 - self.memory) * self.speed + noise * self.speed_deviation * g)
            angle = self.memory * angle + (1 - self.memory) * mean + noise * self.turn * h


@dataclass(frozen=True)
class Manhattan:
    """Along the streets of a grid, turning at crossings: ETSI TR 101 112 (UMTS 30.03), B.1.4.2.

    Streets are ``block`` metres apart, the first on the area's left and lower borders. At a crossing a node turns with
    a probability of ``turn`` to either side together, goes straight on otherwise, and back only where there is no
    other way. Its speed is drawn anew for each block.

    Attributes:
        speed: Lowest and highest, m/s. block: m. turn: Probability, 0 to 1.
    """

    speed: tuple[float, float] = (8.0, 14.0)
    block: float = 100.0
    turn: float = 0.5
    name: str = "manhattan"

    def __post_init__(self) -> None:
        low, high = self.speed
        if not (0 < low <= high < math.inf):
            raise ValueError(f"speed goes from above 0 to a highest, not from {low:g} to {high:g}")
        if not (0 < self.block < math.inf and 0 <= self.turn <= 1):
            raise ValueError(f"block is above 0 and turn from 0 to 1, not {self.block:g} and {self.turn:g}")

    def points(self, draw: np.random.Generator, area: Area, duration: float) -> Iterator[Point]:
        """See `Model`. ValueError if the area holds no block."""
        columns, rows = (math.floor(side / self.block + 1e-9) for side in
                         (area.right - area.left, area.top - area.bottom))  # fmt: skip
        if columns < 1 or rows < 1:
            raise ValueError(f"an area of {area.right - area.left:g} m by {area.top - area.bottom:g} m holds no block "
                             f"of {self.block:g} m")  # fmt: skip
        i, j = int(draw.integers(columns + 1)), int(draw.integers(rows + 1))
        ahead = [(1, 0), (0, 1), (-1, 0), (0, -1)][int(draw.integers(4))]
        t = 0.0
        yield t, *area.clip(area.left + i * self.block, area.bottom + j * self.block)
        while t <= duration:
            u = float(draw.random())
            left, right = (-ahead[1], ahead[0]), (ahead[1], -ahead[0])
            sides = (left, right) if u < self.turn / 2 else (right, left)
            wish = (*sides, ahead) if u < self.turn else (ahead, *sides)
            ways = [*wish, (-ahead[0], -ahead[1])]
            ahead = next(w for w in ways if 0 <= i + w[0] <= columns and 0 <= j + w[1] <= rows)
            i, j = i + ahead[0], j + ahead[1]
            t += self.block / float(draw.uniform(*self.speed))
            yield t, *area.clip(area.left + i * self.block, area.bottom + j * self.block)


def _mirror(value: float, low: float, high: float) -> tuple[float, bool]:
    """A value folded back into an interval, and whether its direction is turned round by that."""
    width = high - low
    folds, rest = divmod(value - low, width)
    odd = int(folds) % 2 == 1
    return (high - rest if odd else low + rest), odd


def _cut(points: Iterator[Point], duration: float) -> Track:
    """The track up to ``duration``, where it ends between two points."""
    kept: list[Point] = []
    for t, x, y in points:
        if t >= duration:
            if not kept:
                kept.append((0.0, x, y))
            t0, x0, y0 = kept[-1]
            share = (duration - t0) / (t - t0)
            kept.append((duration, x0 + share * (x - x0), y0 + share * (y - y0)))
            break
        if kept and t <= kept[-1][0]:
            continue  # a way of no length
        kept.append((t, x, y))
    return track(kept)


def _finite(what: object, *names: str) -> None:
    for name in names:
        if not math.isfinite(getattr(what, name)):
            raise ValueError(f"{name} must be a finite number, not {getattr(what, name)}")


def _not_negative(what: object, *names: str) -> None:
    _finite(what, *names)
    for name in names:
        if getattr(what, name) < 0:
            raise ValueError(f"{name} must be 0 or more, not {getattr(what, name):g}")
