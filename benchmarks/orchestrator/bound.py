"""What no placement's objective is below: every owner alone on all units and links, and nothing to push or finish."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nodes.policies.evaluating import Evaluator
from nodes.policies.preparing import prepare
from nodes.policies.requests import Problem
from nodes.policies.ways import Floats


def bound(problem: Problem) -> float:
    """A lower bound of the objective.

    Contention, memory of servers, transfers of weights, aggregation and evaluation are left out; what remains falls
    apart by task, and is solved exactly: for each time that a task can take, its cheapest participants within it.
    """
    requests = tuple(
        replace(one, weights=0, aggregate_s=0.0, evaluate_s=0.0, aggregate_memory=0, evaluate_memory=0,
                cuts=tuple(replace(cut, device_weights=0, edge_weights=0) for cut in one.cuts))
        for one in problem.requests
    )  # fmt: skip
    units = {name: replace(unit, warm=unit.warm | {"aggregate"}) for name, unit in problem.units.items()}
    table, _ = prepare(replace(problem, requests=requests, units=units))
    if table is None:
        return np.inf
    at, w = Evaluator(table, 1), problem.weights
    took = at.alone
    cost = w.energy * table.joules + w.price * (table.price + table.per_second * took)
    begins = table.begins
    total = 0.0
    for k in range(at.tasks):
        first, end = int(at.first[k]), int(at.first[k] + at.owners[k])
        rows = slice(int(begins[first]), int(begins[end]))
        total += _task(took[rows], cost[rows], table.entry[rows] - first, end - first, int(at.least[k]),
                       float(at.absent[k]), w.time)  # fmt: skip
    return total


def _task(took: Floats, cost: Floats, entry: Floats, owners: int, least: int, absent: float, time: float) -> float:
    """The least of ``time x longest + costs - absent x participants + absent x owners``."""
    best, order = np.inf, np.argsort(took, kind="stable")
    cheapest = np.full(owners, np.inf)
    for i in order.tolist():
        if cost[i] >= cheapest[entry[i]]:
            continue
        cheapest[entry[i]] = cost[i]
        gains = np.sort(cheapest - absent)
        some = gains[:least].sum()
        if np.isfinite(some):
            best = min(best, time * took[i] + some + np.minimum(gains[least:], 0.0).sum() + absent * owners)
    return float(best)
