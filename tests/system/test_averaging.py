"""Cuts of their own, averaging in tiers and rounds without a lost device, on real containers and links."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.changes import FaultPlan
from testbed.run.experiment import StandingBed

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: averaging
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, count: 2, at: north}
  lone: {profile: device, at: south}
profiles:
  device: {speed: 0.25, memory: 384MiB}
  edge: {speed: 0.3, memory: 384MiB}
  centre: {speed: 0.1, memory: 384MiB}
links:
  access: {rate: 100Mbit, delay: 1ms}
  north -- south: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
workload:
  scheme: fedfly
  model: cnn
  cut: 2
  data: {set: digits, train: 480, test: 40}
  rounds: 2
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""


def train(bed: StandingBed, faults: tuple[FaultPlan, ...] = (), **workload: Any) -> tuple[dict[str, Any], list[Any]]:
    """One task on a bed that stands: its summary, and its events."""
    session = bed.session
    work = replace(session.plan.workload, **workload)
    session.plan = session.real = replace(session.plan, faults=faults, workload=work)
    result = bed.train()
    assert result.failure is None, result.failure
    lines = (result.directory / "events.jsonl").read_text().splitlines()
    return dict(result.summary), [json.loads(line) for line in lines]


def test_cuts_tiers_and_lost_devices(tmp_path: Path) -> None:
    path = tmp_path / "averaging.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path) as bed:
        alike, _ = train(bed)
        own, _ = train(bed, cuts={"lone": 3})
        assert own["weights_sha256"] == alike["weights_sha256"]
        assert own["dropped"] == []

        tiers, events = train(bed, cuts={}, hierarchical=True)
        sent = [(e["node"], e["peer"]) for e in events if e.get("attrs", {}).get("message") == "partial"]
        assert sorted(sent) == sorted(2 * [("edge-north", "cloud"), ("edge-south", "cloud")])
        again, _ = train(bed, hierarchical=True)
        assert again["weights_sha256"] == tiers["weights_sha256"]
        assert tiers["accuracy"] == pytest.approx(alike["accuracy"], abs=0.05)

        lost = (FaultPlan("cut", "access:dev-1", device="dev-1", round=1, progress=0.5),)
        gone, _ = train(bed, faults=lost, hierarchical=False, drop=6.0)
        assert gone["dropped"] == [{"round": n, "devices": ["dev-1"]} for n in (1, 2)]
        assert gone["verdict"] == "ok", gone["reasons"]
        assert 12.0 <= gone["duration_s"] < 20.0


def test_a_device_that_is_late_to_the_end_holds_up_nobody_and_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "late.yaml"
    slow = EXPERIMENT.replace("lone: {profile: device", "lone: {profile: slow")
    slow = slow.replace("scheme: fedfly", "scheme: fedavg")
    slow = slow.replace("profiles:\n", "profiles:\n  slow: {speed: 0.02, memory: 384MiB}\n")
    path.write_text(slow.replace("model: cnn\n  cut: 2", "model: vgg5\n  local_epochs: 3"))
    with Experiment.load(path).up(runs=tmp_path) as bed:
        found = [train(bed, drop=6.0)[0] for _ in range(2)]
    for summary in found:
        assert summary["dropped"] == [{"round": n, "devices": ["lone"]} for n in (1, 2)]
        assert summary["verdict"] == "ok", summary["reasons"]
        assert 0 < summary["nodes"]["lone"]["steps"] < 45  # it has told what it did until then
    first, second = found
    assert first["weights_sha256"] == second["weights_sha256"]
