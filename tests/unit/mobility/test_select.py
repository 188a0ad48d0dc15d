from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.mobility.row import Row
from testbed.mobility.select import presence, read
from testbed.mobility.selection import WHOLE, Selection

FCD = "t_s,id,kind,x_m,y_m,speed_mps\n"
WAY = "0 0 0 10 100 0\n0 5 5\n"


@pytest.fixture
def taken(tmp_path):
    def take(text: str, selection: Selection = WHOLE, devices: tuple[str, ...] = ("a", "b")) -> list[Row]:
        path = tmp_path / "trace"
        path.write_text(text, encoding="utf-8")
        return list(read(path, devices, selection, named_at="exp.yaml:9"))

    return take


def places(rows: list[Row]) -> list[tuple[str, float, float]]:
    return [(row.node, row.t, row.x) for row in rows]


def cars(*rows: tuple[float, str, float]) -> str:
    return FCD + "".join(f"{t},{node},car,{x},0,10\n" for t, node, x in rows)


def test_nodes_become_devices_in_order_of_appearance(taken):
    assert places(taken(cars((0, "v7", 1), (0, "v3", 2), (1, "v7", 3)))) == [("a", 0, 1), ("b", 0, 2), ("a", 1, 3)]


def test_nodes_called_as_devices_are_those(taken):
    assert places(taken(cars((0, "b", 1), (0, "a", 2)))) == [("b", 0, 1), ("a", 0, 2)]
    assert places(taken(cars((0, "b", 1)), Selection(map="order"))) == [("a", 0, 1)]


WRONG_NAMES = {
    "more nodes than devices": (cars((0, "v1", 0), (0, "v2", 0), (0, "v3", 0)), WHOLE, 4, "more nodes", "nodes: 2"),
    "a device first, then another": (cars((0, "a", 0), (0, "v2", 0)), WHOLE, 3, "names 'v2'", "add a device"),
    "another first, then a device": (cars((0, "v1", 0), (0, "a", 0)), WHOLE, 3, "after nodes that are none", "map"),
    "our own file, another name": ("t,node,x,y\n0,v1,0,0\n", WHOLE, 2, "names 'v1'", "add a device"),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_names_that_do_not_match(taken, tmp_path, case):
    text, selection, line, message, remedy = WRONG_NAMES[case]
    with pytest.raises(InputError, match=message) as caught:
        taken(text, selection)
    assert caught.value.where == f"{tmp_path}/trace:{line}"
    assert remedy in (caught.value.remedy or "")


def test_only_so_many_nodes(taken):
    text = cars((0, "v1", 0), (0, "v2", 0), (0, "v3", 0), (1, "v3", 0), (1, "v1", 0))
    assert places(taken(text, Selection(nodes=1))) == [("a", 0, 0), ("a", 1, 0)]
    assert {row.node for row in taken(text, Selection(nodes=2))} == {"a", "b"}


def test_a_map(taken):
    text = cars((0, "v1", 1), (0, "v2", 2), (0, "a", 3))
    assert places(taken(text, Selection(map={"v2": "a"}))) == [("a", 0, 2)]
    assert places(taken("t,node,x,y\n0,v,1,0\n", Selection(map={"v": "b"}))) == [("b", 0, 1)]
    for wrong, message in (
        ({"v2": "c"}, "'c' is no device"), ({"v1": "a", "v2": "a"}, "two nodes"), ({"v1": "a", "v9": "b"}, "'v9'")
    ):  # fmt: skip
        with pytest.raises(InputError, match=message) as caught:
            taken(text, Selection(map=wrong))
        assert caught.value.where == "exp.yaml:9"


def test_a_clock_of_its_own_begins_with_the_first_row(taken):
    text = cars((900, "v", 1), (901, "v", 2))
    assert places(taken(text)) == [("a", 0, 1), ("a", 1, 2)]
    assert places(taken(text, Selection(begin=0))) == [("a", 900, 1), ("a", 901, 2)]
    assert places(taken("t,node,x,y\n5,a,0,0\n")) == [("a", 5, 0)]


def test_times_are_cut_and_places_at_the_ends_interpolated(taken):
    assert places(taken(WAY, Selection(begin=2, end=7, nodes=1))) == [("a", 0, 20), ("a", 5, 70)]
    assert places(taken(WAY, Selection(begin=2))) == [("a", 0, 20), ("a", 8, 100), ("b", 0, 5)]  # b stays
    text = cars((0, "v", 0), (10, "v", 100))
    assert places(taken(text, Selection(begin=0, end=5, gap=9))) == [("a", 0, 0)]  # nothing is known between


def test_nothing_left(taken):
    text = cars((0, "v", 0), (1, "v", 0))
    with pytest.raises(InputError, match="nothing of the trace is left") as caught:
        taken(text, Selection(begin=100))
    assert (caught.value.where, caught.value.found) == ("exp.yaml:9", "2 rows, from 0 s to 1 s")
    with pytest.raises(InputError, match="nothing of the trace is left"):
        taken(text, Selection(area=(1, 1, 2, 2)))


def test_area(taken):
    text = cars((0, "v1", 5), (0, "v2", 50), (1, "v1", 11), (1, "v2", 10), (2, "v1", 6))
    assert places(taken(text, Selection(area=(0, 0, 10, 1)))) == [("a", 0, 5), ("b", 1, 10), ("a", 2, 6)]


def test_ways_between_corners_are_cut_to_the_area(taken):
    inside = Selection(area=(30, -1, 60, 1))
    assert places(taken("# 2D\n0 0 0 10 100 0\n", inside)) == [("a", 3, 30), ("a", 6, 60)]
    assert places(taken("# 2D\n0 0 0 10 50 0\n", inside)) == [("a", 6, 30), ("a", 10, 50)]  # and stays
    assert places(taken(WAY, Selection(begin=4, end=5, area=inside.area, nodes=1))) == [("a", 0, 40), ("a", 1, 50)]
    assert places(taken(WAY, Selection(begin=50, area=(90, -1, 110, 1)))) == [("a", 0, 100)]
    with pytest.raises(InputError, match="nothing of the trace is left"):
        taken("# 2D\n0 0 0 10 100 10\n", inside)


def test_the_same_motion_crosses_an_area_however_it_was_written(taken):
    asked = Selection(area=(25, -1, 65, 1))
    sampled = taken(cars(*((t, "v", 10.0 * t) for t in range(11))), asked)
    corners = taken("# 2D\n0 0 0 10 100 0\n", asked)
    assert [row.x for row in corners] == [25, 65]
    assert corners[0].t <= sampled[0].t < sampled[-1].t <= corners[-1].t
    assert places(taken("# 2D\n0 0 0 10 100 0\n", Selection(every=1, area=(25, -1, 65, 1)))) == places(sampled)


def test_resampling(taken):
    text = cars((0.5, "v", 5), (2.5, "v", 25), (30, "v", 300), (31, "v", 310))
    found = places(taken(text, Selection(begin=0, every=1, gap=5)))
    assert found == [("a", 1, 10), ("a", 2, 20), ("a", 30, 300), ("a", 31, 310)]
    assert places(taken(WAY, Selection(every=4, nodes=1))) == [("a", 0, 0), ("a", 4, 40), ("a", 8, 80), ("a", 12, 100)]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(-100, 100)), min_size=1, max_size=20, unique_by=lambda r: r[0]),
    st.sampled_from([0.1, 0.25, 1.0, 3.0]),
    st.integers(0, 60),
)
def test_a_grid_has_no_holes(tmp_path_factory, rows, every, begin):
    path = tmp_path_factory.getbasetemp() / "grid"
    path.write_text(cars(*((t / 4, "v", x) for t, x in sorted(rows))))
    rows = sorted(rows)
    every_row = read(path, ["a"], Selection(begin=float(begin), every=every))
    try:
        found = list(every_row)
    except InputError:  # where and when there is none, other tests say
        return
    steps = [round(row.t / every) for row in found]
    assert steps == list(range(steps[0], steps[-1] + 1))
    assert all(abs(row.t - k * every) < 1e-6 for row, k in zip(found, steps, strict=True))
    assert rows[0][0] / 4 - 1e-6 <= begin + found[0].t
    assert begin + found[-1].t <= rows[-1][0] / 4 + 1e-6 < begin + found[-1].t + every + 1e-5
    by_time = {t / 4: x for t, x in rows}
    for row in found:
        if begin + row.t in by_time:
            assert row.x == pytest.approx(by_time[begin + row.t], abs=1e-6)


@pytest.mark.parametrize("gap", [None, 1e-9, 0.7])
def test_a_moment_of_the_grid_comes_once(taken, gap):
    text = cars((0, "v", 0), (999.9999999, "v", 1), (1000.0000001, "v", 2), (1000.5, "v", 3), (1001, "v", 4))
    steps = [row.t for row in taken(text, Selection(every=1, gap=gap))]
    assert steps == sorted(set(steps))
    assert steps[-2:] == [1000, 1001]


def test_the_end_of_a_grid_counts(taken):
    rows = taken(cars((0, "v", 0), (1, "v", 10)), Selection(every=0.1, end=0.3))
    assert [row.x for row in rows] == pytest.approx([0, 1, 2, 3])


def test_scaling(taken):
    text = cars((10, "v", 100), (11, "v", 110))
    rows = taken(text, Selection(begin=10, space=0.5, time=2))
    assert rows == [Row(0, "a", 50, 0, 2.5, "car"), Row(2, "a", 55, 0, 2.5, "car")]


WRONG = {
    "from": {"begin": -1.0}, "to": {"begin": 5.0, "end": 5.0}, "area": {"area": (0, 0, 0, 1)}, "nodes": {"nodes": 0},
    "every": {"every": 0.0}, "gap": {"gap": 0.0}, "scale": {"time": 0.0}, "map": {"map": "guess"},
}  # fmt: skip


@pytest.mark.parametrize("key", WRONG)
def test_wrong_selections(key):
    with pytest.raises(ValueError, match=f"^{key}: "):
        Selection(**WRONG[key])


def test_presence():
    rows = [Row(t, n, 0, 0) for t, n in ((0, "a"), (1, "a"), (1, "b"), (9, "a"), (10, "a"))]
    assert presence(rows, gap=2) == {"a": ((0, 1), (9, 10)), "b": ((1, 1),)}
    assert presence(rows, gap=8)["a"] == ((0, 10),)


def test_a_missing_file_is_placed_where_it_is_named():
    with pytest.raises(InputError, match="cannot be read") as caught:
        list(read(Path("none.csv"), ["a"], named_at="exp.yaml:9"))
    assert caught.value.where == "exp.yaml:9"
