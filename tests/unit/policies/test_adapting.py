from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.adapting import (
    NOTHING,
    STATE_COPIES,
    Adapting,
    AdaptPolicy,
    Choice,
    MoveCost,
    Outlook,
    decide,
    move_cost,
)
from nodes.policies.layout import Layout
from nodes.policies.plans import Plan, predict
from tests.unit.policies.problems import MiB, model, problem, server

BED = problem(model(*[0.1] * 4), server("a", 0.5), server("b", 0.5, rate=1e8), stages=3, depth=8)
ON_A, ON_B = Layout((0, 2, 4), ("dev", "a")), Layout((0, 2, 4), ("dev", "b"))
POLICY = AdaptPolicy("reactive", hysteresis=0.1, dwell=5)
STATE = Adapting(ON_A, since=0.0)


def plan(layout: Layout, seconds: float) -> Plan:
    made = predict(BED, layout)
    return replace(made, batch_s={**made.batch_s, made.schedule: seconds})


def choice(current: float | None, best: float, cost: float | None = 1.0, layout: Layout = ON_B) -> Choice:
    return Choice(current, plan(layout, best), None if cost is None else MoveCost(stall_s=cost))


def act(policy: AdaptPolicy, found: Choice, remaining: int = 100, now: float = 10.0, state: Adapting = STATE,
        outlook: Outlook | None = None) -> str:  # fmt: skip
    return decide(policy, state, now, found, remaining, outlook)[0].act


def test_a_change_has_to_repay():
    assert act(POLICY, choice(2.0, 1.0), remaining=100) == "change"
    assert act(POLICY, choice(2.0, 1.0, cost=100), remaining=100) == "keep"
    assert act(POLICY, choice(2.0, 1.0, cost=99), remaining=100) == "change"
    assert act(POLICY, choice(2.0, 1.0), remaining=1) == "keep"
    assert act(POLICY, choice(2.0, 1.0, cost=None)) == "keep"
    assert act(POLICY, choice(2.0, 1.0, layout=ON_A)) == "keep"


def test_hysteresis_and_dwell():
    assert act(POLICY, choice(1.0, 0.9, cost=0)) == "keep"
    assert act(POLICY, choice(1.0, 0.89, cost=0)) == "change"
    assert act(POLICY, choice(2.0, 1.0), now=4.9) == "keep"
    assert act(POLICY, choice(2.0, 1.0), now=5.0) == "change"


@pytest.mark.parametrize("kind", ["static", "reactive", "proactive"])
def test_a_plan_that_cannot_go_on_is_left_by_every_kind(kind):
    policy = AdaptPolicy(kind)
    decision, state = decide(policy, STATE, 0.1, choice(None, 1.0, cost=None), 1, position=(1, 2, 3), device="dev")
    assert (decision.act, decision.layout, decision.position, decision.device) == ("change", ON_B, (1, 2, 3), "dev")
    assert state == Adapting(ON_B, 0.1, None, 1)
    assert act(policy, choice(None, 1.0, layout=ON_A)) == "keep"


def test_static_never_adapts():
    assert act(AdaptPolicy("static"), choice(9.0, 1.0, cost=0)) == "keep"


def handover(at: float, current: float | None = 2.0, best: float = 1.0, **changes: object) -> Outlook:
    found = Choice(current, plan(ON_B, best), MoveCost(copy_s=3.0, stall_s=0.1))
    return Outlook("south", at, replace(found, **changes))  # type: ignore[arg-type]


PROACTIVE = AdaptPolicy("proactive", hysteresis=0.1, dwell=5, margin=1)
HERE = choice(1.0, 1.0, layout=ON_A)


def test_ahead_of_a_handover_the_move_is_prepared_in_time():
    assert act(PROACTIVE, HERE, now=10, outlook=handover(14.1)) == "keep"
    assert act(PROACTIVE, HERE, now=10, outlook=handover(14.0)) == "prepare"
    assert act(PROACTIVE, HERE, now=10, outlook=handover(14.0, current=None)) == "prepare"
    assert act(PROACTIVE, HERE, now=10, outlook=handover(14.0, current=1.05)) == "keep"
    assert act(PROACTIVE, HERE, now=10, outlook=handover(14.0, cost=None)) == "keep"
    assert act(POLICY, HERE, now=10, outlook=handover(14.0)) == "keep", "reactive"
    assert act(AdaptPolicy("static"), HERE, now=10, outlook=handover(14.0)) == "keep"


def test_what_is_prepared_is_prepared_once_and_changed_to_at_once():
    decision, state = decide(PROACTIVE, STATE, 10, HERE, 100, handover(13))
    assert (decision.act, decision.layout, decision.depths) == ("prepare", ON_B, plan(ON_B, 1).depths)
    assert decision.figures["handover_in"] == 3
    decision, state = decide(PROACTIVE, state, 11, HERE, 99, handover(13))
    assert (decision.act, state.prepared) == ("keep", ON_B)
    late = replace(state, since=12.9)  # it changed a moment ago: what is prepared does not wait
    decision, state = decide(PROACTIVE, late, 13, choice(2.0, 1.0, cost=0.1), 98)
    assert (decision.act, decision.why) == ("change", "as prepared")
    assert state == Adapting(ON_B, 13, None, 1)


def test_what_was_prepared_in_vain_is_dropped():
    state = replace(STATE, prepared=ON_B)
    elsewhere = Outlook("west", 12, Choice(2.0, plan(ON_A, 1.0), NOTHING))
    assert decide(PROACTIVE, state, 10, HERE, 100, elsewhere)[1].prepared is None


def test_before_a_handover_only_what_is_left_until_then_counts():
    better = choice(2.0, 1.0, cost=3.0)
    assert act(PROACTIVE, better, now=10) == "change"
    assert act(PROACTIVE, better, now=10, outlook=handover(14, current=1.0)) == "keep"
    assert act(PROACTIVE, better, now=10, outlook=handover(30, current=1.0)) == "change"


def test_an_unsure_prediction_counts_for_less():
    sure = handover(13, best=1.5)
    costly = replace(sure, choice=replace(sure.choice, cost=MoveCost(copy_s=3, stall_s=40)))
    assert act(PROACTIVE, HERE, now=10, outlook=costly) == "prepare"
    assert act(PROACTIVE, HERE, now=10, outlook=replace(costly, sure=0.5)) == "keep"


# --- cost ---


def test_whole_stages_are_brought_into_step_beside_the_training():
    cost = move_cost(BED.world, predict(BED, ON_A), predict(BED, ON_B))
    assert cost.bytes == STATE_COPIES * 2 * MiB
    assert cost.copy_s == pytest.approx(8 * cost.bytes / 1e9)
    assert (cost.standby, cost.stall_s, cost.slowed_s) == (True, 0, 0)


def test_other_cuts_are_drained_moved_and_filled_again():
    old, new = predict(BED, ON_A), predict(BED, Layout((0, 1, 4), ("dev", "a")))
    cost = move_cost(BED.world, old, new)
    assert cost.bytes == STATE_COPIES * MiB
    assert not cost.standby
    assert cost.seconds == pytest.approx(old.latency + 8 * cost.bytes / 1e9 + new.latency)
    assert move_cost(BED.world, old, old) == NOTHING


def test_a_copy_on_a_busy_wire_slows_the_training():
    p = problem(model(*[0.01] * 4), server("a", 0.5, rate=1e5), server("b", 0.5, rate=1e5), stages=3, depth=8)
    chain = Layout((0, 2, 3, 4), ("dev", "a", "b"))
    old, new = predict(p, chain), predict(p, replace(chain, nodes=("dev", "b", "a")))
    cost = move_cost(p.world, old, new)
    busy = old.busy["a -> b"] / (old.seconds / 4) + old.busy["b -> a"] / (old.seconds / 4)
    assert cost.slowed_s == pytest.approx(busy * 8 * STATE_COPIES * MiB / 1e9)


def test_state_without_a_way_is_lost():
    p = replace(BED, links=())
    with pytest.raises(InputError, match="no way from a to b"):
        move_cost(p.world, predict(p, ON_A), predict(p, ON_B))


@pytest.mark.parametrize("bad", [{"kind": "wild"}, {"hysteresis": 1.0}, {"dwell": -1}, {"margin": float("inf")}])
def test_no_such_policy(bad):
    with pytest.raises(InputError):
        AdaptPolicy(**bad)


# --- laws ---


batch_times = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=60)


@given(batch_times, st.floats(0, 0.5), st.floats(0, 20), st.floats(0, 5))
def test_it_does_not_flap(times, hysteresis, dwell, cost):
    """Two changes are at least the dwell apart, and each goes to a plan that was better by the hysteresis."""
    policy = AdaptPolicy("proactive", hysteresis, dwell)
    plans = {ON_A: plan(ON_A, 1), ON_B: plan(ON_B, 1)}
    state, now, changed = Adapting(ON_A, -1e9), 0.0, []
    for i, pair in enumerate(times):
        seconds = dict(zip((ON_A, ON_B), pair, strict=True))
        best = min(seconds, key=lambda one: seconds[one])
        made = replace(plans[best], batch_s={"1f1b": seconds[best]})
        before = state.layout
        found = Choice(seconds[before], made, NOTHING if best == before else MoveCost(stall_s=cost))
        decision, state = decide(policy, state, now, found, len(times) - i)
        if decision.act == "change":
            changed.append(now)
            assert state.layout == best != before
            assert seconds[best] < (1 - hysteresis) * seconds[before]
            assert (seconds[before] - seconds[best]) * (len(times) - i) > cost
        now += seconds[before]
    assert all(later - before >= dwell for before, later in pairwise(changed))


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=5),
       st.floats(0, 0.3), st.floats(0, 10), st.floats(0, 20), st.sampled_from(["reactive", "proactive"]))  # fmt: skip
def test_adaptive_is_never_worse_than_static_by_more_than_its_cost(parts, hysteresis, dwell, cost, kind):
    """Conditions that change a few times: phases of batches, with the seconds of two plans in each.

    What adapting may lose, against either plan kept: the stated cost of each change; a change that conditions make
    wrong, until the dwell is over; a better plan that does not repay, at most a change's cost a phase; and what the
    hysteresis lets pass.
    """
    policy = AdaptPolicy(kind, hysteresis, dwell)
    plans = {ON_A: plan(ON_A, 1), ON_B: plan(ON_B, 1)}
    total = sum(count for count, _, _ in parts)
    state, now, done, spent, slowest = Adapting(ON_A, -1e9), 0.0, 0, 0.0, 0.0
    kept = {ON_A: 0.0, ON_B: 0.0}
    for count, on_a, on_b in parts:
        seconds = {ON_A: on_a, ON_B: on_b}
        slowest = max(slowest, on_a, on_b)
        for _ in range(count):
            best = min(seconds, key=lambda one: seconds[one])
            made = replace(plans[best], batch_s={"1f1b": seconds[best]})
            found = Choice(seconds[state.layout], made, NOTHING if best == state.layout else MoveCost(stall_s=cost))
            decision, state = decide(policy, state, now, found, total - done)
            if decision.act == "change":
                spent, now = spent + cost, now + cost
            now, done = now + seconds[state.layout], done + 1
            for one in kept:
                kept[one] += seconds[one]
    least = min(kept.values()) if len(parts) == 1 else kept[ON_A]
    allowed = least / (1 - hysteresis) + spent + len(parts) * cost + state.changes * (dwell + slowest)
    assert now <= allowed + 1e-6
    if len(parts) == 1:  # nothing changes: one decision at the start, and no more loss than a change would have cost
        assert state.changes <= 1
        assert now <= kept[ON_A] + 1e-6, "never worse than static at all"
