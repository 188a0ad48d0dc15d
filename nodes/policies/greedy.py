"""The solver for any size: waves of owners that take their best row, then local search; no optimum is promised.

How far it is from one is measured: `make bench-orchestrator`, docs/orchestrator.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nodes.policies.evaluating import BROKEN, Evaluator, placement
from nodes.policies.finishing import Finish
from nodes.policies.improving import Improver, State
from nodes.policies.options import Table
from nodes.policies.preparing import CROWD, prepare
from nodes.policies.requests import Decision, Placement, Problem
from nodes.policies.waves import waves
from nodes.policies.ways import Ints

ROUNDS, FEWER = 4, 2
"""Rounds of waves from each start; and with more owners than `SMALL`."""
STARTS, KICKS = 4, 40
"""Starts that are searched from, and how often the best of them is shaken; the latter up to `SMALL` owners."""
BUDGET = 1.5e7
"""Numbers that local search looks at, at most."""
SMALL = 40
"""Owners up to which every aggregator is a start of its own, and owners choose one at a time."""
LOCAL = 300
"""Owners up to which there is a local search."""
LEVELS = 16
"""Distinct numbers of batches that are told apart with more owners than `CROWD`."""

Keep = Callable[[Table], NDArray[np.bool_]]


def greedy(problem: Problem, *, name: str = "greedy", keep: Keep | None = None, budget: float = BUDGET) -> Decision:
    """Decide.

    Args:
        problem: What is to be decided.
        name: What to call it.
        keep: Rows that may be used; None: all.
        budget: Numbers that local search looks at, at most.
    """
    if not problem.requests:
        return Decision(name, Placement({}), 0.0)
    table, unmet = prepare(problem)
    if table is None:
        return Decision(name, None, np.inf, unmet)
    if keep is not None:
        table = table.only(keep(table))
        if not len(table.entry):
            return Decision(name, None, np.inf, {request.task: ("participants",) for request in problem.requests})
    small = len(table.task) <= SMALL
    at = Evaluator(table) if len(table.task) <= CROWD else Evaluator(table, LEVELS)
    states = sorted(_starts(table, at, small), key=lambda state: state.rank)
    if len(table.task) <= LOCAL:
        improver = Improver(at, budget)
        states = [improver.improve(state) for state in states[:STARTS]]
    best = min(states, key=lambda state: state.rank)
    if small:
        best = improver.shaken(best, KICKS)
    if best.broken > 1e-9:
        return Decision(name, None, np.inf, _why(at, best))
    return Decision(name, placement(table, best.choice, best.finish), best.objective)


def _starts(table: Table, at: Evaluator, small: bool) -> list[State]:
    """Choices to begin with: every task's fastest way to finish, then for each aggregator the same for all tasks."""
    every = np.ones(len(table.entry), bool)
    ends = [np.zeros(len(table.finishes), np.int64)]
    units = sorted({one.g for some in table.finishes for one in some}) if small else []
    ends += [np.array([_first(some, g) for some in table.finishes]) for g in units]
    found = []
    for finish in {tuple(end.tolist()): end for end in ends}.values():
        choice, broken, objective = waves(at, finish, every, ROUNDS if small else FEWER, small)
        found.append(State(choice, finish, broken, objective))
    return found


def _first(ends: Sequence[Finish], g: int) -> int:
    """The first way to finish at a unit; if there is none, the first of all."""
    return next((f for f, one in enumerate(ends) if one.g == g), 0)


def _why(at: Evaluator, state: State) -> dict[str, tuple[str, ...]]:
    """Constraints that the best choice still breaks, by task; "" has those of all together."""
    value = at.value(state.choice[None], state.finish[None])
    found: dict[str, tuple[str, ...]] = {}
    together = tuple(name for name, amount in zip(BROKEN[:2], value.by[0], strict=False) if amount > 0)
    if together:
        found[""] = together
    present = _present(at, state.choice)
    for k, request in enumerate(at.table.problem.requests):
        names = ("participants",) * bool(present[k] < request.least)
        names += ("deadline",) * bool(value.seconds[0, k] > at.limit[k])
        if names:
            found[request.task] = names
    return found


def _present(at: Evaluator, choice: Ints) -> Ints:
    return np.bincount(at.table.task[choice >= 0], minlength=at.tasks)
