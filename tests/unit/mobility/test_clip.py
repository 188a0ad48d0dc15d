from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.mobility.clip import SAME, clipped, within
from testbed.mobility.row import Row, between

AREA = (0.0, 0.0, 10.0, 4.0)


def way(*points: tuple[float, float, float], gap: float = math.inf) -> list[tuple[float, float, float]]:
    return [(r.t, r.x, r.y) for r in clipped([Row(t, "a", x, y) for t, x, y in points], AREA, gap)]


def test_in_and_out():
    assert way((0, -10, 2), (10, 10, 2)) == [(5, 0, 2), (10, 10, 2)]
    assert way((0, 5, 2), (10, 5, 12), (20, 5, 12)) == [(0, 5, 2), (2, 5, 4)]
    assert way((0, -5, 2), (20, 15, 2)) == [(5, 0, 2), (15, 10, 2)]
    assert way((0, -2, 2), (10, 2, -2)) == [(5, 0, 0)]  # a corner alone
    assert way((0, 1, 1), (5, 2, 2), (9, 3, 3)) == [(0, 1, 1), (5, 2, 2), (9, 3, 3)]
    assert way((0, 1, 2), (10, -1e-150, 2)) == [(0, 1, 2), (10, 0, 2)]  # outside by less than shares can tell
    assert way((0, -5, 9), (20, 15, 9)) == []
    assert way((0, -5, 2), (20, 15, 2), gap=19) == []


def test_a_node_is_not_mixed_up_with_another():
    rows = [Row(0, "a", -5, 2), Row(0, "b", 5, 2), Row(10, "a", -5, 2), Row(10, "b", 5, 3)]
    assert [r.node for r in clipped(rows, AREA, math.inf)] == ["b", "b"]


@pytest.mark.parametrize("off", [1e-9, 1e-12, 5e-324])
def test_one_row_where_a_corner_is_on_the_border(off):
    for points in ([(0, -5, 2), (5, off, 2), (9, 5, 2)], [(0, 5, 2), (5, -off, 2), (10, 5, 2)]):
        times = [t for t, _, _ in way(*points)]
        assert all(b - a > SAME / 2 for a, b in pairwise(times))
        assert times[-1] == points[-1][0]


place = st.tuples(*[st.integers(-3000, 3000).map(lambda cm: cm / 100)] * 2)


@given(st.lists(place, min_size=2, max_size=6), st.lists(st.floats(0.01, 0.99), min_size=5, max_size=5))
def test_who_is_within_is_where_the_way_has_it(corners, shares):
    rows = [Row(float(10 * i), "a", *corner) for i, corner in enumerate(corners)]
    found = list(clipped(rows, AREA, math.inf))
    assert all(b.t > a.t for a, b in pairwise(found))
    assert all(AREA[0] <= r.x <= AREA[2] and AREA[1] <= r.y <= AREA[3] for r in found)
    for (before, after), share in zip(pairwise(rows), shares, strict=False):
        there = between(before, after, before.t + 10 * share)
        if 0.01 < there.x < 9.99 and 0.01 < there.y < 3.99:
            a, b = next((a, b) for a, b in pairwise(found) if a.t <= there.t <= b.t)
            assert between(a, b, there.t)[2:4] == pytest.approx((there.x, there.y), abs=1e-3)


@given(place, place)
def test_what_is_within_either_way_round(begin, end):
    there, back = within(begin, end, AREA), within(end, begin, AREA)
    if there is not None and there[1] - there[0] > 1e-6:  # otherwise, rounding decides
        assert back is not None
        assert (1 - back[1], 1 - back[0]) == pytest.approx(there, abs=1e-6)
