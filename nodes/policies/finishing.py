"""Where a round can end: the unit that aggregates, the unit that evaluates, and what that takes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nodes.policies.predicting import GB
from nodes.policies.requests import AGGREGATE, EVALUATE, Problem, Request
from nodes.policies.ways import Ints, Units, Ways

FEW = 4
"""Units that are looked at where one is to be likely good."""


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


def finishes(problem: Problem, request: Request, units: Units, ways: Ways, one: bool = False) -> tuple[Finish, ...]:
    """All ways to finish a round, the fastest first; or ``one`` that is likely good, without trying.

    That one is a rule of ours: of the source, the fastest clouds and the edge servers that most of the owners are near,
    the one that it costs the least to send the whole model to, by the median owner, and to finish at.
    """
    names = problem.finishers(request)
    if one and len(names) > FEW:
        near = Counter(units.all[units.number[owner.device]].at for owner in request.owners)
        clouds = sorted((n for n in names if problem.units[n].kind == "cloud"), key=lambda n: -problem.units[n].speed)
        first = [request.source, *clouds[:2], *(name for name, _ in near.most_common(FEW))]
        allowed = set(names)
        names = [name for name in dict.fromkeys(first) if name in allowed][:FEW] or names[:FEW]
    found = _pairs(request, units, ways, units.numbers(names))
    if not one or not found:
        return tuple(found)
    w, devices = problem.weights, units.numbers([owner.device for owner in request.owners])
    pushed: dict[int, float] = {}
    for g in {end.g for end in found}:
        pushed[g] = float(np.median(ways.until(request.weights, devices, np.full(len(devices), g))))
    return (min(found, key=lambda end: (w.time * (end.seconds + pushed[end.g]) + w.price * end.price, end.g, end.v)),)


def _pairs(request: Request, units: Units, ways: Ways, allowed: Ints) -> list[Finish]:
    """Every aggregator with every evaluator, the fastest first."""
    evaluated = request.evaluate_s > 0
    g = np.repeat(allowed, len(allowed)) if evaluated else allowed
    v = np.tile(allowed, len(allowed)) if evaluated else allowed
    aggregate, evaluate = units.cold(AGGREGATE), units.cold(EVALUATE)
    seconds = aggregate[g]
    price = request.aggregate_memory / GB * units.per_gb_s[g] * seconds
    if evaluated:
        last = evaluate[v] + request.evaluate_s / units.speed[v]
        seconds = seconds + ways.until(request.weights, g, v) + last
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
    return found
