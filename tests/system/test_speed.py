"""Speeds on real containers: what is set, what is measured, and that measuring leaves no trace in a training."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from testbed import Experiment
from testbed.experiment import load_plan
from testbed.run import speed
from testbed.run.live import Live
from testbed.run.session import Session
from tests.support import eventually, run_id

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow]

SMOKE = Path(__file__).resolve().parents[2] / "topologies" / "smoke.yaml"
BUSY = ("timeout", "60", "sh", "-c", "while :; do :; done")
FOREIGN = """
sites: {north: {}}
cloud: {}
devices:
  dev: {profile: tiny-device, at: north}
  plain: {profile: plain, at: north}
hosts: {busy: {at: north, profile: slow, command: [sh, -c, "while :; do :; done"]}}
profiles:
  slow: {speed: 0.1, memory: 64MiB}
  plain: {share: 0.1, memory: 384MiB}
links: {north -- cloud: {}}
workload: {scheme: fedfly, model: cnn, data: {set: digits, train: 64, test: 16}}
emulation: {speed_check: 2s}
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    file = tmp_path / "foreign.yaml"
    file.write_text(FOREIGN)
    return file


def up(file: Path) -> Session:
    return Session(load_plan(file), run_id("speed"), Live(quiet=True), measure_links=False)


def _spin() -> None:
    while True:
        pass


def test_an_overloaded_machine_shows_as_late_steps() -> None:
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(3 * (os.cpu_count() or 1))]
    with up(SMOKE) as session:
        reference = session.reference()
        session.limit()
        for other in others:
            other.start()
        try:
            session.check_speeds(reference)
        finally:
            for other in others:
                other.kill()
                other.join()
    found = session.speeds
    assert set(found) == {"dev-1", "dev-2", "edge-north", "edge-south", "cloud"}
    assert found["edge-north"].late_share > 0.05
    assert found["edge-north"].measured is not None
    assert found["edge-north"].measured < 0.98 * found["edge-north"].asked
    assert any("edge-north" in problem for problem in speed.problems(session.plan, found, "in bring-up"))


def test_checking_speeds_leaves_no_trace_in_a_training(tmp_path: Path) -> None:
    """And a bed of the Python interface is limited for users' programs before and after it."""
    short = ["workload.data.train=128", "workload.local_epochs=1", "emulation.speed_check=2s"]
    with Experiment.load(SMOKE, short, no_moves=True).up(runs=tmp_path) as bed:
        everybody = {node.name for node in bed.session.plan.nodes}
        assert set(bed.session.governed()) == everybody
        assert bed.session.limits["cloud"].read_back.cpus == pytest.approx(0.15, rel=0.05)
        checked = bed.train().summary
        assert set(bed.session.governed()) == everybody
        assert bed.session.bed.fleet.limits("cloud").cpus == pytest.approx(0.15, rel=0.05)
        bed.session.speeds = {}
        bed.session.real = replace(bed.session.real, speed_check=0.0)
        unchecked = bed.train().summary
    assert checked["weights_sha256"] == unchecked["weights_sha256"]
    assert unchecked["speed"]["check"]["nodes"] == {}
    section = checked["speed"]
    for name, row in section["check"]["nodes"].items():
        assert row["steps"] > 0, name
        assert row["measured"] > 0
        assert row["cpus"] == pytest.approx(checked["nodes"][name]["cpus"], rel=0.01)
    assert {"dev-1", "dev-2", "edge-north"} <= set(section["training"]["nodes"])
    assert section["governed"] == {}


def test_programs_that_are_not_ours_are_governed(foreign: Path) -> None:
    with up(foreign) as session:
        reference = session.reference()
        session.limit()
        for name in ("busy", "plain"):
            assert session.limits[name].read_back.quota == pytest.approx(session.limits[name].asked.quota, abs=1e-6)
        slow, plain = session.limits["busy"].read_back, session.limits["plain"].read_back
        assert (slow.period, plain.period) == (pytest.approx(0.2), 0.1)
        assert plain.cpus == pytest.approx(0.1)  # a share is a share
        begin, used = time.monotonic(), session.bed.cpu("busy").usage_s
        session.check_speeds(reference)
        # Until it has been looked at for two windows of 5 s.
        assert eventually(lambda: len(session.governed()["busy"]["windows"]) == 2, 30)
        share = (session.bed.cpu("busy").usage_s - used) / (time.monotonic() - begin)
        governed = session.governed()
    assert set(governed) == {"busy", "plain"}
    assert share < 0.115  # and no less, where the machine has the time; what it got while it wanted to run:
    assert governed["busy"]["measured"] == pytest.approx(0.1, rel=0.05)
    assert governed["busy"]["disturbed"] == 0
    assert not session.speeds["plain"].paced
    assert session.speeds["plain"].measured is not None
    assert "busy" not in session.speeds


def test_every_node_of_a_standing_topology_is_governed(foreign: Path) -> None:
    with up(foreign) as session:
        session.limit(standing=True)
        assert set(session.governed()) == {node.name for node in session.plan.nodes}
        program = threading.Thread(target=session.bed.exec, args=("dev", BUSY, 13.0))
        begin, before = time.monotonic(), session.bed.cpu("dev").usage_s
        program.start()
        program.join()
        share = (session.bed.cpu("dev").usage_s - before) / (time.monotonic() - begin)
        row = session.governed()["dev"]
        session.release()
        fleet = session.bed.fleet
        period = fleet.limits("dev").period
        assert period == pytest.approx(0.02 / 0.15, rel=1e-4)
        assert fleet.set_quota("dev", None, period).quota is None
        assert fleet.set_quota("dev", 0.2, period).cpus == pytest.approx(0.2, rel=1e-4)
        assert fleet.limits("dev").period == period
    assert share < 0.15 * 1.1
    # Less than that on the clock where the machine is busy, but no less of the time that it could be given.
    assert row["measured"] > 0.15 * 0.9
