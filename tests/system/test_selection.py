"""Small data on real containers and links: a share selected on the device, its control, fewer batches and bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.experiment.plan import PipelinePlan, SelectPlan
from testbed.report.compare import compare
from testbed.run.experiment import StandingBed
from testbed.run.runner import Result

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: selection
seed: 1
sites:
  north: {edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, count: 2, at: north}
profiles:
  device: {speed: 0.25, memory: 384MiB}
  edge: {speed: 0.3, memory: 384MiB}
  centre: {speed: 0.1, memory: 384MiB}
links:
  access: {rate: 100Mbit, delay: 1ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
workload:
  scheme: splitfed
  model: cnn
  cut: 2
  data: {set: digits, train: 640, test: 40, select: {rule: hard, share: 30%}}
  rounds: 2
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s}
"""
SAMPLES, KEPT, BATCHES = 320, 96, 6  # by device


def train(bed: StandingBed, select: SelectPlan | None, **workload: Any) -> Result:
    """One task on a bed that stands, and its control."""
    session = bed.session
    work = session.plan.workload
    work = replace(work, **workload, data=replace(work.data, select=select))
    session.plan = session.real = replace(session.plan, workload=work)
    result = bed.train(work.schemes[0])
    assert result.failure is None, result.failure
    return result


def events(result: Result, name: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.directory / name / "events.jsonl").read_text().splitlines()]


def uplink(of: list[dict[str, Any]]) -> int:
    """Bytes of activations."""
    return sum(e["bytes"] for e in of if e["kind"] == "send" and e["attrs"]["message"] == "activations")


def test_a_share_of_the_data_with_its_control(tmp_path: Path) -> None:
    path = tmp_path / "selection.yaml"
    path.write_text(EXPERIMENT)
    hard = SelectPlan("hard", 0.3)
    with Experiment.load(path).up(runs=tmp_path) as bed:
        assert bed.session.plan.workload.data.select == hard
        full = train(bed, None)
        assert "selection" not in full.summary

        small = train(bed, hard)
        ours, control = small.summary["results"]
        assert small.summary["scheme"] == ["splitfed", "splitfed-random"]
        assert (ours["scheme"], control["scheme"]) == ("splitfed", "splitfed-random")
        assert (ours["selection"]["rule"], control["selection"]["rule"]) == ("hard", "random")
        assert ours["weights_sha256"] != control["weights_sha256"]
        for row in (ours, control):
            assert row["verdict"] == "ok", row["reasons"]
            assert {line["batches"] for lines in row["devices"].values() for line in lines} == {BATCHES}
            for device in ("dev-1", "dev-2"):
                kept = row["selection"]["devices"][device]
                assert (kept["samples"], kept["kept"], sum(kept["by_class"])) == (SAMPLES, KEPT, KEPT)
        for kept in ours["selection"]["devices"].values():
            assert 0 < kept["cpu_s"] < kept["time_s"] < 5.0
            assert kept["time_s"] == pytest.approx(kept["cpu_s"] / 0.25, rel=0.2, abs=0.05)  # paced
        assert 'id="selection"' in (small.directory / "report.html").read_text()

        told = events(small, "splitfed")
        for device in ("dev-1", "dev-2"):
            [selected] = [e for e in told if e["kind"] == "select" and e["node"] == device]
            first = min(e["begin"] for e in told if e["kind"] == "forward" and e["node"] == device)
            assert selected["end"] <= first
        assert uplink(told) == pytest.approx(uplink(events(full)) * BATCHES / (SAMPLES // 16), rel=0.02)

        found = compare(full.directory, small.directory)
        assert not found.same
        assert [(pair.a, pair.b) for pair in found.schemes] == [("splitfed", "splitfed")]

        again = train(bed, replace(hard, control=False))
        assert again.summary["weights_sha256"] == ours["weights_sha256"]
        assert "control: no" in again.summary["selection"]["no_control"]


def test_pipelines_and_whole_models_on_a_share(tmp_path: Path) -> None:
    path = tmp_path / "selection.yaml"
    path.write_text(EXPERIMENT.replace("scheme: splitfed", "scheme: [edgemove, local, fedavg]"))
    mixed = SelectPlan("mixed", 0.3, "logistic", "half", control=False)
    stay = PipelinePlan(
        labels="stay", stages=3, plan=(("device", 2), ("nearest", 2), ("device", None)), probing="off", adapt="static"
    )
    digests = {}
    with Experiment.load(path).up(runs=tmp_path) as bed:
        for name in ("edgemove", "local", "fedavg"):
            found = train(bed, mixed, schemes=(name,), pipeline=stay).summary
            assert found["verdict"] == "ok", found["reasons"]
            assert {row["kept"] for row in found["selection"]["devices"].values()} == {KEPT}
            assert {line["batches"] for lines in found["devices"].values() for line in lines} == {BATCHES}
            digests[name] = found["weights_sha256"]
    assert len(set(digests.values())) == 3
