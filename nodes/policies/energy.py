"""What computing, sending and waiting cost in joules, and what that does to a battery. Our own model, of four powers.

    compute   (busy - idle) W x seconds of work
    send      (send - idle) W x 8 x bytes / rate; receive likewise
    idle      idle W x all the time, work or not

The first two are **active** energy: what a task costs beyond what the device would have drawn anyway. The powers are
the device's own (`nodes.policies.units.Power`); those of profiles that ship stand with their sources in
`testbed.experiment.profiles`.

Seconds of work are those of the *emulated* device. Training steps are paced: each lasts as long as it would on the
device, which computes all that time, while the machine under it was done after a part of it. So the length of a paced
step is the device's CPU time, and what the machine measures as CPU time is nobody's.

Radio: an airtime model. A radio draws its power while bytes are on the air, which at the rate then in force takes
``8 x bytes / rate``; it has no ramp-up and no tail, as those of Wi-Fi are short (an LTE radio's last seconds: Huang et
al., MobiSys 2012). Whoever computes and sends at the same time pays for both.

No clock here: times are arguments, s since whatever moment the caller counts from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from nodes.errors import InputError
from nodes.policies.units import Battery, Power

MARGIN = 0.15
"""Share of predicted energy that has to be there besides: what predictions may be off."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Energy:
    """Joules by what they went into."""

    compute_j: float = 0.0
    send_j: float = 0.0
    receive_j: float = 0.0
    idle_j: float = 0.0

    @property
    def active_j(self) -> float:
        """Without idling."""
        return self.compute_j + self.send_j + self.receive_j

    @property
    def total_j(self) -> float:
        """All."""
        return self.active_j + self.idle_j


def compute_j(power: Power, busy_s: float) -> float:
    """Active joules of so many seconds of work (of the emulated device: the length of its paced steps)."""
    return power.compute_w * _amount(busy_s, "seconds of work")


def idle_j(power: Power, seconds: float) -> float:
    """Joules that the device draws in so many seconds whatever it does."""
    return power.idle_w * _amount(seconds, "seconds")


def airtime_s(size: float, rate: float | None) -> float:
    """Seconds that bytes take at a rate in bit/s; 0 where nothing bounds it (None), infinite at a rate of 0."""
    bits = 8 * _amount(size, "bytes")
    if rate is None or bits == 0:
        return 0.0
    return bits / rate if _amount(rate, "rate") > 0 else math.inf


def send_j(power: Power, size: float, rate: float | None) -> float:
    """Active joules of sending bytes at a rate in bit/s, both of one layer (see `airtime_s`)."""
    return _product(power.sending_w, airtime_s(size, rate))


def receive_j(power: Power, size: float, rate: float | None) -> float:
    """Active joules of receiving bytes at a rate in bit/s, both of one layer (see `airtime_s`)."""
    return _product(power.receiving_w, airtime_s(size, rate))


def radio_j(
    power: Power, sent_bytes: float, received_bytes: float, rate_up: float | None, rate_down: float | None
) -> float:
    """Active joules of sending and receiving; rates in bit/s of the same layer as the bytes."""
    return send_j(power, sent_bytes, rate_up) + receive_j(power, received_bytes, rate_down)


def predicted(
    power: Power, seconds: float, busy_s: float, sent_bytes: float, received_bytes: float,
    rate_up: float | None, rate_down: float | None,
) -> Energy:  # fmt: skip
    """What a device would draw in so many seconds, of which it works ``busy_s``."""
    return Energy(
        compute_j(power, busy_s), send_j(power, sent_bytes, rate_up), receive_j(power, received_bytes, rate_down),
        idle_j(power, seconds),
    )  # fmt: skip


def affordable(battery: Battery | None, predicted_j: float, margin: float = MARGIN) -> bool:
    """Whether work may be admitted: after it, with a margin, the battery's reserve would still be there.

    Args:
        battery: As it is now; None: on the mains, which affords everything.
        predicted_j: All that the device will have drawn when the work is done, idling included.
        margin: Share of it that has to be there besides.

    Raises:
        InputError: The prediction or the margin is negative or no number.
    """
    needed = _amount(predicted_j, "predicted joules") * (1 + _amount(margin, "margin"))
    return battery is None or battery.left_j - needed >= battery.reserve_j


@dataclass(frozen=True)
class Supply:
    """What a charger gives from a moment on, s: watts that arrive in the battery, until the next one of a schedule."""

    at: float
    watts: float


@dataclass(frozen=True)
class Reached:
    """What became of a battery, and when, s.

    It came to its ``reserve`` from above, was ``empty``, came above its reserve again (``recovered``), or was ``full``
    after it had not been.
    """

    at: float
    what: Literal["reserve", "empty", "recovered", "full"]


class Meter:
    """A battery over time: told of what the device draws, charged by a schedule.

    Between two calls power is taken as even. What is drawn while a charger is connected comes from it first. An empty
    battery gives nothing: what the device would have drawn without having it is counted (`unmet_j`), so that at any
    time ``left = first + charged_j + unmet_j - drawn_j``. A full battery takes from a charger only what the device
    draws.

    Args:
        battery: As it is at the beginning.
        idle_w: Watts that the device draws whatever it does.
        supply: Chargers' schedule, in order of time; nothing before its first entry.
        at: When it begins, s.

    Attributes:
        now: Until when it has been told, s.
        left_j: In the battery now.
        drawn_j: What the device has drawn.
        charged_j: What chargers have given.
        unmet_j: What the device has drawn that nobody gave: it would have been off.
        reached: What happened to it, in order of time.

    Raises:
        InputError: The battery or the schedule cannot be.
    """

    def __init__(self, battery: Battery, idle_w: float = 0.0, supply: Sequence[Supply] = (), at: float = 0.0) -> None:
        if not 0 <= battery.left_j <= battery.capacity_j < math.inf or not 0 <= battery.reserve_j <= battery.capacity_j:
            raise InputError(
                "this battery cannot be", wanted="what is left, and the reserve, from 0 to the capacity",
                found=f"{battery.left_j:g} J and {battery.reserve_j:g} J of {battery.capacity_j:g} J",
            )  # fmt: skip
        if any(b.at <= a.at for a, b in pairwise(supply)):
            raise InputError("a charging schedule goes back in time", wanted="times that grow")
        self.now = at
        self.left_j = battery.left_j
        self.drawn_j = self.charged_j = self.unmet_j = 0.0
        self.reached: list[Reached] = []
        self._battery = battery
        self._idle_w = _amount(idle_w, "idle watts")
        self._supply = [Supply(one.at, _amount(one.watts, "a charger's watts")) for one in supply]
        self._above = self.left_j > battery.reserve_j
        if battery.reserve_j > 0 and not self._above:
            self._note("reserve")
        if self.left_j <= 0:
            self._note("empty")

    @property
    def battery(self) -> Battery:
        """As it is now."""
        return replace(self._battery, left_j=self.left_j)

    def spend(self, until: float, active_j: float = 0.0) -> None:
        """Go on to a moment, by which the device has drawn so many joules besides idling, evenly.

        Args:
            until: s, not before `now`. At `now` itself the joules are taken at once.
            active_j: Active energy, J.

        Raises:
            InputError: Time goes back, or the energy is negative or no number.
        """
        took = until - self.now
        if not 0 <= took < math.inf:
            raise InputError("a battery's time goes back", wanted=f"{self.now:g} s or later", found=f"{until:g} s")
        joules = _amount(active_j, "joules")
        if math.isinf(joules):
            raise InputError("a battery cannot be told of endless energy", wanted="joules that were drawn")
        if took == 0:
            self._take(joules)
            return
        load = self._idle_w + joules / took
        for change in [one.at for one in self._supply if self.now < one.at < until]:
            self._even(change, load)
        self._even(until, load)

    def _watts(self, at: float) -> float:
        return next((one.watts for one in reversed(self._supply) if one.at <= at), 0.0)

    def _take(self, joules: float) -> None:
        """Take energy in no time."""
        self.drawn_j += joules
        self.unmet_j += max(joules - self.left_j, 0.0)
        self._settle(max(self.left_j - joules, 0.0))

    def _even(self, until: float, load: float) -> None:
        """Go on to a moment at even power, stopping where the battery comes to its reserve or an end."""
        supply = self._watts(self.now)
        net = supply - load
        while self.now < until:
            took = until - self.now
            self._turn(net)
            goal = self._goal(net)
            if goal is None:  # full or empty, or as much comes in as goes out
                given = min(load, supply)
                self._account(took, load, given)
                self.unmet_j += (load - given) * took
                self.now = until
                return
            needs = (goal - self.left_j) / net
            arrives = needs <= took * (1 + _ROUNDING)
            self._account(min(needs, took), load, supply)
            self.now = min(self.now + needs, until) if arrives else until
            self._settle(goal if arrives else self.left_j + net * took)

    def _turn(self, net: float) -> None:
        """At the reserve, it depends on where the charge goes from here on which side of it the battery is."""
        at_reserve = self.left_j == self._battery.reserve_j
        if at_reserve and net > 0 and not self._above:
            self._above = True
            self._note("recovered")
        elif at_reserve and net < 0 and self._above:
            self._above = False
            self._note("reserve")

    def _goal(self, net: float) -> float | None:
        """The next charge at which something changes; None if the charge does not change at all."""
        left, reserve = self.left_j, self._battery.reserve_j
        if net > 0:
            if left >= self._battery.capacity_j:
                return None
            return reserve if left < reserve else self._battery.capacity_j
        if net < 0 and left > 0:
            return reserve if left > reserve else 0.0
        return None

    def _account(self, took: float, load: float, given: float) -> None:
        self.drawn_j += load * took
        self.charged_j += given * took

    def _settle(self, left: float) -> None:
        """Take a new charge, and note what it means."""
        before, self.left_j = self.left_j, min(max(left, 0.0), self._battery.capacity_j)
        if self.left_j <= self._battery.reserve_j and self._above:
            self._above = False
            if self._battery.reserve_j > 0:
                self._note("reserve")
        if self.left_j <= 0 < before:
            self._note("empty")
        if self.left_j >= self._battery.capacity_j > before:
            self._note("full")

    def _note(self, what: Literal["reserve", "empty", "recovered", "full"]) -> None:
        self.reached.append(Reached(self.now, what))


def _amount(value: float, what: str) -> float:
    """A number from 0 on, perhaps infinite (InputError for everything else)."""
    if math.isnan(value) or value < 0:
        raise InputError(f"{what} cannot be {value:g}", wanted="0 or more", found=f"{value:g}")
    return value


def _product(watts: float, seconds: float) -> float:
    return watts * seconds if watts else 0.0  # no power is no energy, however long it takes
