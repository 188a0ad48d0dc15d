"""Local search on choices: small changes, many valued at once, the best of them taken, until none helps.

Changes are: another row for one owner (or none), another way to finish a task, and both at once for two owners, which
is what swaps a place in scarce memory or in the round. The search is bounded by a count of numbers looked at, never by
a clock, so the same problem is always decided alike.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from nodes.policies.evaluating import Evaluator
from nodes.policies.ways import NONE, Ints

CHUNK = 400_000
"""Numbers that are looked at in one go: memory, not quality."""


@dataclass
class State:
    """A choice, its way to finish by task, by how much constraints are broken, and the objective."""

    choice: Ints
    finish: Ints
    broken: float
    objective: float

    @property
    def rank(self) -> tuple[float, float]:
        """To compare: nothing broken comes first."""
        return (self.broken if self.broken > 1e-9 else 0.0, self.objective)


class Improver:
    """Improves states of one table.

    Args:
        at: Values choices.
        budget: Numbers that may be looked at in all.
    """

    def __init__(self, at: Evaluator, budget: float) -> None:
        self.at, self.table, self.budget = at, at.table, budget
        t = at.table
        self.row_task = t.task[t.entry]
        self.g = [np.array([one.g for one in every]) for every in t.finishes]
        self.each = len(t.task) * (4 + 4 * t.station.shape[1]) + t.stations * len(at.levels) + 3 * len(at.memory)
        self.same = self._same()

    def _same(self) -> dict[tuple[int, int, int, int], int]:
        t = self.table
        keys = zip(t.entry.tolist(), t.cut.tolist(), t.server.tolist(), t.aggregator.tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}

    def state(self, choice: Ints, finish: Ints) -> State:
        """A choice, valued."""
        value = self.at.value(choice[None], finish[None])
        return State(choice, finish, float(value.broken[0]), float(value.objective[0]))

    def shaken(self, state: State, kicks: int, near: float = 1.1) -> State:
        """Go on from what a few random changes make of the state, as often as ``kicks`` and the budget allow.

        Iterated local search (Lourenco, Martin and Stuetzle, 2003). Pairs are tried only from what is ``near`` to it.
        """
        draw = random.Random(0)
        for _ in range(kicks):
            if self.budget <= 0:
                break
            found = self.improve(self._kick(state, draw), pairs=False)
            if found.rank <= (state.rank[0], state.rank[1] * near):
                found = self.improve(found)
            if found.rank < state.rank:
                state = found
        return state

    def _kick(self, state: State, draw: random.Random) -> State:
        """Another way to finish a task, where there is one, and other rows for one to three owners."""
        choices, finishes = self._finishes(state)
        i = draw.randrange(len(choices))
        kicked = State(choices[i].copy(), finishes[i], 0.0, 0.0)
        rows = self._open(kicked)
        for _ in range(draw.randint(1, 3)):
            if len(rows):
                row = int(rows[draw.randrange(len(rows))])
                kicked.choice[self.table.entry[row]] = row
        return self.state(kicked.choice, kicked.finish)

    def improve(self, state: State, pairs: bool = True) -> State:
        """The state that no change of those above improves, or that the budget ended at; without ``pairs``, no two."""
        while self.budget > 0:
            better = self._best(state, *self._singles(state)) or self._best(state, *self._finishes(state))
            if better is None and not pairs:
                return state
            if better is None:
                better = self._pairs(state)
            if better is None:
                return state
            state = better
        return state

    def _open(self, state: State) -> Ints:
        """Rows that agree with the aggregators, and are not taken."""
        t = self.table
        g = np.array([self.g[k][f] for k, f in enumerate(state.finish)])
        return np.flatnonzero((t.aggregator == g[self.row_task]) & (state.choice[t.entry] != np.arange(len(t.entry))))

    def _moves(self, state: State) -> tuple[Ints, Ints]:
        """Changes of one owner: entries, and their new rows (`NONE`: it is left out)."""
        rows, there = self._open(state), np.flatnonzero(state.choice != NONE)
        return np.concatenate([self.table.entry[rows], there]), np.concatenate([rows, np.full(len(there), NONE)])

    def _singles(self, state: State) -> tuple[Ints, Ints]:
        entries, rows = self._moves(state)
        choices = np.repeat(state.choice[None], len(rows), 0)
        choices[np.arange(len(rows)), entries] = rows
        return choices, np.repeat(state.finish[None], len(rows), 0)

    def _finishes(self, state: State) -> tuple[Ints, Ints]:
        t = self.table
        choices, finishes = [state.choice], [state.finish]
        for k, every in enumerate(t.finishes):
            mine = np.flatnonzero((t.task == k) & (state.choice != NONE))
            old = state.choice[mine]
            moved: dict[int, Ints] = {int(self.g[k][state.finish[k]]): old}
            for f, one in enumerate(every):
                if f == state.finish[k]:
                    continue
                if one.g not in moved:
                    keys = zip(mine.tolist(), t.cut[old].tolist(), t.server[old].tolist(), strict=True)
                    moved[one.g] = np.array([self.same.get((*key, one.g), NONE) for key in keys], np.int64)
                choice, finish = state.choice.copy(), state.finish.copy()
                choice[mine], finish[k] = moved[one.g], f
                choices.append(choice)
                finishes.append(finish)
        return np.stack(choices), np.stack(finishes)

    def _pairs(self, state: State) -> State | None:
        """The best change of two owners at once, in chunks; the first chunk that has a better one is taken."""
        entries, rows = self._moves(state)
        count = len(rows)
        first, second = np.triu_indices(count, 1) if count < 3000 else (np.zeros(0, np.int64),) * 2
        different = entries[first] != entries[second]
        first, second = first[different], second[different]
        step = max(CHUNK // self.each, 1)
        # Pairs are mixed by a fixed stride, so that chunks have a bit of everything.
        order = np.argsort((np.arange(len(first)) * 7919) % max(len(first), 1), kind="stable")
        for begin in range(0, len(first), step):
            if self.budget <= 0:
                return None
            some = order[begin : begin + step]
            choices = np.repeat(state.choice[None], len(some), 0)
            choices[np.arange(len(some)), entries[first[some]]] = rows[first[some]]
            choices[np.arange(len(some)), entries[second[some]]] = rows[second[some]]
            better = self._best(state, choices, np.repeat(state.finish[None], len(some), 0))
            if better is not None:
                return better
        return None

    def _best(self, state: State, choices: Ints, finishes: Ints) -> State | None:
        """The best of some choices, if it is better than the state."""
        found: State | None = None
        step = max(CHUNK // self.each, 1)
        for begin in range(0, len(choices), step):
            some, ends = choices[begin : begin + step], finishes[begin : begin + step]
            self.budget -= len(some) * self.each
            value = self.at.value(some, ends)
            i, held = value.best(), found or state
            if value.better(i, held.broken, held.objective):
                found = State(some[i], ends[i], float(value.broken[i]), float(value.objective[i]))
            if self.budget <= 0:
                break
        return found
