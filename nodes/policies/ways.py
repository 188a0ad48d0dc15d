"""Units, and the ways between them, as arrays: what many options are worked out from at once.

A *way* is a directed pair of units. All functions take arrays of unit numbers of the same length. Units are numbered in
the order in which a problem has them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.policies.requests import Problem
from nodes.policies.units import Power

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NONE = -1
_MAINS = Power(0.0, 0.0, 0.0, 0.0)


class Units:
    """A problem's units.

    Attributes:
        number: Of each unit.
        names: In order.
        speed, memory, per_gb_s, per_gb, cold_s: As of `nodes.policies.units.Unit`.
        watts: Active watts (units x 3): computing, sending, receiving.
        spare: Joules that may be spent; infinite without a battery.
    """

    def __init__(self, problem: Problem) -> None:
        units = list(problem.units.values())
        self.all = units
        self._cold: dict[str, Floats] = {}
        self.names = list(problem.units)
        self.number = {name: i for i, name in enumerate(self.names)}
        self.speed = np.array([unit.speed for unit in units], float)
        self.memory = np.array([unit.memory for unit in units], float)
        self.per_gb_s = np.array([unit.price_gb_s for unit in units], float)
        self.per_gb = np.array([unit.price_gb for unit in units], float)
        self.cold_s = np.array([unit.cold_s for unit in units], float)
        powers = [unit.power or _MAINS for unit in units]
        self.watts = np.array([(p.compute_w, p.sending_w, p.receiving_w) for p in powers], float).reshape(-1, 3)
        self.spare = np.array([np.inf if unit.battery is None else unit.battery.spare_j for unit in units], float)

    def numbers(self, names: list[str]) -> Ints:
        """Numbers of units by their names."""
        return np.array([self.number[name] for name in names], np.int64)

    def cold(self, function: str) -> Floats:
        """Seconds of a cold start of a function, by unit; 0 where it is warm."""
        if function not in self._cold:
            warm = np.array([function in unit.warm for unit in self.all], bool)
            self._cold[function] = np.where(warm, 0.0, self.cold_s)
        return self._cold[function]


@dataclass(frozen=True)
class Way:
    """Some ways.

    Attributes:
        a, b: From and to.
        rate: Bit/s for who has it alone; 0: there is none.
        delay: Seconds under way.
        stations, rates: Ways x shared links on the most of them (`NONE`: fewer), and their bit/s.
    """

    a: Ints
    b: Ints
    rate: Floats
    delay: Floats
    stations: Ints
    rates: Floats

    def busy(self, amount: float) -> Floats:
        """Seconds that so many bytes keep each way busy; infinite: there is none."""
        if not amount:
            return np.zeros(len(self.a))
        with np.errstate(divide="ignore"):
            return np.where(self.a == self.b, 0.0, 8 * amount / self.rate)

    def until(self, amount: float) -> Floats:
        """Seconds until so many bytes are there."""
        return self.busy(amount) + np.where(self.a == self.b, 0.0, self.delay) if amount else np.zeros(len(self.a))


class Ways:
    """The ways of a problem, and what they share.

    Stations that ways have in common are numbered from ``first`` on: each shared link's way up, then its way down.
    """

    def __init__(self, problem: Problem, units: Units, first: int) -> None:
        self.count, self.first, self.links = len(units.names), first, len(problem.shared)
        number = units.number
        pairs = problem.paths
        if not all(a in number and b in number for a, b in pairs):
            pairs = {pair: path for pair, path in pairs.items() if set(pair) <= set(number)}
        codes = np.fromiter((number[a] * self.count + number[b] for a, b in pairs), np.int64, len(pairs))
        order = np.argsort(codes)
        self._codes = codes[order]
        self._rates = np.fromiter((path.rate for path in pairs.values()), float, len(pairs))[order]
        self._rtts = np.fromiter((path.rtt for path in pairs.values()), float, len(pairs))[order]
        behind: list[list[int]] = [[] for _ in units.names]
        self._beyond = np.ones((self.links, self.count), bool)
        for i, link in enumerate(problem.shared):
            for name in link.units:
                if name in number:
                    behind[number[name]].append(i)
            if link.beyond:
                self._beyond[i] = False
                self._beyond[i, [number[name] for name in link.beyond if name in number]] = True
        self.width = max(map(len, behind), default=0)
        self._behind = np.full((self.count, self.width), NONE, np.int64)
        for unit, links in enumerate(behind):
            self._behind[unit, : len(links)] = links
        self._both: tuple[Ints, Ints] | None = None
        self._limits = np.array([(link.up, link.down) for link in problem.shared], float).reshape(-1, 2)

    def _found(self, a: Ints, b: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        codes = a * self.count + b
        if not len(self._codes):
            return np.zeros(len(a), np.int64), np.zeros(len(a), bool)
        at = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return at, self._codes[at] == codes

    def passes(self, a: Ints, b: Ints) -> tuple[Ints, Floats]:
        """Stations of shared links on each way (`NONE`: fewer), and their bit/s; both ways x 2 width."""
        if not self.width:
            return np.zeros((len(a), 0), np.int64), np.zeros((len(a), 0))
        stations, rates = [], []
        for unit, other, down in ((a, b, 0), (b, a, 1)):
            link = self._behind[unit]
            there = (link != NONE) & self._beyond[link, other[:, None]] & np.isfinite(self._limits[link, down])
            if down:  # what both units are behind, and lies on the way up, is counted there
                both = ((link[:, :, None] == self._behind[a][:, None, :]) & (link[:, :, None] != NONE)).any(2)
                there &= ~(both & self._beyond[link, b[:, None]])
            stations.append(np.where(there, self.first + down * self.links + link, NONE))
            rates.append(np.where(there, self._limits[link, down], np.inf))
        return np.concatenate(stations, 1), np.concatenate(rates, 1)

    def way(self, a: Ints, b: Ints) -> Way:
        """What there is to know of some ways."""
        stations, rates = self.passes(a, b)
        at, found = self._found(a, b)
        if not len(self._codes):
            return Way(a, b, np.zeros(len(a)), np.zeros(len(a)), stations, rates)
        rate = np.where(found, self._rates[at], 0.0)
        if stations.shape[1]:
            rate = np.minimum(rate, rates.min(1))
        some = (stations != NONE).any(0)
        return Way(a, b, rate, np.where(found, self._rtts[at] / 2, 0.0), stations[:, some], rates[:, some])

    def until(self, amount: float, a: Ints, b: Ints) -> Floats:
        """Seconds until so many bytes are there."""
        return self.way(a, b).until(amount)

    def reached(self, devices: Ints, servers: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Which servers each device has a way to and from: positions in ``devices``, and numbers of servers."""
        if self._both is None:
            a, b = np.divmod(self._codes, self.count)
            some = ~servers[a] & servers[b]
            a, b = a[some], b[some]
            back = self._found(b, a)[1]
            self._both = a[back], b[back]
        position = np.full(self.count, NONE, np.int64)
        position[devices] = np.arange(len(devices))
        a, b = self._both
        mine = position[a] != NONE
        return position[a[mine]], b[mine]
