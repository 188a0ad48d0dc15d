"""Pipelines whose servers die or fall silent, on real containers and links: training goes on, with the same weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.changes import FaultPlan
from testbed.experiment.plan import PipelinePlan
from testbed.run.experiment import StandingBed
from testbed.run.patience import LEAST_S

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: edgemove-faults
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {edge: {profile: edge}}
  west: {edge: {profile: edge}}
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
  north -- west: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
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
MICRO, BATCHES = 4, 15
AT_ONCE_S = 2.0


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[StandingBed]:
    path = tmp_path / "edgemove-faults.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path / "runs") as standing:
        yield standing


def train(
    bed: StandingBed, scheme: str = "edgemove", faults: tuple[FaultPlan, ...] = (), *, steered: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One task on a bed that stands: its summary, and its events."""
    session = bed.session
    still: dict[str, Any] = {} if steered else {"probing": "off", "adapt": "static"}
    work = replace(session.plan.workload, pipeline=PipelinePlan(MICRO, "sync", stages=3, plan=THREE, **still))
    session.plan = session.real = replace(session.plan, faults=faults, workload=work)
    result = bed.train(scheme)
    assert result.failure is None, result.failure
    lines = (result.directory / "events.jsonl").read_text().splitlines()
    return dict(result.summary), [json.loads(line) for line in lines]


def at(progress: float, number: int = 1) -> dict[str, Any]:
    return {"device": "dev", "round": number, "progress": progress}


def pauses(found: dict[str, Any], events: list[dict[str, Any]]) -> list[float]:
    """Seconds from each fault to the first work of the attempt that came after it."""
    starts = sorted(
        e["begin"] for e in events
        if e["kind"] in ("forward", "tail-step") and e["part"] == "stage0:dev" and e["attrs"]["attempt"]
        and (e["batch"], e.get("micro", 0)) == (0, 0)
    )  # fmt: skip
    times = [found["begin"] + fault["at_s"] for fault in found["faults"]]
    return [min(start for start in starts if start > time) - time for time in times]


def nodes(events: list[dict[str, Any]], number: int) -> dict[int, str]:
    """Who had each stage at the end of a round."""
    updates = [e for e in events if e["kind"] == "update" and e["round"] == number and e["batch"] == BATCHES - 1]
    last = max(e["attrs"]["attempt"] for e in updates)
    return {e["attrs"]["stage"]: e["node"] for e in updates if e["attrs"]["attempt"] == last}


def exact(found: dict[str, Any]) -> None:
    ledger = found["micro_batches"]
    assert ledger["exact"], ledger
    assert (ledger["rounds"], ledger["applied"]) == (2, 2 * BATCHES * MICRO)
    assert found["verdict"] == "ok", found["reasons"]


def test_a_server_that_is_cut_off_is_gone_around(bed: StandingBed) -> None:
    local, _ = train(bed, "local")
    calm, _ = train(bed)
    assert calm["weights_sha256"] == local["weights_sha256"]
    assert calm["micro_batches"]["begun_again"] == 0
    found, events = train(bed, faults=(FaultPlan("cut", "north -- south", **at(0.4)),))
    exact(found)
    assert found["weights_sha256"] == local["weights_sha256"]
    assert nodes(events, 1) == nodes(events, 2) == {0: "dev", 1: "edge-north", 2: "edge-west"}
    [pause] = pauses(found, events)
    assert pause < LEAST_S * 5 / 3 + AT_ONCE_S
    assert any("edge-south did not answer" in note["text"] for note in found["notes"])


def test_servers_die_until_the_device_is_alone(bed: StandingBed) -> None:
    local, _ = train(bed, "local")
    kills = (
        FaultPlan("kill", "edge-south", **at(0.4)), FaultPlan("kill", "edge-north", **at(0.3, number=2)),
        FaultPlan("kill", "edge-west", **at(0.7, number=2)),
    )  # fmt: skip
    found, events = train(bed, faults=kills)
    exact(found)
    assert found["weights_sha256"] == local["weights_sha256"]
    assert nodes(events, 1) == {0: "dev", 1: "edge-north", 2: "edge-west"}
    assert nodes(events, 2) == {0: "dev"}
    assert max(pauses(found, events)) < AT_ONCE_S + LEAST_S
    assert [(row["node"], row["asked"]) for row in found["deaths"]] == [
        ("edge-south", True), ("edge-north", True), ("edge-west", True)]  # fmt: skip
    assert found["micro_batches"]["begun_again"] == 2
    assert [e["attrs"]["why"] for e in events if e["kind"] == "reopen"] == [
        "edge-south died", "edge-north died", "edge-west died"]  # fmt: skip


def test_who_is_steered_goes_on_as_well(bed: StandingBed) -> None:
    """Probes, and changes by what they find, while a server dies and another one is cut off."""
    local, _ = train(bed, "local")
    faults = (FaultPlan("kill", "edge-south", **at(0.4)), FaultPlan("cut", "north -- west", **at(0.3, number=2)))
    found, _ = train(bed, faults=faults, steered=True)
    exact(found)
    assert found["weights_sha256"] == local["weights_sha256"]
