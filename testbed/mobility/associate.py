"""Who is on which site, look after look: an association policy driven along the tracks of all devices.

Where the nearest of all sites counts, nobody has to look: `along` knows when borders are crossed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nodes.policies import propagation
from nodes.policies import radio as waves
from nodes.policies.association import NOTHING, AsTold, Memory, Policy, View
from nodes.policies.radio import Radio
from testbed.experiment.changes import Move
from testbed.mobility.borders import Way, places_of
from testbed.mobility.timeline import ABSENT, COVERAGE, Down, merged, ordered
from testbed.mobility.tracks import Array, Track, track

NOWHERE = -1
NEIGHBOURS = 8
"""Sites that a device measures at a time: as many as TS 36.133, 8.1.2.2, asks of it within one frequency."""
RANKING = waves.wifi(shadowing=0.0)
"""Compares sites where no radio model was asked for: there, each is within reach everywhere."""
_BLOCK = 512
_SAME = 1e-9


@dataclass(frozen=True)
class Sites:
    """Access points, and what carries to them.

    Attributes:
        at: Positions by name, m. radio: The radio model; None: all sites are within reach. seed: Of its shadowing.
    """

    at: Mapping[str, tuple[float, float]]
    radio: Radio | None = None
    seed: int = 1

    def power(self, x: Array, y: Array, every: bool = False) -> tuple[npt.NDArray[np.intp], Array]:
        """Of each place the sites that are measured there (indices, ascending), and their received powers in dBm.

        Measured are the `NEIGHBOURS` that are best on average, or ``every`` one.
        """
        radio = self.radio or RANKING
        mean = np.empty((len(x), len(self.at)))
        for column, at in enumerate(self.at.values()):
            loss = propagation.path_loss(np.hypot(x - at[0], y - at[1]), radio)
            mean[:, column] = radio.tx + radio.gain - loss
        most = len(self.at) if every else min(len(self.at), NEIGHBOURS)
        seen = np.sort(np.argpartition(mean, -most, axis=1)[:, -most:], axis=1)
        power = np.take_along_axis(mean, seen, axis=1)
        if radio.shadowing:
            power -= propagation.common_shadowing(x, y, self.seed, radio)[:, None]
            for column, site in enumerate(self.at):
                places, rank = np.nonzero(seen == column)
                if len(places):
                    power[places, rank] -= propagation.own_shadowing(x[places], y[places], site, self.seed, radio)
        return seen, power

    def thresholds(self) -> tuple[float, float]:
        """Received power in dBm below which a site is lost, and from which on it is within reach again."""
        if self.radio is None:
            return -math.inf, -math.inf
        up, down = propagation.snr(0.0, self.radio)  # the weaker direction decides
        lost, back = waves.coverage(self.radio)
        return lost - min(float(up), float(down)), back - min(float(up), float(down))


@dataclass(frozen=True, eq=False)
class Course:
    """Where devices were at each look.

    Attributes:
        times: Seconds of the looks, evenly spaced from 0. devices: Names, the order of columns. sites: Names.
        on: Index of the site that a device is on, `NOWHERE` for none; a row a look.
        power: Received power in dBm of that site (NaN for none).
        present: Whether the device is there at all.
        first: Index of the site that a device is counted to before it has been on any.
        changes: Of each device when its site changes, and to which one, where that is known better than by looks: s,
            index. None: `on` says it.
        until: When movement ends, s; None: with the last look.
        stays: When devices are there, where that is known better than by looks: until just before the end of each
            interval, s.
    """

    times: Array
    devices: tuple[str, ...]
    sites: tuple[str, ...]
    on: npt.NDArray[np.int16]
    power: Array
    present: npt.NDArray[np.bool_]
    first: tuple[int, ...]
    changes: tuple[tuple[tuple[float, int], ...], ...] | None = None
    until: float | None = None
    stays: Presence | None = None

    @property
    def end(self) -> float:
        """Seconds that movement goes on."""
        return float(self.times[-1]) if self.until is None else self.until

    def starts(self) -> dict[str, str]:
        """Site of each device at the start: the first that it is on."""
        return {device: self.sites[self.first[d]] for d, device in enumerate(self.devices)}

    def moves(self) -> tuple[Move, ...]:
        """Handovers; who was down and comes up elsewhere is handed over then."""
        found = []
        downs = {} if self.changes is None else self.down()
        for d, device in enumerate(self.devices):
            here = self.first[d]
            for at, there in self._seen(d) if self.changes is None else _up(self.changes[d], downs.get(device, ())):
                if there not in (NOWHERE, here):
                    found.append(Move(device, self.sites[there], at=at, wandered=True))
                    here = there
        return ordered(found)

    def _seen(self, d: int) -> list[tuple[float, int]]:
        """Changes of a device at looks, to `NOWHERE` among them."""
        looks = np.flatnonzero(np.diff(self.on[:, d], prepend=np.int16(self.first[d])))
        return [(self._when(int(i), d), int(self.on[i, d])) for i in looks]

    def _when(self, look: int, d: int) -> float:
        """When that happened which a look shows first: then, unless a device came or went and it is known when."""
        at = float(self.times[look])
        stays = (self.stays or {}).get(self.devices[d])
        if stays is None or look == 0 or self.present[look, d] == self.present[look - 1, d]:
            return at
        side = 0 if self.present[look, d] else 1
        last = bisect_right(stays, at + _SAME, key=lambda stay: stay[side]) - 1
        known = stays[last][side] if last >= 0 else -math.inf
        return known if known > self.times[look - 1] else at

    def down(self) -> dict[str, tuple[Down, ...]]:
        """When each device's link is down, for those for which it ever is; to the end means for ever."""
        found = {}
        for d, device in enumerate(self.devices):
            state = np.where(self.on[:, d] != NOWHERE, 0, np.where(self.present[:, d], 1, 2))
            edges = [0, *(np.flatnonzero(np.diff(state)) + 1).tolist(), len(state)]
            times = {i: self._when(i, d) for i in edges[:-1]} | {len(state): math.inf}
            downs = merged(
                Down(times[i], times[j], COVERAGE if state[i] == 1 else ABSENT)
                for i, j in pairwise(edges)
                if state[i]
            )
            if downs:
                found[device] = downs
        return found


def _up(changes: tuple[tuple[float, int], ...], downs: tuple[Down, ...]) -> list[tuple[float, int]]:
    """Changes of a device after the start, those while its link is down when it comes up: the last of them."""
    found: dict[float, int] = {}
    for at, there in changes:
        due = next((down.end for down in downs if down.begin <= at < down.end), at)
        if 0 < due < math.inf:
            found[due] = there
    return list(found.items())


Presence = Mapping[str, tuple[tuple[float, float], ...]]
"""Intervals in which a device is there, in order, s; a device that is not named always is."""


def follow(
    tracks: Mapping[str, Track], sites: Sites, policy: Policy, end: float, step: float,
    presence: Presence | None = None, standing: Mapping[str, str] | None = None,
) -> Course:  # fmt: skip
    """Drive a policy along the tracks: at each look, devices are asked in order of name.

    Args:
        tracks: By device.
        sites: Where they can be; one at least.
        policy: Decides.
        end: Last look, s.
        step: From look to look, s.
        presence: When devices are there.
        standing: Devices that are at a site and stay there, whatever the policy.
    """
    stay = standing or {}
    tracks = {**tracks, **{device: track([(0.0, *sites.at[site])]) for device, site in stay.items()}}
    devices = tuple(sorted(tracks))
    times = _looks(end, step)
    names = tuple(sites.at)
    index = {name: i for i, name in enumerate(names)}
    places = list(sites.at.items())
    lost, back = sites.thresholds()
    shape = (len(times), len(devices))
    on = np.full(shape, NOWHERE, dtype=np.int16)
    kept = np.full(shape, math.nan)
    here = dict.fromkeys(devices, NOWHERE)
    memory: dict[str, Memory] = dict.fromkeys(devices, NOTHING)
    present = np.stack([_present((presence or {}).get(d), times) for d in devices], axis=1)
    told = {d: tracks[d].told_at(times) for d in devices if tracks[d].told}
    every = isinstance(policy, AsTold)
    load = dict.fromkeys(names, 0)
    for device, site in stay.items():  # they were there before anybody came
        here[device] = index[site]
        load[site] += 1
    for begin in range(0, len(times), _BLOCK):
        block = times[begin : begin + _BLOCK]
        where = {d: tracks[d].at(block) for d in devices}
        seen = {d: [values.tolist() for values in sites.power(*where[d], every)] for d in devices}
        for k, now in enumerate(block.tolist()):
            i = begin + k
            for d, device in enumerate(devices):
                mine = here[device]
                if mine != NOWHERE:
                    load[names[mine]] -= 1
                    here[device] = NOWHERE
                if not present[i, d]:
                    memory[device] = NOTHING
                    continue
                columns, powers = seen[device]
                x, y = float(where[device][0][k]), float(where[device][1][k])
                signal, distance = {}, {}
                for column, dbm in zip(columns[k], powers[k], strict=True):
                    if dbm >= (lost if column == mine else back):
                        site, at = places[column]
                        signal[site], distance[site] = dbm, math.hypot(at[0] - x, at[1] - y)
                view = View(now, None if mine == NOWHERE else names[mine], signal, distance, load,
                            told[device][i] if device in told else None)  # fmt: skip
                if device in stay:
                    choice = stay[device] if stay[device] in signal else None
                else:
                    choice, memory[device] = policy(view, memory[device])
                if choice is not None:
                    load[choice] += 1
                    on[i, d] = here[device] = index[choice]
                    kept[i, d] = signal[choice]
    first = tuple(_first(on[:, d], tracks[device], sites) for d, device in enumerate(devices))
    return Course(times, devices, names, on, kept, present, first)


def along(
    tracks: Mapping[str, Track], sites: Mapping[str, tuple[float, float]], end: float, step: float,
    presence: Presence | None = None,
) -> Course:  # fmt: skip
    """Devices on the nearest of all sites, each at once: changes are known exactly, not only to the next look.

    Args:
        tracks: By device.
        sites: Positions, m; one at least. All of them are within reach, and the course has no powers.
        end: When movement ends, s.
        step: From look to look, s.
        presence: When devices are there.
    """
    devices = tuple(sorted(tracks))
    times = _looks(end, step)
    index = {name: i for i, name in enumerate(sites)}
    places = places_of(sites)
    on = np.full((len(times), len(devices)), NOWHERE, dtype=np.int16)
    present = np.stack([_present((presence or {}).get(d), times) for d in devices], axis=1)
    changes = []
    for d, device in enumerate(devices):
        track, way = tracks[device], Way(places)
        for t, x, y in zip(track.t.tolist(), track.x.tolist(), track.y.tolist(), strict=True):
            way.to(t, x, y)
        changes.append(tuple((at, index[site]) for at, site in way.changes if at <= end + 1e-6))
        visited = np.array([index[way.first], *(site for _, site in changes[d])], dtype=np.int16)
        on[:, d] = visited[np.searchsorted([at for at, _ in changes[d]], times, side="right")]
    on[~present] = NOWHERE
    first = tuple(_first(on[:, d], tracks[device], Sites(sites)) for d, device in enumerate(devices))
    return Course(times, devices, tuple(sites), on, np.full(on.shape, math.nan), present, first, tuple(changes), end)


def _looks(end: float, step: float) -> Array:
    times: Array = np.round(np.arange(math.floor(end / step + 1e-9) + 1, dtype=np.float64) * step, 9)
    return times


def _present(intervals: tuple[tuple[float, float], ...] | None, times: Array) -> npt.NDArray[np.bool_]:
    if intervals is None:
        return np.ones(len(times), dtype=bool)
    if not intervals:
        return np.zeros(len(times), dtype=bool)
    begins, ends = np.array(intervals, dtype=np.float64).T
    at = np.searchsorted(begins - _SAME, times, side="right") - 1
    found: npt.NDArray[np.bool_] = (at >= 0) & (times <= ends[at] + _SAME)
    return found


def _first(on: npt.NDArray[np.int16], track: Track, sites: Sites) -> int:
    known = on[on != NOWHERE]
    if len(known):
        return int(known[0])
    # Never within reach of any: it is counted to the nearest, its link down throughout.
    distances = [math.hypot(x - track.x[0], y - track.y[0]) for x, y in sites.at.values()]
    return int(np.argmin(distances))
