"""What the orchestrator knows of the units: what they say of themselves, what it was told before, who is silent.

Units say how they are every second (`nodes.wire.platform_messages.UnitState`). One that has said nothing for
`SILENT_S` is given nothing new; after `LOST_S` it is taken as lost, as if its death had been announced (a large message
that it sends takes `PATIENCE` times as long on its link before, as what it says of itself waits behind that). One that
speaks again is back. Our design, as is all of the platform (docs/serverless-tasks.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import msgspec

from nodes.platform.states import BROADCAST
from nodes.policies.energy import MARGIN
from nodes.policies.requests import Shared
from nodes.policies.units import Battery, Path, Power, Unit
from nodes.wire.jobs import PlatformSettings
from nodes.wire.platform_messages import UnitState

SILENT_S = 5.0
LOST_S = 20.0
PATIENCE = 2.0
CHANGE = 0.2
"""A link that has changed by more than this share of its rate is worth deciding again for."""
GUARD_S = 2.0
"""A device is let go so many seconds of full power before its reserve: what it says of itself is a little old."""
COLD_S, PLAIN_COLD_S = 1.5, 0.3
"""Seconds of a cold start where none has been measured on any unit of the kind: with torch, and of `BROADCAST`."""
PAYLOAD = 0.956
"""Payload of what a modem's rate counts: headers of Ethernet, IP and TCP with full frames."""


@dataclass
class Seen:
    """A unit, as it was last heard of.

    Attributes:
        state: What it said. at: When, s of the experiment.
        total: Bytes for instances when it has none at work: the most that it said were free.
        up, down: Of its access link when a decision was last asked for because of it, bit/s.
        weak: Whether its battery is at its reserve.
        lost: Nobody counts on it until it speaks again.
    """

    state: UnitState
    at: float
    total: int
    up: float | None
    down: float | None
    weak: bool = False
    lost: bool = False


class Registry:
    """All units; times are seconds of the experiment."""

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self._rows = {(a, b): Path(rate, rtt) for a, b, rate, rtt in settings.paths}
        self._all: dict[str, Seen] = {}
        self.expected = {*settings.sites, *settings.powers, *(name for pair in self._rows for name in pair)}

    def heard(self, state: UnitState, now: float) -> set[str]:
        """Note a unit's state; what has changed of it: new, back, heard, handover, coming, reach, link, weak, charged.

        ``new``: it has nothing of what is known of one of its name. ``back``: it had been given up, and is as it was.
        ``heard``: it was silent. ``sudden``: a handover that was not heard of before it was done.
        """
        before = self._all.get(state.name)
        if before is None or before.lost:
            self._all[state.name] = seen = Seen(state, now, state.memory, state.up, state.down)
            seen.weak = self._weak(state)
            return {"back" if before is not None and before.state.born == state.born else "new"}
        seen, old = before, before.state
        changes = {name for name, changed in (
            ("handover", old.at != state.at), ("sudden", state.at not in (old.at, old.coming)),
            ("coming", bool(state.coming) and old.coming != state.coming),
            ("reach", state.in_reach and not old.in_reach), ("heard", now - seen.at > SILENT_S),
            ("link", self._changed(seen, state)),
        ) if changed}  # fmt: skip
        weak = self._weak(state)
        if weak != seen.weak:
            changes.add("weak" if weak else "charged")
        seen.state, seen.at, seen.weak, seen.total = state, now, weak, max(seen.total, state.memory)
        return changes

    def restarted(self, state: UnitState) -> bool:
        """Whether a unit that counts as there has begun again: what it had, and did, is gone."""
        before = self._all.get(state.name)
        return before is not None and not before.lost and before.state.born != state.born

    def warmed(self, name: str, function: str) -> None:
        """An instance of a function has become free there: the unit will say so, too, but a decision may be due now."""
        seen = self._all.get(name)
        if seen is not None and function not in seen.state.warm and self._settings.keep_alive > 0:
            seen.state = msgspec.structs.replace(seen.state, warm=(*seen.state.warm, function))

    def lose(self, name: str) -> None:
        """A unit has died, or is as good as dead."""
        if name in self._all:
            self._all[name].lost = True

    def overdue(self, now: float, sending: Mapping[str, float]) -> list[str]:
        """Units that are to be taken as lost; ``sending``: seconds of the largest message of each."""
        return [name for name, at in self._limits(sending) if now >= at]

    def due(self, sending: Mapping[str, float]) -> Iterator[float]:
        """When `overdue` would have something to say, if nothing was heard until then."""
        return (at for _, at in self._limits(sending))

    def _limits(self, sending: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        for name, seen in self._all.items():
            if not seen.lost:
                yield name, seen.at + LOST_S + PATIENCE * sending.get(name, 0.0)

    def seconds(self, a: str, b: str, size: int) -> float:
        """Seconds that so many bytes take from a unit to another; 0 if there is no way."""
        way = self._way(a, b) if a in self._all and b in self._all else None
        return 8 * size / way.rate if way is not None and way.rate > 0 else 0.0

    def alive(self, name: str) -> bool:
        """Whether a unit has not been lost."""
        return name in self._all and not self._all[name].lost

    def ready(self, name: str, now: float) -> bool:
        """Whether something new may be given to a unit."""
        seen = self._all.get(name)
        return seen is not None and not seen.lost and seen.state.in_reach and now - seen.at < SILENT_S

    def weak(self, name: str) -> bool:
        """Whether a device's battery is at its reserve."""
        return name in self._all and self._all[name].weak

    def missing(self) -> set[str]:
        """Units that are expected and have not been heard of yet."""
        return self.expected - set(self._all)

    def names(self, *kinds: str) -> list[str]:
        """Units of these kinds that have not been lost, sorted."""
        return sorted(name for name, seen in self._all.items() if not seen.lost and seen.state.kind in kinds)

    def kind(self, name: str) -> str:
        """What a unit is; empty: it has not been heard of."""
        return self._all[name].state.kind if name in self._all else ""

    def at(self, device: str) -> str:
        """Edge server that a device is near."""
        seen = self._all.get(device)
        return (seen.state.at if seen else "") or self._settings.sites.get(device, "")

    def total(self, name: str) -> int:
        """Bytes for instances of a unit that does nothing."""
        return self._all[name].total if name in self._all else 0

    def speed(self, name: str) -> float:
        """Of a unit that does nothing else."""
        return self._all[name].state.speed

    def is_warm(self, name: str, function: str) -> bool:
        """Whether an instance of a function waits there."""
        return name in self._all and function in self._all[name].state.warm

    def cold_s(self, name: str, function: str = "") -> float:
        """Seconds of a cold start: of a function if it was measured there, else of what was, there or on its like.

        Functions with torch are alike, and are nothing like `BROADCAST`.
        """
        seen, plain = self._all[name].state, function == BROADCAST
        if function in seen.cold:
            return seen.cold[function]
        units = [seen] + [one.state for one in self._all.values() if one.state.kind == seen.kind]
        like = ([took for what, took in one.cold.items() if (what == BROADCAST) == plain] for one in units)
        return next((fmean(one) for one in like if one), PLAIN_COLD_S if plain else COLD_S)

    def battery(self, name: str, spent_j: float = 0.0) -> Battery | None:
        """A device's battery when running rounds have taken what they still will; None: it is on the mains.

        Its reserve is what the device is let go at, so that nothing is begun that it would be let go in the middle of.
        """
        return self._battery(self._all[name].state, spent_j)

    def units(
        self, now: float, free: Mapping[str, int], busy: Mapping[str, float], spent: Mapping[str, float]
    ) -> dict[str, Unit]:  # fmt: skip
        """Units that something may be given to, as policies have them.

        Args:
            now: s.
            free: Bytes for instances that nothing is kept for.
            busy: Share of its time that a unit computes.
            spent: Joules that running rounds will still take of devices' batteries.
        """
        return {name: self._unit(name, free, busy, spent) for name in sorted(self._all) if self.ready(name, now)}

    def _unit(
        self, name: str, free: Mapping[str, int], busy: Mapping[str, float], spent: Mapping[str, float]
    ) -> Unit:  # fmt: skip
        state, settings = self._all[name].state, self._settings
        battery = self.battery(name, spent.get(name, 0.0))
        if battery is not None:  # what predictions may be off is kept apart
            battery = battery.with_spare(battery.spare_j / (1 + MARGIN))
        price = settings.prices.get(name, (0.0, 0.0))
        kind = state.kind
        assert kind in ("device", "edge", "cloud"), "units of other kinds are not taken in"
        return Unit(
            name=name, kind=kind, speed=state.speed * (1 - busy.get(name, 0.0)),  # type: ignore[arg-type]
            memory=max(free.get(name, 0), 0), price_gb_s=price[0], price_gb=price[1],
            power=settings.powers.get(name) if kind == "device" else None, battery=battery,
            warm=frozenset(state.warm), cold_s=self.cold_s(name), at=self.at(name), instances=Counter(state.warm),
        )  # fmt: skip

    def paths(self, names: Mapping[str, Unit]) -> dict[tuple[str, str], Path]:
        """Ways between units; a device's lead by way of where it is now, at the rate that its modem knows."""
        found = {}
        for a in names:
            for b in names:
                path = self._way(a, b) if a != b else None
                if path is not None and path.rate > 0:
                    found[a, b] = path
        return found

    def _way(self, a: str, b: str) -> Path | None:
        """A way by the sites where devices are; None: there is none."""
        stops = [a, *(self.at(one) for one in (a, b) if self.kind(one) == "device" and self.at(one)), b]
        stops = [one for i, one in enumerate(stops) if not i or one != stops[i - 1]]
        legs = [self._leg(x, y) for x, y in pairwise(stops)]
        if any(leg is None for leg in legs):
            legs = [self._rows.get((a, b))]
        every = [leg for leg in legs if leg is not None]
        if not every:
            return None
        up, down = self._modem(a, "up"), self._modem(b, "down")
        if up is not None:
            every[0] = Path(up, every[0].rtt)
        if down is not None:
            every[-1] = Path(down if len(every) > 1 or up is None else min(up, down), every[-1].rtt)
        rtt = sum(leg.rtt for leg in every) + 2 * self._settings.message_s
        return Path(min(leg.rate for leg in every), rtt)

    def _leg(self, a: str, b: str) -> Path | None:
        """Of an access link, what is known of it at the device's first site: beyond it, the way was another one."""
        for device, there in ((a, b), (b, a)):
            if self.kind(device) == "device" and there == self.at(device):
                first = self._settings.sites.get(device, "")
                row = self._rows.get((a, first) if device == a else (first, b))
                if row is not None:
                    return row
        return self._rows.get((a, b))

    def _modem(self, name: str, way: str) -> float | None:
        rate = getattr(self._all[name].state, way) if self.kind(name) == "device" else None
        return None if rate is None else rate * PAYLOAD

    def shared(self, names: Mapping[str, Unit]) -> tuple[Shared, ...]:
        """Links that units share. Those of an access point are shared by the devices that are there now."""
        found = []
        for link in self._settings.shared:
            sites = {self._settings.sites[name] for name in link.units if name in self._settings.sites}
            units = set(link.units)
            if len(sites) == 1:
                (site,) = sites
                units = {name for name in link.units if name not in self._settings.sites}
                units |= {name for name in names if self.kind(name) == "device" and self.at(name) == site}
            if units := units & set(names):
                beyond = frozenset(link.beyond & set(names)) if link.beyond else link.beyond
                if beyond or not link.beyond:
                    found.append(replace(link, units=frozenset(units), beyond=beyond))
        return tuple(found)

    def _changed(self, seen: Seen, state: UnitState) -> bool:
        """Whether an access link is worth deciding again for; what is known of it now is noted if so."""
        site = self._settings.sites.get(state.name, "")
        up, down = self._rows.get((state.name, site)), self._rows.get((site, state.name))
        changed = False
        for name, row in (("up", up), ("down", down)):
            before, now = getattr(seen, name), getattr(state, name)
            if before is None and row is not None:
                before = row.rate / PAYLOAD
            if now is not None and (before is None or abs(now - before) > CHANGE * before):
                setattr(seen, name, now)
                changed = True
        return changed

    def _weak(self, state: UnitState) -> bool:
        battery = self._battery(state)
        return battery is not None and battery.left_j <= battery.reserve_j

    def _battery(self, state: UnitState, spent_j: float = 0.0) -> Battery | None:
        known = self._settings.batteries.get(state.name)
        if known is None:
            return None
        capacity, left, reserve = known
        left = left if state.battery_j is None else state.battery_j
        return guarded(Battery(capacity, max(left - spent_j, 0.0), reserve), self._settings.powers.get(state.name))


def guarded(battery: Battery, power: Power | None) -> Battery:
    """A battery with what a device is let go at for its reserve."""
    guard = 0.0 if power is None else GUARD_S * (max(power.busy_w, power.idle_w) + power.sending_w)
    return replace(battery, reserve_j=min(battery.reserve_j + guard, battery.capacity_j))
