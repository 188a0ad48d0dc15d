"""The timeline as it is kept before a run."""

from __future__ import annotations

import json

import pytest

from testbed.experiment import load, load_plan, motion
from testbed.mobility.overview import Overview
from testbed.run.foreseen import NAME, keep_timeline
from testbed.run.record import RunDirectory
from tests.unit.experiment.test_motion import BASE


class Warned:
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def kept(tmp_path):
    def keep(mobility: str, *, lose: bool = False):
        (tmp_path / "t.csv").write_text("t,node,x,y\n0,a,0,5\n0,b,100,5\n50,a,100,5\n60,a,130,5\n")
        path = tmp_path / "exp.yaml"
        path.write_text(BASE + f"  {mobility}\n")
        plan = load_plan(path)
        seen = motion.overview(load(path).spec, load(path).document, plan)
        if lose:
            (tmp_path / "t.csv").unlink()
        directory = RunDirectory(tmp_path / "runs", "one")
        (directory.path / "experiment.yaml").write_text(plan.rendered)
        live = Warned()
        keep_timeline(plan, directory, live)
        file = directory.path / NAME
        return json.loads(file.read_text()) if file.exists() else None, seen, live.said

    return keep


def test_it_is_what_the_command_shows(kept):
    found, seen, said = kept("{trace: {file: t.csv, scale: {time: 2}}, prediction: oracle}")
    assert Overview.from_json(found) == seen
    assert (seen.pace, seen.score["policy"], len(seen.handovers)) == (2, "oracle, 5 s ahead", 1)
    assert len(seen.devices[0].path) > 2
    assert said == []


def test_where_nobody_moves_there_is_none(kept):
    assert kept("moves: []")[0] is None


def test_a_trace_that_is_gone_meanwhile_costs_the_map_alone(kept):
    found, _, said = kept("{trace: t.csv}", lose=True)
    assert found is None
    assert "no map" in said[0]
