"""What devices' modems know of their links while the platform runs: rates as they change, and whether they reach.

Rates are those of links, on layer 2, as the experiment file has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodes.events import Span
from nodes.wire import control as ctl
from testbed.experiment.plan import Plan
from testbed.run.airtime import Rates

_WORTH = 0.02
"""A rate that has changed by a smaller share is not worth saying."""


@dataclass(frozen=True)
class Handed:
    """A device's port has moved to a site, at ``at``, virtual s of CLOCK_MONOTONIC."""

    device: str
    to: str
    at: float


class Radios:
    """Says what modems know, when it changes.

    Args:
        plan: In virtual time.
        begin: When the timeline began, virtual.
    """

    def __init__(self, plan: Plan, begin: float) -> None:
        self._plan = plan
        self._begin = begin
        self._devices = [node.name for node in plan.nodes if node.kind == "device"]
        self._handed: tuple[Handed, ...] | None = None
        self._rates = Rates(plan, (), begin)
        self._told: dict[str, ctl.Radio] = {}

    def rates(self, handed: Sequence[Handed]) -> Rates:
        """Rates of nodes' own links, with devices where they have gone."""
        if tuple(handed) != self._handed:
            self._handed = tuple(handed)
            self._rates = Rates(self._plan, [told(one) for one in handed], self._begin)
        return self._rates

    def changes(self, now: float, handed: Sequence[Handed], down: Mapping[str, object]) -> dict[str, ctl.Radio]:
        """What there is to say to devices.

        Args:
            now: Virtual.
            handed: Handovers so far.
            down: Devices whose links are down.
        """
        rates, found = self.rates(handed), {}
        for device in self._devices:
            up, down_rate = (rates.mean(device, way, now, now) for way in ("send", "receive"))
            radio = ctl.Radio(up, down_rate, device not in down)
            if not _alike(self._told.get(device), radio):
                found[device] = self._told[device] = radio
        return found


def told(handed: Handed) -> Span:
    """A handover as an event, as far as rates hang on it."""
    return Span(kind="handover", node=handed.device, begin=handed.at, end=handed.at, attrs={"to": handed.to})


def _alike(before: ctl.Radio | None, now: ctl.Radio) -> bool:
    if before is None or before.in_reach != now.in_reach:
        return False
    return all(_near(a, b) for a, b in ((before.up, now.up), (before.down, now.down)))


def _near(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a == b
    return abs(a - b) <= _WORTH * max(a, b)
