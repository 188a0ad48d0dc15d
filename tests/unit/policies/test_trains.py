from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nodes.policies.trains import (
    BIGGEST,
    COUNT,
    GROW,
    HIGHEST,
    LEAD_LEAST,
    LEAST,
    MOST,
    TRAIN_S,
    UNKNOWN,
    Belief,
    Sizes,
    longest_gap,
    most,
    rate,
    sizes,
    stalled,
    too_short,
)

SEGMENT = 1448
rates = st.floats(0.5e6, 1e9)


def evenly(bits: float, each: int = 4096, start: float = 1.0) -> list[tuple[float, int]]:
    return [(start + 8 * each * i / bits, each) for i in range(COUNT + 1)]


@given(rates, st.integers(1000, 60000), st.floats(0, 1e4))
def test_the_rate_of_an_even_train_whatever_it_waited_before(bits: float, each: int, start: float) -> None:
    assert rate(evenly(bits, each, start)) == pytest.approx(bits, rel=1e-3)


@given(st.lists(st.integers(1000, 60000), min_size=COUNT, max_size=COUNT), rates)
def test_messages_need_not_be_equal(each: list[int], bits: float) -> None:
    when, arrivals = 5.0, [(5.0, 123)]
    for size in each:
        when += 8 * size / bits
        arrivals.append((when, size))
    assert rate(arrivals) == pytest.approx(bits, rel=1e-3)


@given(rates, st.integers(0, COUNT), st.floats(0, 1))
def test_one_late_look_moves_it_little(bits: float, index: int, late: float) -> None:
    """Stamps after it are later, too, where the receiver was kept from looking: they come in one."""
    arrivals = evenly(bits)
    step = arrivals[1][0] - arrivals[0][0]
    looked = arrivals[index][0] + late * 2 * step
    seen = [(max(at, looked) if i >= index else at, size) for i, (at, size) in enumerate(arrivals)]
    assume(index < COUNT - 1)
    assert rate(seen) == pytest.approx(bits, rel=0.5)
    ends = (seen[-1][0] - seen[0][0]) / (COUNT * step)
    assert abs(rate(seen) / bits - 1) <= abs(1 / ends - 1) + 0.15  # type: ignore[operator]


@pytest.mark.parametrize("index", range(COUNT + 1))
def test_one_late_stamp_alone_changes_nothing(index: int) -> None:
    arrivals = evenly(20e6)
    at, size = arrivals[index]
    arrivals[index] = (at + 0.0015, size)
    assert rate(arrivals) == pytest.approx(20e6, rel=1e-6)


def test_what_is_no_train() -> None:
    assert rate([]) is None
    assert rate([(1.0, 100)]) is None
    assert rate([(1.0, 100)] * 9) == HIGHEST


@given(st.one_of(st.none(), st.floats(1, 1e11)), st.floats(0, 10), st.floats(0.1, 20))
def test_sizes_are_bounded(bits: float | None, rtt: float, seconds: float) -> None:
    found = sizes(bits, rtt, seconds)
    assert LEAST <= found.size <= MOST
    assert LEAD_LEAST <= found.lead <= BIGGEST.lead
    assert found.size - COUNT < COUNT * found.each <= found.size


@given(st.floats(10e6, 60e6))
def test_trains_take_their_time_where_they_may(bits: float) -> None:
    assert 8 * sizes(bits, 0.0).size / bits == pytest.approx(TRAIN_S, rel=0.01)
    assert not too_short(TRAIN_S, Sizes(0, LEAST), 0.0)
    assert too_short(TRAIN_S, Sizes(0, LEAST), 0.01)
    assert not too_short(0.0, BIGGEST, 0.01)


@given(rates, rates, st.floats(0, 0.2))
def test_what_is_said_covers_the_trains(up: float, down: float, rtt: float) -> None:
    said = most(Belief(up), Belief(down), rtt)
    both = [sizes(one, rtt) for one in (up, down)]
    assert said.bytes == sum(one.total for one in both)
    assert said.seconds == pytest.approx(8 * both[0].total / up + 8 * both[1].total / down)
    unknown = most(UNKNOWN, Belief(down), rtt)
    assert unknown.bytes > said.bytes - both[0].total
    assert unknown.messages == 2 * said.messages + 1


# --- over TCP that begins slowly ------------------------------------------------------------------------


def over_tcp(train: Sizes, bits: float, rtt: float) -> list[tuple[float, int]]:
    """Arrivals over a connection that was idle: ten segments at first, two more for each acknowledged one."""
    amounts = [train.lead, *[train.each] * COUNT]
    segments = -(-sum(amounts) // SEGMENT)
    free, arrived = 0.0, []
    for i in range(segments):
        # Segment i may go when as many are acknowledged as leave room for it: window 10 + acknowledged.
        needed = max(0, -(-(i + 1 - 10) // 2))
        allowed = arrived[needed - 1] + rtt / 2 if needed else 0.0
        free = max(free, allowed) + 8 * SEGMENT / bits
        arrived.append(free + rtt / 2)
    ends, total = [], 0
    for amount in amounts:
        total += amount
        ends.append((arrived[-(-total // SEGMENT) - 1], amount))
    return ends


@pytest.mark.parametrize("bits", [1e6, 5e6, 20e6, 50e6, 100e6])
@pytest.mark.parametrize("rtt", [0.002, 0.01, 0.02])
def test_slow_start_is_over_when_the_lead_in_is(bits: float, rtt: float) -> None:
    assert rate(over_tcp(sizes(bits, rtt), bits, rtt)) == pytest.approx(bits, rel=0.06 if bits * rtt < 2e6 else 0.1)


@pytest.mark.parametrize("bits", [1e6, 5e6, 20e6, 50e6, 100e6])
@pytest.mark.parametrize("rtt", [0.002, 0.01, 0.02, 0.05])
def test_two_trains_find_a_rate_that_nobody_knows(bits: float, rtt: float) -> None:
    """Where a round trip's worth is more than they may be, later probes find it, or most of it."""
    first = sizes(None, rtt)
    arrivals = over_tcp(first, bits, rtt)
    found = rate(arrivals)
    assert found is not None
    if too_short(arrivals[-1][0] - arrivals[0][0], first, rtt):
        arrivals = over_tcp(sizes(GROW * found, rtt), bits, rtt)
        found = rate(arrivals)
    assert found is not None
    if bits * rtt < 1e6:
        assert found == pytest.approx(bits, rel=0.1)
    for _ in range(3):
        stood = stalled(arrivals[-1][0] - arrivals[0][0], longest_gap(arrivals), rtt)
        arrivals = over_tcp(Belief(found, GROW if stood else 1.0).sizes(rtt), bits, rtt)
        found = rate(arrivals)
        assert found is not None
    assert found == pytest.approx(bits, rel=0.1 if bits * rtt <= 2e6 else 0.7)


@given(rates, st.floats(0, 0.2), st.floats(0, 1))
def test_an_even_train_did_not_stall_and_one_with_a_hole_did(bits: float, rtt: float, more: float) -> None:
    arrivals = evenly(bits)
    took = arrivals[-1][0] - arrivals[0][0]
    assert not stalled(took, longest_gap(arrivals), rtt)
    hole = (1 + more) * max(took, rtt)
    late = [(at + hole if i > 3 else at, size) for i, (at, size) in enumerate(arrivals)]
    assert stalled(late[-1][0] - late[0][0], longest_gap(late), rtt)
