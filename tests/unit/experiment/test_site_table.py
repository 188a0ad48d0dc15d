"""Access points from a table."""

from __future__ import annotations

import gzip

import pytest
import yaml

from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.mobility.project import Plane

HEAD = """\
sites:
  file: s.csv
cloud:
devices:
  a: {profile: pi4, at: west}
links: {west -- cloud:, east -- cloud:}
mobility: {moves: []}
"""
METRES = "site,x,y\nwest,0,0\neast,100.5,-3\n"
EUA = "SITE_ID,LATITUDE,LONGITUDE,NAME\n10003026,-37.81517,144.97476,Spring\n10003027,-37.81524,144.95256,Lon\n"


@pytest.fixture
def load(tmp_path):
    def made(text: str = HEAD, table: str | bytes | None = METRES, *, trace: str | None = None, **how):
        if table is not None:
            (tmp_path / "s.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        if trace is not None:
            (tmp_path / "t.csv").write_text(trace)
        (tmp_path / "exp.yaml").write_text(text)
        return load_plan(tmp_path / "exp.yaml", **how)

    return made


def places(plan):
    return {site.name: site.at for site in plan.sites}


def test_sites_of_a_table(load):
    plan = load()
    assert places(plan) == {"west": (0, 0), "east": (100.5, -3)}
    assert [site.edge for site in plan.sites] == ["edge-west", "edge-east"]


def test_what_is_understood_names_each_site_and_needs_no_table(load, tmp_path):
    plan = load()
    assert yaml.safe_load(plan.rendered)["sites"] == {"west": {"at": [0.0, 0.0]}, "east": {"at": [100.5, -3.0]}}
    (tmp_path / "s.csv").unlink()
    assert places(load(plan.rendered, None)) == places(plan)


def test_the_file_says_more_of_a_site_and_has_others_beside(load):
    text = HEAD.replace("  file: s.csv\n", "  file: s.csv\n  east: {edge: none}\n  hall: {at: [7, 7]}\n")
    plan = load(text.replace("east -- cloud:", "east -- cloud:, hall -- cloud:"))
    assert places(plan) == {"west": (0, 0), "east": (100.5, -3), "hall": (7, 7)}
    assert plan.site("east").edge is None


def test_some_sites_under_other_names(load):
    text = HEAD.replace("file: s.csv", "file: {path: s.csv, take: {'10003027': west, '10003026': east}}")
    found = places(load(text, EUA))
    assert found["east"] == (0, 0), "the first of those taken, in the table's order, is the origin"
    assert found["west"] == pytest.approx((-1954.76, -8.0), abs=0.01)


def test_sites_that_are_not_taken_may_be_anywhere(load):
    text = HEAD.replace("file: s.csv", "file: {path: s.csv, take: {'10003027': west, '10003026': east}}")
    assert len(load(text, EUA + "moon,10,10,far away\n").sites) == 2


TRACED = HEAD.replace("file: s.csv", "file: {path: s.csv, take: {'10003026': west, '10003027': east}}").replace(
    "moves: []", "trace: t.csv"
)
WALK = "t,node,lat,lon\n0,a,-37.81524,144.95256\n60,a,-37.81517,144.97476\n"


def test_a_trace_in_degrees_is_on_the_plane_of_the_sites(load):
    plan = load(TRACED, EUA, trace=WALK)
    assert plan.node("a").site == "east"
    assert [(m.to, m.at) for m in plan.moves] == [("west", pytest.approx(30, abs=1e-4))]
    assert yaml.safe_load(plan.rendered)["mobility"]["trace"]["origin"] == [-37.81517, 144.97476]


def test_sites_go_to_the_plane_of_the_trace_where_it_has_one(load):
    plan = load(TRACED.replace("t.csv", "{file: t.csv, origin: [-37.8, 144.9]}"), EUA, trace=WALK)
    assert places(plan)["west"] == pytest.approx(Plane(-37.8, 144.9).to_metres(-37.81517, 144.97476), abs=1e-3)
    assert plan.node("a").site == "east"


def test_a_site_may_be_called_file(load):
    text = HEAD.replace("  file: s.csv\n", "  file: {at: [5, 5]}\n  west: {}\n  east:\n")
    assert places(load(text.replace("links: {", "links: {file -- cloud:, "), None))["file"] == (5, 5)


def test_the_table_can_be_chosen_on_the_command_line(load, tmp_path):
    (tmp_path / "other.csv").write_text("site,x,y\nwest,1,1\neast,2,2\n")
    assert places(load(overrides=["sites.file=other.csv"])) == {"west": (1, 1), "east": (2, 2)}


# What is replaced in the file, what by, the table, what the message says, where.
BAD = {
    "not there": ("s.csv", "nope.csv", METRES, "no such table", "exp.yaml:2"),
    "a directory": ("s.csv", ".", METRES, "no such table", "exp.yaml:2"),
    "cut off": ("s.csv", "s.csv", gzip.compress(METRES.encode() * 50)[:-9], "cut off", "s.csv:"),
    "NaN": ("s.csv", "s.csv", METRES + "mid,nan,0\n", "x is not a finite number", "s.csv:4"),
    "absurd": ("s.csv", "s.csv", METRES + "mid,1e10,0\n", "x is out of range", "s.csv:4"),
    "no such latitude": ("s.csv", "s.csv", "site,lat,lon\nwest,-95,0\n", "latitude -95 is not within", "s.csv:2"),
    "too far apart": ("s.csv", "s.csv", "site,lat,lon\nwest,0,0\neast,0,30\n", "more than 500 km", "s.csv:3"),
    "twice": ("s.csv", "s.csv", METRES + "west,1,1\n", "'west' is there twice", "s.csv:4"),
    "no name for a node": ("s.csv", "s.csv", METRES + "Mid Town,1,1\n", "cannot be the name", "s.csv:4"),
    "unknown id": ("s.csv", "{path: s.csv, take: [west, eats]}", METRES, "no site 'eats'", "exp.yaml:2"),
    "numbers": ("s.csv", "{path: s.csv, take: [10003026]}", EUA, "take names sites", "exp.yaml:2"),
    "none": ("s.csv", "{path: s.csv, take: []}", METRES, "take names sites", "exp.yaml:2"),
    "same name": ("s.csv", "{path: s.csv, take: {west: a, east: a}}", METRES, "the same name", "exp.yaml:2"),
    "unknown key": ("s.csv", "{path: s.csv, tak: [west]}", METRES, "unknown key 'tak'", "exp.yaml:2"),
    "no path": ("s.csv", "{path: 5}", METRES, "no table of sites", "exp.yaml:2"),
    "no header": ("s.csv", "s.csv", "west,0,0\n", "no header that is known", "s.csv:1"),
    "not linked": ("s.csv", "s.csv", METRES + "mid,1,1\n", "mid", "s.csv:4"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(load, tmp_path, case):
    old, new, table, message, where = BAD[case]
    with pytest.raises(InputError) as caught:
        load(HEAD.replace(old, new), table)
    errors = getattr(caught.value, "problems", [caught.value])
    found = [e for e in errors if message in e.message]
    assert found, [e.message for e in errors]
    assert str(found[0].where).startswith(f"{tmp_path}/{where}")


def test_a_bad_origin_of_the_trace_is_told_where_it_stands(load, tmp_path):
    with pytest.raises(InputError, match="no place on Earth") as caught:
        load(TRACED.replace("t.csv", "{file: t.csv, origin: [95, 0]}"), EUA, trace=WALK)
    assert caught.value.where == f"{tmp_path}/exp.yaml:7"
