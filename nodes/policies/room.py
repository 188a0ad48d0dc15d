"""What memory and batteries have room for, while rows of the table of options are chosen one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodes.policies.evaluating import Evaluator
from nodes.policies.ways import NONE, Floats, Ints

Bools = NDArray[np.bool_]


class Room:
    """Memory and joules that are left when a choice is made, and rows come and go.

    Args:
        at: Values choices of the table.
        finish: Way to finish, by task.
        choice: Row by entry.
    """

    def __init__(self, at: Evaluator, finish: Ints, choice: Ints) -> None:
        self.at, self.t = at, at.table
        t = self.t
        self.memory, self.spare = np.append(at.memory, np.inf), np.append(at.spare, np.inf)
        for k, f in enumerate(finish):
            self.memory[:-1] -= at.kept[k][int(f)]
        self.server = at.place[t.server]
        self.device = at.place[t.device[t.entry]] if at.several else np.full(len(t.entry), NONE)
        self._use(choice[choice != NONE], 1.0)

    def give(self, rows: Ints) -> None:
        """What rows took is free again."""
        self._use(rows[rows != NONE], -1.0)

    def fits(self, rows: Ints) -> Bools:
        """Whether there is room for each row by itself."""
        t, server, device = self.t, self.server[rows], self.device[rows]
        fits: Bools = (t.server_memory[rows] <= self.memory[server]) & (t.device_memory[rows] <= self.memory[device])
        fits &= t.joules[rows] <= self.spare[device] * (1 + 1e-9)
        return fits

    def take(self, rows: Ints) -> Bools:
        """Take the rows that there is room for, in order; which those are."""
        t = self.t
        fit = _within(self.server[rows], t.server_memory[rows], self.memory)
        if self.at.several:
            fit &= _within(self.device[rows], t.device_memory[rows], self.memory)
            fit &= _within(self.device[rows], t.joules[rows], self.spare * (1 + 1e-9))
        self._use(rows[fit], 1.0)
        return fit

    def _use(self, rows: Ints, sign: float) -> None:
        t = self.t
        np.subtract.at(self.memory, self.server[rows], sign * t.server_memory[rows])
        np.subtract.at(self.memory, self.device[rows], sign * t.device_memory[rows])
        np.subtract.at(self.spare, self.device[rows], sign * t.joules[rows])
        self.memory[-1] = self.spare[-1] = np.inf


def _within(where: Ints, amounts: Floats, limits: Floats) -> Bools:
    """Which of several takers, in order, find their amount where they take it."""
    order = np.argsort(where, kind="stable")
    sums = np.cumsum(amounts[order])
    begins = np.flatnonzero(np.diff(where[order], prepend=-2))
    before = np.repeat(sums[begins] - amounts[order][begins], np.diff(begins, append=len(order)))
    fit = np.empty(len(where), bool)
    fit[order] = sums - before <= limits[where[order]]
    return fit
