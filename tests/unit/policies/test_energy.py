"""Energy by hand, and the laws that batteries keep."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies import energy
from nodes.policies.energy import Energy, Meter, Reached, Supply, affordable
from nodes.policies.units import Battery, Power

PI4 = Power(2.7, 6.4, 4.2, 3.9)  # its radio adds 1.5 W to send, 1.2 W to receive


# --- by hand ---


def test_active_energy_is_what_goes_beyond_idling():
    assert energy.compute_j(PI4, 10.0) == pytest.approx(37.0)
    assert energy.idle_j(PI4, 10.0) == pytest.approx(27.0)
    spent = energy.predicted(PI4, 20.0, 10.0, 1_000_000, 500_000, 8e6, 16e6)
    assert spent.send_j == pytest.approx(1.5)  # a second on the air
    assert spent.receive_j == pytest.approx(0.3)  # a quarter of one
    assert spent.active_j == pytest.approx(38.8)
    assert spent.total_j == pytest.approx(38.8 + 54.0)
    assert energy.radio_j(PI4, 1_000_000, 500_000, 8e6, 16e6) == pytest.approx(1.8)


def test_a_link_without_a_bound_takes_no_airtime_and_a_dead_one_all_of_it():
    assert energy.send_j(PI4, 1e6, None) == 0
    assert energy.send_j(PI4, 1e6, 0.0) == math.inf
    assert energy.send_j(PI4, 0, 0.0) == 0
    assert energy.send_j(Power(2.0, 3.0, 2.0, 2.0), 1e6, 0.0) == 0  # a wire, which needs no power


def test_work_is_admitted_while_the_reserve_stays_with_a_margin():
    battery = Battery(100.0, 50.0, 20.0)
    assert affordable(battery, 30.0, margin=0.0)
    assert not affordable(battery, 30.0)
    assert affordable(battery, 26.0)
    assert affordable(None, math.inf)
    assert not affordable(battery, math.inf)
    assert not affordable(Battery(100.0, 10.0, 20.0), 0.0), "one below its reserve affords nothing"
    assert not affordable(Battery(100.0, 0.0), 1.0)


@pytest.mark.parametrize("joules", [-1.0, math.nan])
def test_a_prediction_that_is_none_is_refused(joules):
    with pytest.raises(InputError, match="predicted joules"):
        affordable(Battery(1.0, 1.0), joules)


def test_reserve_and_end_are_noted_when_they_come():
    meter = Meter(Battery(100.0, 50.0, 20.0), idle_w=1.0)
    meter.spend(10.0, 10.0)  # 2 W
    assert (meter.left_j, meter.reached) == (pytest.approx(30.0), [])
    meter.spend(40.0, 30.0)
    assert meter.reached == [Reached(pytest.approx(15.0), "reserve"), Reached(pytest.approx(25.0), "empty")]
    assert meter.left_j == 0
    assert meter.drawn_j == pytest.approx(80.0)
    assert meter.unmet_j == pytest.approx(30.0)


def test_a_charger_comes_first_and_a_full_battery_refuses_the_rest():
    meter = Meter(Battery(10.0, 4.0, 5.0), 1.0, [Supply(2.0, 3.0), Supply(12.0, 0.0)])
    meter.spend(20.0)
    assert [r.what for r in meter.reached] == ["reserve", "recovered", "full", "reserve"]
    assert [r.at for r in meter.reached] == pytest.approx([0.0, 3.5, 6.0, 17.0])
    assert meter.left_j == pytest.approx(2.0)
    assert meter.charged_j == pytest.approx(3 * 4 + 1 * 6)


def test_what_is_taken_in_no_time_counts():
    meter = Meter(Battery(10.0, 6.0, 5.0))
    meter.spend(0.0, 2.0)
    meter.spend(0.0, 7.0)
    assert meter.reached == [Reached(0.0, "reserve"), Reached(0.0, "empty")]
    assert (meter.left_j, meter.unmet_j) == (0.0, 3.0)


@pytest.mark.parametrize(
    "bad", [Battery(10.0, 11.0), Battery(10.0, -1.0), Battery(10.0, 5.0, 11.0), Battery(math.inf, 5.0)]
)
def test_batteries_that_cannot_be(bad):
    with pytest.raises(InputError, match="cannot be"):
        Meter(bad)


def test_time_does_not_go_back():
    meter = Meter(Battery(10.0, 5.0))
    meter.spend(3.0)
    with pytest.raises(InputError, match="goes back"):
        meter.spend(2.0)
    with pytest.raises(InputError, match="endless"):
        meter.spend(4.0, math.inf)
    with pytest.raises(InputError, match="goes back"):
        Meter(Battery(10.0, 5.0), 0.0, [Supply(3.0, 1.0), Supply(3.0, 2.0)])


# --- laws ---

watts = st.floats(0.0, 20.0)
joules = st.floats(0.0, 500.0)
seconds = st.floats(0.01, 100.0)


@st.composite
def batteries(draw: st.DrawFn) -> Battery:
    capacity = draw(st.floats(0.1, 1000.0))
    return Battery(capacity, capacity * draw(st.floats(0.0, 1.0)), capacity * draw(st.floats(0.0, 1.0)))


@st.composite
def schedules(draw: st.DrawFn) -> list[Supply]:
    at, found = 0.0, []
    for gap, power in draw(st.lists(st.tuples(seconds, watts), max_size=5)):
        at += gap
        found.append(Supply(at, power))
    return found


stretches = st.lists(st.tuples(seconds, joules), min_size=1, max_size=8)


def told(battery, idle, supply, parts):
    meter = Meter(battery, idle, supply)
    for took, active in parts:
        meter.spend(meter.now + took, active)
        assert 0 <= meter.left_j <= battery.capacity_j
    return meter


@given(batteries(), watts, schedules(), stretches)
def test_nothing_is_lost_or_made(battery, idle, supply, parts):
    meter = told(battery, idle, supply, parts)
    took = sum(t for t, _ in parts)
    assert meter.drawn_j == pytest.approx(idle * took + sum(j for _, j in parts), abs=1e-6)
    assert meter.left_j == pytest.approx(battery.left_j + meter.charged_j + meter.unmet_j - meter.drawn_j, abs=1e-6)
    ends = [*(s.at for s in supply[1:]), math.inf]
    offered = [max(min(end, took) - one.at, 0.0) * one.watts for one, end in zip(supply, ends, strict=False)]
    assert meter.charged_j <= sum(offered) + 1e-6
    assert meter.unmet_j <= meter.drawn_j + 1e-9


@given(batteries(), watts, schedules(), seconds, joules, st.lists(st.floats(0.0, 1.0), max_size=6))
def test_energy_adds_up_over_any_division_of_the_time(battery, idle, supply, took, active, cuts):
    whole = told(battery, idle, supply, [(took, active)])
    edges = sorted({0.0, took, *(cut * took for cut in cuts)})
    split = Meter(battery, idle, supply)
    for a, b in pairwise(edges):
        split.spend(b, active * (b - a) / took)
    for name in ("left_j", "drawn_j", "charged_j", "unmet_j"):
        assert getattr(split, name) == pytest.approx(getattr(whole, name), abs=1e-6), name


@given(batteries(), watts, schedules(), stretches)
def test_events_are_in_order_and_take_turns(battery, idle, supply, parts):
    meter = told(battery, idle, supply, parts)
    assert all(a.at <= b.at for a, b in pairwise(meter.reached))
    assert all(0 <= one.at <= meter.now for one in meter.reached)
    sides = [one.what for one in meter.reached if one.what in ("reserve", "recovered")]
    if battery.reserve_j > 0:
        assert all(a != b for a, b in pairwise(sides))
    low = [one.what for one in meter.reached if one.what != "full"]
    assert all("reserve" in low[:i] for i, what in enumerate(low) if what == "empty" and battery.reserve_j > 0)
    if meter.left_j > battery.reserve_j * (1 + 1e-9) + 1e-9:
        assert not sides or sides[-1] == "recovered"
    if meter.left_j < battery.reserve_j * (1 - 1e-9) - 1e-9:
        assert sides[-1] == "reserve"


@given(batteries(), watts, stretches)
def test_without_a_charger_a_battery_only_goes_down(battery, idle, parts):
    meter = told(battery, idle, [], parts)
    assert meter.left_j <= battery.left_j
    assert {one.what for one in meter.reached} <= {"reserve", "empty"}
    assert len(meter.reached) == len({one.what for one in meter.reached})


@given(batteries(), watts, joules, seconds)
def test_what_was_admitted_keeps_the_reserve(battery, idle, active, took):
    """Admission and meter agree: affordable without a margin is not below the reserve afterwards."""
    meter = Meter(battery, idle)
    admitted = affordable(battery, idle * took + active, margin=0.0)
    meter.spend(took, active)
    if admitted:
        assert meter.left_j >= battery.reserve_j - 1e-6
        assert affordable(battery, (idle * took + active) * 0.5, margin=0.0)
    else:
        assert meter.left_j <= battery.reserve_j + 1e-6


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9), st.floats(1e3, 1e10))
def test_bytes_cost_the_same_in_any_portions(one, other, rate):
    whole = energy.send_j(PI4, one + other, rate)
    assert energy.send_j(PI4, one, rate) + energy.send_j(PI4, other, rate) == pytest.approx(whole)


def test_energy_has_its_sums():
    assert Energy(1.0, 2.0, 3.0, 4.0).active_j == 6.0
    assert Energy(1.0, 2.0, 3.0, 4.0).total_j == 10.0
