"""Everything that owners can do, as one table: a row for each owner, cut, server and aggregator that can be.

Solvers work on rows; `nodes.policies.orchestrating.predict` works on placements, by itself. Tests hold one against the
other. Rows that alone break a constraint are left out; why, is kept by entry (a task's owner).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodes.policies.finishing import Finish
from nodes.policies.making import Block, Maker
from nodes.policies.predicting import GB
from nodes.policies.requests import SELECT, TRAIN_DEVICE, TRAIN_EDGE, Problem
from nodes.policies.ways import NONE, Floats, Ints, Units, Ways


@dataclass(frozen=True)
class Table:
    """Rows, sorted by entry; entries, sorted by task.

    Attributes:
        problem, units: What it was made of.
        finishes: By task, the ways to aggregate and evaluate.
        task, device, batches: By entry.
        entry, cut, server, aggregator: By row; a cut is a position in the request's, a server may be `NONE`.
        own, fixed: Seconds.
        joules: Of the device.
        per_second, price: Price of a second of its instances, and of all else but fetches.
        add: Seconds that it adds to its task's aggregation.
        device_memory, server_memory: Bytes.
        fetch, fetch_price: Which edge half it has sent to its server (`NONE`: nothing), and by fetch its price.
        station, batch_s, once: Rows x most stations: those that more than one entry can use (`NONE`: fewer); seconds of
            each for a batch, and once.
        stations: How many there are.
        reasons: By entry, bits of `nodes.policies.making.REASONS`: why rows were left out.
    """

    problem: Problem
    units: Units
    finishes: tuple[tuple[Finish, ...], ...]
    task: Ints
    device: Ints
    batches: Ints
    entry: Ints
    cut: Ints
    server: Ints
    aggregator: Ints
    own: Floats
    fixed: Floats
    joules: Floats
    per_second: Floats
    price: Floats
    add: Floats
    device_memory: Floats
    server_memory: Floats
    fetch: Ints
    fetch_price: Floats
    station: Ints
    batch_s: Floats
    once: Floats
    stations: int
    reasons: Ints

    def only(self, rows: NDArray[np.bool_]) -> Table:
        """The same with some of the rows."""
        names = ("entry", "cut", "server", "aggregator", "own", "fixed", "joules", "per_second", "price", "add",
                 "device_memory", "server_memory", "fetch", "station", "batch_s", "once")  # fmt: skip
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def begins(self) -> Ints:
        """Where the rows of each entry begin, and behind the last one where they end."""
        return np.searchsorted(self.entry, np.arange(len(self.task) + 1))


def table(
    problem: Problem, units: Units, ways: Ways, finishes: Mapping[str, Sequence[Finish]], most: int = 0
) -> Table:
    """The rows of a problem, for these ways to finish.

    Args:
        problem: Every task has an owner and a cut that is allowed.
        units: Its units.
        ways: Its ways.
        finishes: By task; each has one.
        most: Servers that each owner may choose among; 0: all that it has ways to.
    """
    servers = np.array([unit.kind != "device" for unit in units.all], bool)
    devices = [units.numbers([owner.device for owner in request.owners]) for request in problem.requests]
    counts = np.bincount(np.concatenate(devices), minlength=len(units.names))
    colds = {name: units.cold(name) for name in (SELECT, TRAIN_DEVICE, TRAIN_EDGE)}
    blocks: list[Block] = []
    batches: list[Floats] = []
    prices: list[float] = []
    begin = 0
    for k, request in enumerate(problem.requests):
        maker = Maker(units, ways, request, devices[k], colds, counts[devices[k]] > 1)
        reach = ways.reached(devices[k], servers)
        if most:
            reach = maker.nearest(reach, most)
        fastest: dict[int, float] = {}
        for one in finishes[request.task]:
            fastest[one.g] = min(one.seconds, fastest.get(one.g, np.inf))
        for c, cut in enumerate(request.cuts):
            if not request.objections(cut):
                for g, seconds in fastest.items():
                    blocks.append(maker.block(c, cut, g, seconds, reach, begin, len(prices) * len(units.names)))
            prices.append(cut.edge_weights / GB * units.per_gb[units.number[request.source]])
        batches.append(maker.batches)
        begin += len(devices[k])
    task = np.repeat(np.arange(len(devices)), [len(one) for one in devices])
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns}
    why = np.concatenate([block.reasons for block in blocks])
    reasons = np.zeros(begin, np.int64)
    np.bitwise_or.at(reasons, columns["entry"][why != 0], why[why != 0])
    rows = np.flatnonzero(why == 0)
    rows = rows[np.argsort(columns["entry"][rows], kind="stable")]
    width = max(len(block.cells) for block in blocks)
    station, batch_s, once = _cells(blocks, width)
    columns = {name: column[rows] for name, column in columns.items()}
    station, batch_s, once, stations = _common(columns["entry"], station[rows], batch_s[rows], once[rows])
    codes, fetch = np.unique(columns.pop("fetch"), return_inverse=True)
    none = int(len(codes) > 0 and codes[0] == NONE)
    return Table(
        problem, units, tuple(tuple(finishes[request.task]) for request in problem.requests), task,
        np.concatenate(devices), np.concatenate(batches), **columns, fetch=fetch - none,
        fetch_price=np.array(prices)[codes[none:] // len(units.names)], station=station, batch_s=batch_s, once=once,
        stations=stations, reasons=reasons,
    )  # fmt: skip


def _cells(blocks: Sequence[Block], width: int) -> tuple[Ints, Floats, Floats]:
    """Cells of all blocks side by side; what nothing is taken of is not a station."""
    rows = sum(len(block.reasons) for block in blocks)
    station = np.full((rows, width), NONE, np.int64)
    batch_s, once = np.zeros((rows, width)), np.zeros((rows, width))
    begin = 0
    for block in blocks:
        end = begin + len(block.reasons)
        for i, (stations, every, single) in enumerate(block.cells):
            station[begin:end, i] = np.where(every + single > 0, stations, NONE)
            batch_s[begin:end, i], once[begin:end, i] = every, single
        begin = end
    return station, batch_s, once


def _common(entry: Ints, station: Ints, batch_s: Floats, once: Floats) -> tuple[Ints, Floats, Floats, int]:
    """Stations that more than one entry can use, numbered anew; each once a row."""
    used = station != NONE
    codes, numbers = np.unique(station[used], return_inverse=True)
    entries = np.broadcast_to(entry[:, None], station.shape)[used]
    first, last = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
    last[numbers] = entries
    first[numbers[::-1]] = entries[::-1]
    shared = first != last
    label = np.where(shared, np.cumsum(shared) - 1, NONE)
    station = station.copy()
    station[used] = label[numbers]
    columns, every, single = station.T.copy(), batch_s.T.copy(), once.T.copy()
    for j in range(len(columns)):
        every[j][columns[j] == NONE] = single[j][columns[j] == NONE] = 0.0
        for merge in (True, False):  # first into the same station's column, then into one that is free
            for i in range(j):
                goes = (columns[i] == (columns[j] if merge else NONE)) & (columns[j] != NONE)
                if goes.any():
                    columns[i][goes] = columns[j][goes]
                    columns[j][goes] = NONE
                    for values in (every, single):
                        values[i][goes] += values[j][goes]
                        values[j][goes] = 0.0
    width = int(np.flatnonzero((columns != NONE).any(1)).max(initial=-1)) + 1
    return columns[:width].T.copy(), every[:width].T.copy(), single[:width].T.copy(), int(shared.sum())
