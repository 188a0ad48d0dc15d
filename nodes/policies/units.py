"""What the serverless platform knows of the units that functions run on: plain data, as the registry has it.

A **unit** is a node that runs functions. Speeds are relative: work is counted in seconds on a unit of speed 1, and
takes ``work / speed`` on another one. Energy that counts is *active* energy, beyond what a device takes when it idles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["device", "edge", "cloud"]


@dataclass(frozen=True)
class Power:
    """What a device draws, in watts: doing nothing, computing, while its radio sends, while it receives."""

    idle_w: float
    busy_w: float
    send_w: float
    receive_w: float

    @property
    def compute_w(self) -> float:
        """Active watts of computing."""
        return max(self.busy_w - self.idle_w, 0.0)

    @property
    def sending_w(self) -> float:
        """Active watts of sending."""
        return max(self.send_w - self.idle_w, 0.0)

    @property
    def receiving_w(self) -> float:
        """Active watts of receiving."""
        return max(self.receive_w - self.idle_w, 0.0)


@dataclass(frozen=True)
class Battery:
    """Joules: when full, now, and what is not to be touched."""

    capacity_j: float
    left_j: float
    reserve_j: float = 0.0

    @property
    def spare_j(self) -> float:
        """Joules that may be spent."""
        return max(self.left_j - self.reserve_j, 0.0)

    def with_spare(self, joules: float) -> Battery:
        """The same with so much that may be spent; nothing of less than 0."""
        return replace(self, left_j=self.reserve_j + max(joules, 0.0))


@dataclass(frozen=True)
class Unit:
    """A unit.

    Attributes:
        name: The node's.
        kind: What it is.
        speed: Work seconds that it does in a second.
        memory: Bytes free for instances of functions.
        price_gb_s: Price of a GB-second of an instance.
        price_gb: Price of a GB that it sends.
        power: What it draws; None: it is on the mains, and its energy does not count.
        battery: None: it never runs out.
        warm: Functions of which it has a warm instance. instances: How many, where that is known.
        cold_s: Seconds that it takes to start an instance.
        at: Of a device: the edge server that it is near now.
    """

    name: str
    kind: Kind
    speed: float
    memory: int
    price_gb_s: float = 0.0
    price_gb: float = 0.0
    power: Power | None = None
    battery: Battery | None = None
    warm: frozenset[str] = field(default_factory=frozenset)
    cold_s: float = 0.0
    at: str = ""
    instances: Mapping[str, int] = field(default_factory=dict, hash=False)

    def waiting(self, function: str) -> float:
        """Warm instances of a function; where it is not known how many, as many as it takes."""
        return self.instances.get(function, math.inf) if function in self.warm else 0


@dataclass(frozen=True)
class Path:
    """The way from one unit to another: payload bit/s, and seconds there and back."""

    rate: float
    rtt: float
