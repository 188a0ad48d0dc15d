"""Processes killed for want of memory while a command runs in a node: by the API, on the command line, in `inspect`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from testbed.cli import exec as exec_
from testbed.cli import inspect
from testbed.emulation import attach, execute
from testbed.emulation.attach import AttachedBed
from testbed.emulation.cgroups import Cgroup
from testbed.emulation.containers import State
from testbed.emulation.execute import ExecResult
from testbed.emulation.record import BedRecord, NodeRecord
from testbed.errors import EmulationError

PID = 4242
NODE = NodeRecord(
    "dev-1", "device", "phone", "c", "c0ffee", PID, "10.77.0.3", "02:00:00:00:00:01", 0.3, 0.1, 256 << 20
)  # fmt: skip
NOTE = (
    "dev-1: the kernel killed {} of it for want of memory during the command\n"
    "  found:  a memory limit of 256 MiB\n"
    "  remedy: set profiles.phone.memory higher, or have the command use less\n"
)
ENDED = State(running=False, exit_code=137, oom_killed=True, pid=0)


class FakeEngine:
    """An engine with one container."""

    state_told = ENDED

    def state(self, container: str) -> State:
        assert container == NODE.container_id
        return self.state_told

    def ours(self, run_id: str) -> list[dict[str, str]]:
        return [{"Id": NODE.container_id, "State": "running"}]

    def close(self) -> None:
        pass


class Place:
    """A bed of one node whose cgroup is a recorded tree; ``happens`` is what comes of a command in it."""

    def __init__(self, tree: Path, version: str) -> None:
        name = {"v1": "memory.oom_control", "v2-systemd": "memory.events"}[version]
        [self.events] = tree.rglob(name)
        self.happens: Callable[[], object] = lambda: None
        self.result = ExecResult(137, "", "")
        self.bed = AttachedBed(BedRecord("r1", "n", "s", "d", "relay", nodes={NODE.name: NODE}))

    def count(self, kills: int | None) -> None:
        self.events.write_text("oom 9\n" if kills is None else f"oom 9\noom_kill {kills}\n")

    def gone(self) -> None:
        self.events.unlink()

    def run(self, *_: Any) -> Any:
        self.happens()
        return self.result

    def interactive(self, *_: Any) -> int:
        self.happens()
        return 137


@pytest.fixture(params=["v1", "v2-systemd"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    tree = Path(shutil.copytree(Path(__file__).parent / "fixtures" / request.param, tmp_path / "tree"))
    group = Cgroup.of(PID, proc=tree / "proc", base=tree)
    made = Place(tree, request.param)
    made.count(2)
    monkeypatch.setattr(Cgroup, "of", lambda pid: group)
    monkeypatch.setattr(execute, "run", made.run)
    monkeypatch.setattr(execute, "interactive", made.interactive)
    monkeypatch.setattr(attach, "attach", lambda run: made.bed)
    monkeypatch.setattr(attach, "Engine", FakeEngine)
    return made


def verb(*arguments: str) -> Result:
    app = typer.Typer()
    for module in (exec_, inspect):
        app.command(module.__name__.rpartition(".")[2], **getattr(module, "SETTINGS", {}))(module.command)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})


@pytest.mark.parametrize(("after", "what"), [(3, "a process"), (5, "3 processes")])
def test_a_kill_during_a_command_is_told_on_standard_error(place: Place, after: int, what: str) -> None:
    place.happens = lambda: place.count(after)
    place.result = ExecResult(137, "out", "Killed")
    done = place.bed.exec("dev-1", ["hungry"])
    assert (done.exit_code, done.stdout, done.oom_kills) == (137, "out", after - 2)
    assert done.stderr == "Killed\n" + NOTE.format(what)


def test_kills_before_a_command_are_not_its_own(place: Place) -> None:
    assert place.bed.exec("dev-1", ["true"]) == ExecResult(137, "", "", oom_kills=0)


def test_a_kernel_that_does_not_count(place: Place) -> None:
    place.count(None)
    place.result = ExecResult(0, "", "err\n")
    assert place.bed.exec("dev-1", ["true"]) == ExecResult(0, "", "err\n", oom_kills=None)


def test_a_node_that_is_killed_itself_takes_its_count_with_it(place: Place) -> None:
    place.happens = place.gone
    done = place.bed.exec("dev-1", ["hungry"])
    assert (done.oom_kills, done.stderr) == (1, NOTE.format("a process"))


def test_a_node_that_ends_otherwise_is_not_said_to_lack_memory(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEngine, "state_told", State(running=False, exit_code=0, oom_killed=False, pid=0))
    place.happens = place.gone
    assert place.bed.exec("dev-1", ["kill"]).oom_kills is None


def test_a_node_that_has_ended_is_the_engines_to_refuse(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(pid: int) -> Cgroup:
        raise EmulationError("cannot find a process's cgroup")

    monkeypatch.setattr(Cgroup, "of", nothing)
    assert place.bed.exec("dev-1", ["true"]) == ExecResult(137, "", "")


def test_the_verb_tells_it_and_exits_with_the_commands_code(place: Place) -> None:
    quiet = verb("exec", "dev-1", "--", "true")
    assert (quiet.exit_code, quiet.stderr) == (137, "")
    place.happens = lambda: place.count(3)
    told = verb("exec", "dev-1", "--", "hungry")
    assert (told.exit_code, told.stdout, told.stderr) == (137, "", NOTE.format("a process"))


@pytest.mark.parametrize("kills", [0, 7, None])
def test_inspect_tells_of_them_in_json_always(place: Place, kills: int | None) -> None:
    place.count(kills)
    [node] = json.loads(verb("inspect", "--format", "json").stdout)["nodes"]
    assert node["oom_kills"] == kills
    assert ("dev-1: 7 killed of its processes for want of memory" in verb("inspect").stdout) == bool(kills)


def test_a_fleets_commands_are_watched_as_well(place: Place) -> None:
    from testbed.emulation.fleet import Fleet
    from tests import support

    plan = support.loop_plan()
    fleet = object.__new__(Fleet)  # no engine, no containers
    fleet.engine = FakeEngine()  # type: ignore[assignment]
    fleet._plans = {node.name: node for node in plan.nodes}
    fleet._containers = {"dev-1": SimpleNamespace(id=NODE.container_id)}  # type: ignore[dict-item]
    fleet._cgroups = {"dev-1": Cgroup.of(PID)}
    place.happens = lambda: place.count(3)
    done = fleet.exec("dev-1", ["hungry"])
    assert done.oom_kills == 1
    assert f"set profiles.{plan.node('dev-1').profile}.memory higher" in done.stderr
