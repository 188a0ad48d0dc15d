"""Where a round can end: the unit that aggregates, the unit that evaluates, and what that takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nodes.policies.predicting import GB
from nodes.policies.requests import AGGREGATE, EVALUATE, Problem, Request
from nodes.policies.ways import Units, Ways

FEW = 4
"""Units that aggregate a task are chosen among this many at most, where there are more."""


@dataclass(frozen=True)
class Finish:
    """One way to finish a round.

    Attributes:
        g, v: Numbers of the units that aggregate and evaluate (the same where nothing is evaluated).
        seconds, price: What it takes beyond what each participant adds.
        memory: Bytes by unit.
    """

    g: int
    v: int
    seconds: float
    price: float
    memory: tuple[tuple[int, float], ...]


def finishes(problem: Problem, request: Request, units: Units, ways: Ways, most: int = 0) -> tuple[Finish, ...]:
    """All ways to finish a round, the fastest first; with ``most``, for so many aggregators, each with its evaluator.

    Which of many aggregators are worth a look is a rule of ours: the source, the fastest clouds, and edge servers that
    most of the owners are near.
    """
    names = problem.finishers(request)
    if most and len(names) > most:
        near = Counter(units.all[units.number[owner.device]].at for owner in request.owners)
        clouds = sorted((n for n in names if problem.units[n].kind == "cloud"), key=lambda n: -problem.units[n].speed)
        first = [request.source, *clouds[:2], *(name for name, _ in near.most_common(most))]
        names = [name for name in dict.fromkeys(first) if name in set(names)][:most] or names[:most]
    allowed = units.numbers(names)
    evaluated = request.evaluate_s > 0
    g = np.repeat(allowed, len(allowed)) if evaluated else allowed
    v = np.tile(allowed, len(allowed)) if evaluated else allowed
    aggregate, evaluate = units.cold(AGGREGATE), units.cold(EVALUATE)
    seconds = aggregate[g].copy()
    price = request.aggregate_memory / GB * units.per_gb_s[g] * seconds
    if evaluated:
        last = evaluate[v] + request.evaluate_s / units.speed[v]
        seconds += ways.busy(request.weights, g, v)[1] + last
        price += request.evaluate_memory / GB * units.per_gb_s[v] * last
        price += (g != v) * request.weights / GB * units.per_gb[g]
    found = []
    for i in np.lexsort((price, seconds)):
        a, b = int(g[i]), int(v[i])
        memory = {a: float(request.aggregate_memory)}
        if evaluated:
            memory[b] = memory.get(b, 0.0) + request.evaluate_memory
        if np.isfinite(seconds[i]) and all(amount <= units.memory[unit] for unit, amount in memory.items()):
            found.append(Finish(a, b, float(seconds[i]), float(price[i]), tuple(memory.items())))
    if not most:
        return tuple(found)
    w = problem.weights
    found.sort(key=lambda one: (w.time * one.seconds + w.price * one.price, one.g, one.v))
    best: dict[int, Finish] = {}
    for one in found:
        best.setdefault(one.g, one)
    return tuple(best.values())
