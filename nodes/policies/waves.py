"""A good placement at once, for thousands of owners: thresholds by task, then waves of owners that take their best row.

1. **Threshold.** With every row's seconds as it now stands, a task may take so long as makes
   ``time x threshold + cheapest rows within it`` the least, for its fewest participants and all who cost less than
   leaving them out.
2. **Waves.** Participants choose again, one at a time near each server: the row with the least of its own cost, what it
   is late by, and what it makes others late by, given all that the others have chosen. Memory and batteries are taken
   in order.

Both are repeated, and the best choice by its true value is kept. Ours; as plain as it is so that each step is a few
operations on arrays, whatever the number of owners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.policies.evaluating import Evaluator
from nodes.policies.room import Room
from nodes.policies.ways import NONE, Floats, Ints

Bools = NDArray[np.bool_]
WAVES = 16
"""Most waves: with more owners near a server, several choose at once."""
SEEN = 4
"""Waves from one look at who would be late to the next, where several choose at once."""
_GRID = np.linspace(0.0, 1.0, 13) ** 2


@dataclass
class Waves:
    """Chooses rows for given ways to finish.

    Attributes:
        at: Values choices.
        finish: By task.
        open: Rows that may be chosen.
        waves: Most of them; 0: one owner at a time.
    """

    at: Evaluator
    finish: Ints
    open: Bools
    waves: int = WAVES

    def __post_init__(self) -> None:
        t = self.at.table
        self.begins = t.begins
        gs = np.array([t.finishes[k][int(f)].g for k, f in enumerate(self.finish)])
        tail = np.array([t.finishes[k][int(f)].seconds for k, f in enumerate(self.finish)])
        self.row_task = t.task[t.entry]
        self.open = self.open & (t.aggregator == gs[self.row_task])
        add = np.zeros(self.at.tasks)
        np.maximum.at(add, self.row_task[self.open], t.add[self.open])
        self.limit = np.maximum(self.at.limit - tail - add * self.at.least, 0.0)
        w = self.at.weights
        self.fixed_cost = w.energy * t.joules + w.price * t.price
        self.slope = w.price * t.per_second
        self.station, self.level = t.station, self.at.level[t.entry]
        self.adds = t.batches[t.entry][:, None] * t.batch_s + t.once
        self.rest = np.where(t.station == NONE, 0.0, t.fixed[:, None] - t.once)
        self.with_it = self.rest + self.adds
        self.slack = np.full(t.stations + 1, np.inf)
        self.order = self._order()

    def _order(self) -> list[Ints]:
        """Entries by wave: those that would like the same server come after each other, the longest first."""
        t = self.at.table
        score = np.where(self.open, self.at.alone * (self.at.weights.time + self.slope) + self.fixed_cost, np.inf)
        best = _argmin(score, self.begins)
        some = np.flatnonzero(best != NONE)
        if not len(some):
            return []
        if not self.waves:
            return [some[[i]] for i in np.argsort(-self.at.alone[best[some]], kind="stable")]
        server = t.server[best[some]]
        order = np.lexsort((-self.at.alone[best[some]], server))
        begins = np.flatnonzero(np.diff(server[order], prepend=-2))
        rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
        rank = np.where(server[order] == NONE, 0, rank)
        wave = rank * self.waves // max(int(rank.max()) + 1, self.waves)
        return [some[order[wave == i]] for i in range(int(wave.max()) + 1)]

    def load(self, choice: Ints) -> Floats:
        """Seconds taken of each station, by level; the last one stands for none, and keeps nobody waiting."""
        load = np.full((self.at.table.stations + 1, len(self.at.levels)), -np.inf)
        load[:-1] = self.at.load(choice[None])[0]
        return load

    def estimate(self, rows: Ints, load: Floats) -> Floats:
        """Seconds of rows if their owners took them beside what is on the load, which has none of those owners."""
        took: Floats = self.at.alone[rows]
        if self.station.shape[1]:
            taken = load[self.station[rows], self.level[rows][:, None]]
            took = np.maximum(took, (self.with_it[rows] + taken).max(1))
        return took

    def outlook(self, choice: Ints) -> Floats:
        """Seconds of all rows beside a choice; an owner's own choice stands in the way of its other rows, too."""
        if (choice == NONE).all():
            return self.at.alone.copy()
        load, now = self.load(choice), choice[choice != NONE]
        took = self.estimate(np.arange(len(self.row_task)), load)
        if self.station.shape[1]:
            waits = self.rest[now] + load[self.station[now], self.level[now][:, None]]
            took[now] = np.maximum(self.at.alone[now], waits.max(1))
        return took

    def threshold(self, took: Floats) -> tuple[Floats, Bools]:
        """Seconds that each task may take, and the entries that take part."""
        t, at = self.at.table, self.at
        took = np.where(self.open, took, np.inf)
        cost = np.where(self.open, self.fixed_cost + self.slope * np.where(self.open, took, 0.0), np.inf)
        fastest = np.minimum.reduceat(np.append(took, np.inf), self.begins[:-1])
        fastest[self.begins[:-1] == self.begins[1:]] = np.inf
        order = np.lexsort((fastest, t.task))
        nth = np.minimum(at.first + at.least - 1, at.first + at.owners - 1)
        low = fastest[order][nth]
        calm = np.where(np.isfinite(took), took, -np.inf)
        high = np.full(at.tasks, -np.inf)
        cheapest = _argmin(cost, self.begins)
        some = cheapest != NONE
        np.maximum.at(high, t.task[some], calm[cheapest[some]])
        high = np.maximum(np.minimum(high, self.limit), low)
        best, theta = np.full(at.tasks, np.inf), low.copy()
        chosen = np.zeros(len(t.task), bool)
        for share in _GRID:
            with np.errstate(invalid="ignore"):
                limit = np.where(np.isfinite(low), low + share * (high - low), np.inf)
            within = np.where(took <= limit[self.row_task] * (1 + 1e-12), cost, np.inf)
            least = np.minimum.reduceat(np.append(within, np.inf), self.begins[:-1])
            least[self.begins[:-1] == self.begins[1:]] = np.inf
            order = np.lexsort((least, t.task))
            rank = np.arange(len(order)) - at.first[t.task[order]]
            gain = least[order] - at.absent[t.task[order]]
            takes = np.isfinite(gain) & ((rank < at.least[t.task[order]]) | (gain < 0))
            total = at.weights.time * limit + np.bincount(t.task[order], np.where(takes, gain, 0.0), at.tasks)
            better = total < best
            best[better], theta[better] = total[better], limit[better]
            part = better[t.task[order]]
            chosen[order[part]] = takes[part]
        return theta, chosen

    def take(self, choice: Ints, theta: Floats, chosen: Bools) -> Ints:
        """A new choice: the entries that take part choose again, in waves."""
        t, at = self.at.table, self.at
        choice = np.where(chosen, choice, NONE)
        room = Room(at, self.finish, choice)
        load = self.load(choice)
        left: list[Ints] = [np.zeros(0, np.int64)]
        for i, wave in enumerate(self.order):
            if i % (SEEN if self.waves else 1) == 0:
                self.slack = self._slack(choice, theta, load)
            left.append(self._wave(wave[chosen[wave]], choice, theta, load, room))
        self._wave(np.concatenate(left), choice, theta, load, room)
        for _ in range(3):  # whom there was no room for has others take its place
            missing = at.least - np.bincount(t.task[choice != NONE], minlength=at.tasks)
            if (missing <= 0).all():
                break
            spare = np.flatnonzero((choice == NONE) & (missing > 0)[t.task])
            rank = np.arange(len(spare)) - np.searchsorted(t.task[spare], t.task[spare])
            self._wave(spare[rank < missing[t.task[spare]]], choice, theta, load, room)
            for one in spare[rank >= missing[t.task[spare]]][:64]:
                if np.count_nonzero((choice != NONE) & (t.task == t.task[one])) < at.least[t.task[one]]:
                    self._wave(np.array([one]), choice, theta, load, room)
        return choice

    def _wave(self, entries: Ints, choice: Ints, theta: Floats, load: Floats, room: Room) -> Ints:
        """Have some entries choose; those that there was no room for."""
        t, at = self.at.table, self.at
        if not len(entries):
            return entries
        entries = np.sort(entries)
        before = choice[entries]
        choice[entries] = NONE
        room.give(before)
        self._shift(load, before, -1.0)
        counts = self.begins[entries + 1] - self.begins[entries]
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1]) + np.repeat(self.begins[entries] - (ends - counts), counts)
        rows_here = self.open[rows] & room.fits(rows)
        took = self.estimate(rows, load)
        late = np.maximum(took - theta[self.row_task[rows]], 0.0)
        others = np.maximum(self.adds[rows] - self.slack[self.station[rows]], 0.0).sum(1) if t.stations else 0.0
        score = self.fixed_cost[rows] + self.slope[rows] * took + at.weights.time * (late + others)
        picks = _argmin(np.where(rows_here, score + 1e-9 * took, np.inf), np.concatenate([[0], ends]))
        ok = picks != NONE
        new = rows[picks[ok]]
        fit = room.take(new)
        choice[entries[ok][fit]] = new[fit]
        self._shift(load, choice[entries], 1.0)
        left: Ints = entries[choice[entries] == NONE]
        return left

    def _shift(self, load: Floats, rows: Ints, sign: float) -> None:
        """Put rows on the load of their stations, or take them off."""
        t = self.at.table
        rows = rows[rows != NONE]
        station = t.station[rows]
        i, c = np.nonzero(station != NONE)
        if not len(i):
            return
        batches, every, once = t.batches[t.entry[rows]][i], t.batch_s[rows][i, c], t.once[rows][i, c]
        amount = np.minimum(self.at.levels[None, :], batches[:, None]) * every[:, None] + once[:, None]
        np.add.at(load, station[i, c], sign * amount)

    def _slack(self, choice: Ints, theta: Floats, load: Floats) -> Floats:
        """Seconds that each station can be taken for beyond now before somebody there is late."""
        t = self.at.table
        slack = np.full(t.stations + 1, np.inf)
        rows = choice[choice != NONE]
        if len(rows) and t.station.shape[1]:
            waits = self.rest[rows] + load[self.station[rows], self.level[rows][:, None]]
            np.minimum.at(slack, self.station[rows], np.maximum(theta[self.row_task[rows]][:, None] - waits, 0.0))
            slack[-1] = np.inf  # what is no station
        return slack


def _argmin(score: Floats, begins: Ints) -> Ints:
    """Of each segment the first position with the least score; `NONE`: all are infinite, or there is none."""
    count = len(begins) - 1
    if not count:
        return np.zeros(0, np.int64)
    least = np.minimum.reduceat(np.append(score, np.inf), begins[:-1])
    least[begins[:-1] == begins[1:]] = np.inf
    segment = np.repeat(np.arange(count), np.diff(begins))
    hits = np.flatnonzero((score == least[segment]) & np.isfinite(score))
    found = np.full(count, NONE, np.int64)
    found[segment[hits][::-1]] = hits[::-1]
    return found


def waves(at: Evaluator, finish: Ints, rows: Bools, rounds: int, sequential: bool = False) -> tuple[Ints, float, float]:
    """The best choice of some rounds, by how much it breaks constraints, and its objective."""
    one = Waves(at, finish, rows, 0 if sequential else WAVES)
    choice = np.full(len(at.table.task), NONE, np.int64)
    best = (choice, np.inf, np.inf)
    for _ in range(rounds):
        theta, chosen = one.threshold(one.outlook(choice))
        choice = one.take(choice, theta, chosen)
        value = at.value(choice[None], finish[None])
        if value.better(0, best[1], best[2]):
            best = (choice.copy(), float(value.broken[0]), float(value.objective[0]))
    return best
