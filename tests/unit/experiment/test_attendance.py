"""Devices that join and leave by a table, from the experiment file to its plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.errors import InputError
from testbed.experiment import load, load_plan, motion
from testbed.experiment.changes import Move, Outage
from testbed.experiment.dilate import dilated
from testbed.mobility.overview import Overview
from tests.unit.experiment.test_motion import BASE

ROOT = Path(__file__).parents[3]
TABLE = "device,joins,leaves\na,0,10\na,20,\nb,5.55,40\n"
OUTAGES = (Outage("b", 0.0, 5.55, "absent"), Outage("a", 10.0, 20.0, "absent"), Outage("b", 40.0, None, "absent"))
TRACE = "t,node,x,y\n0,a,0,0\n30,a,100,0\n"


@pytest.fixture
def file(tmp_path):
    def write(*mobility: str, table: str = TABLE, base: str = BASE) -> Path:
        path = tmp_path / "exp.yaml"
        lines = ("presence: {file: here.csv}", *mobility)
        path.write_text(base + "".join(f"  {line}\n" for line in lines))
        (tmp_path / "here.csv").write_text(table)
        (tmp_path / "t.csv").write_text(TRACE)
        return path

    return write


WAYS = {
    "no movement": [], "a trace": ["trace: t.csv"], "the strongest": ["trace: t.csv", "association: strongest"],
    "a prediction": ["trace: t.csv", "prediction: oracle"],
    "a model": ["model: {random-waypoint: {duration: 30s}}"], "some who move": ["model: {manhattan: {devices: [a]}}"],
    "scripted moves": ["moves: [a to east at 3s, b to west at 50% of round 2]"],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_devices_come_and_go_whatever_moves(file, way):
    """Also those that the trace does not name, and when movement has ended."""
    found = load_plan(file(*WAYS[way]))
    assert found.outages == OUTAGES
    for move in found.moves:
        if move.at is not None:
            assert not any(
                o.device == move.device and o.begin <= move.at < (o.end or 1e9) for o in found.outages
            ), "who is away is not handed over"


def test_a_radio_tells_away_from_out_of_coverage(file):
    far = BASE.replace("at: [100, 0]", "at: [40, 0]")
    found = load_plan(file("trace: t.csv", "radio: {wifi: {shadowing: 0dB, tx: 0dBm, device_tx: 0dBm}}", base=far))
    assert {o for o in found.outages if o.why == "absent"} == set(OUTAGES)
    assert {o.device for o in found.outages if o.why == "out of coverage"} == {"a"}


def test_a_group_and_dilation_and_no_moves(file):
    base = BASE.replace("  a: {profile: pi4, at: west}", "  a: {profile: pi4, at: west, count: 2}")
    path = file(base=base)
    found = load_plan(path)
    assert found.outages[1:3] == (Outage("a-1", 10.0, 20.0, "absent"), Outage("a-2", 10.0, 20.0, "absent"))
    assert dilated(load_plan(path, ["dilation=2"])).outages[1] == Outage("a-1", 20.0, 40.0, "absent")
    assert load_plan(path, no_moves=True).outages == ()


MOVED = {
    "there": ("a to east at 25s", (Move("a", "east", at=25.0),)),
    "as it leaves": ("a to east at 10s", (Move("a", "east", at=20.0),)),
    "away": ("a to east at 12s", (Move("a", "east", at=20.0),)),
    "as it comes back": ("a to east at 20s", (Move("a", "east", at=20.0),)),
    "there and back meanwhile": ("a to east at 12s, a to west at 15s", ()),
    "there and back": ("a to east at 8s, a to west at 15s", (Move("a", "east", at=8.0), Move("a", "west", at=20.0))),
    "before it joins": ("b to west at 1s", (Move("b", "west", at=5.55),)),
    "by rounds": ("a to east at 20% of round 2", (Move("a", "east", round=2, progress=0.2),)),
    "both": ("a to west at 12s, a to east at 20% of round 2",
             (Move("a", "west", at=20.0), Move("a", "east", round=2, progress=0.2))),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
def test_who_was_to_move_while_away_comes_back_there(file, case):
    moves, wanted = MOVED[case]
    found = load_plan(file(f"moves: [{moves}]"))
    assert found.moves == wanted
    assert found.outages == OUTAGES


BAD = {
    "who does not come back": (["moves:", "  - b to west at 30s", "  - b to east at 41s"], TABLE, "exp.yaml:12",
                               "is away then, and does not come back"),
    "gap": (["trace: t.csv", "gap: 5s"], TABLE, "exp.yaml:11", "gap means nothing"),
    "no device": ([], "device,joins,leaves\nc,0,1\n", "here.csv:2", "no device 'c'"),
    "no device of a trace": (["trace: t.csv"], "device,joins,leaves\nc,0,1\n", "here.csv:2", "no device 'c'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told_with_its_place(file, case):
    lines, table, where, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        load_plan(file(*lines, table=table))
    assert str(caught.value.where).endswith(where)


@pytest.mark.parametrize(
    ("presence", "message"),
    [
        ("here.csv", "unknown presence 'here.csv'"), ("trac", "unknown presence 'trac'"), ("[a]", "mapping"),
        ("{file: }", "presence names no file"), ("{file: 3}", "a word"), ("{fil: here.csv}", "unknown key 'fil'"),
        ("{file: none.csv}", "cannot be read"), ("trace", "no trace to be present in"),
    ],
)  # fmt: skip
def test_bad_presence(tmp_path, presence, message):
    path = tmp_path / "exp.yaml"
    path.write_text(f"{BASE}  presence: {presence}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_plan(path)
    assert caught.value.where == f"{path}:9"


@pytest.mark.parametrize("presence", ["always", "", "{}"])
def test_who_is_always_there(tmp_path, presence):
    path = tmp_path / "exp.yaml"
    path.write_text(f"{BASE}  presence: {presence}\n")
    assert load_plan(path).outages == ()


def test_the_table_is_found_from_the_experiment_of_a_run(file, tmp_path):
    found = load_plan(file())
    kept = tmp_path / "run"
    kept.mkdir()
    (kept / "experiment.yaml").write_text(found.rendered)
    again = load_plan(kept / "experiment.yaml")
    assert again.outages == found.outages
    assert yaml.safe_load(found.rendered)["mobility"]["presence"] == {"file": str(tmp_path / "here.csv")}


def test_the_overview_lasts_until_all_have_come_and_gone(file):
    loaded = load(file())
    seen = motion.overview(loaded.spec, loaded.document, load_plan(loaded.document.path))
    assert seen.end == 40.0
    assert [(d.name, [(o.begin, o.end) for o in d.outages]) for d in seen.devices] == [
        ("a", [(10, 20)]), ("b", [(0, 5.55), (40, None)])
    ]  # fmt: skip
    assert Overview.from_json(seen.as_json()) == seen


def test_the_table_that_comes_with_it():
    change = "mobility.presence.file=../traces/availability.csv"
    found = load_plan(ROOT / "topologies" / "walk.yaml", [change])
    assert [(o.device, o.begin, o.end) for o in found.outages] == [
        ("walker-2", 0, 5), ("walker-1", 20, 35), ("sensor", 40, 55), ("walker-2", 50, None)
    ]  # fmt: skip
    plain = load_plan(ROOT / "topologies" / "walk.yaml")
    assert [m.at for m in plain.moves] == [10.833333, 14.444444, 47.777778, 49.166667]
    assert [m.at for m in found.moves] == [10.833333, 14.444444, 47.777778, 49.166667]
