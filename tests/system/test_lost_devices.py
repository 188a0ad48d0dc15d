"""Devices whose containers die in mid-training, on real containers and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.changes import FaultPlan, Move
from testbed.run.experiment import StandingBed
from testbed.run.runner import Result

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: lost
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {edge: {profile: edge}}
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
workload:
  scheme: [fedfly, fedavg]
  model: cnn
  cut: 2
  data: {set: digits, train: 480, test: 40}
  rounds: 3
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""
LONG = 300.0
MOVES = (Move("dev-1", "south", round=2, progress=0.5), Move("dev-2", "south", round=2, progress=0.2))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[StandingBed]:
    path = tmp_path / "lost.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path / "runs") as standing:
        yield standing


def train(bed: StandingBed, scheme: str = "fedfly", *, faults: tuple[FaultPlan, ...] = (), **workload: Any) -> Result:
    session = bed.session
    work = replace(session.plan.workload, **workload)
    session.plan = session.real = replace(session.plan, moves=MOVES, faults=faults, workload=work)
    return bed.train(scheme)


def strike(bed: StandingBed, *victims: str, batch: int = 4) -> None:
    """Have containers killed by nobody known, when the first of the victims has done so many batches of round 1."""
    live, left = bed.session.live, list(victims)
    known = live.batch

    def heard(device: str, number: int, done: int, batches: int) -> None:
        known(device, number, done, batches)
        if device == victims[0] and done >= batch:
            while left:
                bed.session.bed.kill(left.pop())

    live.batch = heard  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("scheme", "hierarchical"), [("fedfly", False), ("fedfly", True), ("fedavg", False)],
    ids=["split", "hierarchical", "fedavg"],
)  # fmt: skip
def test_rounds_go_on_without_a_device_that_is_killed_as_asked(
    bed: StandingBed, scheme: str, hierarchical: bool
) -> None:
    kill = (FaultPlan("kill", "dev-1", device="dev-1", round=1, progress=0.5),)
    epochs = 6 if scheme == "fedavg" else 1  # whole models train fast: seconds are to be left after the death
    result = train(bed, scheme, faults=kill, drop=LONG, hierarchical=hierarchical, local_epochs=epochs)
    assert result.failure is None, result.failure
    found = result.summary
    assert found["verdict"] == "ok", found["reasons"]
    assert found["rounds"] == 3
    assert found["duration_s"] < 60
    assert [(row["round"], row["dead"]) for row in found["dropped"]] == [(n, ["dev-1"]) for n in (1, 2, 3)]
    [death] = found["deaths"]
    assert (death["node"], death["asked"], death["rounds_without"]) == ("dev-1", True, [1, 2, 3])
    assert death["at_s"] == found["faults"][0]["at_s"]
    assert [row["round"] for row in found["devices"]["dev-2"]] == [1, 2, 3]
    assert "dev-1" not in found["devices"]
    assert [move["device"] for move in found["moves"]] == ["dev-2"]
    handovers = found["mobility"]["handovers"]
    assert (handovers["planned"], handovers["carried_out"], handovers["died_before"]) == (2, 1, 1)
    html = (result.directory / "report.html").read_text()
    assert "rounds 1 to 3 were averaged without dev-1, which had died" in html
    events = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
    looks = [e for e in events if e["kind"] == "link" and e["begin"] > found["begin"] + death["at_s"] + 1]
    assert looks, "the links are watched on"


def test_a_death_that_nobody_asked_for_makes_the_run_invalid(bed: StandingBed) -> None:
    strike(bed, "dev-1")
    result = train(bed, drop=LONG)
    assert result.failure is None, result.failure
    assert result.summary["rounds"] == 3
    assert result.summary["reasons"] == ["dev-1 died (exit code 137), which nobody had asked for"]
    assert not result.summary["deaths"][0]["asked"]


def test_when_all_are_waited_for_a_death_ends_the_run(bed: StandingBed) -> None:
    strike(bed, "dev-1")
    result = train(bed)
    assert result.failure is not None
    assert result.failure.message == "dev-1 died (exit code 137)"
    assert "workload.late: {drop: 30s}" in (result.failure.remedy or "")
    assert result.summary["verdict"] == "invalid"
    assert result.summary["reasons"] == [result.failure.message]
    assert [row["node"] for row in result.summary["deaths"]] == ["dev-1"]
    assert (result.directory / "report.html").exists()


def test_when_all_devices_have_died_the_run_ends(bed: StandingBed) -> None:
    strike(bed, "dev-1", "dev-2")
    result = train(bed, drop=LONG)
    assert result.failure is not None
    assert "no device is left to train with" in result.failure.message
    assert {row["node"] for row in result.summary["deaths"]} == {"dev-1", "dev-2"}
