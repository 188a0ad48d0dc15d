"""The objective of many choices at once: by rows of the table of options, without leaving numpy.

A **choice** is a row for each entry (`NONE`: it is left out) and a way to finish for each task. Whoever searches keeps
rows and finish of a task at one aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.policies.options import Table
from nodes.policies.requests import Assignment, Placement, Round
from nodes.policies.ways import NONE, Floats, Ints

BROKEN = ("memory", "battery", "participants", "deadline")
"""Constraints that choices can break, rows for themselves being good."""
_SLACK = 1 + 1e-9
_MOST_LEVELS = 64


@dataclass(frozen=True)
class Value:
    """Of each choice: the objective, by how much constraints are broken (0: none is), and how each of `BROKEN` is."""

    objective: Floats
    broken: Floats
    by: Floats
    seconds: Floats

    def best(self) -> int:
        """The choice that breaks the least, and of those the cheapest; the first of equals."""
        return int(np.lexsort((self.objective, self.broken))[0])

    def better(self, i: int, broken: float, objective: float) -> bool:
        """Whether a choice is better than one with these."""
        if abs(self.broken[i] - broken) > 1e-9:
            return bool(self.broken[i] < broken)
        return bool(self.objective[i] < objective - 1e-9 * max(1.0, abs(objective)))


class Evaluator:
    """Values choices of one table. ``levels`` is the most distinct numbers of batches that are told apart."""

    def __init__(self, table: Table, levels: int = _MOST_LEVELS) -> None:
        self.table = table
        problem, units = table.problem, table.units
        self.weights, self.tasks = problem.weights, len(problem.requests)
        self.first = np.searchsorted(table.task, np.arange(self.tasks))
        self.owners = np.bincount(table.task, minlength=self.tasks)
        self.least = np.array([request.least for request in problem.requests])
        self.absent = np.array([request.absent for request in problem.requests], float)
        self.limit = np.array([request.round_limit for request in problem.requests])
        known = np.unique(table.batches)
        if len(known) > levels:
            known = np.unique(np.quantile(known, np.linspace(0, 1, levels), method="higher"))
        self.levels = known
        self.level = np.minimum(np.searchsorted(known, table.batches), len(known) - 1)
        self.alone = table.own + table.fixed
        users = np.bincount(table.device, minlength=len(units.names))
        held = {unit for every in table.finishes for one in every for unit, _ in one.memory}
        named = np.unique(np.concatenate([table.server[table.server != NONE], table.device[users[table.device] > 1],
                                          np.array(sorted(held), np.int64)]))  # fmt: skip
        self.place = np.full(len(units.names) + 1, NONE, np.int64)  # the last one is NONE's own
        self.place[named] = np.arange(len(named))
        self.memory = units.memory[named]
        self.spare = units.spare[named]
        self.several = bool((users > 1).any())
        self.kept = [np.array([self._held(one.memory) for one in every]) for every in table.finishes]

    def _held(self, memory: Sequence[tuple[int, float]]) -> Floats:
        held = np.zeros(len(self.memory))
        for unit, amount in memory:
            held[self.place[unit]] += amount
        return held

    def load(self, choices: Ints) -> Floats:
        """Seconds of each station that others find taken: choices x stations x levels."""
        table, count = self.table, len(choices)
        load = np.zeros((count, table.stations, len(self.levels)))
        if not table.stations:
            return load
        m, e = np.nonzero(choices != NONE)
        rows = choices[m, e]
        station = table.station[rows]
        used = station != NONE
        at = (m[:, None] * table.stations + station)[used]
        every, once = table.batch_s[rows][used], table.once[rows][used]
        batches = np.broadcast_to(table.batches[e][:, None], station.shape)[used]
        flat = load.reshape(count * table.stations, -1)
        for i, level in enumerate(self.levels):
            flat[:, i] = np.bincount(at, np.minimum(level, batches) * every + once, minlength=len(flat))
        return load

    def seconds(self, choices: Ints, load: Floats) -> Floats:
        """Seconds of each entry; minus infinity for those left out."""
        table = self.table
        there = choices != NONE
        rows = np.where(there, choices, 0)
        took = self.alone[rows]
        if table.stations and table.station.shape[1]:
            station = table.station[rows]
            m = np.arange(len(choices))[:, None, None]
            waits = table.fixed[rows][..., None] - table.once[rows] + load[m, station, self.level[None, :, None]]
            took = np.maximum(took, np.where(station == NONE, -np.inf, waits).max(2))
        return np.where(there, took, -np.inf)

    def value(self, choices: Ints, finish: Ints) -> Value:
        """Of choices (choices x entries) and finishes (choices x tasks)."""
        table, w, count = self.table, self.weights, len(choices)
        there = choices != NONE
        rows = np.where(there, choices, 0)
        took = self.seconds(choices, self.load(choices))
        present = np.add.reduceat(there, self.first, axis=1)
        tail = np.stack([np.array([one.seconds for one in table.finishes[k]])[finish[:, k]] for k in range(self.tasks)],
                        1)  # fmt: skip
        final = np.stack([np.array([one.price for one in table.finishes[k]])[finish[:, k]] for k in range(self.tasks)],
                         1)  # fmt: skip
        added = np.add.reduceat(np.where(there, table.add[rows], 0.0), self.first, axis=1)
        seconds = np.maximum(np.maximum.reduceat(took, self.first, axis=1), 0.0) + added + tail
        joules = np.where(there, table.joules[rows], 0.0)
        price = np.where(there, table.price[rows] + table.per_second[rows] * np.maximum(took, 0.0), 0.0).sum(1)
        price += final.sum(1) + self._fetched(rows, there)
        objective = w.time * seconds.sum(1) + w.energy * joules.sum(1) + w.price * price
        objective += ((self.owners - present) * self.absent).sum(1)
        by = np.zeros((count, len(BROKEN)))
        by[:, 0] = np.maximum(self.taken(rows, there, finish) / np.maximum(self.memory, 1.0) - 1, 0.0).sum(1)
        if self.several:
            spent = self._sums(self.place[table.device], joules, count)
            with np.errstate(invalid="ignore", divide="ignore"):
                over = np.where(spent > self.spare * _SLACK, spent / np.maximum(self.spare, 1e-9) - 1, 0.0)
            by[:, 1] = over.sum(1)
        by[:, 2] = np.maximum(self.least - present, 0).sum(1)
        with np.errstate(invalid="ignore"):
            over = np.where(seconds > self.limit * _SLACK, seconds / np.maximum(self.limit, 1e-9) - 1, 0.0)
        by[:, 3] = over.sum(1)
        return Value(objective, by.sum(1), by, seconds)

    def taken(self, rows: Ints, there: NDArray[np.bool_], finish: Ints) -> Floats:
        """Bytes of the units whose memory can run short: choices x units."""
        table, count = self.table, len(rows)
        servers = self.place[table.server[rows]]
        used = self._sums(servers, np.where(there, table.server_memory[rows], 0.0), count)
        if self.several:
            used += self._sums(self.place[table.device], np.where(there, table.device_memory[rows], 0.0), count)
        for k, kept in enumerate(self.kept):
            used += kept[finish[:, k]]
        return used

    def _sums(self, where: Ints, amounts: Floats, count: int) -> Floats:
        """Sums of amounts by unit; where is by choice and entry, or by entry."""
        width = len(self.memory)
        where = np.broadcast_to(where, amounts.shape)
        some = where != NONE
        at = (np.arange(count)[:, None] * width + where)[some]
        sums = np.bincount(at, amounts[some], minlength=count * width)
        return sums.astype(float).reshape(count, width)  # of nothing, they are whole numbers

    def _fetched(self, rows: Ints, there: NDArray[np.bool_]) -> Floats:
        """Price of the edge halves that are sent to servers, each once."""
        prices = self.table.fetch_price
        if not prices.any():
            return np.zeros(len(rows))
        fetch = np.where(there, self.table.fetch[rows], NONE)
        m, e = np.nonzero(fetch != NONE)
        codes = np.unique(m * len(prices) + fetch[m, e])
        m, fetch = np.divmod(codes, len(prices))
        return np.bincount(m, prices[fetch], minlength=len(rows)).astype(float)


def placement(table: Table, choice: Ints, finish: Ints) -> Placement:
    """One choice in words."""
    units, problem = table.units, table.problem
    rounds = {}
    first = np.searchsorted(table.task, np.arange(len(problem.requests) + 1))
    for k, request in enumerate(problem.requests):
        does = {}
        for owner, row in zip(request.owners, choice[first[k] : first[k + 1]].tolist(), strict=True):
            if row != NONE:
                server = int(table.server[row])
                name = "" if server == NONE else units.names[server]
                does[owner.device] = Assignment(request.cuts[int(table.cut[row])].index, name)
        end = table.finishes[k][int(finish[k])]
        rounds[request.task] = Round(does, units.names[end.g], units.names[end.v])
    return Placement(rounds)
