"""Devices that join and leave by a table, on real containers and links."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import Experiment
from testbed.experiment import load_plan

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: availability
seed: 1
sites:
  north: {at: [0, 0], edge: {profile: edge}}
  south: {at: [200, 0], edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, count: 2, at: north}
profiles:
  device: {speed: 0.25, memory: 384MiB}
  edge: {speed: 0.3, memory: 384MiB}
  centre: {speed: 0.1, memory: 384MiB}
links:
  access: {rate: 100Mbit, delay: 1ms}
  north -- south: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
mobility:
  moves: [dev-1 to south at 2s]
  presence: {file: here.csv}
workload:
  scheme: fedfly
  model: cnn
  cut: 2
  data: {set: digits, train: 960, test: 40}
  rounds: 2
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""
HERE = "device,joins,leaves\ndev-1,0,1\ndev-1,3,\ndev-2,1.5,\n"
AWAY = {"dev-1": 2.0, "dev-2": 1.5}


def test_devices_that_join_late_and_leave_for_a_while_cost_nothing_but_time(tmp_path: Path) -> None:
    """A device that leaves after a second has by far not done its 60 batches by then."""
    path = tmp_path / "availability.yaml"
    path.write_text(EXPERIMENT)
    (tmp_path / "here.csv").write_text(HERE)
    with Experiment.load(path).up(runs=tmp_path / "runs") as bed:
        result = bed.train()
        assert result.failure is None, result.failure
        found, directory = result.summary, result.directory
        session = bed.session
        session.plan = session.real = replace(session.plan, moves=(), outages=())
        still = bed.train()
        assert still.failure is None, still.failure
    assert found["verdict"] == "ok", found["reasons"]
    assert found["weights_sha256"] == still.summary["weights_sha256"]
    assert found["dropped"] == []
    assert all([row["attempts"] for row in rows] == [1, 1] for rows in found["devices"].values())
    outages = found["mobility"]["outages"]
    for device, seconds in AWAY.items():
        assert outages[device]["planned_s"] == pytest.approx(seconds)
        assert outages[device]["absent_s"] == pytest.approx(seconds, abs=0.2)
        assert outages[device]["out_of_coverage_s"] == 0
    [move] = found["moves"]
    assert (move["device"], move["from"], move["to"]) == ("dev-1", "north", "south")
    assert move["due_s"] == pytest.approx(3, abs=0.01)
    assert move["late_s"] < 0.2
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    told = [(e["kind"], e["attrs"]["device"]) for e in events if e["kind"] in ("join", "leave")]
    assert told == [("leave", "dev-1"), ("join", "dev-2"), ("join", "dev-1")], "who was never there has not left"
    again = load_plan(directory / "experiment.yaml")
    assert [(o.device, o.begin, o.end, o.why) for o in again.outages] == [
        ("dev-2", 0.0, 1.5, "absent"), ("dev-1", 1.0, 3.0, "absent")
    ]  # fmt: skip


def test_one_that_leaves_for_good_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "availability.yaml"
    path.write_text(EXPERIMENT.replace("  moves: [dev-1 to south at 2s]\n", "") + "\n")
    (tmp_path / "here.csv").write_text("node,begin,end\ndev-2,0,1\n")
    with Experiment.load(path, ["workload.late={drop: 8s}"]).up(runs=tmp_path / "runs") as bed:
        result = bed.train()
    assert result.failure is None, result.failure
    assert result.summary["verdict"] == "ok", result.summary["reasons"]
    assert result.summary["dropped"] == [{"round": n, "devices": ["dev-2"]} for n in (1, 2)]
