"""From a problem to a table that solvers can work on, or to the names of what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nodes.policies.finishing import finishes
from nodes.policies.making import REASONS
from nodes.policies.options import Table, table
from nodes.policies.requests import Problem
from nodes.policies.ways import Units, Ways

MANY = 200
"""Owners beyond which one aggregator is settled on by rule."""
CROWD, NEAREST = 2000, 3
"""Owners beyond which each chooses among so many servers."""

Unmet = Mapping[str, tuple[str, ...]]


def prepare(problem: Problem, all_finishes: bool = False) -> tuple[Table | None, Unmet]:
    """The table of a problem; or, by task, the names of constraints that no placement of that task alone can meet.

    Args:
        problem: With a task at least.
        all_finishes: Try every aggregator and evaluator, however many there are.
    """
    unmet: dict[str, tuple[str, ...]] = {}
    for request in problem.requests:
        if len(request.owners) < request.least:
            unmet[request.task] = ("participants",)
        elif not request.allowed:
            unmet[request.task] = tuple(sorted({name for cut in request.cuts for name in request.objections(cut)}))
    if unmet:
        return None, unmet
    units = Units(problem)
    ways = Ways(problem, units, 3 * len(units.names))
    few = not all_finishes and sum(len(request.owners) for request in problem.requests) > MANY
    ends = {request.task: finishes(problem, request, units, ways, few) for request in problem.requests}
    unmet = {task: ("memory", "path") for task, every in ends.items() if not every}
    if unmet:
        return None, unmet
    crowd = not all_finishes and sum(len(request.owners) for request in problem.requests) > CROWD
    made = table(problem, units, ways, ends, NEAREST if crowd else 0)
    begins = made.begins
    able = begins[1:] > begins[:-1]
    for k, request in enumerate(problem.requests):
        mine = made.task == k
        if np.count_nonzero(able & mine) < request.least:
            bits = int(np.bitwise_or.reduce(made.reasons[mine & ~able]))
            names = tuple(name for i, name in enumerate(REASONS) if bits >> i & 1)
            unmet[request.task] = (*(names or ("last-mile",)), "participants")
    return (None, unmet) if unmet else (made, {})
