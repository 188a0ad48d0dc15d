"""GB-seconds: what is charged to whom."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.platform import billing
from nodes.platform.billing import Charge, Life
from nodes.platform.outcomes import Invocation, Outcome

COLD = Outcome(
    1, Invocation("train-device", task="t"), instance=1, sent=10.0, ended=14.0, cold=True, process_s=0.5, imports_s=1.5,
    start_cpu_s=1.0, cpu_s=2.0, around_cpu_s=0.25, sent_bytes=3, received_bytes=4, reserved=500_000_000,
)  # fmt: skip


def test_a_cold_call_is_charged_its_start_and_its_work():
    charge = billing.of_invocation(COLD)
    assert charge == Charge(1, 1, 0, start_gb_s=1.0, work_gb_s=2.0, cpu_s=3.25, sent=3, received=4)
    assert charge.gb_s == 3.0
    assert billing.price(charge, gb_s=2.0, gb=1e9) == 6.0 + 3.0


def test_in_dilated_time_a_second_costs_as_much_as_ever():
    assert billing.of_invocation(COLD, dilation=4.0).gb_s == pytest.approx(0.75)


def test_what_never_had_an_instance_costs_nothing():
    refused = Outcome(2, Invocation("f", task="t"), kind="refused", asked=3.0, ended=9.0)
    assert billing.of_invocation(refused) == Charge(calls=1, failed=1)


def test_a_failure_is_charged_for_the_time_that_it_took():
    failed = billing.of_invocation(replace(COLD, kind="time"))
    assert (failed.failed, failed.gb_s) == (1, 3.0)


def test_charges_add_up_by_task_and_function():
    other = replace(COLD, invocation=Invocation("evaluate", task="t"), cold=False, process_s=0.0, imports_s=0.0)
    found = billing.by_task([COLD, other, COLD, replace(COLD, invocation=Invocation("evaluate", task="s"))])
    assert {key: (c.calls, c.cold, c.gb_s) for key, c in found.items()} == {
        ("s", "evaluate"): (1, 1, 3.0), ("t", "evaluate"): (1, 0, 2.0), ("t", "train-device"): (2, 2, 6.0),
    }  # fmt: skip
    assert billing.total(found, "t").gb_s == 8.0
    assert list(found) == sorted(found)


@given(st.lists(st.builds(
    Outcome, st.just(1), st.builds(Invocation, st.sampled_from("fg"), task=st.sampled_from("st")),
    instance=st.integers(0, 2), sent=st.floats(0, 10), ended=st.floats(0, 20), cold=st.booleans(),
    process_s=st.floats(0, 1), reserved=st.integers(0, 10**9),
)))  # fmt: skip
def test_nothing_is_charged_twice_or_forgotten(found):
    charges = billing.by_task(found)
    each = [billing.of_invocation(outcome) for outcome in found]
    assert sum(c.calls for c in charges.values()) == len(found)
    assert sum(c.gb_s for c in charges.values()) == pytest.approx(sum(c.gb_s for c in each))
    assert all(c.gb_s >= 0 for c in each)


def test_waiting_in_vain_is_told_apart():
    lives = [Life(1, "f", 10**9, 0.0, 10.0, 1.0, 2.0, 7.0, 3), Life(2, "f", 2 * 10**9, 0.0, 4.0, 1.0, 1.0, 2.0, 1)]
    assert billing.idle_gb_s(lives) == 11.0
    assert billing.idle_gb_s(lives, dilation=2.0) == 5.5
