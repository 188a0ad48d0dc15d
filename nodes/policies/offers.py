"""What edge servers offer, as probes found it, and how that is remembered from probe to probe.

A probe is a small piece of real training work and transfer between a device and an edge server. What it finds is
smoothed by an exponentially weighted mean, ``new = old + ALPHA (found - old)``, each quantity by itself, with the age
of its last measurement beside it. Memory and admission are facts: the last answer counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from nodes.errors import InputError
from nodes.policies.profile import ModelProfile

ALPHA = 0.5
"""Weight of a new measurement. Ours: probes are rare, so after two of them what was before weighs a quarter (TCP's
round-trip time, measured hundreds of times as often, has 1/8: RFC 6298)."""


@dataclass(frozen=True)
class NodeOffer:
    """What an edge server offers one device.

    Attributes:
        name: The server's.
        up, down: Payload bit/s from the device to it, and back: what messages get, headers not counted. 0: out of
            reach.
        rtt: Round-trip time of a small message, s.
        memory: Bytes that it has left for stages; None: not known, so no limit.
        ratio: How many times as long as the device it takes for a layer, under its present load (approximate).
        profile: Its own times of each layer (full); goes before ``ratio``.
        admits: Whether it takes the work.
        why: If not, why not.
        age: Seconds since the oldest of these measurements.
    """

    name: str
    up: float
    down: float
    rtt: float = 0.0
    memory: int | None = None
    ratio: float = 1.0
    profile: ModelProfile | None = None
    admits: bool = True
    why: str = ""
    age: float = 0.0

    def __post_init__(self) -> None:
        numbers = {"up": self.up, "down": self.down, "rtt": self.rtt, "age": self.age, "ratio": self.ratio}
        for name, value in numbers.items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError("an offer has a number that is none", where=self.name, found=f"{name} {value}")
        if self.ratio == 0:
            raise InputError("an offer has a ratio of speeds of 0", where=self.name, wanted="more than 0")

    @property
    def refusal(self) -> str | None:
        """Why it cannot be part of a plan at all; None if it can."""
        if not self.admits:
            return f"{self.name}: refuses{': ' + self.why if self.why else ''}"
        return None if self.up > 0 and self.down > 0 else f"{self.name}: out of reach"

    def times(self, device: ModelProfile) -> ModelProfile:
        """Each layer's times on it, given the device's."""
        if self.profile is None:
            return device.scaled(self.ratio)
        if [one.name for one in self.profile.layers] != [one.name for one in device.layers]:
            raise InputError("a server's profile is of another model", where=self.name, found=self.profile.model,
                             wanted=device.model)  # fmt: skip
        return self.profile

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be written down."""
        return asdict(self)


@dataclass(frozen=True)
class LinkOffer:
    """The way from one edge server to another.

    Attributes:
        a, b: From, to.
        rate: Payload bit/s.
        rtt: Round-trip time, s.
        age: Seconds since it was measured.
    """

    a: str
    b: str
    rate: float
    rtt: float = 0.0
    age: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (self.rate, self.rtt, self.age)):
            raise InputError("an offer has a number that is none", where=f"{self.a} -> {self.b}",
                             found=f"rate {self.rate}, rtt {self.rtt}, age {self.age}")  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A smoothed quantity: its value, when it was last measured (s), and how often."""

    value: float
    at: float
    count: int = 1

    def after(self, found: float, now: float, alpha: float = ALPHA) -> Estimate:
        """With one more measurement; ``alpha`` 1 forgets what was before, as after a handover."""
        if not 0 < alpha <= 1:
            raise InputError("no weight of a new measurement", wanted="more than 0, at most 1", found=f"{alpha:g}")
        if not math.isfinite(found):
            raise InputError("a measurement is no number", found=str(found))
        # The newest counts whole when alpha is 1, without rounding.
        value = found if alpha == 1 else self.value + alpha * (found - self.value)
        return Estimate(value, max(now, self.at), self.count + 1)


@dataclass(frozen=True)
class Found:
    """What one probe found; None: it did not measure that.

    Traffic of the training itself finds ``up`` and ``down`` as well, without cost.
    """

    up: float | None = None
    down: float | None = None
    rtt: float | None = None
    ratio: float | None = None
    memory: int | None = None
    profile: ModelProfile | None = None
    admits: bool | None = None
    why: str = ""


@dataclass(frozen=True)
class Known:
    """What a device knows of a server: an estimate of each quantity, and the last facts."""

    name: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    memory: int | None = None
    profile: ModelProfile | None = None
    admits: bool = True
    why: str = ""

    def learn(self, found: Found, now: float, alpha: float = ALPHA) -> Known:
        """What is known after one more probe, at ``now`` (s)."""
        estimates = dict(self.estimates)
        for name in ("up", "down", "rtt", "ratio"):
            value: float | None = getattr(found, name)
            if value is not None:
                old = estimates.get(name)
                estimates[name] = Estimate(value, now) if old is None else old.after(value, now, alpha)
        known = replace(self, estimates=estimates)
        if found.memory is not None:
            known = replace(known, memory=found.memory)
        if found.profile is not None:
            known = replace(known, profile=found.profile)
        if found.admits is not None:
            known = replace(known, admits=found.admits, why=found.why)
        return known

    def lost(self, why: str = "does not answer") -> Known:
        """After a probe that never returned: it is not asked to take work until it answers again."""
        return replace(self, admits=False, why=why)

    def offer(self, now: float) -> NodeOffer:
        """As the partition takes it. Never measured: rates of 0 (out of reach), no delay, as fast as the device."""
        value = {name: one.value for name, one in self.estimates.items()}
        age = max((now - one.at for one in self.estimates.values()), default=0.0)
        return NodeOffer(
            self.name, value.get("up", 0.0), value.get("down", 0.0), value.get("rtt", 0.0), self.memory,
            value.get("ratio", 1.0), self.profile, self.admits, self.why, max(age, 0.0),
        )  # fmt: skip
