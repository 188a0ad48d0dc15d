"""Which access point a device is on.

A policy takes what a device sees at a moment and what it remembers of moments before, and says where the device is to
be from now on, and what to remember. Who drives it decides how often it looks; nothing here has a clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class View:
    """What a device sees at a moment.

    Attributes:
        now: Seconds, of any clock that goes forward.
        here: Site that it is on; None for none.
        signal: Received power in dBm of each site that it could be on now. A site that is missing is out of reach.
        distance: Metres to each of them.
        load: Devices on each site, itself not counted.
        told: Where it is by what was recorded, if that is known.
    """

    now: float
    here: str | None
    signal: Mapping[str, float]
    distance: Mapping[str, float] = field(default_factory=dict)
    load: Mapping[str, int] = field(default_factory=dict)
    told: str | None = None


Memory = Mapping[str, float]
"""Sites that are better than the present one, and since when."""
NOTHING: Memory = {}


class Policy(Protocol):
    """How it is decided where a device is."""

    def __call__(self, view: View, memory: Memory) -> tuple[str | None, Memory]:
        """Site to be on (None: none is within reach), and what to remember until the next look."""


def nearest(position: tuple[float, float], access_points: Mapping[str, tuple[float, float]]) -> str:
    """Name of the nearest access point; of equally near ones the first by name (ValueError if there are none)."""
    x, y = position

    def rank(name: str) -> tuple[float, str]:
        ax, ay = access_points[name]
        return ((ax - x) ** 2 + (ay - y) ** 2, name)

    return min(access_points, key=rank)


@dataclass(frozen=True)
class Nearest:
    """The nearest site within reach; of equally near ones the first by name."""

    def __call__(self, view: View, memory: Memory) -> tuple[str | None, Memory]:
        """See `Policy`."""
        return min(view.signal, key=lambda site: (view.distance[site], site), default=None), NOTHING


@dataclass(frozen=True)
class Strongest:
    """The strongest site, by the A3 event of 3GPP TS 36.331, 5.5.4.4.

    A handover is due when a neighbour has been stronger than the present site by more than ``offset + hysteresis``
    at each look for ``time_to_trigger``; of several, the strongest. A device whose site is out of reach goes to the
    strongest at once (radio link failure and re-establishment).

    Attributes:
        hysteresis: dB, not negative. offset: dB. time_to_trigger: s, not negative.
    """

    hysteresis: float = 3.0
    time_to_trigger: float = 0.32
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("hysteresis", "time_to_trigger"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be 0 or more, not {value:g}")
        if not math.isfinite(self.offset):
            raise ValueError(f"offset must be a finite number, not {self.offset:g}")

    def __call__(self, view: View, memory: Memory) -> tuple[str | None, Memory]:
        """See `Policy`."""
        if view.here is None or view.here not in view.signal:
            return _strongest(view.signal), NOTHING
        beyond = view.signal[view.here] + self.offset + self.hysteresis
        since = {s: memory.get(s, view.now) for s, power in view.signal.items() if s != view.here and power > beyond}
        ready = {s: view.signal[s] for s, t in since.items() if view.now - t >= self.time_to_trigger - 1e-9}
        return (_strongest(ready), NOTHING) if ready else (view.here, since)


@dataclass(frozen=True)
class LeastLoaded:
    """The site with the fewest devices, of those that are within ``margin`` of the strongest.

    A device stays until another of these sites would, with it, still have fewer devices than its own has; so two
    devices never change places for nothing. Of equally loaded ones the strongest, then the first by name.

    Attributes:
        margin: dB, not negative.
    """

    margin: float = 6.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(f"margin must be 0 or more, not {self.margin:g}")

    def __call__(self, view: View, memory: Memory) -> tuple[str | None, Memory]:
        """See `Policy`."""
        if not view.signal:
            return None, NOTHING
        best = max(view.signal.values())
        usable = {s for s, power in view.signal.items() if power >= best - self.margin}
        first = min(usable, key=lambda s: (view.load.get(s, 0), -view.signal[s], s))
        if view.here in usable and view.load.get(first, 0) >= view.load.get(view.here or "", 0):
            return view.here, NOTHING
        return first, NOTHING


@dataclass(frozen=True)
class AsTold:
    """Where the trace has the device. Where that says nothing, or a site out of reach, the device stays.

    Who is on no site, or has lost it, goes to the strongest.
    """

    def __call__(self, view: View, memory: Memory) -> tuple[str | None, Memory]:
        """See `Policy`."""
        if view.told is not None and view.told in view.signal:
            return view.told, NOTHING
        return (view.here if view.here in view.signal else _strongest(view.signal)), NOTHING


def _strongest(signal: Mapping[str, float]) -> str | None:
    return min(signal, key=lambda site: (-signal[site], site), default=None)
