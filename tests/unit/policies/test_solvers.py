"""Solvers against each other, against all placements there are, and against what `predict` says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.orchestrator.cases import Size, make, small
from nodes.policies.evaluating import Evaluator, placement
from nodes.policies.greedy import greedy
from nodes.policies.milp import exact
from nodes.policies.orchestrating import predict
from nodes.policies.preparing import prepare
from nodes.policies.requests import Assignment, Decision, Placement, Problem, Request, Round
from nodes.policies.ways import NONE

seeds = st.integers(0, 2**32)


def tiny(seed: int) -> Problem:
    """Two or three owners in one or two tasks, two edge servers, memory for few; with two cuts a task."""
    draw = np.random.default_rng([3, seed])
    problem = make(Size(2, 2, 1, int(draw.integers(1, 3)), 0.5), draw, overlap=0.2)
    requests = tuple(replace(one, cuts=(*one.cuts[:1], one.cuts[int(draw.integers(1, len(one.cuts)))]),
                             deadline_s=None if draw.random() < 0.5 else float(draw.uniform(10, 80)))
                     for one in problem.requests)  # fmt: skip
    return replace(problem, requests=requests)


def rounds(problem: Problem, request: Request) -> Iterator[Round]:
    servers = [unit.name for unit in problem.units.values() if unit.kind != "device"]
    does = [None] + [Assignment(cut.index, server) for cut in request.allowed
                     for server in ([""] if cut.place == "device" else servers)]  # fmt: skip
    ends = problem.finishers(request)
    for every in product(does, repeat=len(request.owners)):
        there = {owner.device: one for owner, one in zip(request.owners, every, strict=True) if one is not None}
        if len(there) >= request.least:
            for g, v in product(ends, ends):
                yield Round(there, g, v)


def brute(problem: Problem) -> float:
    """The least objective of all placements that break nothing."""
    best, names = np.inf, [one.task for one in problem.requests]
    for every in product(*(list(rounds(problem, one)) for one in problem.requests)):
        found = predict(problem, Placement(dict(zip(names, every, strict=True))))
        if found.feasible:
            best = min(best, found.objective)
    return best


def says(problem: Problem, decision: Decision) -> float:
    """The objective of a decision as predicted; infinite without one. What is decided breaks nothing."""
    if decision.placement is None:
        assert decision.unmet
        return np.inf
    found = predict(problem, decision.placement)
    assert found.violations == ()
    assert found.objective == pytest.approx(decision.objective, rel=1e-6)
    return found.objective


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_tables_say_what_is_predicted(seed: int):
    """Any choice of rows has the objective and the seconds that its placement is predicted to have."""
    draw = np.random.default_rng(seed)
    problem = small(seed % 1000)
    table, _ = prepare(problem)
    if table is None:
        return
    at = Evaluator(table)
    finish = np.array([draw.integers(len(every)) for every in table.finishes])
    choice = np.full(len(table.task), NONE)
    for e in range(len(table.task)):
        k = table.task[e]
        rows = np.flatnonzero((table.entry == e) & (table.aggregator == table.finishes[k][finish[k]].g))
        if len(rows) and draw.random() < 0.9:
            choice[e] = draw.choice(rows)
    value = at.value(choice[None], finish[None])
    found = predict(problem, placement(table, choice, finish))
    assert value.objective[0] == pytest.approx(found.objective, rel=1e-9)
    assert value.seconds[0] == pytest.approx(np.array([found.seconds[one.task] for one in problem.requests]), rel=1e-9)
    names = {one.name for one in found.violations}
    told = {name for name, by in zip(("memory", "battery", "participants", "deadline"), value.by[0], strict=True) if by}
    assert names == told


@pytest.mark.parametrize("seed", range(10))
def test_exact_is_the_best_there_is(seed: int):
    problem = tiny(seed)
    if sum(len(one.owners) for one in problem.requests) > 3:
        problem = replace(problem, requests=problem.requests[:1])
    best = brute(problem)
    assert says(problem, exact(problem)) == pytest.approx(best, rel=1e-5)
    assert says(problem, greedy(problem)) >= best * (1 - 1e-9)


@given(seeds)
@settings(max_examples=12, deadline=None)
def test_greedy_finds_a_placement_where_there_is_one(seed: int):
    problem = tiny(seed)
    best, found = says(problem, exact(problem)), says(problem, greedy(problem))
    assert np.isfinite(best) == np.isfinite(found)
    assert found >= best * (1 - 1e-5)
    assert found <= best * 1.25  # of any one case; of many see the benchmark


def test_a_table_of_many_owners_says_what_is_predicted():
    """Beyond the sizes that local search is for, one at a time gives way to waves: nothing is broken either."""
    from benchmarks.orchestrator.cases import many

    problem = many(300, 1)
    says(problem, replace(greedy(problem), objective=predict(problem, greedy(problem).placement).objective))


def test_what_stands_in_the_way_is_named():
    problem = small(0)
    nobody = replace(problem, requests=(replace(problem.requests[0], least=99),))
    for solve in (greedy, exact):
        assert solve(nobody).unmet == {problem.requests[0].task: ("participants",)}
        late = replace(problem, requests=(replace(problem.requests[0], deadline_s=0.01),))
        assert "deadline" in solve(late).unmet[problem.requests[0].task]
        crowded = {name: replace(unit, memory=0) for name, unit in problem.units.items()}
        assert "memory" in solve(replace(problem, units=crowded)).unmet[problem.requests[0].task]
        assert solve(replace(problem, requests=())).placement == Placement({})


def test_the_same_problem_is_decided_alike():
    problem = small(2)
    assert greedy(problem) == greedy(problem)
