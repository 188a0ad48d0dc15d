"""When the node image is built, from which base, and what its tag depends on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from testbed.emulation.image import expected_tag
from tests.unit.setup.machine import ROOT, Machine

TAG = "roambed-node:0123456789ab"
LATEST = "roambed-node:latest"
UPSTREAM = "python:3.11-slim-bookworm"
OWN = "roambed-base:bookworm"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_image_that_fits_is_kept(machine: Machine) -> None:
    machine.image(TAG, OWN)
    result = machine.run("image.sh")
    assert result.returncode == 0, result.stdout
    assert "up to date" in result.stdout
    assert machine.calls("docker tag", TAG, LATEST), "latest follows the checkout, also back to an older image"
    assert not machine.calls("docker build ")


def test_check_only_tells(machine: Machine) -> None:
    assert machine.run("image.sh", "--check").returncode == 1
    assert not machine.calls("docker build ") and not machine.calls("docker pull")  # noqa: PT018
    machine.image(TAG, OWN)
    assert machine.run("image.sh", "--check").returncode == 0


@pytest.mark.parametrize("how", ["here", "pulled"])
def test_the_base_is_the_registrys(machine: Machine, how: str) -> None:
    if how == "here":
        machine.image(UPSTREAM)
    else:
        (machine.state / "registry").touch()
    result = machine.run("image.sh")
    assert result.returncode == 0, result.stdout
    (build,) = machine.calls("docker build ")
    assert f"BASE_IMAGE={UPSTREAM} " in build
    assert f"-t {TAG}" in build
    assert machine.calls("docker tag", TAG, LATEST)


def test_without_a_registry_the_base_is_made_here(machine: Machine) -> None:
    result = machine.run("image.sh")
    assert result.returncode == 0, result.stdout
    assert machine.calls("mmdebstrap", "iputils-ping", "bookworm")
    assert f"BASE_IMAGE={OWN} " in machine.calls("docker build ")[0]


def test_a_base_made_here_is_used_again(machine: Machine) -> None:
    machine.image(OWN)
    assert machine.run("image.sh").returncode == 0
    assert not machine.calls("mmdebstrap")


def test_neither_registry_nor_mirror(machine: Machine) -> None:
    machine.fake("mmdebstrap", "echo 'E: cannot reach mirror' >&2; exit 1")
    result = machine.run("image.sh")
    assert result.returncode == 3
    assert "cannot reach mirror" in result.stdout
    assert "BASE_IMAGE=" in result.stdout
    assert not machine.calls("docker build ")


def test_another_base_means_another_image(machine: Machine) -> None:
    machine.image(TAG, OWN)
    machine.image("mine:1")
    assert machine.run("image.sh", BASE_IMAGE="mine:1").returncode == 0
    assert "BASE_IMAGE=mine:1 " in machine.calls("docker build ")[0]


def test_an_image_that_does_not_work_is_thrown_away(machine: Machine) -> None:
    (machine.state / "broken-image").touch()
    result = machine.run("image.sh")
    assert result.returncode == 3
    assert machine.calls("docker rmi", TAG)
    assert not machine.calls("docker tag")


def test_no_engine(machine: Machine) -> None:
    machine.engine(None)
    result = machine.run("image.sh")
    assert result.returncode == 3
    assert "make setup" in result.stdout


def test_a_newer_wheel_takes_the_place_of_an_older(machine: Machine) -> None:
    machine.image(TAG, OWN)
    machine.wheel("torch-2.8.0+cpu-cp311-cp311-linux_x86_64.whl")
    assert machine.run("image.sh").returncode == 0
    machine.wheel("torch-2.9.0+cpu-cp311-cp311-linux_x86_64.whl")
    assert machine.run("image.sh").returncode == 0
    (staged,) = (machine.home / "image/wheels").glob("*.whl")
    assert staged.name.startswith("torch-2.9.0")


# -- the tag


def test_scripts_and_package_agree_on_the_tag(machine: Machine) -> None:
    said = subprocess.run(
        [sys.executable, "-I", str(machine.home / "scripts/image_inputs.py")],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert said == expected_tag(machine.home)
    assert re.fullmatch(r"roambed-node:[0-9a-f]{12}", said)


def test_no_checkout_no_tag(tmp_path: Path) -> None:
    assert expected_tag(tmp_path) is None


@pytest.mark.parametrize("name", ["Dockerfile", "image/requirements.txt", "scripts/base_image.sh", "image/certs/a.crt"])
def test_the_tag_follows_contents(machine: Machine, name: str) -> None:
    before = expected_tag(machine.home)
    with (machine.home / name).open("a") as file:
        file.write("# changed\n")
    assert expected_tag(machine.home) != before


def test_the_tag_follows_wheels_by_name_and_size(machine: Machine) -> None:
    wheel = machine.home / "image/wheels/torch-2.9.0+cpu-cp311-cp311-linux_x86_64.whl"
    seen = {expected_tag(machine.home)}
    wheel.write_bytes(b"12")
    seen.add(expected_tag(machine.home))
    wheel.write_bytes(b"123")
    seen.add(expected_tag(machine.home))
    wheel.rename(wheel.with_name("torch-2.9.1+cpu-cp311-cp311-linux_x86_64.whl"))
    seen.add(expected_tag(machine.home))
    assert len(seen) == 4


def test_the_tag_does_not_follow_the_source_tree(machine: Machine) -> None:
    before = expected_tag(machine.home)
    (machine.home / "nodes").mkdir()
    (machine.home / "nodes/new.py").write_text("changed = True\n")
    (machine.home / "Makefile").write_text("changed:\n")
    assert expected_tag(machine.home) == before


# -- what is written in the files


def test_nodes_run_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {*project["dependencies"], *project["optional-dependencies"]["torch"]}
    lines = (ROOT / "image/requirements.txt").read_text().splitlines()
    image = [line for line in lines if line and not line.startswith("#")]
    assert {re.split(r"[<>=~!]", line)[0] for line in image} == {"torch", "numpy", "pyzmq", "msgspec", "safetensors"}
    assert set(image) <= asked


def test_the_dockerfile_suits_the_classic_builder() -> None:
    text = re.sub(r"^#.*$", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    for newer in ("--mount", "<<", "--link", "--chmod", "ADD --checksum"):
        assert newer not in text
