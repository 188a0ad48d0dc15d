"""Baselines do what their names say, and the blind ones are blind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.orchestrator.cases import Problem, small
from nodes.errors import InputError
from nodes.policies.baselines import POLICIES, at_random, decide
from nodes.policies.greedy import greedy
from nodes.policies.orchestrating import predict
from nodes.policies.requests import Decision, Placement
from nodes.policies.units import Battery

SEEDS = range(6)


def servers(problem: Problem, decision: Decision) -> set[str]:
    """Kinds of the servers that edge halves are on."""
    rounds = decision.placement.rounds.values() if decision.placement else ()
    return {problem.units[one.server].kind if one.server else "device"
            for round in rounds for one in round.participants.values()}  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_the_work_is_where_the_name_says(seed: int):
    problem = small(seed)
    stays = any(request.labels_stay for request in problem.requests)
    assert servers(problem, POLICIES["all-device"](problem)) <= {"device"}
    assert servers(problem, POLICIES["all-cloud"](problem)) <= {"cloud"} | ({"device"} if stays else set())
    assert servers(problem, POLICIES["all-edge"](problem)) <= {"edge"} | ({"device"} if stays else set())


def test_where_nothing_may_be_used_there_is_no_placement():
    decision = greedy(small(0), keep=lambda table: np.zeros(len(table.entry), bool))
    assert decision.placement is None
    assert set(decision.unmet) == {request.task for request in small(0).requests}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_baseline_that_sees_all_is_much_better(seed: int):
    """They are the orchestrator with fewer choices, so what they find it could have found."""
    problem = small(seed)
    best = POLICIES["greedy"](problem).objective
    for name in ("all-cloud", "all-edge", "all-device", "random"):
        assert POLICIES[name](problem).objective >= best * 0.97, name


def test_random_repeats_by_its_seed():
    problem = small(1)
    assert at_random(problem, seed=3) == at_random(problem, seed=3)
    assert len({repr(at_random(problem, seed=seed)) for seed in range(5)}) > 1


def test_who_is_blind_to_batteries_breaks_them():
    """With one battery all but empty, the average says that there is enough everywhere."""
    problem = small(0)
    first = problem.requests[0].owners[0].device
    units = {name: unit if unit.kind != "device" else
             replace(unit, battery=Battery(1e6, 1e6 if name != first else 1.0, 0.0))
             for name, unit in problem.units.items()}  # fmt: skip
    request = replace(problem.requests[0], least=len(problem.requests[0].owners) - 1, absent=1e4)
    problem = replace(problem, units=units, requests=(request,))
    blind = POLICIES["blind-battery"](problem)
    assert blind.placement is not None
    assert [one.name for one in predict(problem, blind.placement).violations] == ["battery"]
    seen = POLICIES["greedy"](problem)
    assert seen.placement is not None
    assert predict(problem, seen.placement).feasible


@pytest.mark.parametrize("name", sorted(set(POLICIES) - {"exact"}))
def test_every_policy_answers(name: str):
    problem = small(3)
    decision, refused = decide(problem, name)
    assert decision.placement is not None
    assert set(decision.placement.rounds) | set(refused) == {request.task for request in problem.requests}
    assert decide(replace(problem, requests=()), name)[0].placement == Placement({})


def test_what_cannot_be_is_put_off_and_the_others_go_on():
    problem = small(2)
    late = replace(problem.requests[0], deadline_s=0.001)
    decision, refused = decide(replace(problem, requests=(late, *problem.requests[1:])))
    assert list(refused) == [late.task]
    assert "deadline" in refused[late.task]
    assert decision.placement is not None
    assert set(decision.placement.rounds) == {request.task for request in problem.requests[1:]}
    with pytest.raises(InputError, match="no policy"):
        decide(problem, "best")
