"""Pipelines on real containers that follow their device: ahead of a handover, after it, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.plan import PipelinePlan
from testbed.run.experiment import StandingBed

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: edgemove-moves
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, at: north}
profiles:
  device: {speed: 0.1, memory: 384MiB}
  edge: {speed: 0.4, memory: 384MiB}
  centre: {speed: 0.2, memory: 384MiB}
links:
  access: {rate: {up: 20Mbit, down: 40Mbit}, delay: 4ms}
  north -- south: {rate: 50Mbit, delay: 60ms}
  north -- cloud: {rate: 100Mbit, delay: 20ms}
  south -- cloud: {rate: 100Mbit, delay: 20ms}
mobility:
  lead: 2s
  moves:
    - dev to south at 4s
workload:
  scheme: edgemove
  model: cnn
  data: {set: digits, train: 480, test: 60}
  rounds: 4
  batch: 16
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""


def train(bed: StandingBed, adapt: str, **pipeline: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One task on a bed that stands: its summary, and its events of changes."""
    session = bed.session
    work = replace(session.plan.workload, pipeline=PipelinePlan(adapt=adapt, **pipeline))
    session.plan = session.real = replace(session.plan, workload=work)
    result = bed.train("edgemove")
    assert result.failure is None, result.failure
    events = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
    return dict(result.summary), [e for e in events if e.get("kind") in ("relocate", "relay", "reopen", "probed")]


def test_stages_follow_their_device_and_no_weight_hangs_on_it(tmp_path: Path) -> None:
    path = tmp_path / "moves.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path) as bed:
        stayed, nothing = train(bed, "static", probing="off")
        assert not nothing

        ahead, changes = train(bed, "proactive", probing="off")
        [moved] = changes
        assert (moved["kind"], moved["attrs"]["from"], moved["attrs"]["to"]) == ("relocate", "edge-north", "edge-south")
        assert not moved.get("bytes"), "its standby took over"
        assert ahead["weights_sha256"] == stayed["weights_sha256"]

        after, changes = train(bed, "reactive", probing="off")
        [moved] = changes
        assert (moved["kind"], moved["attrs"]["to"]) == ("relocate", "edge-south")
        assert moved["bytes"] > 100_000, "its state was copied"
        assert after["weights_sha256"] == stayed["weights_sha256"]

        # A tenth of the time: enough for probes in so short a training.
        probed, changes = train(bed, "static", probing="every", every=1.0, budget=0.1)
        found = [e["attrs"] for e in changes if e["kind"] == "probed"]
        assert {one["lost"] for one in found} == {False}
        told = probed["pipeline"]["dev"]
        assert told["probe_time_share"] <= 0.1
        assert told["probe_bytes_share"] <= 0.1
