from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.decisions import Decision
from nodes.policies.probing import (
    FREE,
    Cost,
    ProbePolicy,
    Probing,
    alarm,
    begin,
    error,
    learnt,
    look,
    returned,
    watched,
)

ADAPTIVE = ProbePolicy(least=1, most=16, budget=1)
PLENTY = 1e12


def probe(policy: ProbePolicy, state: Probing, now: float, handover_in: float | None = None) -> tuple[str, Probing]:
    decision, state = look(policy, state, now, FREE, PLENTY, handover_in)
    return decision.act, state


def run(policy: ProbePolicy, seconds: int, right: bool = True) -> list[int]:
    """When probes are begun, looking once a second; each finds at once what was predicted, or something else."""
    state, times = begin(policy, 0), []
    for now in range(seconds):
        act, state = probe(policy, state, now)
        if act == "probe":
            times.append(now)
            state = learnt(policy, state, now, 1.0, 1.0 if right else 2.0)
    return times


def test_the_interval_grows_while_predictions_hold():
    assert run(ADAPTIVE, 70) == [0, 2, 6, 14, 30, 46, 62]
    assert run(ADAPTIVE, 6, right=False) == [0, 1, 2, 3, 4, 5]
    assert run(ProbePolicy("every", least=10, budget=1), 35) == [0, 10, 20, 30]
    assert run(ProbePolicy("off"), 35) == run(ProbePolicy(budget=0), 35) == []


@pytest.mark.parametrize("what", ["error", "link", "handover"])
def test_it_falls_when_something_changes(what):
    state = begin(ADAPTIVE, 0)
    for now in (0, 2, 6):
        act, state = probe(ADAPTIVE, state, now)
        assert act == "probe"
        state = learnt(ADAPTIVE, state, now, 1.0, 1.05)
    assert (state.interval, state.due) == (8, 14)
    if what == "error":
        assert watched(ADAPTIVE, state, 7, 1.0, 1.09) == state
        state = watched(ADAPTIVE, state, 7, 1.0, 1.2)
    elif what == "link":
        state = alarm(ADAPTIVE, state, 7)
    act, state = probe(ADAPTIVE, state, 7, 5.0 if what == "handover" else None)
    assert (act, state.interval, state.due) == ("probe", 1, 8)


def test_near_a_handover_it_stays_short_and_far_from_one_it_does_not():
    state = begin(ADAPTIVE, 0)
    acts = []
    for now in range(4):
        act, state = probe(ADAPTIVE, state, now, handover_in=4.0 - now)
        state = learnt(ADAPTIVE, state, now, 1.0, 1.0)
        acts.append(act)
    assert acts == ["probe"] * 4
    assert probe(ADAPTIVE, state, 4, handover_in=60.0)[0] == "wait"


def test_what_may_not_be_spent_is_put_off_once():
    policy = ProbePolicy(least=1, budget=0.02)
    state = begin(policy, 100)
    acts: list[Decision] = []
    for now in range(100, 110):
        decision, state = look(policy, state, now, Cost(0.2, 0), PLENTY, handover_in=1.0)
        acts.append(decision)
    assert [one.act for one in acts] == ["put off"] + ["wait"] * 9
    assert acts[0].figures["next"] == pytest.approx(110)
    assert "of time" in acts[0].why
    assert state.put_off == 1
    assert look(policy, state, 110, Cost(0.2, 0), PLENTY)[0].act == "probe"


def test_bytes_have_a_budget_of_their_own():
    policy = ProbePolicy(least=1, budget=0.02)
    state = begin(policy, 0)
    decision, state = look(policy, state, 1, Cost(0, 100), 4000)
    assert (decision.act, decision.why) == ("put off", "above the budget of 0.02 of bytes")
    assert look(policy, state, 2, Cost(0, 100), 5000)[0].act == "probe"


def test_what_the_whole_run_is_expected_to_be_may_be_spent_ahead():
    policy = ProbePolicy(budget=0.02)
    state = begin(policy, 0, expected=Cost(100, 10_000))
    decision, state = look(policy, state, 0, Cost(2, 200), 0)
    assert decision.act == "probe"
    assert look(policy, state, 50, Cost(0.1, 0), 0)[0].act == "put off"


def test_what_a_probe_did_not_take_comes_back_and_one_that_never_returns_costs_it_all():
    _, state = look(ADAPTIVE, begin(ADAPTIVE, 0), 10, Cost(4, 40), 1000)
    assert state.share(10, 1000) == (0.4, 0.04)
    assert returned(state, Cost(4, 40), Cost(1, 10)).share(10, 1000) == (0.1, 0.01)
    assert begin(ADAPTIVE, 0).share(0, 0) == (0, 0)


events = st.lists(
    st.tuples(
        st.integers(1, 50), st.integers(0, 2000), st.integers(0, 30), st.integers(0, 500),
        st.sampled_from(["", "alarm", "near", "right", "wrong"]), st.floats(0, 1),
    ),
    max_size=60,
)  # fmt: skip


@given(st.sampled_from(["adaptive", "every"]), st.sampled_from([0.0, 0.02, 0.2]), events)
def test_the_budget_holds_at_every_moment(kind, budget, steps):
    policy = ProbePolicy(kind, least=1, most=8, budget=budget)
    state, now, carried = begin(policy, 0), 0.0, 0.0
    probes = put_off = 0
    for wait, sent, cost_s, cost_bytes, what, used in steps:
        now, carried = now + wait / 10, carried + sent
        said = Cost(cost_s / 100, cost_bytes)
        if what == "alarm":
            state = alarm(policy, state, now)
        decision, state = look(policy, state, now, said, carried, 1.0 if what == "near" else None)
        if decision.act == "probe":
            probes += 1
            if what in ("right", "wrong"):  # the others never return
                took = Cost(said.seconds * used, said.bytes * used)
                state = returned(state, said, took)
                carried += took.bytes
                state = learnt(policy, state, now, 1.0, 1.0 if what == "right" else 3.0)
        put_off += decision.act == "put off"
        assert all(one <= budget * (1 + 1e-9) for one in state.share(now, carried))
        assert policy.least <= state.interval <= policy.most
        if budget > 0:
            assert decision.figures["next"] > now
    assert (state.probes, state.put_off) == (probes, put_off)


@given(events)
def test_two_probes_are_never_closer_than_the_shortest_interval(steps):
    policy = ProbePolicy(least=2, most=8, budget=1)
    state, now, times = begin(policy, 0), 0.0, []
    for wait, _, _, _, what, _ in steps:
        now += wait / 10
        state = alarm(policy, state, now) if what == "alarm" else state
        act, state = probe(policy, state, now, 1.0 if what == "near" else None)
        if act == "probe":
            times.append(now)
            state = learnt(policy, state, now, 1.0, 1.0 if what == "right" else 3.0)
    assert all(later - before >= 2 - 1e-9 for before, later in pairwise(times))


def test_errors_of_predictions():
    assert error(2.0, 2.5) == 0.25
    assert error(0.0, 0.0) == 0
    assert error(0.0, 1.0) == error(1.0, math.inf) == math.inf


@pytest.mark.parametrize("bad", [
    {"kind": "often"}, {"least": 0}, {"least": 9, "most": 8}, {"growth": 0.5}, {"budget": 1.5}, {"budget": -0.1},
    {"eps": -1}, {"margin": float("inf")}, {"least": float("nan")},
])  # fmt: skip
def test_no_such_policy(bad):
    with pytest.raises(InputError):
        ProbePolicy(**bad)
