"""Rows of the table of options for one task: `nodes.policies.predicting` for many owners and servers at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.policies.predicting import GB
from nodes.policies.requests import SELECT, TRAIN_DEVICE, TRAIN_EDGE, Cut, Request
from nodes.policies.ways import NONE, Floats, Ints, Units, Way, Ways

REASONS = ("last-mile", "path", "memory", "battery", "deadline")
"""Constraints that a row can break by itself; bit ``i`` of its reasons is the ``i``-th."""
_SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Block:
    """Rows of one task, cut and aggregator.

    Attributes:
        columns: By name, as of the table.
        cells: Stations (`NONE`: none), seconds of them a batch, and once.
        reasons: Bits of what a row breaks by itself; such a row is not to be.
    """

    columns: dict[str, Floats | Ints]
    cells: list[tuple[Ints, Floats, Floats]]
    reasons: Ints


class Maker:
    """Makes the rows of one task.

    Stations are numbered: processors of all units, their radios up, down, shared links (`Ways.first`), and behind them
    all ways between two units.

    Args:
        units, ways, request: What there is.
        devices: Units of its owners.
        colds: Seconds of a cold start by function and unit.
        several: Which owners' devices other tasks ask for, too: only then is a device itself shared.
    """

    def __init__(
        self, units: Units, ways: Ways, request: Request, devices: Ints, colds: Mapping[str, Floats],
        several: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        self.units, self.ways, self.request, self.devices, self.colds = units, ways, request, devices, colds
        self.several = several
        self._ways: dict[tuple[str, bool], Way] = {}
        self.batches = np.array([request.batches(owner) for owner in request.owners], float)
        self.source = units.number[request.source]
        self.holds = np.zeros(len(units.names), bool)
        self.holds[[self.source, *(units.number[name] for name in request.holders if name in units.number)]] = True
        samples = np.array([owner.samples for owner in request.owners], float)
        self.work = request.select_s * samples / units.speed[devices]
        self.select = self.work + colds[SELECT][devices] if request.select_s > 0 else self.work

    def nearest(self, reach: tuple[Ints, Ints], most: int) -> tuple[Ints, Ints]:
        """So many servers of each owner: those where a batch takes the least beside the device, by the mean cut."""
        away = [cut for cut in self.request.allowed if cut.place != "device"]
        o, s = reach
        if not away or not len(o):
            return reach
        d, count = self.devices[o], len(away)
        up, down = self.ways.way(d, s), self.ways.way(s, d)
        took = up.busy(sum(cut.up_bytes for cut in away) / count) + up.delay
        took += down.busy(sum(cut.down_bytes for cut in away) / count) + down.delay
        took += sum(cut.edge_s for cut in away) / count / self.units.speed[s]
        order = np.lexsort((took, o))
        owner = o[order]
        kept = np.sort(order[np.arange(len(order)) - np.searchsorted(owner, owner) < most])
        return o[kept], s[kept]

    def block(self, c: int, cut: Cut, g: int, last: float, reach: tuple[Ints, Ints], begin: int, fetch: int) -> Block:
        """Rows of a cut and an aggregator.

        Args:
            c: The cut's position.
            cut: The cut.
            g: Unit that aggregates.
            last: Seconds that come behind, at least.
            reach: Owners (by position) and servers that have ways to each other.
            begin: Number of the task's first entry.
            fetch: Number of the first fetch of this cut; its servers' follow in order.
        """
        units, request = self.units, self.request
        split, away = cut.place == "split", cut.place != "device"
        o, s = reach if away else (np.arange(len(self.devices)), np.full(len(self.devices), NONE, np.int64))
        d, batches = self.devices[o], self.batches[o]
        at, source = np.full(len(o), g), np.full(len(o), self.source)
        zero = np.zeros(len(o))
        fetches = ~self.holds[d]
        fetched, pushing = self._way("fetch", away, source, d), self._way(f"push {g}", away, d, at)
        got, until = (np.where(fetches, one(cut.device_weights), 0.0) for one in (fetched.busy, fetched.until))
        pushed, push = pushing.busy(cut.device_weights), pushing.until(cut.device_weights)
        ready = self.colds[TRAIN_DEVICE][d] + until if cut.place != "server" else zero
        step = cut.device_s / units.speed[d]
        chain, fixed, per_second = step.copy(), self.select[o].copy(), zero.copy()
        price = request.select_memory / GB * units.per_gb_s[d] * self.select[o] if request.select_s > 0 else zero.copy()
        price += (batches * cut.up_bytes + cut.device_weights * (d != g)) / GB * units.per_gb[d]
        price += fetches * cut.device_weights / GB * units.per_gb[self.source]
        if cut.place != "server":
            per_second += cut.device_memory / GB * units.per_gb_s[d]
        reasons = np.zeros(len(o), np.int64)
        up = down = zero
        work = self.work[o]
        flows = [(pushing, cut.device_weights, pushed, True), (fetched, cut.device_weights, got, True)]
        cells: list[tuple[Ints, Floats, Floats]] = [self._mine(o, d, step, work)]
        if away:
            sending, back = self._way("up", away, d, s), self._way("down", away, s, d)
            slow = np.minimum(sending.rate, back.rate)
            reasons |= ((slow <= 0) | (slow < request.least_rate)) * _bit("last-mile")
            brought = np.where(self.holds[s], 0.0, self._way("bring", away, source, s).until(cut.edge_weights))
            ready = np.maximum(ready, self.colds[TRAIN_EDGE][s] + brought)
            handing = self._way(f"hand {g}", away, s, at)
            arrived = handing.until(cut.edge_weights)
            reasons |= (~np.isfinite(brought) | ~np.isfinite(arrived)) * _bit("path")
            push = np.maximum(push, arrived)
            up, down, served = sending.busy(cut.up_bytes), back.busy(cut.down_bytes), cut.edge_s / units.speed[s]
            chain += up + served
            cells.append((s, served, zero))
            flows += [(sending, cut.up_bytes, up, False), (back, cut.down_bytes, down, False),
                      (handing, cut.edge_weights, handing.busy(cut.edge_weights), True)]  # fmt: skip
            if split:
                chain += sending.delay + down + back.delay
            else:
                fixed += sending.delay
            per_second += cut.edge_memory / GB * units.per_gb_s[s]
            price += (batches * cut.down_bytes + (s != g) * cut.edge_weights) / GB * units.per_gb[s]
        fixed += ready + push
        for flow in flows:
            cells += self._flow(o, d, *flow)
        sent, received = batches * up + pushed, batches * down + got
        watts = units.watts[d]
        with np.errstate(invalid="ignore"):
            used = watts * np.stack([batches * step + work, sent, received], 1)
        joules = np.where(watts > 0, used, 0.0).sum(1)
        device_memory = max(cut.device_memory, request.select_memory if request.select_s > 0 else 0)
        add = request.aggregate_s / units.speed[g]
        own = batches * chain
        reasons |= (~np.isfinite(own + fixed) & (reasons == 0)) * _bit("last-mile")
        reasons |= (device_memory > units.memory[d]) * _bit("memory")
        if away:
            reasons |= (cut.edge_memory > units.memory[s]) * _bit("memory")
        reasons |= (joules > units.spare[d] * _SLACK) * _bit("battery")
        reasons |= (own + fixed + add + last > request.round_limit * _SLACK) * _bit("deadline")
        brings = np.where(self.holds[s], NONE, fetch + s) if away else s
        columns: dict[str, Floats | Ints] = {
            "entry": begin + o, "cut": np.full(len(o), c), "server": s, "aggregator": at, "own": own, "fixed": fixed,
            "joules": joules, "per_second": per_second,
            "price": price + request.aggregate_memory / GB * units.per_gb_s[g] * add, "add": np.full(len(o), add),
            "device_memory": np.full(len(o), float(device_memory)),
            "server_memory": np.full(len(o), float(cut.edge_memory)), "fetch": brings,
        }  # fmt: skip
        return Block(columns, cells, reasons)

    def _mine(self, o: Ints, d: Ints, every: Floats, once: Floats, offset: int = 0) -> tuple[Ints, Floats, Floats]:
        """A cell of something of the device itself."""
        return np.where(self.several[o], offset * len(self.units.names) + d, NONE), every, once

    def _way(self, name: str, away: bool, a: Ints, b: Ints) -> Way:
        """The ways of a flow; they are the same for all cuts that leave the device, and for all that do not."""
        if (name, away) not in self._ways:
            self._ways[name, away] = self.ways.way(a, b)
        return self._ways[name, away]

    def _flow(
        self, o: Ints, d: Ints, way: Way, amount: float, seconds: Floats, once: bool
    ) -> list[tuple[Ints, Floats, Floats]]:
        """Cells of bytes that go from one unit to another: the device's radio or the way between servers, and links."""
        if not amount:
            return []
        zero, taken = np.zeros(len(o)), seconds > 0
        pair = (zero, seconds) if once else (seconds, zero)
        cells = []
        if (way.a == d).all() or (way.b == d).all():
            if self.several.any():
                cells.append(self._mine(o, d, pair[0], pair[1], 1 if (way.a == d).all() else 2))
        else:
            codes = self.ways.first + 2 * self.ways.links + way.a * self.ways.count + way.b
            cells.append((codes, *pair))
        for i in range(way.stations.shape[1]):
            some = np.where(taken & (way.stations[:, i] != NONE), 8 * amount / way.rates[:, i], 0.0)
            cells.append((way.stations[:, i], *((zero, some) if once else (some, zero))))
        return cells


def _bit(reason: str) -> int:
    return 1 << REASONS.index(reason)
