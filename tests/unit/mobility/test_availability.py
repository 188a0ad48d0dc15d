"""When devices are there by a table, and what timelines make of it."""

from __future__ import annotations

import gzip
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies import radio as waves
from nodes.policies.association import Nearest, Strongest
from testbed.emulation.links.shape import Shape
from testbed.errors import InputError
from testbed.experiment.changes import Move
from testbed.mobility.availability import absences, read
from testbed.mobility.build import Settings, timeline_of
from testbed.mobility.timeline import ABSENT, COVERAGE, Down
from testbed.mobility.tracks import track

NAMES = {"dev": ["dev-1", "dev-2"], "dev-1": ["dev-1"], "dev-2": ["dev-2"], "lone": ["lone"]}
POINTS = {"west": (0.0, 0.0), "east": (100.0, 0.0)}
LINKS = dict.fromkeys(POINTS, (Shape(rate=1e9), Shape(rate=1e9)))
PLAIN = waves.wifi(shadowing=0)


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "a.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


GOOD = {
    "plain": "device,joins,leaves\ndev-1,0,20\ndev-1,35.5,\nlone,5,50\n",
    "other names, order and case": "END,note,Node,begin\n20,x,dev-1,0\n,,dev-1,35.5\n50,,lone,5\n",
    "comments and blanks": "# mine\n\ndevice, joins ,leaves\r\n dev-1,0, 20\r\n  # no\n,,\ndev-1,3.55e1,\nlone,5,50",
    "not in order": "device,joins,leaves\ndev-1,35.5,\nlone,5,50\ndev-1,0,20\n",
    "rows that touch": "device,joins,leaves\ndev-1,0,12.05\nlone,5,50\ndev-1,12.05,20\ndev-1,35.5,40\ndev-1,40,\n",
    "byte order mark": "\ufeffdevice,joins,leaves\ndev-1,0,20\ndev-1,35.5,\n\"lone\",5,50\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_rows(table, text):
    assert read(table(text), NAMES) == {"dev-1": ((0, 20), (35.5, math.inf)), "lone": ((5, 50),)}
    assert read(table(gzip.compress(text.encode())), NAMES)["lone"] == ((5, 50),)


def test_a_group_is_each_of_its_devices(table):
    found = read(table("device,joins,leaves\ndev,0,20\ndev-2,30,40\n"), NAMES)
    assert found == {"dev-1": ((0, 20),), "dev-2": ((0, 20), (30, 40))}


HEAD = "device,joins,leaves\n"
BAD = {
    "empty": ("", 1, "is empty"),
    "only comments": ("# nothing\n\n", 1, "is empty"),
    "only a header": ("# mine\n" + HEAD, 2, "holds no rows"),
    "no header": ("dev-1,0,20\n", 1, "no column 'device'"),
    "no leaves": ("device,joins\ndev-1,0\n", 1, "no column 'leaves'"),
    "no joins": ("device,end,at\ndev-1,0,1\n", 1, "no column 'joins'"),
    "two names": ("device,node,joins,leaves\ndev-1,dev-1,0,1\n", 1, "two columns for 'device'"),
    "unknown device": (HEAD + "dev-1,0,20\ndev-3,0,20\n", 3, "no device 'dev-3'"),
    "no device": (HEAD + ",0,20\n", 2, "no device ''"),
    "before": (HEAD + "\ndev-1,20,10\n", 3, "leaves before it joins"),
    "at once": (HEAD + "dev-1,20,20\n", 2, "leaves as it joins"),
    "negative": (HEAD + "dev-1,-1,20\n", 2, "the time is negative"),
    "NaN": (HEAD + "dev-1,nan,20\n", 2, "joins is not a finite number"),
    "infinite": (HEAD + "dev-1,0,inf\n", 2, "leaves is not a finite number"),
    "underscore": (HEAD + "dev-1,0,1_0\n", 2, "leaves is not a finite number"),
    "a unit": (HEAD + "dev-1,0,10s\n", 2, "leaves is not a finite number"),
    "no joining": (HEAD + "dev-1,,10\n", 2, "joins is not a finite number"),
    "milliseconds": (HEAD + "dev-1,0,90000\n", 2, "leaves is out of range"),
    "absurd": (HEAD + "dev-1,1e12,\n", 2, "joins is out of range"),
    "overlap": (HEAD + "dev-1,0,20\nlone,0,\ndev-1,19,30\n", 4, "two rows of 'dev-1' overlap"),
    "the same twice": (HEAD + "dev-1,0,20\ndev-1,0,20\n", 3, "two rows of 'dev-1' overlap"),
    "overlap with its group": (HEAD + "dev-2,10,20\ndev,0,\n", 3, "two rows of 'dev-2' overlap"),
    "there for a moment": (HEAD + "dev-1,1,1.05\n", 2, "'dev-1' is there for too short"),
    "away for a moment": (HEAD + "dev-1,1,2\ndev-1,2.05,3\n", 3, "'dev-1' is away for too short"),
    "late by a moment": (HEAD + "dev-1,0.01,2\n", 2, "'dev-1' is away for too short"),
    "too few": (HEAD + "dev-1,0\n", 2, "a row has 3 values"),
    "too many": (HEAD + "dev-1,0,1,2\n", 2, "a row has 3 values"),
    "open quote": (HEAD + 'dev-1,0,"20\n', 2, "not CSV"),
    "not text": (HEAD.encode() + b"dev-1,0,20\n\xff\xfe,0,1\n", 3, "not UTF-8"),
    "cut off": (gzip.compress(HEAD.encode() + b"dev-1,0,20\n" * 9)[:-12], None, "cut off"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(table, case):
    text, line, message = BAD[case]
    path = table(text)
    with pytest.raises(InputError, match=message) as caught:
        read(path, NAMES)
    assert caught.value.where.startswith(f"{path}:") if line is None else caught.value.where == f"{path}:{line}"


def test_a_file_that_is_not_there_is_told_where_it_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read") as caught:
        read(tmp_path / "none.csv", NAMES, named_at="exp.yaml:7")
    assert caught.value.where == "exp.yaml:7"


def test_a_table_out_of_bounds(table, monkeypatch):
    monkeypatch.setattr("testbed.mobility.availability.MOST_BYTES", 40)
    with pytest.raises(InputError, match="too large"):
        read(table(HEAD + "dev-1,0,20\n" * 9), NAMES)


HUNDREDTHS = st.lists(st.integers(10, 1500), min_size=1, max_size=9).filter(lambda steps: sum(steps) <= 6000)


@given(gaps=HUNDREDTHS, at_once=st.booleans(), for_ever=st.booleans(), way=st.sampled_from(["none", "nearest", "air"]))
def test_links_are_down_whenever_devices_are_not_there(gaps, at_once, for_ever, way):
    """Whatever moves: what is down is all that the table leaves out, exactly, and moves come when links are up."""
    edges, now = [0.0] if at_once else [], 0
    for gap in gaps:
        now += gap
        edges.append(now / 100)
    if for_ever and len(edges) % 2 == 0:
        edges.pop()
    edges += [math.inf] * (len(edges) % 2)
    if not edges:
        return
    stays = tuple(zip(edges[::2], edges[1::2], strict=True))
    if way == "none":
        down, moves = absences({"a": stays}), ()
    else:
        settings = Settings(presence={"a": stays}, policy=Nearest() if way == "nearest" else Strongest(3, 0.32))
        found = timeline_of({"a": track([(0, 0, 0), (20, 100, 0), (40, 0, 0)])}, POINTS, settings)
        down, moves = found.down, found.moves
    turns = [0.0, *(edge for stay in stays for edge in stay), math.inf]
    away = [(begin, end) for begin, end in zip(turns[::2], turns[1::2], strict=True) if begin < end]
    assert [(d.begin, d.end, d.why) for d in down.get("a", ())] == [(b, e, ABSENT) for b, e in away]
    for move in moves:
        assert any(joins <= move.at < leaves for joins, leaves in stays), "it moves while it is there"


def test_who_comes_after_all_movement_has_ended_comes():
    paths = {"a": track([(0, 0, 0), (10, 90, 0)])}
    found = timeline_of(paths, POINTS, Settings(presence={"a": ((0, 2), (30.05, 45))}))
    assert found.down == {"a": (Down(2, 30.05, ABSENT), Down(45, math.inf, ABSENT))}
    assert found.moves == (Move("a", "east", at=30.05),)
    strong = Settings(policy=Strongest(3, 0), presence={"a": ((0, 2), (30.05, 45))})
    assert timeline_of(paths, POINTS, strong).moves == found.moves


def test_who_is_away_has_no_share_of_the_air():
    paths = {name: track([(0, 5, 0), (20, 5, 0)]) for name in ("a", "b")}
    found = timeline_of(paths, POINTS, Settings(radio=PLAIN, presence={"b": ((5, 10),)}), LINKS)
    alone, shared = found.schedules["a"][1].steps[0].rate, found.schedules["a"][1].steps[1].rate
    assert [(s.at, s.rate) for s in found.schedules["a"][1].steps] == [(0, alone), (5, shared), (10, alone)]
    assert shared == pytest.approx(alone / 2)
    assert [(s.at, s.rate) for s in found.schedules["b"][1].steps] == [(0, 0.0), (5, shared), (10, 0.0)]


def test_away_and_out_of_coverage_are_told_apart():
    paths = {"a": track([(0, 5, 0), (10, 3000, 0), (20, 5, 0)])}
    plain = timeline_of(paths, POINTS, Settings(radio=PLAIN), LINKS).down["a"]
    (lost,) = plain
    assert lost.why == COVERAGE
    settings = Settings(radio=PLAIN, presence={"a": ((0, 8.03), (12.07, 19.8))})
    found = timeline_of(paths, POINTS, settings, LINKS).down["a"]
    assert found == (
        Down(lost.begin, 8.03, COVERAGE), Down(8.03, 12.07, ABSENT), Down(12.07, lost.end, COVERAGE),
        Down(19.8, math.inf, ABSENT),
    )  # fmt: skip
