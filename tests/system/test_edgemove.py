"""Pipelines on real containers and links: the weights of one node, whatever the stages and the messages' timing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.plan import PipelinePlan
from testbed.run.experiment import StandingBed

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: edgemove
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, at: north}
profiles:
  device: {speed: 0.3, memory: 384MiB}
  edge: {speed: 0.4, memory: 384MiB}
  centre: {speed: 0.1, memory: 384MiB}
links:
  access: {rate: 20Mbit, delay: 4ms}
  north -- south: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
mobility:
  moves:
    - dev to south at 50% of round 2
workload:
  scheme: [edgemove, local]
  model: cnn
  data: {set: digits, train: 240, test: 40}
  rounds: 2
  batch: 16
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""
THREE = (("device", 2), ("nearest", 2), ("edge-south", None))
U_SHAPED = (("device", 2), ("nearest", 2), ("device", 1))
MICRO = 4
BATCHES = 15


def train(bed: StandingBed, scheme: str = "edgemove", **pipeline: Any) -> tuple[dict[str, Any], list[Any]]:
    """One task on a bed that stands: its summary, and its events."""
    session = bed.session
    work = replace(session.plan.workload, pipeline=PipelinePlan(micro=MICRO, **pipeline))
    session.plan = session.real = replace(session.plan, workload=work)
    result = bed.train(scheme)
    assert result.failure is None, result.failure
    lines = (result.directory / "events.jsonl").read_text().splitlines()
    return dict(result.summary), [json.loads(line) for line in lines]


def test_stages_on_containers_come_to_the_weights_of_one_node(tmp_path: Path) -> None:
    path = tmp_path / "edgemove.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path) as bed:
        local, _ = train(bed, "local")
        for plan, labels in (((), "leave"), (THREE, "leave"), (U_SHAPED, "stay")):
            found, events = train(bed, schedule="sync", plan=plan, labels=labels, adapt="static")
            assert found["weights_sha256"] == local["weights_sha256"]
            assert found["verdict"] == "ok", found["reasons"]
            [move] = found["moves"]
            assert (move["to"], move["strategy"], move["lost_batches"]) == ("south", "relay", 0)
            stages = len(plan) or 2
            steps = Counter((e["kind"], e["attrs"]["stage"]) for e in events if "stage" in e.get("attrs", {}))
            every = 2 * BATCHES * MICRO
            for stage in range(stages - 1):
                assert steps["forward", stage] == steps["backward", stage] == every
            assert steps["tail-step", stages - 1] == every
            assert steps["pipeline", stages - 1] == 2

        one, events = train(bed, schedule="1f1b", plan=THREE, adapt="static")
        again, _ = train(bed, schedule="1f1b", plan=THREE, adapt="static")
        assert one["weights_sha256"] == again["weights_sha256"] != local["weights_sha256"]
        told = {(e["attrs"]["stage"], e["attrs"]["staleness_most"]) for e in events if e["kind"] == "pipeline"}
        assert told == {(0, 1), (1, 1), (2, 0)}, told
        slow, _ = train(bed, schedule="sequential", plan=THREE, adapt="static")
        assert slow["weights_sha256"] == local["weights_sha256"]
        assert one["duration_s"] < 0.6 * slow["duration_s"]  # the device's link is busy all the time, and both ways
