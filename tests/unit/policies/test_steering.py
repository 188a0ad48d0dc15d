from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.policies.adapting import AdaptPolicy
from nodes.policies.layout import Layout
from nodes.policies.offers import Found
from nodes.policies.partition import partition
from nodes.policies.plans import Problem
from nodes.policies.probing import Cost, ProbePolicy
from nodes.policies.steering import Steering, seconds_at_least
from tests.unit.policies.problems import mesh, model, problem, rates, server

ACCESS, WIRED, RTT = 1e6, 4e5, 1.0
"""bit/s, and s of the wired network, which is so long that following a device is worth something."""
MODEL = model(*[0.02] * 4)
MODEL = replace(MODEL, layers=tuple(replace(layer, weights=1000) for layer in MODEL.layers))
HERE = server("a", 0.2, ACCESS, rtt=0.01)
THERE = server("b", 0.2, WIRED, rtt=RTT)
BASE = replace(problem(MODEL, HERE, THERE), links=mesh("a", "b", rate=WIRED, rtt=RTT), stages=2, fewest=2)
ON_A = partition(BASE).layout
ON_B = Layout(ON_A.bounds, ("dev", "b"))
CHEAP = Cost(0.01, 1000)


def steering(adapt: str = "proactive", probe: str = "adaptive", base: Problem = BASE, **more: float) -> Steering:
    return Steering(
        base, "a", partition(base).layout, 0.0, ProbePolicy(probe, budget=more.pop("budget", 0.02)),
        AdaptPolicy(adapt, dwell=5.0, margin=1.0), Cost(1000.0, 1e9),
    )  # fmt: skip


def test_the_best_layout_is_kept():
    assert ON_A.nodes == ("dev", "a")
    assert steering().plan(0.0, 100, (1, 0, 0)).act == "keep"


def test_a_handover_that_is_foretold_is_prepared_in_time_and_followed_at_once():
    made = steering()
    made.foretold("b", at=60.0)
    assert made.plan(1.0, 1000, (1, 0, 0)).act == "keep"
    prepared = made.plan(58.8, 1000, (1, 5, 0))
    assert (prepared.act, prepared.layout) == ("prepare", ON_B)
    assert made.prepared == ON_B
    assert made.plan(59.5, 1000, (1, 6, 0)).act == "keep"
    made.handed_over("b", 60.0)
    changed = made.plan(60.0, 1000, (1, 9, 0))
    assert (changed.act, changed.layout, made.layout, made.prepared) == ("change", ON_B, ON_B, None)
    assert made.servers == ("b", "a")


def test_reactive_prepares_nothing_and_follows_once_the_device_is_there():
    made = steering("reactive")
    made.foretold("b", at=10.0)
    assert made.plan(9.5, 1000, (1, 9, 0)).act == "keep"
    made.handed_over("b", 10.0)
    changed = made.plan(10.0, 1000, (1, 9, 0))
    assert (changed.act, changed.layout) == ("change", ON_B)


def test_what_probes_find_behind_a_handover_counts_whole():
    made = steering("reactive", base=replace(BASE, links=()))  # how far it is from a to b nobody knows
    made.handed_over("b", 10.0)
    assert made.probe(10.0, CHEAP, 1e9).act == "probe"
    made.learnt("a", Found(up=WIRED, down=WIRED, rtt=RTT, ratio=0.2), 10.1)
    made.learnt("b", Found(up=ACCESS, down=ACCESS, rtt=0.01, ratio=0.2), 10.2)
    assert made.offers(10.2)[1].up == ACCESS


def test_static_stays_whatever_comes():
    made = steering("static")
    made.foretold("b", at=10.0)
    made.handed_over("b", 10.0)
    made.learnt("b", Found(up=1e9, down=1e9), 10.2)
    assert made.plan(10.2, 1000, (1, 10, 0)).act == "keep"


def test_nothing_is_prepared_over_a_network_on_which_no_standby_would_keep_up():
    slow = replace(BASE, links=mesh("a", "b", rate=5e4, rtt=RTT))
    made = steering(base=slow)
    made.foretold("b", at=60.0)
    assert made.plan(58.8, 1000, (1, 5, 0)).act == "keep"
    made.handed_over("b", 60.0)
    assert made.plan(60.0, 1000, (1, 9, 0)).act == "change", "a copy repays all the same"
    other = steering(base=slow)
    other.handed_over("b", 60.0)
    assert other.plan(60.0, 1, (1, 9, 0)).act == "keep", "not for one batch more"


def test_what_was_prepared_is_given_up_when_the_prediction_is():
    made = steering()
    made.foretold("b", at=10.0)
    assert made.plan(9.0, 1000, (1, 5, 0)).act == "prepare"
    made.foretold("", at=0.0)
    assert made.prepared is None
    assert made.plan(9.5, 1000, (1, 6, 0)).act == "keep"


def test_what_is_prepared_and_of_no_use_behind_the_handover_is_given_up():
    made = steering()
    made.foretold("b", at=10.0)
    assert made.plan(9.0, 1000, (1, 5, 0)).act == "prepare"
    made.handed_over("b", 10.0)
    made.learnt("a", Found(up=1e9, down=1e9, rtt=0.0), 10.0)  # the old server is as near as ever
    made.learnt("b", Found(ratio=9.0), 10.0)
    assert made.plan(10.0, 1000, (1, 6, 0)).act == "keep"
    assert made.prepared is None


def test_a_server_that_slows_down_is_left_once_that_is_known():
    fast = replace(BASE, servers=(HERE, replace(THERE, up=ACCESS, down=ACCESS, rtt=0.01)))
    made = steering(base=fast)
    assert made.plan(20.0, 1000, (1, 0, 0)).act == "keep"
    made.learnt("a", Found(ratio=5.0), 20.0)
    made.learnt("a", Found(ratio=5.0), 22.0)
    changed = made.plan(22.0, 1000, (1, 1, 0))
    assert changed.act == "change"
    assert changed.layout is not None
    assert changed.layout.nodes == ("dev", "b")


def test_a_server_that_died_or_is_silent_is_not_chosen():
    made = steering()
    made.gone("a")
    changed = made.plan(1.0, 1000, (1, 0, 0))
    assert changed.act == "change"
    assert changed.layout is not None
    assert changed.layout.nodes == ("dev", "b")
    other = steering()
    other.silent("a")
    assert other.best(1.0).layout.nodes == ("dev", "b")


def test_with_no_server_left_the_device_trains_alone_where_that_may_be():
    made = steering(base=replace(BASE, fewest=1))
    made.gone("a")
    made.gone("b")
    changed = made.plan(1.0, 1000, (1, 0, 0))
    assert changed.layout == Layout((0, 4), ("dev",))


def test_the_budget_of_probes_is_kept():
    made = steering()
    spent = probes = 0
    for tick in range(5000):
        decision = made.probe(tick / 10, Cost(0.2, 1000), 1e9)
        if decision.act == "probe":
            probes += 1
            spent += 0.2
            assert spent <= 0.02 * 1000 + 1e-9
            made.learnt("a", Found(up=ACCESS if probes % 2 else 3 * ACCESS), tick / 10)
    assert probes > 20
    assert steering(budget=0).probe(0.0, CHEAP, 1e9).act == "wait"
    assert steering(probe="off").probe(0.0, CHEAP, 1e9).act == "wait"


def test_a_probe_that_finds_what_was_expected_is_repeated_less_often():
    made = steering()
    assert made.probe(0.0, CHEAP, 1e9).act == "probe"
    made.learnt("a", Found(up=ACCESS, down=ACCESS, ratio=0.2), 0.1)
    assert made.probe(3.0, CHEAP, 1e9).act == "wait"
    other = steering()
    other.probe(0.0, CHEAP, 1e9)
    other.learnt("a", Found(up=ACCESS / 3), 0.1)
    assert other.probe(3.0, CHEAP, 1e9).act == "probe"


def test_a_whole_run_takes_at_least_what_stays_on_the_device():
    cost = seconds_at_least(BASE, 10)
    assert cost.seconds == pytest.approx(10 * BASE.micro * 0.06)
    assert cost.bytes == 10 * BASE.micro * 2000
    assert seconds_at_least(BASE, 0) == Cost(0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["proactive", "reactive", "static"]),
    st.lists(st.tuples(st.sampled_from(["probe", "foretell", "handover", "gone", "silent"]),
                       st.sampled_from(["a", "b", "c"]), rates, st.sampled_from([0.1, 1.0, 5.0])), max_size=12),
)  # fmt: skip
def test_whatever_happens_a_decision_is_one_that_can_be_carried_out(kind, events):
    servers, links = (HERE, THERE, server("c", 1.0, ACCESS)), mesh("a", "b", "c", rate=WIRED, rtt=RTT)
    base = replace(BASE, servers=servers, links=links, fewest=1, stages=3)
    made, now = steering(kind, base=base), 0.0
    for what, name, rate, ratio in events:
        now += 1.0
        match what:
            case "probe":
                made.learnt(name, Found(up=rate, down=rate, ratio=ratio), now)
            case "foretell":
                made.foretold(name, now + ratio)
            case "handover":
                made.handed_over(name, now)
            case "gone":
                made.gone(name)
            case _:
                made.silent(name)
        decision = made.plan(now, 50, (1, int(now), 0))
        assert decision.act in ("keep", "prepare", "change")
        if decision.act != "keep":
            assert decision.layout is not None
            assert base.objection(decision.layout) is None
            assert set(decision.layout.servers) <= set(made.servers)
        if decision.act == "change":
            assert made.layout == decision.layout
        assert kind == "proactive" or made.prepared is None
