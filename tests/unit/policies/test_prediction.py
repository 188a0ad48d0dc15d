from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.association import nearest
from nodes.policies.prediction import Guess, Prediction, linear, oracle, score

POINTS = {"west": (0.0, 0.0), "east": (100.0, 0.0)}


def site_at(x: float, y: float) -> str:
    return nearest((x, y), POINTS)


def test_the_oracle_sees_as_far_as_its_horizon():
    handovers = [(10.0, "east"), (20.0, "west")]
    assert oracle(4.9, handovers, 5) is None
    assert oracle(5.0, handovers, 5) == Guess("east", 10.0)
    assert oracle(10.0, handovers, 5) is None  # it is under way: the next one is 10 s off
    assert oracle(15.5, handovers, 5) == Guess("west", 20.0)


def test_straight_on():
    fixes = [(t, 10.0 * t, 3.0) for t in (0.0, 1.0, 2.0, 3.0)]
    assert linear(3, fixes, "west", site_at, horizon=5) == Guess("east", 5.0)  # equally near: by name
    assert linear(3, fixes, "west", site_at, horizon=1) is None
    assert linear(3, fixes[:1], "west", site_at, horizon=5) is None


def test_who_is_past_the_border_already_is_expected_now():
    assert linear(9, [(8.0, 70.0, 0.0), (9.0, 70.0, 0.0)], "west", site_at, horizon=5) == Guess("east", 9)


@given(st.floats(-20, 20), st.floats(0.1, 30), st.floats(0, 40))
def test_a_straight_path_is_foretold_right(start, speed, now):
    x = start + speed * now
    guess = linear(now, [(now - 1, x - speed, 0), (now, x, 0)], "west", site_at, horizon=60, step=0.5)
    crossing = (50 - start) / speed
    if now < crossing < now + 59:
        assert guess is not None
        assert (guess.to, guess.at) == ("east", pytest.approx(crossing, abs=0.51))


def said(*events: tuple[float, str | None]) -> list[Prediction]:
    return [Prediction("d", made, None if to is None else Guess(to, made + 3)) for made, to in events]


def test_hits_and_misses():
    predictions = said((1, "b"), (6, "c"), (11, "b"), (13, None), (14, "x"))
    found = score(predictions, [("d", 5, "b"), ("d", 9, "z"), ("e", 2, "b")])
    assert (found.hits, found.wrong, found.unforeseen, found.withdrawn) == (1, 1, 1, 2)
    assert (found.lead, found.error) == (4, 1)
    assert found.recall == pytest.approx(1 / 3)
    assert found.precision == pytest.approx(1 / 4)


def test_nothing_is_expected_of_a_device_after_its_end():
    predictions = [*said((1, "b"), (6, "c")), Prediction("e", 1.0, Guess("b", 9.0))]
    found = score(predictions, [("d", 4, "b")], until=20, ends={"d": 8.0})
    assert (found.hits, found.withdrawn) == (1, 1), "that of e did not come, and e was there"
    assert score(predictions, [("d", 4, "b")], until=20).withdrawn == 2


def test_a_new_moment_for_the_same_site_keeps_the_lead():
    found = score(said((1, "b"), (2, "b"), (4, "b")), [("d", 5, "b")])
    assert (found.hits, found.withdrawn, found.lead, found.error) == (1, 0, 4, 2)


def test_what_is_said_at_the_moment_itself_is_too_late():
    assert score(said((5, "b")), [("d", 5, "b")]).unforeseen == 1


def test_what_is_no_sooner_than_the_notice_is_a_miss():
    predictions = said((1, "b"), (8, "c"))
    found = score(predictions, [("d", 5, "b"), ("d", 9, "c")], notice=2)
    assert (found.hits, found.late, found.misses, found.false_alarms) == (1, 1, 1, 0)
    assert score(predictions, [("d", 5, "b"), ("d", 9, "c")], notice=1).hits == 2


def test_false_alarms_are_to_another_site_or_of_nothing():
    found = score(said((1, "b"), (2, "c"), (6, "b")), [("d", 5, "b")])
    assert (found.wrong, found.withdrawn, found.false_alarms, found.misses) == (1, 2, 3, 1)
    assert found.as_dict()["false_alarms"] == 3


def test_what_was_expected_after_the_end_is_not_judged():
    predictions = said((1, "b"), (6, "c"), (12, "b"))
    assert score(predictions, [("d", 5, "b")], until=8).false_alarms == 0, "expected at 9"
    assert score(predictions, [("d", 5, "b")], until=10).false_alarms == 1


def test_the_mean_lead_and_its_median():
    found = score(said((1, "b"), (6, "c"), (11, "b")), [("d", 2, "b"), ("d", 8, "c"), ("d", 20, "b")])
    assert (found.lead, found.mean_lead) == (2, 4)


def test_of_nothing():
    found = score([], [])
    assert (found.recall, found.precision, found.lead) == (None, None, None)


moments = st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abc")), unique_by=lambda e: e[0])


@given(moments, st.integers(1, 20))
def test_the_oracle_is_never_wrong(handovers, horizon):
    """Asked at every moment, it foresees every handover, the first moment's apart."""
    steps = sorted((float(at), to) for at, to in handovers)
    told = [Prediction("d", now / 2, oracle(now / 2, steps, horizon)) for now in range(101)]
    found = score(told, [("d", at, to) for at, to in steps])
    assert (found.wrong, found.withdrawn) == (0, 0)
    assert found.unforeseen == sum(at == 0 for at, _ in steps)
