from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.association import nearest
from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.experiment.changes import Move
from testbed.mobility.timeline import from_trace, ordered
from testbed.mobility.trace import Row, read

POINTS = {"west": (0.0, 0.0), "east": (100.0, 0.0)}
HEAD = "t,node,x,y\n"

EXPERIMENT = """\
sites: {west: {at: [0, 0]}, east: {at: [100, 0]}}
cloud:
devices:
  a: {profile: pi4}
  b: {profile: pi4, at: east}
links: {west -- cloud:, east -- cloud:}
mobility:
  trace: t.csv
"""


@pytest.fixture
def trace(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "exp.yaml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def test_nearest():
    assert nearest((10, 5), POINTS) == "west"
    assert nearest((51, 5), POINTS) == "east"


def test_equally_near_goes_by_name():
    assert nearest((50, 7), POINTS) == "east"
    assert nearest((50, 7), dict(reversed(POINTS.items()))) == "east"


coordinate = st.floats(-1e6, 1e6)
point = st.tuples(coordinate, coordinate)


@given(point, st.dictionaries(st.text(max_size=3), point, min_size=1))
def test_none_is_nearer_than_the_nearest(position, points):
    best = math.dist(position, points[nearest(position, points)])
    assert all(best <= math.dist(position, p) * (1 + 1e-9) + 1e-9 for p in points.values())


def test_nearest_of_none():
    with pytest.raises(ValueError, match="empty"):
        nearest((0, 0), {})


def test_rows(trace):
    path = trace(f"# generated\n\n{HEAD}0,a,1.5,-2\n # in between\n0, b ,3,4\n2.5,a,1e1,0\n")
    assert list(read(path, ["a", "b"])) == [Row(0, "a", 1.5, -2), Row(0, "b", 3, 4), Row(2.5, "a", 10, 0)]


def test_rows_come_one_at_a_time(trace):
    rows = read(trace(HEAD + "0,a,0,0\n1,a,nan,0\n"), ["a"])
    assert next(rows).t == 0


BAD = {
    "unknown node": ("0,a,0,0\n1,c,0,0\n", 3, "names 'c', which is no device", "add a device 'c'"),
    "misspelt node": ("0,walker-11,0,0\n", 2, "names 'walker-11'", "did you mean 'walker-1'?"),
    "backwards": ("5,a,0,0\n6,b,0,0\n4,a,0,0\n", 4, "time runs backwards for 'a'", "sort the rows"),
    "same time twice": ("5,a,0,0\n5,a,1,0\n", 3, "time stands still for 'a'", "one row a moment"),
    "NaN in x": ("0,a,0,0\n1,a,nan,0\n", 3, "x is not a finite number", "take the row out"),
    "further than any trace goes": ("0,a,1e308,0\n", 2, "x is out of range", None),
    "NaN in t": ("nan,a,0,0\n", 2, "t is not a finite number", "take the row out"),
    "infinite": ("0,a,0,inf\n", 2, "y is not a finite number", "take the row out"),
    "nothing": ("0,a,,0\n", 2, "x is not a finite number", "fill in"),
    "words": ("zero,a,0,0\n", 2, "t is not a finite number", "take the row out"),
    "negative time": ("-1,a,0,0\n", 2, "the time is negative", None),
    "too few": ("0,a,0\n", 2, "a row has 4 values", "commas"),
    "too many": ("0,a,0,0,0\n", 2, "a row has 4 values", "commas"),
    "decimal comma": ("0;a;0;0\n", 2, "a row has 4 values", "commas"),
    "open quote": ('0,"a,0,0\n', 2, "not CSV", None),
    "no rows": ("# none\n", 1, "holds no rows", None),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_traces(trace, case):
    text, line, message, remedy = BAD[case]
    path = trace(HEAD + text)
    with pytest.raises(InputError) as caught:
        list(read(path, ["a", "b", "walker-1"]))
    assert caught.value.where == f"{path}:{line}"
    assert message in caught.value.message
    assert (remedy or "") in (caught.value.remedy or "")


@pytest.mark.parametrize("text", ["0,a,0,0\n", "t,node,y,x\n0,a,0,0\n", "time,node,x,y\n"])
def test_trace_without_header(trace, text):
    path = trace("# c\n" + text)
    with pytest.raises(InputError, match="no header") as caught:
        list(read(path, ["a"]))
    assert caught.value.where == f"{path}:2"
    assert "t,node,x,y" in (caught.value.remedy or "")


def test_a_device_file_is_no_trace():
    with pytest.raises(InputError, match="not a file"):
        list(read(Path("/dev/zero"), ["a"]))


def test_trace_that_is_not_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"t,node,x,y\n0,\xff,0,0\n")
    with pytest.raises(InputError, match="not UTF-8"):
        list(read(path, ["a"]))


def test_moves_of_a_trace():
    walk = [(0, "a", 0), (0, "b", 99), (1, "a", 40), (2, "b", 30), (2, "a", 60), (9, "a", 0)]
    timeline = from_trace([Row(t, node, x, 0) for t, node, x in walk], POINTS)
    assert timeline.starts == {"a": "west", "b": "east"}
    between = 2 * 49 / 69  # b goes from 99 to 30 m in 2 s
    assert timeline.moves == (
        Move("b", "west", at=pytest.approx(between, abs=1e-6)), Move("a", "east", at=1.5),
        Move("a", "west", at=round(2 + 7 * 10 / 60, 6)),
    )  # fmt: skip


def test_a_node_that_comes_late_starts_where_it_comes():
    timeline = from_trace([Row(5, "a", 90, 0), Row(6, "a", 10, 0)], POINTS)
    assert (timeline.starts, timeline.moves) == ({"a": "east"}, (Move("a", "west", at=5.5),))


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.floats(-50, 150)), unique_by=lambda r: r[:2]),
    st.randoms(use_true_random=False),
)
def test_the_order_of_nodes_in_the_file_does_not_matter(points, random):
    rows = sorted((Row(float(t), node, x, 0.0) for t, node, x in points), key=lambda r: r.t)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    shuffled.sort(key=lambda r: r.t)
    one, other = from_trace(rows, POINTS), from_trace(shuffled, POINTS)
    assert one == other
    assert list(one.moves) == sorted(one.moves, key=lambda m: (m.at or 0, m.device))
    here = dict(one.starts)
    for move in one.moves:  # no move goes to where the device is
        assert here[move.device] != move.to
        here[move.device] = move.to


def test_order_of_scripted_moves():
    moves = [Move(name, "x", round=2, progress=0.5) for name in "ba"]
    moves += [Move("z", "x", at=1), Move("c", "x", round=1)]
    assert [m.device for m in ordered(moves)] == ["z", "c", "a", "b"]


def test_an_experiment_with_a_trace(trace, experiment):
    trace(HEAD + "0,a,10,0\n3,a,90,0\n")
    plan = load_plan(experiment)
    assert (plan.node("a").site, plan.node("a").bridge, plan.node("b").site) == ("west", "ap-west", "east")
    assert plan.moves == (Move("a", "east", at=1.5),)


def test_where_the_trace_has_a_device_counts(trace, experiment):
    trace(HEAD + "0,a,10,0\n0,b,10,0\n")
    assert load_plan(experiment).node("b").site == "west"


def test_no_moves_keeps_the_start_of_the_trace(trace, experiment):
    trace(HEAD + "0,a,10,0\n3,a,90,0\n")
    plan = load_plan(experiment, no_moves=True)
    assert (plan.moves, plan.node("a").site) == ((), "west")


def test_a_device_that_is_nowhere(trace, experiment):
    trace(HEAD + "0,b,10,0\n")
    with pytest.raises(InputError, match="'a' is at no site, and the trace does not name it") as caught:
        load_plan(experiment)
    assert caught.value.where == f"{experiment}:4"


def test_a_missing_trace_is_placed_in_the_experiment(experiment):
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_plan(experiment)
    assert caught.value.where == f"{experiment}:8"
    assert "relative to the experiment file" in (caught.value.remedy or "")


def test_a_bad_trace_is_placed_in_the_trace(trace, experiment):
    path = trace(HEAD + "0,a,10,0\n1,cloud,0,0\n")
    with pytest.raises(InputError, match="names 'cloud'") as caught:
        load_plan(experiment)
    assert caught.value.where == f"{path}:3"
