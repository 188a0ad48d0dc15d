"""Runs as a user starts them, on real containers and links, and what happens when nodes misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.errors import EmulationError
from tests.support import eventually

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "topologies" / "smoke.yaml"
# Short, but long enough for the move at half of round 2 to be over before it ends.
SHORT = (
    "--set", "workload.data.train=320", "--set", "workload.local_epochs=4", "--set", "emulation.speed_check=1s",
)  # fmt: skip


def start(*arguments: str, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from testbed.cli import main; main()", *arguments]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        command, cwd=more.pop("cwd", ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def finish(process: subprocess.Popen[str], code: int = 0, patience: float = 150) -> tuple[str, str]:
    out, err = process.communicate(timeout=patience)
    assert process.returncode == code, f"exit {process.returncode}\n{out[-3000:]}\n{err[-3000:]}"
    return out, err


def smoke(runs: Path, *arguments: str, code: int = 0) -> dict:
    out, _ = finish(start("run", str(SMOKE), *SHORT, *arguments, "--runs", str(runs), "--format", "json"), code)
    return json.loads(out)


def only_run(runs: Path) -> Path:
    [found] = runs.iterdir()
    return found


def under_way(runs: Path, *arguments: str) -> subprocess.Popen[str]:
    """A run of the smoke topology, started, whose devices train by now."""
    process = start("run", str(SMOKE), *arguments, "--runs", str(runs))
    wait_for_training(runs, process)
    return process


def wait_for_training(runs: Path, process: subprocess.Popen[str]) -> None:
    """Until a device of the run that a process carries out has done a batch."""

    def training() -> bool:
        assert process.poll() is None, process.communicate()
        return any('"kind":"backward"' in path.read_text() for path in runs.glob("*/events.jsonl"))

    assert eventually(training, 60), "nobody trains"


def containers(runs: Path) -> list[str]:
    done = subprocess.run(
        ["docker", "ps", "--format", "{{.Names}}", "--filter", f"name=rb-{only_run(runs).name}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def strike(runs: Path, verb: str, node: str, *command: str) -> None:
    """Have the engine do something to a node's container; how a program ends that it executes is not looked at."""
    [victim] = [name for name in containers(runs) if name.endswith(node)]
    subprocess.run(["docker", verb, victim, *command], check=verb != "exec", capture_output=True)


def test_a_run_with_a_move_ends_with_the_same_weights_as_one_without(tmp_path: Path) -> None:
    moved, still = smoke(tmp_path / "a"), smoke(tmp_path / "b", "--no-moves")
    assert moved["weights_sha256"] == still["weights_sha256"]
    assert len(moved["weights_sha256"]) == 64
    assert still["moves"] == []
    [move] = moved["moves"]
    assert (move["device"], move["from"], move["to"], move["strategy"]) == ("dev-1", "north", "south", "migrate")
    assert move["state_s"] > 0
    assert move["state_bytes"] > 100_000
    assert move["limit_s"] > 0
    assert move["reconnects"] == 0
    assert 0.4 < move["progress"] < 0.8
    for row in (moved, still):
        assert row["rounds"] == 2
        assert row["accuracy"] > 0.3
        assert {d: [r["round"] for r in rows] for d, rows in row["devices"].items()} == {
            "dev-1": [1, 2], "dev-2": [1, 2],
        }  # fmt: skip
        for node in row["nodes"].values():
            assert node["limits"]["asked"]["memory"] == node["limits"]["read_back"]["memory"]
    directory = only_run(tmp_path / "a")
    names = {path.name for path in directory.iterdir()}
    assert names >= {
        "experiment.yaml", "manifest.json", "calibration.json", "events.jsonl", "metrics.csv", "summary.json",
        "report.html",
    }  # fmt: skip
    assert json.loads((directory / "summary.json").read_text()) == moved
    links = json.loads((directory / "calibration.json").read_text())
    assert {link["link"] for link in links if link["kind"] != "wire"} >= {"access:dev-1", "edge:edge-north"}


def test_several_schemes_run_on_one_bed_and_are_compared(tmp_path: Path) -> None:
    both = smoke(tmp_path, "--scheme", "splitfed", "--scheme", "fedfly", "--scheme", "fedavg")
    assert [row["scheme"] for row in both["results"]] == ["splitfed", "fedfly", "fedavg"]
    restart, migrate, whole = both["results"]
    assert restart["moves"][0]["strategy"] == "restart"
    assert restart["moves"][0]["lost_batches"] > 0
    assert restart["weights_sha256"] == migrate["weights_sha256"]
    assert whole["rounds"] == 2
    for scheme in ("splitfed", "fedfly", "fedavg"):
        assert (only_run(tmp_path) / scheme / "summary.json").exists()
    assert (only_run(tmp_path) / "report.html").exists()


def test_two_runs_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    tiny = ("--set", "profiles.tiny-edge.speed=0.2", "--set", "profiles.tiny-device.speed=0.1")
    both = [
        start("run", str(SMOKE), *SHORT, *tiny, "--runs", str(tmp_path / name), "--format", "json")
        for name in ("a", "b")
    ]
    one, two = (json.loads(finish(process)[0]) for process in both)
    assert one["run"] != two["run"]
    assert one["weights_sha256"] == two["weights_sha256"]
    assert len(one["moves"]) == len(two["moves"]) == 1


def test_a_node_that_is_killed_ends_the_run_and_is_named(tmp_path: Path) -> None:
    process = under_way(tmp_path, "--format", "json")
    strike(tmp_path, "kill", "dev-2")
    out, err = finish(process, code=1, patience=60)
    assert "dev-2 died" in err
    assert json.loads(out)["verdict"] == "invalid"
    assert (only_run(tmp_path) / "report.html").exists()
    assert '"kind":"backward"' in (only_run(tmp_path) / "events.jsonl").read_text()


def test_an_edge_server_that_is_killed_is_named_and_training_goes_on_elsewhere(tmp_path: Path) -> None:
    process = under_way(tmp_path, "--format", "json")
    strike(tmp_path, "kill", "edge-north")
    out, err = finish(process, code=0, patience=90)
    assert "edge-north died" in err
    summary = json.loads(out)
    assert summary["verdict"] == "invalid"
    assert any("edge-north died" in reason for reason in summary["reasons"])
    assert summary["rounds"] == 2


def test_a_relay_that_is_killed_ends_the_run_and_is_named(tmp_path: Path) -> None:
    from testbed.emulation.ledger import Ledger

    process = under_way(tmp_path, "--set", "emulation.links=relay", "--format", "json")
    entries = Ledger.open(only_run(tmp_path).name).entries()
    [relay] = [e.process() for e in entries if e.kind == "process" and e.name.startswith("links")]
    os.kill(relay.pid, signal.SIGKILL)
    out, err = finish(process, code=EmulationError.exit_code, patience=30)
    assert "the relay has ended, and all links with it" in err
    assert json.loads(out)["verdict"] == "invalid"


def test_a_node_that_hangs_ends_the_run_and_is_named(tmp_path: Path) -> None:
    process = under_way(tmp_path, "--set", "tolerances.node_silence=4s")
    strike(tmp_path, "pause", "dev-2")
    _, err = finish(process, code=1, patience=60)
    assert "dev-2 hangs" in err


def test_a_node_out_of_memory_is_named(tmp_path: Path) -> None:
    process = under_way(tmp_path)
    eat = "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1"
    strike(tmp_path, "exec", "dev-1", "python3", "-c", eat)
    out, err = process.communicate(timeout=120)
    text = out + err + "".join(p.read_text() for p in tmp_path.glob("*/summary.json"))
    assert "dev-1" in text
    assert "memory" in text


def test_an_interrupt_ends_in_order_and_keeps_results(tmp_path: Path) -> None:
    process = under_way(tmp_path)
    process.send_signal(signal.SIGINT)
    finish(process, code=130, patience=30)
    summary = json.loads((only_run(tmp_path) / "summary.json").read_text())
    assert summary["verdict"] == "invalid"
    assert "interrupted" in summary["reasons"][0]


def test_nodes_and_relay_end_by_themselves_when_the_controller_is_killed(tmp_path: Path) -> None:
    from testbed.emulation.clean import clean
    from testbed.emulation.ledger import Ledger

    process = under_way(tmp_path)
    run = only_run(tmp_path).name
    helpers = [e.process() for e in Ledger.open(run).entries() if e.kind == "process" and e.name != "controller"]
    assert containers(tmp_path)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    process.communicate()
    assert eventually(lambda: not containers(tmp_path), 10), "containers still run"
    assert eventually(lambda: not any(p.running() for p in helpers), 10), "the relay still runs"
    assert time.monotonic() - killed < 10
    bystander = subprocess.run(
        ["docker", "run", "-d", "--network=none", "roambed-node:latest", "sleep", "60"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        clean()
        left = subprocess.run(["docker", "ps", "-aq", "--no-trunc"], capture_output=True, text=True, check=True).stdout
        assert bystander in left
        named = ["docker", "ps", "-aq", "--filter", f"label=roambed.run={run}"]
        assert not subprocess.run(named, capture_output=True, text=True, check=True).stdout
        assert f"rb-{run}" not in os.listdir("/run/netns")
    finally:
        subprocess.run(["docker", "rm", "-f", bystander], capture_output=True, check=True)


def test_an_access_link_carries_no_plain_tensor(tmp_path: Path) -> None:
    """The global model goes to the devices at the start: none of its bytes may be readable on the way."""
    from nodes.learn import models
    from testbed.emulation import netns

    weights = models.build("cnn", 1).state_dict()["conv1.conv.weight"].numpy().tobytes()
    process = start("run", str(SMOKE), *SHORT, "--runs", str(tmp_path))

    def socket_there() -> bool:
        found.extend(p for p in _pids(tmp_path, "dev-1") if p not in found)
        return bool(found)

    found: list[int] = []
    assert eventually(socket_there, 30)
    capture = netns.inside(netns.of_pid(found[0]), _packet_socket)
    with capture:
        frames, routes = [], _routes(found[0])
        while process.poll() is None:
            try:
                frames.append(capture.recv(70_000))
            except TimeoutError:
                continue
    finish(process)
    seen = b"".join(frames)
    assert len(seen) > 1_000_000, "the capture saw no traffic"
    windows = [weights[i : i + 24] for i in range(0, len(weights) - 24, 24)]
    assert not any(window in seen for window in windows)
    assert routes == ["10.77.0.0/16 dev eth0"], routes


def _pids(runs: Path, node: str) -> list[int]:
    if not runs.is_dir() or not list(runs.iterdir()):
        return []
    named = [name for name in containers(runs) if name.endswith(f"-{node}")]
    show = ["docker", "inspect", "--format", "{{.State.Pid}}", *named]
    done = subprocess.run(show, capture_output=True, text=True, check=False) if named else None
    found = [int(word) for word in done.stdout.split()] if done else []
    # The address is the last thing that bring-up gives a node.
    return [pid for pid in found if pid and "10.77." in ip_text(pid, "addr")]


def ip_text(pid: int, *what: str) -> str:
    command = ["nsenter", "-t", str(pid), "-n", "ip", "-4", *what]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _routes(pid: int) -> list[str]:
    return [" ".join(line.split()[:3]) for line in ip_text(pid, "route").splitlines()]


def _packet_socket() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    made.settimeout(0.5)
    made.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)  # SO_RCVBUFFORCE
    return made


def test_up_exec_down(tmp_path: Path) -> None:
    out, _ = finish(start("up", str(SMOKE), "--format", "json"))
    run = json.loads(out)["run"]
    try:
        listed, _ = finish(start("ls", "--format", "json"))
        assert run in listed
        out, _ = finish(start("exec", "dev-1", "--", "ping", "-c", "2", "-i", "0.3", "cloud"))
        assert "2 received" in out
        finish(start("exec", "dev-1", "--", "sh", "-c", "exit 7"), code=7)
        shown, _ = finish(start("inspect", "--format", "json"))
        assert "dev-1" in shown
    finally:
        finish(start("down", run))
    listed, _ = finish(start("ls", "--format", "json"))
    assert run not in listed


@pytest.mark.parametrize("verb", ["run", "up"])
def test_bad_input_makes_nothing(tmp_path: Path, verb: str) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(SMOKE.read_text().replace("rate: 40Mbit", "rate: 40Mbps"))
    _, err = finish(start(verb, str(bad), cwd=tmp_path), code=2, patience=30)
    assert "bad.yaml:" in err
    assert "Mbit" in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_more_cpu_than_the_machine_has_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    many = (os.cpu_count() or 1) + 2
    arguments = ("--set", f"devices.dev.count={many}", "--set", "profiles.tiny-device.speed=0.95")
    process = start("run", str(SMOKE), *arguments, "--runs", str(tmp_path / "runs"))
    _, err = finish(process, code=2, patience=30)
    assert "core" in err
    assert not (tmp_path / "runs").exists()
