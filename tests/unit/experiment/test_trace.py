"""Traces as the experiment file names them: a file, or a file and what of it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.experiment.changes import Move

EXPERIMENT = """\
sites: {{west: {{at: [0, 0]}}, east: {{at: [100, 0]}}}}
cloud:
devices:
  a: {{profile: pi4, at: west}}
  b: {{profile: pi4, at: west}}
links: {{west -- cloud:, east -- cloud:}}
mobility:
  trace: {}
"""
FCD = "t_s,id,kind,x_m,y_m,speed_mps\n" + "".join(
    f"{t},{node},car,{x},0,10\n" for t in range(900, 921) for node, x in (("v1", (t - 900) * 10), ("v2", 200))
)


@pytest.fixture
def experiment(tmp_path):
    def write(trace: str, text: str = FCD) -> Path:
        (tmp_path / "fcd").write_text(text, encoding="utf-8")
        path = tmp_path / "exp.yaml"
        path.write_text(EXPERIMENT.format(trace), encoding="utf-8")
        return path

    return write


def test_just_a_file(experiment):
    plan = load_plan(experiment("fcd"))
    assert [plan.node(name).site for name in "ab"] == ["west", "east"]
    assert plan.moves == (Move("a", "east", at=5.0),)  # where it crosses the border


MOVES = {
    "{file: fcd, from: 903s, to: 910s}": (Move("a", "east", at=2.0),),
    "{file: fcd, scale: {time: 3}}": (Move("a", "east", at=15.0),),
    "{file: fcd, scale: {space: 0.5}}": (Move("a", "east", at=10.0),),
    "{file: fcd, every: 4s}": (Move("a", "east", at=5.0),),
    "{file: fcd, nodes: 1}": (Move("a", "east", at=5.0),),
    "{file: fcd, area: [[0, -1], [45, 1]]}": (),
    "{file: fcd, map: {v1: b}}": (Move("b", "east", at=5.0),),
    "{file: fcd, map: order}": (Move("a", "east", at=5.0),),
}


@pytest.mark.parametrize("trace", MOVES)
def test_what_of_it_is_used(experiment, trace):
    assert load_plan(experiment(trace)).moves == MOVES[trace]


def test_gaps_are_in_the_time_of_the_experiment(experiment):
    path = experiment("{file: fcd, scale: {time: 2}, every: 1s}\n  presence: trace\n  gap: 5s")
    text = path.with_name("fcd")
    text.write_text("t_s,id,kind,x_m,y_m,speed_mps\n0,v,car,0,0,1\n2,v,car,0,0,1\n6,v,car,99,0,1\n7,v,car,99,0,1\n")
    gone = next(o for o in load_plan(path).outages if o.device == "a")
    assert (gone.begin, gone.end) == pytest.approx((4.0, 12.0), abs=0.1)  # it is looked for every 100 ms


def test_numbers_are_names_of_nodes(experiment):
    assert load_plan(experiment("{file: fcd, map: {7: b}}", FCD.replace("v1", "7"))).moves == MOVES[
        "{file: fcd, map: {v1: b}}"
    ]


def test_degrees_with_an_origin(experiment):
    text = "t,node,lat,lon\n0,a,0,0\n10,a,0,0.0009\n"
    assert load_plan(experiment("fcd", text)).moves == (Move("a", "east", at=4.99064),)
    assert load_plan(experiment("{file: fcd, origin: [0, 0.01]}", text)).moves == ()


def test_it_runs_from_elsewhere(experiment, tmp_path):
    for trace in ("fcd", "{file: fcd, to: 905s}"):
        rendered = yaml.safe_load(load_plan(experiment(trace)).rendered)["mobility"]["trace"]
        assert (rendered if isinstance(rendered, str) else rendered["file"]) == str(tmp_path / "fcd")
        assert isinstance(rendered, str) or rendered["to"] == "905s"


BAD = {
    "{from: 1s}": "file",
    "{file: fcd, form: 1s}": "form",
    "{file: fcd, from: 5s, to: 5s}": "no later than from",
    "{file: fcd, from: 5}": "needs a unit",
    "{file: fcd, every: 1us}": "1 ms to 1 h",
    "{file: fcd, nodes: 0}": "greater than or equal to 1|at least 1",
    "{file: fcd, scale: {time: 0}}": "0.001",
    "{file: fcd, area: [[1, 0], [0, 1]]}": "no area",
    "{file: fcd, origin: [91, 0]}": "latitude 91",
    "{file: fcd, map: {v1: c}}": "'c' is no device",
    "{file: fcd, map: {v1: a, v9: b}}": "does not name 'v9'",
    "{file: fcd, map: {ghost: a}}": "does not name 'ghost'",
    "{file: fcd, map: {ghost: a}, from: 2000s}": "nothing of the trace is left",
    "{file: fcd, map: guess}": "map",
    "{file: fcd, from: 2000s}": "nothing of the trace is left",
}


@pytest.mark.parametrize("trace", BAD)
def test_bad_settings(experiment, trace):
    path = experiment(trace)
    with pytest.raises(InputError, match=BAD[trace]) as caught:
        load_plan(path)
    assert caught.value.where == f"{path}:8"
