"""What the watch sees on real containers, and the verdicts that follow."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.emulation.bed import Bed
from testbed.emulation.containers import Launch
from testbed.emulation.ledger import Ledger
from testbed.emulation.machine import Machine
from testbed.run.nodes import MachineWatch, NodeWatch
from testbed.run.watch import Watch
from tests.support import IDLE, VethEmulator, eventually, loop_plan, run_id
from tests.system.test_run import SHORT, SMOKE, containers, finish, only_run, start, wait_for_training

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow]

PACED = """
import time
due = time.monotonic()
while True:
    begin = time.thread_time()
    while time.thread_time() - begin < 0.02:
        pass
    due = max(due + 0.1, time.monotonic())
    time.sleep(max(0.0, due - time.monotonic()))
"""
BLOCKED = "import socket; a, b = socket.socketpair(); a.recv(1)"


@contextmanager
def busy_loops() -> Iterator[None]:
    """Two processes that take what they can get."""
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def quiet_machine(used: float = 0.1, patience: float = 60) -> None:
    """Wait for a while until all use no more than so many cores; after that the test shall say who does."""
    machine, deadline = Machine(), time.monotonic() + patience
    while time.monotonic() < deadline:
        begin = machine.use().busy_s
        time.sleep(2)
        if machine.use().busy_s - begin < 2 * used:
            return


def shares(bed: Bed, seconds: float) -> dict[str, dict[str, float]]:
    """Over that time, per node: shares of it that the node was starved and throttled, and cores got."""
    watches = [NodeWatch(name, bed.fleet.cgroup(name), 0.1) for name in bed.record.nodes]
    machine = MachineWatch(bed)
    begin = time.monotonic()
    time.sleep(seconds)
    end = time.monotonic()
    spans = [watch.sample(begin, end) for watch in watches]
    machine.sample(begin, end, spans)
    for watch in watches:
        watch.close()
    return {
        span.node: {
            "starved": span.attrs["starved_s"] / (end - begin),
            "by_others": span.attrs["starved_by_others_s"] / (end - begin),
            "throttled": span.attrs["throttled_s"] / (end - begin),
            "cores": span.cpu_s / (end - begin),
        }
        for span in spans
    }


def test_who_is_starved_and_who_is_not() -> None:
    launch = {
        "dev-1": Launch(("python3", "-c", PACED)),
        "dev-2": Launch(("sh", "-c", "while :; do :; done")),
        "edge-north": Launch(("python3", "-c", BLOCKED)),
    }
    plan = loop_plan()
    plan = replace(plan, nodes=tuple(replace(node, cpus=0.3) for node in plan.nodes))
    name = run_id()
    with Ledger.create(name) as book:
        bed = Bed(plan, name, book, lambda node: launch.get(node.name, IDLE), VethEmulator())
        bed.up()
        try:
            bed.apply_limits()
            assert eventually(lambda: bed.cpu("dev-1").usage_s > 0.3, 20)
            quiet_machine(0.7)  # the two of them use 0.5
            alone = shares(bed, 4)
            with busy_loops():
                beside = shares(bed, 4)
        finally:
            bed.down()
    print(alone, beside)
    held = alone["dev-2"]
    assert held["cores"] == pytest.approx(0.3, rel=0.1)
    assert held["throttled"] > 0.5, "it is held back by its own quota ..."
    assert held["by_others"] < 0.05, "... which is not starving"
    assert beside["dev-1"]["starved"] > 0.03
    assert beside["dev-1"]["by_others"] > 0.5 * beside["dev-1"]["starved"]
    assert beside["dev-1"]["starved"] > 2 * alone["dev-1"]["starved"]
    for quiet in ("edge-north", "cloud"):  # blocked on a socket; asleep: at most a rare wake-up has to queue
        assert alone[quiet]["starved"] < 0.02
        assert beside[quiet]["starved"] < 0.1 * beside["dev-1"]["starved"]


def test_watching_twenty_nodes_costs_little(tmp_path: Path) -> None:
    threads = "import threading, time\nfor _ in range(8): threading.Thread(target=time.sleep, args=(600,)).start()"
    plan, name = loop_plan(devices=17), run_id()
    with Ledger.create(name) as book:
        bed = Bed(plan, name, book, lambda _: Launch(("python3", "-c", threads)))
        bed.up()
        watch = Watch(bed, tmp_path / "watch.csv")
        try:
            used, begin = time.process_time(), time.monotonic()
            watch.start(begin)
            time.sleep(10)
            watch.stop()
            share = (time.process_time() - used) / (time.monotonic() - begin)
        finally:
            bed.down()
    assert len(bed.plan.nodes) == 20
    assert watch.watched.looks >= 10
    print(f"watching 20 nodes and {len(plan.links)} links took {share:.2%} of a core; as told: {watch.watched}")
    assert share < 0.02
    assert len((tmp_path / "watch.csv").read_text().splitlines()) > 10 * 20


def summary_of(runs: Path) -> dict:
    return json.loads((only_run(runs) / "summary.json").read_text())


def test_a_run_beside_busy_loops_is_invalid_and_names_the_starved(tmp_path: Path) -> None:
    with busy_loops():
        finish(start("run", str(SMOKE), *SHORT, "--runs", str(tmp_path), "--strict"), code=5)
    found = summary_of(tmp_path)
    assert found["verdict"] == "invalid"
    [reason] = [reason for reason in found["reasons"] if "starved" in reason]
    assert "edge-north" in reason
    assert "the machine was busy with something else" in reason
    assert "sh" in found["watch"]["programs"]
    node = found["nodes"]["edge-north"]["watch"]
    assert node["starved_by_others_share"] > 0.02
    assert "edge-north" in (only_run(tmp_path) / "report.html").read_text()


def test_a_run_alone_and_bound_by_its_links_is_ok(tmp_path: Path) -> None:
    quiet_machine()
    slow = ("--set", "links.access.rate=12Mbit", "--set", "workload.local_epochs=2", "--no-moves")
    finish(start("run", str(SMOKE), *SHORT, *slow, "--runs", str(tmp_path), "--strict"))
    found = summary_of(tmp_path)
    assert (found["verdict"], found["reasons"]) == ("ok", [])
    waited = sum(row["wait_s"] for row in found["devices"]["dev-1"])
    assert waited > 0.5 * sum(row["time_s"] for row in found["devices"]["dev-1"]), "it was not bound by its links"
    assert found["watch"]["cpu_share"] < 0.02
    with (only_run(tmp_path) / "watch.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    seconds = found["duration_s"]
    for kind, names in (("node", {"dev-1", "dev-2", "edge-north", "edge-south", "cloud"}), ("machine", {""})):
        mine = [row for row in rows if row["kind"] == kind]
        assert {row["name"] for row in mine} == names
        assert len(mine) == pytest.approx(len(names) * seconds, abs=2 * len(names))
    carried = [row for row in rows if row["name"] == "access:dev-1"]
    assert sum(int(row["ab_bytes"]) for row in carried) > 100_000
    for row in rows:
        if row["kind"] == "node":
            assert float(row["memory"]) > 10 << 20
            assert row["starved"] != ""


EAT = """
import os, sys
open("/proc/self/oom_score_adj", "w").write(sys.argv[1])
x = bytearray(1 << 30)
for i in range(0, len(x), 4096): x[i] = 1
"""


def test_processes_killed_for_want_of_memory_are_seen_at_once_and_named(tmp_path: Path) -> None:
    process = start("run", str(SMOKE), "--set", "workload.rounds=20", "--no-moves", "--runs", str(tmp_path))
    wait_for_training(tmp_path, process)
    [victim] = [name for name in containers(tmp_path) if name.endswith("dev-1")]

    def eat(score: int) -> None:
        subprocess.run(["docker", "exec", victim, "python3", "-c", EAT, str(score)], capture_output=True, check=False)

    def seen() -> bool:
        [path] = tmp_path.glob("*/events.jsonl")
        return '"oom_kills":1' in path.read_text()

    eat(1000)  # itself is what the kernel kills
    assert eventually(seen, 3)
    assert process.poll() is None
    eat(0)  # the node's worker holds more memory, so that is killed
    begin = time.monotonic()
    _, err = finish(process, code=1, patience=60)
    print(time.monotonic() - begin, err)
    assert "dev-1 ran out of memory and was killed (limit 384 MiB)" in err
    reasons = summary_of(tmp_path)["reasons"]
    assert reasons[0] == "dev-1 ran out of memory and was killed (limit 384 MiB)"
    assert "dev-1: the kernel killed a process of it for want of memory (limit 384 MiB)" in reasons
    assert "for want of memory" in (only_run(tmp_path) / "report.html").read_text()
