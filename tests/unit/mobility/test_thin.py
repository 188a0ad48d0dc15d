from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.mobility.row import Row
from testbed.mobility.thin import thinned
from testbed.mobility.tracks import of_rows


def walk(count: int, node: str = "a") -> list[Row]:
    return [Row(t / 10, node, math.sin(t * t), math.cos(t) * t) for t in range(count)]


def test_a_short_track_is_kept_whole():
    rows = [row for pair in zip(walk(20), walk(20, "b"), strict=True) for row in pair]
    found, whole = thinned(rows, {"a": [0.55]}, most=20), of_rows(rows)
    assert found.keys() == whole.keys()
    for node in whole:
        for name in ("t", "x", "y"):
            assert np.array_equal(getattr(found[node], name), getattr(whole[node], name))


@pytest.mark.parametrize("count", [1, 2, 21, 1000, 54321])
def test_a_long_track_is_thinned_evenly(count):
    rows = walk(count)
    found = thinned(rows, {}, most=20)["a"]
    assert len(found.t) <= 21
    assert len(found.t) >= min(count, 10)
    assert (found.t[0], found.t[-1]) == (rows[0].t, rows[-1].t)
    steps = np.diff(found.t)[:-1]
    assert steps == pytest.approx(np.full(len(steps), steps[0] if len(steps) else 0.0))
    kept = zip(found.t.tolist(), found.x.tolist(), found.y.tolist(), strict=True)
    assert set(kept) <= {(r.t, r.x, r.y) for r in rows}


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=200, unique=True),
    st.lists(st.integers(-10, 5100).map(lambda t: t / 10), max_size=10),
)
def test_places_at_moments_are_those_of_all_rows(times, moments):
    rows = [Row(float(t), "a", math.sin(t), t**0.5) for t in sorted(times)]
    found, whole = thinned(rows, {"a": moments}, most=4)["a"], of_rows(rows)["a"]
    assert len(found.t) <= 4 + 1 + 2 * len(set(moments))
    at = np.array(moments, dtype=float)
    for thin, exact in zip(found.at(at), whole.at(at), strict=True):
        assert thin.tolist() == exact.tolist()


def test_a_long_trace_takes_no_room():
    tracemalloc.start()
    try:
        thinned((Row(float(t), "a", t % 997, 0.0) for t in range(100_000)), {}, most=1000)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_a_track_of_one_position_is_none():
    with pytest.raises(ValueError, match="two positions"):
        thinned([], {}, most=1)
