from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.experiment.changes import Move
from testbed.mobility.generators import Area, GaussMarkov, Manhattan, Model, RandomWaypoint, tracks
from testbed.mobility.scripted import repeated
from testbed.mobility.trace import Row
from testbed.mobility.tracks import Track, of_rows, track

AREA = Area(-50, 0, 350, 200)
MODELS: list[Model] = [
    RandomWaypoint(), RandomWaypoint((1, 1), pause=3), RandomWaypoint((20, 40)), GaussMarkov(),
    GaussMarkov(speed=30, speed_deviation=20, turn=3, memory=0), GaussMarkov(memory=1), Manhattan(), Manhattan(turn=0),
    Manhattan(turn=1, block=200),
]  # fmt: skip
models = st.sampled_from(MODELS)
seeds = st.integers(0, 2**63 - 1)


@settings(max_examples=60)
@given(models, seeds, st.floats(0.01, 600), st.floats(-1e4, 1e4), st.floats(200, 1e4), st.floats(200, 1e4))
def test_nodes_stay_in_the_area_and_last_as_long_as_asked(model, seed, duration, left, width, height):
    area = Area(left, -left, left + width, -left + height)
    found = tracks(model, ["n"], area, duration, seed)["n"]
    assert (found.t[0], found.t[-1]) == (0, duration)
    eps = 1e-9 * (abs(left) + width + height)
    assert area.left - eps <= found.x.min() <= found.x.max() <= area.right + eps
    assert area.bottom - eps <= found.y.min() <= found.y.max() <= area.top + eps


@settings(max_examples=40)
@given(models, seeds)
def test_same_seed_same_path_whoever_else_there_is(model, seed):
    alone = tracks(model, ["b"], AREA, 60, seed)["b"]
    among = tracks(model, ["a", "b", "c"], AREA, 60, seed)
    assert np.array_equal(alone.t, among["b"].t)
    assert np.array_equal(alone.x, among["b"].x)
    assert np.array_equal(alone.y, among["b"].y)
    assert not _same(among["a"], among["b"])
    other = tracks(model, ["b"], AREA, 60, (seed + 1) % 2**63)["b"]
    assert not _same(alone, other)


def _same(one: Track, other: Track) -> bool:
    return all(np.array_equal(a, b) for a, b in ((one.t, other.t), (one.x, other.x), (one.y, other.y)))


@settings(max_examples=40)
@given(seeds, st.floats(0.5, 3), st.floats(0, 5))
def test_waypoint_speeds_are_those_asked_for(seed, low, pause):
    found = tracks(RandomWaypoint((low, low + 1), pause), ["n"], AREA, 600, seed)["n"]
    speeds = np.hypot(np.diff(found.x), np.diff(found.y)) / np.diff(found.t)
    walks = speeds[speeds > 0]
    assert len(walks)
    assert walks.min() >= low * (1 - 1e-6)
    assert walks.max() <= (low + 1) * (1 + 1e-6)
    pauses = np.diff(found.t)[:-1][speeds[:-1] == 0]  # the last may be cut short
    assert np.allclose(pauses, pause)


@settings(max_examples=20)
@given(seeds, st.floats(0, 1))
def test_manhattan_keeps_to_the_streets(seed, turn):
    found = tracks(Manhattan(block=50, turn=turn), ["n"], AREA, 300, seed)["n"]
    moments = np.linspace(0, 300, 777)
    x, y = found.at(moments)
    off = [np.abs((v + 25) % 50 - 25) for v in (x - AREA.left, y - AREA.bottom)]
    assert np.minimum(*off).max() < 1e-6


def test_manhattan_turns_as_often_as_asked():
    straight = tracks(Manhattan(block=50, turn=0.0), ["n"], Area(0, 0, 1e6, 1e6), 500, 3)["n"]
    heading = np.arctan2(np.diff(straight.y), np.diff(straight.x)).round(6)
    assert len(set(heading.tolist())) == 1
    wild = tracks(Manhattan(block=50, turn=0.3), ["n"], Area(0, 0, 1e6, 1e6), 20000, 3)["n"]
    heading = np.arctan2(np.diff(wild.y), np.diff(wild.x)).round(6)
    assert np.mean(heading[1:] != heading[:-1]) == pytest.approx(0.3, abs=0.03)


def test_gauss_markov_has_the_mean_speed_and_its_deviation():
    found = tracks(GaussMarkov(speed=5, speed_deviation=1, turn=0.1, memory=0.5), ["n"], Area(0, 0, 1e6, 1e6), 20000, 5)
    speeds = np.hypot(np.diff(found["n"].x), np.diff(found["n"].y))
    assert speeds.mean() == pytest.approx(5, abs=0.05)
    assert speeds.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: RandomWaypoint((0, 1)), lambda: RandomWaypoint((2, 1)), lambda: RandomWaypoint((1, math.inf)),
        lambda: RandomWaypoint(pause=-1), lambda: GaussMarkov(memory=1.1), lambda: GaussMarkov(interval=0),
        lambda: GaussMarkov(speed=-1), lambda: Manhattan(block=0), lambda: Manhattan(turn=2),
        lambda: Manhattan(speed=(0, 1)), lambda: Area(0, 0, 0, 1), lambda: Area(0, 0, math.nan, 1),
        lambda: tracks(Manhattan(block=300), ["n"], AREA, 1, 1), lambda: tracks(GaussMarkov(), ["n"], AREA, 0, 1),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"speed|pause|memory|interval|block|area|finite|duration"):
        bad()


def test_a_track_between_its_positions():
    found = track([(1, 0, 0), (3, 10, 4), (9, 10, 4)])
    x, y = found.at(np.array([0.0, 2.0, 3.0, 99.0]))
    assert (x.tolist(), y.tolist()) == ([0, 5, 10, 10], [0, 2, 4, 4])
    assert found.present() == ((1, 9),)
    assert found.present(gap=2) == ((1, 3), (9, 9))


def test_what_was_told_holds_until_the_next():
    found = Track(np.array([1.0, 3.0]), np.zeros(2), np.zeros(2), ("a", None))
    assert found.told_at(np.array([0.0, 1.0, 2.9, 3.0, 9.0])) == ["a", "a", "a", None, None]


@pytest.mark.parametrize("points", [[(1, 0, 0), (1, 1, 1)], [(2, 0, 0), (1, 1, 1)]])
def test_no_track_goes_back(points):
    with pytest.raises(ValueError, match="ascend"):
        track(points)


def test_tracks_of_rows():
    found = of_rows([Row(0, "a", 1, 2), Row(0, "b", 5, 6), Row(2, "a", 3, 4)])
    assert list(found) == ["a", "b"]
    assert (found["a"].t.tolist(), found["a"].x.tolist(), found["a"].y.tolist()) == ([0, 2], [1, 3], [2, 4])


def test_every_ten_rounds_there_and_back():
    found = list(repeated("d", "north", ["south"], 10, 35, 0.5))
    assert found == [Move("d", to, round=r, progress=0.5) for r, to in ((10, "south"), (20, "north"), (30, "south"))]
    assert [m.to for m in repeated("d", "n", ["e", "s"], 1, 7)] == ["e", "s", "n", "e", "s", "n", "e"]
    assert list(repeated("d", "north", ["south"], 10, 9)) == []
    assert [m.round for m in repeated("d", "north", ["south"], 2, 6, 1.0)] == [2, 4], "training is over then"


@pytest.mark.parametrize("stops", [["north"], ["south", "south"], ["south", "north"], []])
def test_a_move_to_where_the_device_is(stops):
    with pytest.raises(ValueError, match="already"):
        list(repeated("d", "north", stops, 1, 5))
