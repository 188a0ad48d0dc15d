"""What is measured: greedy against exact where that can be, and how long it takes and how good it is on many units."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.orchestrator.bound import bound
from benchmarks.orchestrator.cases import many, small
from nodes.policies.baselines import POLICIES
from nodes.policies.milp import exact as exact_by
from nodes.policies.orchestrating import predict
from nodes.policies.requests import Decision, Problem

SIZES = (10, 30, 100, 300, 1000, 3000, 10_000)
BASELINES = tuple(name for name in POLICIES if name not in ("greedy", "exact"))
REPEATS = 3
COMPARED = 50
"""Small cases that the baselines are run on, too."""
PATIENCE_S = 120.0
"""Seconds that HiGHS has for one small case; what it has not proved by then is told."""


@dataclass(frozen=True)
class Judged:
    """A policy's decision, as the true problem has it; infinite and why, if there is none or it breaks something."""

    objective: float
    why: str = ""


@dataclass(frozen=True)
class Small:
    """One small case; ``bound`` is what no placement's objective is below, as far as exact has proved."""

    seed: int
    owners: int
    tasks: int
    exact: Judged
    greedy: Judged
    proved: bool
    exact_s: float
    greedy_s: float
    baselines: dict[str, Judged] = field(default_factory=dict)
    bound: float = 0.0

    @property
    def gap(self) -> float | None:
        """Per cent that greedy is above exact; infinite: it found nothing; None: there is nothing to be found.

        Where exact was not proved in time, per cent above its bound: the true gap is no larger.
        """
        if not self.proved:
            return 100 * (self.greedy.objective / self.bound - 1) if self.bound > 0 else math.inf
        if math.isinf(self.exact.objective):
            return None
        return 100 * (self.greedy.objective / self.exact.objective - 1)


@dataclass(frozen=True)
class Large:
    """One size."""

    units: int
    owners: int
    tasks: int
    seconds: tuple[float, ...]
    greedy: Judged
    bound: float
    baselines: dict[str, Judged] = field(default_factory=dict)


def judge(problem: Problem, decision: Decision) -> Judged:
    """What a decision is worth by what is true."""
    if decision.placement is None:
        return Judged(math.inf, ", ".join(sorted({name for names in decision.unmet.values() for name in names})))
    found = predict(problem, decision.placement)
    broken = ", ".join(sorted({one.name for one in found.violations}))
    return Judged(math.inf if broken else found.objective, broken and f"breaks {broken}")


def one_small(seed: int, compared: int = COMPARED) -> Small:
    """A small case; the baselines run on the first so many of them, too."""
    problem = small(seed)
    begun = time.perf_counter()
    greedy = POLICIES["greedy"](problem)
    between = time.perf_counter()
    exact = exact_by(problem, seconds=PATIENCE_S)
    end = time.perf_counter()
    return Small(seed, sum(len(one.owners) for one in problem.requests), len(problem.requests), judge(problem, exact),
                 judge(problem, greedy), proved(exact), end - between, between - begun,
                 {name: judge(problem, POLICIES[name](problem)) for name in BASELINES if seed < compared},
                 exact.bound)  # fmt: skip


def proved(exact: Decision) -> bool:
    """Whether an exact decision is the best there is, or there is none, and HiGHS has not just run out of time."""
    if exact.placement is None:
        return all("time" not in names for names in exact.unmet.values())
    return exact.bound >= exact.objective - 1e-4 * abs(exact.objective)


def timed(problem: Problem) -> tuple[tuple[float, ...], Decision]:
    """Seconds of each of some decisions about a problem, and what was decided."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        decision = POLICIES["greedy"](problem)
        seconds.append(time.perf_counter() - begun)
    return tuple(seconds), decision


def one_large(units: int) -> Large:
    problem = many(units, 1)
    seconds, decision = timed(problem)
    return Large(units, sum(len(one.owners) for one in problem.requests), len(problem.requests), seconds,
                 judge(problem, decision), bound(problem),
                 {name: judge(problem, POLICIES[name](problem)) for name in BASELINES})  # fmt: skip


def measured(cases: int, sizes: tuple[int, ...], tell: Callable[[str], None]) -> tuple[list[Small], list[Large]]:
    """Everything."""
    smalls: list[Small] = []
    for seed in range(cases):
        smalls.append(one_small(seed))
        if (seed + 1) % 20 == 0:
            tell(f"{seed + 1} small cases: gap at the 95th percentile {gap_p95(smalls):.2f} %")
    larges = []
    for units in sizes:
        larges.append(one_large(units))
        tell(f"{units} units: {statistics.median(larges[-1].seconds):.3f} s")
    return smalls, larges


def gap_p95(smalls: list[Small]) -> float:
    """Per cent at the 95th percentile of the cases that have a placement."""
    gaps = sorted(one.gap for one in smalls if one.gap is not None)
    return gaps[math.ceil(0.95 * (len(gaps) - 1))] if gaps else math.nan


def figures(smalls: list[Small], larges: list[Large]) -> dict[str, float | None]:
    """By name."""
    last = [max(one.seconds) for one in larges if one.units == 10_000]
    return {"greedy_gap_pct_p95": _round(gap_p95(smalls)), "decide_10k_s": _round(last[0]) if last else None}


def as_json(smalls: list[Small], larges: list[Large]) -> dict[str, Any]:
    """What orchestrator.json holds; what is infinite is null."""
    plain = {"small": [{**asdict(one), "gap_pct": one.gap} for one in smalls], "large": [asdict(one) for one in larges]}
    found: dict[str, Any] = _finite(plain)
    return {**figures(smalls, larges), **found}


def _round(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return _round(value) if isinstance(value, float) else value
