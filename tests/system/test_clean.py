"""Clean-up after crashes: all that a dead run made goes, and nothing of anybody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.emulation import fabric, netlink, netns, rundirs
from testbed.emulation.clean import clean
from testbed.emulation.containers import PLACE, RUN, Engine, name_of
from testbed.emulation.ledger import Ledger
from tests.support import IMAGE, eventually, run_id
from tests.system.beds import standing

pytestmark = [pytest.mark.root, pytest.mark.docker]

# A controller with seven nodes; it says when it begins and when its bed stands.
CONTROLLER = """
import signal, sys
from testbed.emulation.bed import Bed
from testbed.emulation.ledger import Ledger
from testbed.emulation.links import choose
from tests.support import IDLE, VethEmulator, loop_plan
emulator = VethEmulator() if sys.argv[2] == "veth" else choose(sys.argv[2], 1)
with Ledger.create(sys.argv[1]) as book:
    bed = Bed(loop_plan(devices=4), sys.argv[1], book, lambda _: IDLE, emulator)
    print("begins", flush=True)
    try:
        bed.up()
        print("stands", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
    finally:
        bed.down()
"""


@contextmanager
def controller(name: str, until: str = "stands", links: str = "veth") -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", CONTROLLER, name, links], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == until:
                break
        try:
            yield child
        finally:
            child.kill()


def killed_with_9(name: str) -> None:
    with controller(name) as child:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


def left_of(name: str) -> list[str]:
    with Engine() as engine:
        found = [item["Names"][0] for item in engine.ours(name)]
    return [*found, *(n for n in netns.names() if n == netns.name_of(name)), *(r.run_id for r in rundirs.runs())]


@pytest.fixture
def bystanders(tmp_path: Path) -> Iterator[None]:
    """A container, a bridge, a namespace named like ours, and a process: none of them ours."""
    tag = f"{os.getpid()}{time.monotonic_ns() % 1000}"
    bridge, space, container = f"by{tag}"[:15], f"rb-by{tag}", f"rb-by{tag}-dev-1"
    host = netns.of_pid(os.getpid())
    with Engine() as engine, subprocess.Popen(["sleep", "300"]) as process, netlink.Netlink(host) as socket:
        made = engine.api.create_container(
            IMAGE, ["sleep", "300"], name=container, labels={RUN: "someone", PLACE: "/run/elsewhere"},
            host_config=engine.api.create_host_config(network_mode="none", init=True),
        )["Id"]  # fmt: skip
        try:
            engine.api.start(made)
            socket.run([netlink.create_bridge(bridge, "02:aa:bb:cc:dd:01")])
            netns.create(space)
            with netlink.Netlink(netns.path_of(space)) as inner:
                inner.run([netlink.set_link("lo", alias=f"{fabric.LABEL}/run/elsewhere:by{tag}")])
            yield
            assert engine.state(made).running, "the bystander's container was touched"
            assert bridge in socket.interfaces(), "the bystander's bridge was touched"
            assert space in netns.names(), "the bystander's namespace was touched"
            assert process.poll() is None, "the bystander's process was touched"
        finally:
            process.kill()
            engine.remove(made)
            socket.run([netlink.delete_link(bridge)])
            netns.delete(space)


@pytest.mark.usefixtures("bystanders")
def test_kill_9_then_clean_leaves_nothing() -> None:
    name = run_id("kill")
    with controller(name) as child:
        assert rundirs.runs()[0].alive
        assert len(left_of(name)) == 7 + 1 + 1
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not rundirs.runs()[0].alive
    begin = time.monotonic()
    report = clean()
    took = time.monotonic() - begin
    print(f"clean of 7 containers took {took:.2f} s")
    assert report.clean
    [removed] = report.removed
    assert removed.containers == sorted(name_of(name, node) for node in (
        "dev-1", "dev-2", "dev-3", "dev-4", "edge-north", "edge-south", "cloud"))  # fmt: skip
    assert removed.namespaces == [netns.name_of(name)]
    assert left_of(name) == []
    assert took <= 3.0
    assert clean().removed == []


@pytest.mark.usefixtures("bystanders")
def test_links_end_by_themselves_when_their_controller_is_killed() -> None:
    name = run_id("relay")
    with controller(name, links="relay") as child:
        [relay] = [entry.process() for entry in Ledger.open(name).entries() if entry.name.startswith("links")]
        assert relay.running()
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert eventually(lambda: not relay.running(), 10), "the relay outlives its controller"
    fabric_left = netns.path_of(netns.name_of(name))

    def ports() -> list[str]:
        with netlink.Netlink(fabric_left) as socket:
            return [port for port in socket.interfaces() if port.startswith("p")]

    assert eventually(lambda: len(ports()) <= 2), "of all ports only those of the plain wire are left"
    report = clean()
    assert report.clean
    assert left_of(name) == []


def test_a_relay_that_is_stuck_is_ended() -> None:
    name = run_id("stuck")
    with controller(name, links="relay") as child:
        [relay] = [entry.process() for entry in Ledger.open(name).entries() if entry.name.startswith("links")]
        os.kill(relay.pid, signal.SIGSTOP)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert relay.running()
    report = clean()
    assert report.clean
    assert report.removed[0].processes == [f"links (relay) ({relay.pid})"]
    assert not relay.running()
    assert left_of(name) == []


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3, 0.45, 0.6])
def test_kill_9_while_it_comes_up(delay: float) -> None:
    name = run_id("mid")
    with controller(name, until="begins") as child:
        time.sleep(delay)  # the very point: wherever it is by then
        child.send_signal(signal.SIGKILL)
        child.wait()
    report = clean()
    assert report.clean
    assert [run.run_id for run in report.removed] == [name]
    assert left_of(name) == []


@pytest.mark.usefixtures("bystanders")
def test_live_runs_are_left_alone_until_named() -> None:
    with standing() as bed:
        report = clean()
        assert (report.removed, report.left_alone) == ([], [bed.run_id])
        assert all(state.running for state in bed.states().values())
    for forced in (False, True):
        name = run_id("live")
        with controller(name) as child:
            assert clean().left_alone == [name]
            report = clean(None if forced else [name], force=forced)
            assert report.clean
            assert child.wait(10) == 0, "it was asked, and ended in order"
        assert left_of(name) == []


def test_a_controller_that_does_not_listen_is_killed() -> None:
    name = run_id("deaf")
    with controller(name) as child:
        child.send_signal(signal.SIGSTOP)
        report = clean([name])
        assert child.wait(1) == -signal.SIGKILL
    assert report.clean
    assert report.removed[0].processes == [f"controller ({child.pid})"]
    assert len(report.removed[0].containers) == 7
    assert left_of(name) == []


@pytest.mark.usefixtures("bystanders")
def test_a_run_whose_directory_is_lost() -> None:
    name = run_id("lost")
    killed_with_9(name)
    shutil.rmtree(rundirs.root() / name)
    report = clean()
    assert [run.run_id for run in report.removed] == [name]
    assert len(report.removed[0].containers) == 7
    assert report.removed[0].namespaces == [netns.name_of(name)]
    assert left_of(name) == []


def test_a_fabric_is_known_by_its_mark_alone() -> None:
    name = run_id("mark")
    killed_with_9(name)
    shutil.rmtree(rundirs.root() / name)
    with Engine() as engine:
        for item in engine.ours(name):
            engine.remove(item["Id"])
    report = clean()
    assert report.removed[0].namespaces == [netns.name_of(name)]
    assert left_of(name) == []


def test_processes_and_paths_in_the_ledger_go(tmp_path: Path) -> None:
    name = run_id("proc")
    made, kept = tmp_path / "made", tmp_path / "kept"
    with subprocess.Popen(["sleep", "300"]) as ours, subprocess.Popen(["sleep", "300"]) as theirs:
        for path in (made, kept):
            (path / "deep").mkdir(parents=True)
        book = Ledger.create(name)
        book.add_process("links (relay)", ours.pid)
        book.add("directory", str(made))
        book.add("file", str(tmp_path / "never-made"))
        book.release()
        try:
            report = clean([name])
            assert report.removed[0].processes == [f"links (relay) ({ours.pid})"]
            assert ours.wait(1) == -signal.SIGKILL
            assert theirs.poll() is None
        finally:
            theirs.kill()
            ours.kill()
    assert not made.exists()
    assert kept.exists()
    assert str(book.directory) in report.removed[0].paths


def test_unknown_runs_are_named() -> None:
    report = clean(["no-such-run"])
    assert (report.unknown, report.removed) == (["no-such-run"], [])


def test_two_clean_ups_at_once() -> None:
    name = run_id("both")
    killed_with_9(name)
    script = "import json; from testbed.emulation.clean import clean; r = clean(); print(json.dumps(r.clean))"
    with (
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as two,
    ):
        said = [json.loads(child.communicate(timeout=60)[0]) for child in (one, two)]
    assert any(said), "one of them at least did all of it"
    assert eventually(lambda: left_of(name) == [])


def test_without_an_engine_the_rest_goes_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    name = run_id("deaf")
    killed_with_9(name)
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
        report = clean()
    assert not report.clean
    assert "does not answer" in report.problems[0]
    assert report.removed[0].namespaces == [netns.name_of(name)]
    assert (rundirs.root() / name).exists(), "kept for the next time"
    assert clean().clean
    assert left_of(name) == []
