"""Handovers at the borders of sites: the same however finely a motion was recorded, and whoever predicts it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.association import nearest
from testbed.experiment import load_plan
from testbed.experiment.changes import Move
from testbed.mobility.borders import Way, crossings, places_of
from testbed.mobility.build import Settings, timeline_of
from testbed.mobility.foresee import Linear, Oracle
from testbed.mobility.row import Row
from testbed.mobility.select import read as selected
from testbed.mobility.selection import Selection
from testbed.mobility.timeline import from_trace
from testbed.mobility.tracks import of_rows
from tests.unit.mobility.writers import WRITERS

SITES = {"west": (0.0, 0.0), "middle": (150.0, 0.0), "east": (300.0, 0.0), "hill": (140.0, 130.0)}
PLACES = places_of(SITES)
TOPOLOGIES = Path(__file__).parents[3] / "topologies"

Corners = list[tuple[int, float, float]]
corners = st.lists(
    st.tuples(st.integers(1, 40), st.integers(-50, 350), st.integers(-50, 200)), min_size=2, max_size=6
).map(lambda legs: [(sum(t for t, _, _ in legs[: i + 1]) - legs[0][0], float(x), float(y))
                    for i, (_, x, y) in enumerate(legs)])  # fmt: skip


def sampled(way: Corners, every: float = 1.0) -> Corners:
    """The same motion with a position each ``every`` seconds."""
    t, x, y = (np.array(column, dtype=float) for column in zip(*way, strict=True))
    times = np.append(np.arange(0, t[-1], every), t[-1])
    return list(zip(times.tolist(), np.interp(times, t, x).tolist(), np.interp(times, t, y).tolist(), strict=True))


def rows(way: Corners) -> list[Row]:
    return [Row(float(t), "a", x, y) for t, x, y in way]


def told(timeline) -> list[tuple[str, object]]:
    return [(m.to, pytest.approx(m.at, abs=2e-6)) for m in timeline.moves]


@given(corners)
def test_the_same_motion_by_its_corners_and_by_the_second(way):
    coarse, fine = from_trace(rows(way), SITES), from_trace(rows(sampled(way)), SITES)
    assert fine.starts == coarse.starts
    assert [(m.to, m.at) for m in fine.moves] == told(coarse)
    assert fine.end == coarse.end


@given(corners)
def test_a_prediction_does_not_change_what_happens(way):
    plain = from_trace(rows(way), SITES)
    for predictor in (None, Oracle(5), Linear(5)):
        found = timeline_of(of_rows(rows(way)), SITES, Settings(predictor=predictor))
        assert replace(found, predictions=()) == plain


@given(corners)
def test_between_changes_a_node_is_on_the_nearest_site(way):
    found = Way(PLACES)
    for t, x, y in way:
        found.to(t, x, y)
    edges = [(0.0, found.first), *found.changes, (float(way[-1][0]), "")]
    for (begin, site), (end, _) in pairwise(edges):
        for share in (0.001, 0.3, 0.5, 0.999):
            at = begin + share * (end - begin)
            place = [float(np.interp(at, [c[0] for c in way], [c[k] for c in way])) for k in (1, 2)]
            best = SITES[nearest((place[0], place[1]), SITES)]
            assert math.dist(place, SITES[site]) <= math.dist(place, best) + 1e-3


def test_crossings_of_several_cells_on_one_piece():
    assert crossings((0, 0), (300, 0), "west", PLACES) == [(0.25, "middle"), (0.75, "east")]
    assert crossings((300, 0), (0, 0), "east", PLACES) == [(0.25, "middle"), (0.75, "west")]
    assert crossings((0, 0), (70, 0), "west", PLACES) == []


def test_who_touches_the_border_and_turns_back_stays_and_who_waits_there_goes_when_it_goes_on():
    touches = [(0, 0.0, 0.0), (75, 75.0, 0.0), (150, 0.0, 0.0)]
    waits = [(0, 0.0, 0.0), (75, 75.0, 0.0), (100, 75.0, 0.0), (200, 175.0, 0.0)]
    for way in (touches, sampled(touches)):
        assert from_trace(rows(way), SITES).moves == ()
    for way in (waits, sampled(waits)):
        assert from_trace(rows(way), SITES).moves == (Move("a", "middle", at=100.0),)


def test_who_begins_on_a_border_begins_where_it_goes():
    for to, site in ((0.0, "west"), (100.0, "middle")):
        found = from_trace(rows([(0, 75.0, 0.0), (10, to, 0.0)]), SITES)
        assert (found.starts, found.moves) == ({"a": site}, ())


def test_through_a_corner_of_cells_there_is_one_handover():
    square = {"a": (0.0, 0.0), "b": (10.0, 0.0), "c": (0.0, 10.0), "d": (10.0, 10.0)}
    for way in ([(0, 0.0, 0.0), (10, 10.0, 10.0)], sampled([(0, 0.0, 0.0), (10, 10.0, 10.0)], 0.7)):
        assert from_trace(rows(way), square).moves == (Move("a", "d", at=5.0),)


WALKS: dict[str, Corners] = {
    "0": [(0, 10.0, 5.0), (60, 280.0, 5.0)],
    "1": [(0, 290.0, -5.0), (30, 110.0, -5.0), (60, 290.0, -5.0)],
}
BY_CORNERS = {
    "own": "t,node,x,y\n" + "".join(f"{t},{n},{x},{y}\n" for n, way in WALKS.items() for t, x, y in way),
    "bonnmotion": "# 2D\n" + "".join(" ".join(f"{t} {x} {y}" for t, x, y in way) + "\n" for way in WALKS.values()),
    "setdest": "".join(
        f"$node_({n}) set X_ {way[0][1]}\n$node_({n}) set Y_ {way[0][2]}\n"
        + "".join(f'$ns_ at {t}.0 "$node_({n}) setdest {x} {y} {math.dist((x0, y0), (x, y)) / (u - t)!r}"\n'
                  for (t, x0, y0), (u, x, y) in pairwise(way))
        for n, way in WALKS.items()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*BY_CORNERS, "own by the second", "fcd_xml by the second", "every"])
def test_the_same_walk_in_all_formats_is_the_same_timeline(tmp_path, name):
    path, writer = tmp_path / "walk", name.split()[0]
    seconds = {n: [(x, y) for _, x, y in sampled(way)] for n, way in WALKS.items()}
    path.write_text(BY_CORNERS[name] if name in BY_CORNERS else WRITERS.get(writer, WRITERS["own"])(seconds))
    how = Selection(every=1.5) if name == "every" else Selection()
    found = from_trace(selected(path, list(WALKS), how), SITES)
    assert found.starts == {"0": "west", "1": "east"}
    assert [(m.at, m.device, m.to) for m in found.moves] == [
        (10.833333, "1", "middle"), (14.444444, "0", "middle"), (47.777778, "0", "east"), (49.166667, "1", "east")
    ]  # fmt: skip


@pytest.mark.parametrize("more", ["prediction=oracle", "prediction=linear", "presence=trace"])
def test_the_walk_that_comes_with_it(more):
    plain = load_plan(TOPOLOGIES / "walk.yaml")
    assert [m.at for m in plain.moves] == [10.833333, 14.444444, 47.777778, 49.166667]
    assert load_plan(TOPOLOGIES / "walk.yaml", overrides=[f"mobility.{more}"]).moves == plain.moves


def test_who_was_away_is_handed_over_when_it_comes_back():
    way = of_rows(rows([(0, 0.0, 0.0), (300, 300.0, 0.0)]))
    found = timeline_of(way, SITES, Settings(presence={"a": ((0.0, 50.0), (260.0, 300.0))}))
    assert [(m.to, m.at) for m in found.moves] == [("east", 260.0)]
    late = timeline_of(way, SITES, Settings(presence={"a": ((100.0, 300.0),)}))
    assert (late.starts, [(m.to, m.at) for m in late.moves]) == ({"a": "middle"}, [("east", 225.0)])


def test_many_rows_ask_each_site_only_now_and_then(monkeypatch):
    asked = 0
    whole = Way._stays

    def counted(self: Way, x: float, y: float) -> bool:
        nonlocal asked
        asked += 1
        return whole(self, x, y)

    monkeypatch.setattr(Way, "_stays", counted)
    found = from_trace((Row(t / 10, "a", t / 100, 0.0) for t in range(30_001)), SITES)
    assert [m.at for m in found.moves] == [750.0, 2250.0]
    assert asked < 300
