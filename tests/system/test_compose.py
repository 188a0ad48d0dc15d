"""The controller in a container: by compose where there is one, and by the ``docker run`` that means the same.

The file's own text is what is tested: grants are read from it, never repeated here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.emulation import netns, rundirs
from tests.support import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
FILE = CHECKOUT / "compose" / "testbed.yml"
SMOKE = "topologies/smoke.yaml"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def environment() -> dict[str, str]:
    return {**os.environ, "PWD": str(CHECKOUT), "HOME": os.environ.get("HOME", "/root")}


def interpolated(text: str, variables: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        found = variables.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise KeyError(match["rest"])
        return found or (match["rest"] if match["kind"] == "-" else "")

    return _VARIABLE.sub(value, text)


def service(name: str = "testbed", **variables: str) -> dict[str, Any]:
    document = yaml.safe_load(interpolated(FILE.read_text(), {**environment(), **variables}))
    return dict(document["services"][name])


def docker_run(asked: dict[str, Any], *arguments: str) -> list[str]:
    """What compose would ask of the engine for ``run --rm``, as a command of Docker's own."""
    meant = {
        "image": lambda image: [],
        "build": lambda _: [],
        "command": lambda _: [],
        "working_dir": lambda path: ["--workdir", path],
        "pid": lambda mode: ["--pid", mode],
        "network_mode": lambda mode: ["--network", mode],
        "user": lambda user: ["--user", user],
        "cap_drop": lambda names: [f"--cap-drop={name}" for name in names],
        "cap_add": lambda names: [f"--cap-add={name}" for name in names],
        "security_opt": lambda options: [f"--security-opt={option}" for option in options],
        "devices": lambda devices: [f"--device={device}" for device in devices],
        "environment": lambda values: [f"--env={name}={value}" for name, value in values.items()],
        "volumes": lambda volumes: [f"--volume={volume}" for volume in volumes],
        "entrypoint": lambda words: [f"--entrypoint={words[0]}"],
    }
    assert set(asked) <= set(meant), f"not translated: {set(asked) - set(meant)}"
    options = [word for key, value in asked.items() for word in meant[key](value)]
    rest = list(arguments) or [*asked["entrypoint"][1:], *asked["command"]]
    return ["docker", "run", "--rm", *options, asked["image"], *rest]


@cache
def compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return None


def call(command: list[str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def image() -> str:
    """The controller's image, built if it is not there (the engine's cache makes a second build quick)."""
    name: str = service()["image"]
    builder = {**os.environ, "DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0")}
    subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, "--file", "compose/Dockerfile", "."],
        cwd=CHECKOUT, check=True, capture_output=True, timeout=600, env=builder,
    )  # fmt: skip
    return name


@pytest.fixture
def project() -> Iterator[str]:
    """A name for compose, under which nothing may be left."""
    name = f"rbtest{uuid.uuid4().hex[:8]}"
    yield name
    if compose() is not None:
        call([*(compose() or []), "-p", name, "-f", str(FILE), "down", "--timeout", "2"])
    left = call(["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={name}"]).stdout
    assert left == ""


@pytest.fixture
def results() -> Iterator[Path]:
    """A directory of the checkout, which inside and outside see by the same name."""
    directory = CHECKOUT / "build" / f"compose-{uuid.uuid4().hex[:8]}"
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def run_command(project: str, *arguments: str) -> list[str]:
    """One command in the controller's container, as a user gives it."""
    found = compose()
    if found is None:
        return docker_run(service(), *arguments)
    return [*found, "-p", project, "-f", "compose/testbed.yml", "run", "--rm", "-T", "testbed", *arguments]


def test_nothing_is_granted_that_is_not_explained() -> None:
    explained = (CHECKOUT / "docs" / "compose.md").read_text()
    for name in ("testbed", "desk"):
        asked = service(name)
        assert "privileged" not in asked
        assert asked["cap_drop"] == ["ALL"]
        for grant in (*asked["cap_add"], *asked["security_opt"], *asked["devices"]):
            assert f"`{grant}`" in explained, f"{grant} is granted without a word in docs/compose.md"
        for volume in asked["volumes"]:
            outside = volume.split(":")[0].replace(str(CHECKOUT), "$PWD").replace(environment()["HOME"], "$HOME")
            assert f"`{outside}`" in explained, f"{outside} is mounted without a word in docs/compose.md"


def test_what_nodes_mount_has_the_same_path_inside() -> None:
    volumes = [volume.split(":") for volume in service(ROAMBED_RUN_DIR="/run/elsewhere")["volumes"]]
    same = {parts[0] for parts in volumes if parts[0] == parts[1]}
    assert {str(CHECKOUT), "/run/elsewhere", "/run/netns"} <= same


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(900)  # the image may have to be built first
def test_a_run_in_the_container_computes_what_a_native_run_does(image: str, project: str, results: Path) -> None:
    arguments = ["run", SMOKE, "--runs", str(results.relative_to(CHECKOUT)), "--format", "json", "--quiet"]
    start = [sys.executable, "-c", "from testbed.cli import main; main()"]
    native = json.loads(call([*start, *arguments]).stdout)
    inside = json.loads(call(run_command(project, *arguments)).stdout)
    assert inside["weights_sha256"] == native["weights_sha256"] != ""
    assert inside["links"] == native["links"]
    written = json.loads((results / inside["run"] / "summary.json").read_text())
    assert written["weights_sha256"] == inside["weights_sha256"]
    owner = CHECKOUT.stat().st_uid
    assert {path.stat().st_uid for path in (results / inside["run"]).rglob("*")} == {owner}


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.slow
def test_the_container_can_do_what_this_machine_can(image: str) -> None:
    start = [sys.executable, "-c", "from testbed.cli import main; main()", "doctor", "--format", "json"]
    native = json.loads(call(start).stdout)
    inside = json.loads(call(docker_run(service(), "doctor", "--format", "json")).stdout)
    by_chance = {"timer of 1 ms"}
    judged = [
        {c["name"]: c["ok"] for c in report["checks"] if c["name"] not in by_chance} for report in (native, inside)
    ]
    assert judged[0] == judged[1]


@pytest.mark.root
@pytest.mark.docker
@pytest.mark.slow
def test_a_topology_stands_in_the_desk_and_is_seen_from_outside(image: str, project: str) -> None:
    """``up`` in a container that stays; then the container is killed, and the machine cleaned from outside."""
    name = f"{project}-desk"
    command = docker_run(service("desk"))
    call([*command[:2], "--detach", "--name", name, *command[2:]])
    try:
        stands = json.loads(call(["docker", "exec", name, "testbed", "up", SMOKE, "--format", "json"]).stdout)
        said = call(["docker", "exec", name, "testbed", "exec", "dev-1", "--", "ping", "-c", "1", "-W", "2", "cloud"])
        assert "1 received" in said.stdout
        (seen,) = rundirs.runs()
        assert (seen.run_id, seen.alive) == (stands["run"], True)
        fabric = netns.path_of(netns.name_of(stands["run"]))
        assert len(netns.inside(fabric, socket.if_nameindex)) > 1, "the namespace made inside is not usable outside"
    finally:
        call(["docker", "rm", "--force", name])
    assert eventually(lambda: not any(run.alive for run in rundirs.runs()))
    said = call([sys.executable, "-c", "from testbed.cli import main; main()", "clean", "--format", "json"])
    assert [run["run_id"] for run in json.loads(said.stdout)["removed"]] == [stands["run"]]
    assert rundirs.runs() == []
    assert not Path(fabric).exists()
