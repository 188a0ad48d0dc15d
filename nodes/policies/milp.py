"""The exact solver: the same problem as a mixed-integer linear program, for HiGHS through `scipy.optimize.milp`.

Binary: ``x`` for each row of the table of options, ``f`` for each way to finish a task. Continuous: ``t`` seconds of
each owner, ``r`` of each task's slowest one, ``p`` the price of each owner's instances, ``y`` whether an edge half is
sent to a server. The least of a maximum is linear; of a station, where who does not use it does not wait, a big M says
so:

    t(e) >= sum over rows of e of  alone x
    t(e) >= sum over rows of e at the station of  (fixed - once) x  + load(e) - M (1 - sum over those rows of x)
    r(k) >= t(e)            r(k) >= load of the task's own owners at any one station
    p(e) >= price a second x (t(e) - longest (1 - sum over rows at that price of x))

The third line's second half follows from the rest, and makes the relaxation tighter. What it finds is valued again by
the same function as all else, so that its objective is that of a placement and not of a program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nodes.errors import EnvironmentProblem
from nodes.policies.evaluating import Evaluator, placement
from nodes.policies.options import Table
from nodes.policies.preparing import prepare
from nodes.policies.requests import Decision, Placement, Problem
from nodes.policies.ways import NONE, Floats, Ints

GAP = 1e-6
"""Share of the optimum that may be left."""


@dataclass
class _Program:
    """Rows of coefficients, as they come: ``low <= A x <= high``."""

    cells: list[tuple[Ints, Floats]] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def add(self, name: str, at: Ints, values: Floats, low: float = -np.inf, high: float = np.inf) -> None:
        self.cells.append((np.asarray(at, np.int64), np.asarray(values, float)))
        self.low.append(low)
        self.high.append(high)
        self.names.append(name)


class _Model:
    """The program of a table."""

    def __init__(self, table: Table) -> None:
        self.table = t = table
        self.at = Evaluator(t, len(np.unique(t.batches)))
        self.weights = t.problem.weights
        owners, tasks = len(t.task), len(t.finishes)
        counts = [len(t.entry), sum(map(len, t.finishes)), owners, tasks, owners, len(t.fetch_price)]
        begins = np.concatenate([[0], np.cumsum(counts)])
        self.x, self.f, self.t, self.r, self.p, self.y, self.size = begins.tolist()
        self.begin_f = self.f + np.concatenate([[0], np.cumsum([len(every) for every in t.finishes])])
        self.program = _Program()
        self.constant = 0.0
        self.cost = self._cost()
        self._choices()
        self._times()
        self._capacity()

    def _cost(self) -> Floats:
        t, w = self.table, self.weights
        cost = np.zeros(self.size)
        absent = self.at.absent[t.task[t.entry]]
        cost[: self.f] = w.time * t.add + w.energy * t.joules + w.price * t.price - absent
        self.constant = float((self.at.absent * self.at.owners).sum())
        every = [one for some in t.finishes for one in some]
        cost[self.f : self.t] = [w.time * one.seconds + w.price * one.price for one in every]
        cost[self.r : self.p] = w.time
        cost[self.p : self.y] = w.price
        cost[self.y :] = w.price * t.fetch_price
        return cost

    def _choices(self) -> None:
        t, add = self.table, self.program.add
        task = t.task[t.entry]
        for e in range(len(t.task)):
            mine = np.flatnonzero(t.entry == e)
            add("choice", mine, np.ones(len(mine)), high=1.0)
            for g in np.unique(t.aggregator[mine]):
                at = mine[t.aggregator[mine] == g]
                ends = [self.begin_f[t.task[e]] + i for i, one in enumerate(t.finishes[t.task[e]]) if one.g == g]
                add("choice", np.r_[at, ends], np.r_[np.ones(len(at)), -np.ones(len(ends))], high=0.0)
        for k, every in enumerate(t.finishes):
            add("choice", self.begin_f[k] + np.arange(len(every)), np.ones(len(every)), 1.0, 1.0)
            mine = np.flatnonzero(task == k)
            add("participants", mine, np.ones(len(mine)), low=float(self.at.least[k]))
        for row in np.flatnonzero(t.fetch != NONE):
            add("choice", np.array([self.y + t.fetch[row], row]), np.array([1.0, -1.0]), low=0.0)

    def _times(self) -> None:
        t, add = self.table, self.program.add
        alone, longest = self.at.alone, np.zeros(len(t.task))
        for e in range(len(t.task)):
            mine = np.flatnonzero(t.entry == e)
            add("time", np.r_[self.t + e, mine], np.r_[1.0, -alone[mine]], low=0.0)
            add("time", np.array([self.r + t.task[e], self.t + e]), np.array([1.0, -1.0]), low=0.0)
            longest[e] = alone[mine].max(initial=0.0)
        for rows, every, once in self._stations():
            users = np.unique(t.entry[rows])
            for e in users:
                load = np.minimum(t.batches[e], t.batches[t.entry[rows]]) * every + once
                most = np.zeros(len(t.task))
                np.maximum.at(most, t.entry[rows], load)
                m = float(most.sum() - most[e])
                mine = t.entry[rows] == e
                values = load + mine * (t.fixed[rows] - once + m)
                add("time", np.r_[self.t + e, rows], np.r_[1.0, -values], low=-m)
                longest[e] = max(longest[e], float(values[mine].max()) + m)
            for k in np.unique(t.task[users]):
                own = t.task[t.entry[rows]] == k
                load = t.batches[t.entry[rows[own]]] * every[own] + once[own]
                add("time", np.r_[self.r + k, rows[own]], np.r_[1.0, -load], low=0.0)
        if self.weights.price:
            self._prices(longest)
        for k, limit in enumerate(self.at.limit):
            if np.isfinite(limit):
                mine = np.flatnonzero(t.task[t.entry] == k)
                ends = self.begin_f[k] + np.arange(len(t.finishes[k]))
                seconds = [one.seconds for one in t.finishes[k]]
                add("deadline", np.r_[self.r + k, mine, ends], np.r_[1.0, t.add[mine], seconds], high=float(limit))

    def _stations(self) -> Iterator[tuple[Ints, Floats, Floats]]:
        """Of each station the rows that use it, and their seconds."""
        t = self.table
        rows, column = np.nonzero(t.station != NONE)
        station = t.station[rows, column]
        for s in range(t.stations):
            some = station == s
            yield rows[some], t.batch_s[rows[some], column[some]], t.once[rows[some], column[some]]

    def _prices(self, longest: Floats) -> None:
        t, add = self.table, self.program.add
        for e in range(len(t.task)):
            mine = np.flatnonzero(t.entry == e)
            add("time", np.r_[self.p + e, mine], np.r_[1.0, -t.per_second[mine] * self.at.alone[mine]], low=0.0)
            for price in np.unique(t.per_second[mine]):
                if price > 0:
                    at = mine[t.per_second[mine] == price]
                    m = price * longest[e]
                    add("time", np.r_[self.p + e, self.t + e, at], np.r_[1.0, -price, np.full(len(at), -m)], low=-m)

    def _capacity(self) -> None:
        t, at, add = self.table, self.at, self.program.add
        ends = np.concatenate([np.atleast_2d(kept) for kept in at.kept]) if at.kept else np.zeros((0, len(at.memory)))
        server, device = at.place[t.server], at.place[t.device[t.entry]]
        for unit in range(len(at.memory)):
            limit = max(float(at.memory[unit]), 1.0)
            held = (server == unit) * t.server_memory + (device == unit) * t.device_memory * at.several
            rows, kept = np.flatnonzero(held), np.flatnonzero(ends[:, unit])
            if len(rows) + len(kept):
                values = np.r_[held[rows], ends[kept, unit]] / limit
                add("memory", np.r_[rows, self.f + kept], values, high=float(at.memory[unit]) / limit)
            if at.several and np.isfinite(at.spare[unit]):
                rows = np.flatnonzero((device == unit) & (t.joules > 0))
                spare = max(float(at.spare[unit]), 1e-9)
                if len(rows):
                    add("battery", rows, t.joules[rows] / spare, high=1.0)

    def solve(self, seconds: float, without: str = "") -> tuple[int, Floats | None, float]:
        """HiGHS' status, its solution, and its lower bound of the objective.

        Args:
            seconds: That it may take at most.
            without: A kind of constraint that is left out.
        """
        try:
            from scipy.optimize import Bounds, LinearConstraint, milp
            from scipy.sparse import csr_array
        except ImportError as error:
            raise EnvironmentProblem("the exact solver needs scipy", found=str(error),
                                     remedy="policy greedy, which does not") from None  # fmt: skip
        program = self.program
        used = [i for i, name in enumerate(program.names) if name != without]
        cells = [program.cells[i] for i in used]
        begins = np.cumsum([0, *(len(at) for at, _ in cells)])
        columns, values = (np.concatenate([cell[i] for cell in cells]) for i in (0, 1))
        matrix = csr_array((values, columns, begins), shape=(len(used), self.size))
        limits = LinearConstraint(matrix, np.array(program.low)[used], np.array(program.high)[used])
        upper = np.full(self.size, np.inf)
        upper[: self.t] = 1.0
        upper[self.y :] = 1.0
        binary = np.zeros(self.size)
        binary[: self.t] = 1
        found = milp(self.cost, integrality=binary, bounds=Bounds(np.zeros(self.size), upper), constraints=limits,
                     options={"mip_rel_gap": GAP, "time_limit": seconds})  # fmt: skip
        bound = found.mip_dual_bound
        return int(found.status), found.x, self.constant + float(-np.inf if bound is None else bound)

    def read(self, x: Floats) -> tuple[Ints, Ints]:
        """Choice and finish of a solution."""
        t = self.table
        choice = np.full(len(t.task), NONE, np.int64)
        rows = np.flatnonzero(x[: self.f] > 0.5)
        choice[t.entry[rows]] = rows
        ends = zip(self.begin_f, self.begin_f[1:], strict=False)
        return choice, np.array([int(np.argmax(x[a:b])) for a, b in ends])


def exact(problem: Problem, *, seconds: float = 60.0) -> Decision:
    """The best placement there is.

    If HiGHS has not proved one to be the best when its time is over, ``bound`` of the decision is below its objective;
    that is also the one case in which two runs of it can differ.

    Args:
        problem: What is to be decided.
        seconds: That it may take at most.

    Raises:
        EnvironmentProblem: There is no scipy.
    """
    if not problem.requests:
        return Decision("exact", Placement({}), 0.0)
    table, unmet = prepare(problem, all_finishes=True)
    if table is None:
        return Decision("exact", None, np.inf, unmet)
    model = _Model(table)
    status, x, bound = model.solve(seconds)
    if x is None:
        kinds = [name for name in ("memory", "battery", "participants", "deadline") if name in model.program.names]
        if status == 2:  # none can be; what is in the way is what it could be without
            blamed = [name for name in kinds if model.solve(seconds, name)[1] is not None]
            return Decision("exact", None, np.inf, {"": tuple(blamed or kinds)}, bound)
        return Decision("exact", None, np.inf, {"": ("time",)}, bound)
    choice, finish = model.read(x)
    value = model.at.value(choice[None], finish[None])
    return Decision("exact", placement(table, choice, finish), float(value.objective[0]), {}, bound)
