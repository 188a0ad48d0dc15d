"""Tasks of the serverless platform on real containers and links: they come, are placed, trained, billed, submitted."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from testbed import Experiment
from testbed.errors import RoambedError
from testbed.run.platform import desk
from testbed.run.runner import Result

pytestmark = [pytest.mark.root, pytest.mark.docker]

EXPERIMENT = """
name: tasks
seed: 1
sites:
  north: {edge: {profile: edge}}
  south: {at: [200, 0], edge: {profile: edge}}
cloud: {profile: centre}
devices:
  dev: {profile: device, count: 2, at: north}
profiles:
  device:
    speed: 0.25
    memory: 1GiB
    power: {idle: 1W, busy: 4W, send: 1W, receive: 0.3W}
  edge: {speed: 0.3, memory: 1536MiB, price: {gb_second: 2.0e-5, gb: 0.02}}
  centre: {speed: 0.5, memory: 2560MiB, price: {gb_second: 1.0e-5, gb: 0.09}}
links:
  access: {rate: 100Mbit, delay: 1ms}
  north -- south: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
  south -- cloud: {rate: 100Mbit, delay: 5ms}
emulation: {speed_check: 0s}
tolerances: {late_steps: 100%, starved: 100%, link_late: 1s, speed: 100%}
"""
TASKS = """
platform: {keep_alive: 20s}
tasks:
  split: {scheme: fedfly, model: cnn, cuts: [1, 2], data: {train: 320, test: 40}, rounds: 2}
  small:
    scheme: fedavg
    model: cnn
    data: {train: 320, test: 40, select: {rule: hard, share: 30%}}
    rounds: 1
    at: 2s
  late: {like: split, deadline: 1ms, at: 1s}
  extra: {like: split, rounds: 1, at: []}
"""
MOVING = """
platform: {keep_alive: 20s}
mobility: {moves: [dev-1 to south at 9s]}
faults:
  - {kill: edge-north, at: 14s}
  - {kill: dev-2, at: 20s}
tasks:
  split: {scheme: fedfly, model: cnn, cuts: [2], data: {train: 640, test: 40}, rounds: 5, local_epochs: 2}
"""


def write(tmp_path: Path, more: str) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(EXPERIMENT + more)
    return path


def tasks(result: Result) -> dict[str, Any]:
    assert result.failure is None, result.failure
    found: dict[str, Any] = result.summary["tasks"]
    return found


def test_tasks_come_are_trained_billed_and_submitted(tmp_path: Path) -> None:
    answers: dict[str, Any] = {}

    def ask(run: str) -> None:
        for _ in range(600):
            try:
                answers["status"] = desk.ask(run, {"do": "status"})
                break
            except RoambedError:  # it is not open yet
                threading.Event().wait(0.2)
        answers["extra"] = desk.ask(run, {"do": "submit", "name": "extra"})

    with Experiment.load(write(tmp_path, TASKS)).up(runs=tmp_path / "runs") as bed:
        helper = threading.Thread(target=ask, args=(bed.session.run_id,))
        helper.start()
        result = bed.train()
        helper.join(timeout=60)
    rows = tasks(result)
    assert {name: row["state"] for name, row in rows.items()} == {
        "split": "done", "small": "done", "late": "refused", "extra": "done",
    }  # fmt: skip
    assert "best achievable" in rows["late"]["reason"]
    assert answers["extra"]["submitted"] == ["extra"]
    assert {"small", "late"} <= {row["task"] for row in answers["status"]["tasks"]}
    split = rows["split"]
    assert len(split["accuracy_by_round"]) == 2
    assert split["kept_sha256"]
    functions = split["functions"]
    assert {"train-device", "train-edge", "aggregate", "evaluate"} <= set(functions)
    took_part = sum(len(row["cuts"]) for row in split["round_rows"])
    assert functions["train-device"]["calls"] >= took_part >= 2, "one may be left out while other tasks have its memory"
    assert 1 <= functions["train-device"]["cold"] <= 2, "the second round finds its instances warm"
    assert functions["train-edge"]["gb_s"] > 0
    assert split["price"] > 0
    assert {"dev-1", "dev-2"} == set(split["energy"])
    assert "select-data" in rows["small"]["functions"]
    assert all(row["predicted_s"] for row in split["round_rows"])
    report = (result.directory / "report.html").read_text()
    assert "Placement over time" in report


def test_a_task_survives_a_handover_the_loss_of_an_edge_server_and_of_a_device(tmp_path: Path) -> None:
    with Experiment.load(write(tmp_path, MOVING)).up(runs=tmp_path / "runs") as bed:
        result = bed.train()
    row = tasks(result)["split"]
    assert row["state"] == "done", row["reason"]
    assert row["rounds_done"] == 5
    assert [move["to"] for move in result.summary["moves"]] == ["south"]
    assert {death["node"] for death in result.summary["deaths"]} == {"edge-north", "dev-2"}
    assert row["dropped"][-1] == {"round": 5, "devices": ["dev-2"]}
    spans = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
    died = next(death["at_s"] for death in result.summary["deaths"] if death["node"] == "edge-north")
    after = {s["node"] for s in spans if s["kind"] == "tail-step" and s["begin"] - result.summary["begin"] > died}
    assert after, "the platform found another place for the edge halves"
    assert after <= {"edge-south", "cloud"}
