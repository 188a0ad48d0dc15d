"""The links of a bed that stands, as they change: handovers, links that are cut, schedules that play."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from testbed.emulation.fabric import Fabric
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import Schedule
from testbed.emulation.record import BedRecord, LinkRecord, TraceRecord
from testbed.errors import InputError
from testbed.experiment.plan import Plan

_BETWEEN_S = 0.05
"""Longest time that frames wait for a port to be moved."""


@dataclass(frozen=True)
class Handover:
    """A handover that was carried out. ``begin`` and ``end`` of its commands are CLOCK_MONOTONIC, s."""

    device: str
    source: str
    to: str
    begin: float
    end: float

    @property
    def command_s(self) -> float:
        """How long the commands took."""
        return self.end - self.begin


class ChangingLinks:
    """Changes links in place, one change at a time; `record` says how they are.

    Args:
        plan: What was made.
        fabric: Its bridges and forwarding.
        emulator: What made the links.
        record: How they were made.
        keep: Told of a handover: the record as it is now, and the link that was moved.
    """

    def __init__(
        self, plan: Plan, fabric: Fabric, emulator: Emulator, record: BedRecord,
        keep: Callable[[BedRecord, LinkRecord], None],
    ) -> None:  # fmt: skip
        self.record = record
        self._plan = plan
        self._fabric = fabric
        self._emulator = emulator
        self._keep = keep
        self._moving = threading.Lock()
        self._playing: float | None = None
        self._cut: set[str] = set()

    def handover(self, device: str, site: str) -> Handover:
        """Move a device to another site's access point, on the real link. Its address stays.

        Raises:
            InputError: There is no such device or site.
        """
        with self._moving:
            record = self.record
            node = record.node(device)
            where = next((place for place in self._plan.sites if place.name == site), None)
            if node.kind != "device" or where is None:
                sites = ", ".join(place.name for place in self._plan.sites)
                raise InputError(
                    f"cannot hand {device} over to {site}", wanted=f"a device, and one of: {sites}", where=device
                )
            link = next(link for link in record.links.values() if link.a == device)
            begin = time.monotonic()
            if link.b != where.bridge:
                # A port belongs to no bridge for about a millisecond on its way. What the device has sent waits.
                self._emulator.hold(link.name, _BETWEEN_S)
                try:
                    self._fabric.move(device, where.bridge)
                finally:
                    self._emulator.hold(link.name, 0)
            varied = self._playing is not None and any(schedules(self._plan, link, node.site))
            if varied:
                self._emulator.rest(link.name)
            if (link.ab, link.ba) != (where.access_up, where.access_down):
                self._emulator.set(link.name, where.access_up, where.access_down)
            self._play(link, site)
            end = time.monotonic()
            link = varying(self._plan, replace(link, b=where.bridge, ab=where.access_up, ba=where.access_down), site)
            self.record = record.moved(device, site, link)
            self._keep(self.record, link)
        return Handover(device, node.site or "", site, begin, end)

    def set_carrier(self, links: Sequence[str], *, up: bool) -> None:
        """Cut links, or bring them back; traffic takes other ways where there are any.

        Raises:
            InputError: There is no such link.
        """
        with self._moving:
            known = self.record.links
            for name in links:
                if name not in known:
                    raise InputError(f"there is no link {name!r}", wanted=", ".join(known))
            for name in links:
                self._emulator.carrier(name, up)
            before = set(self._cut)
            self._cut = (self._cut - set(links)) if up else (self._cut | set(links))
            backhaul = {name for name in self._cut ^ before if known[name].kind == "backhaul"}
            if backhaul:
                self._fabric.without(name for name in self._cut if known[name].kind == "backhaul")

    def play(self, begin: float) -> None:
        """Have links vary as the plan says, from ``begin`` (s of CLOCK_MONOTONIC) on; played where they are shaped.

        A device that is handed over gets the schedule of where it comes to, as far as that is by then.
        """
        with self._moving:
            self._playing = begin
            for link in self.record.links.values():
                owner = self.record.nodes.get(link.a)
                self._play(link, owner.site if owner else None)

    def rest(self) -> None:
        """End what `play` began: links are as the plan says them to be again."""
        with self._moving:
            if self._playing is None:
                return
            self._playing = None
            for link in self.record.links.values():
                owner = self.record.nodes.get(link.a)
                if any(schedules(self._plan, link, owner.site if owner else None)):
                    self._emulator.rest(link.name)

    def _play(self, link: LinkRecord, site: str | None) -> None:
        ab, ba = schedules(self._plan, link, site)
        if self._playing is not None and (ab or ba):
            self._emulator.play(link.name, self._playing, ab, ba)


def schedules(plan: Plan, link: LinkRecord, site: str | None) -> tuple[Schedule | None, Schedule | None]:
    """How a link varies; an access link does as its site says, unless it has a schedule of its own."""
    own = next(own for own in plan.links if own.name == link.name)
    if link.kind == "access" and not own.roams:
        place = next(place for place in plan.sites if place.name == site)
        return place.access_up_trace, place.access_down_trace
    return own.ab_trace, own.ba_trace


def varying(plan: Plan, link: LinkRecord, site: str | None) -> LinkRecord:
    """The link with what it varies by, while its device is at a site."""
    ab, ba = schedules(plan, link, site)
    return replace(link, ab_trace=TraceRecord.of(ab), ba_trace=TraceRecord.of(ba))
