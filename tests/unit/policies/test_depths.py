from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.policies.depths import choose, needed, period, round_trips
from nodes.policies.simulate import play
from tests.unit.policies.problems import chain_of, chains


def test_without_transfers_one_more_a_stage():
    """PipeDream's 1F1B: as many in flight as stages from here on."""
    assert choose(chain_of([(1, 1)] * 4), 4, 16, slack=1.0) == ((4, 3, 2, 1), 2)


def test_transfers_as_long_as_steps_ask_for_two():
    assert choose(chain_of([(1, 1)] * 4, [(1, 1)] * 3), 4, 16, slack=1.0) == ((7, 5, 3, 1), 2)


def test_a_cap_costs_what_it_costs():
    depths, seconds = choose(chain_of([(1, 1)] * 4, [(1, 1)] * 3), 4, 4)
    assert depths == (4, 3, 2, 1)
    assert seconds == 3.5  # 14 s there and back, and four under way


def test_slack_goes_where_the_cap_allows_it():
    chain = chain_of([(1, 1), (1, 1)], [(2, 0)])
    assert choose(chain, 4, 3)[0] == (3, 1)
    assert choose(chain, 4, 4)[0] == (4, 1)


def test_by_itself_and_of_nothing():
    assert choose(chain_of([(1, 1)]), 4, 4) == ((1,), 2)
    assert choose(chain_of([(0, 0), (0, 0)]), 4, 4) == ((1, 1), 0)
    assert choose(chain_of([(0, 0), (0, 0)], delay=1), 4, 2) == ((2, 1), 1)


@settings(max_examples=50, deadline=None)
@given(chains(), st.integers(1, 4), st.data())
def test_the_closed_form_is_what_is_played(chain, micro, data):
    depths = [1]
    for _ in chain.stages[1:]:
        depths.insert(0, data.draw(st.integers(depths[0], 6)))
    # What it takes repeats itself after as many micro-batches as a cycle has, 6 at most: 60 batches are whole cycles.
    fill, drain = 40, 6
    played = play(chain, "1f1b", micro, fill + 61 + drain, depths)
    assert played.period(fill, drain) / micro == pytest.approx(period(chain, micro, depths), rel=0.005)


@given(chains(), st.integers(1, 8), st.integers(1, 12))
def test_chosen_depths_are_the_best_under_the_cap(chain, micro, cap):
    depths, seconds = choose(chain, micro, cap)
    assert depths[0] <= cap
    assert depths[-1] == 1
    assert list(depths) == sorted(depths, reverse=True)
    assert period(chain, micro, depths) == pytest.approx(seconds)
    assert seconds >= max(chain.bottleneck(micro)[1], chain.latency / cap) - 1e-12
    assert choose(chain, micro, cap + 1)[1] <= seconds


@given(chains(most=3), st.integers(1, 5))
def test_no_other_depths_are_better(chain, cap):
    best = choose(chain, 4, cap)[1]
    count = len(chain.stages)
    for first in range(1, cap + 1):
        for second in range(1, first + 1):
            depths = {1: (1,), 2: (first, 1), 3: (first, second, 1)}[count]
            assert period(chain, 4, depths) >= best - 1e-12


@given(chains())
def test_enough_of_them_saturate(chain):
    bound = chain.bottleneck(4)[1]
    wanted = needed(round_trips(chain), len(chain.stages), bound)
    assert period(chain, 4, wanted) == pytest.approx(bound)
    assert choose(chain, 4, wanted[0])[1] == pytest.approx(bound)
