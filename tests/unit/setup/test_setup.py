"""Set-up on machines that lack something, or everything; none of them is this one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.unit.setup.machine import Machine

TAG = "roambed-node:0123456789ab"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Has everything but the virtual environment."""
    made = Machine(tmp_path)
    made.image(TAG, "roambed-base:bookworm")
    return made


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ("Docker Desktop [name=seccomp]", "Docker Engine itself"),
        ("Debian GNU/Linux 12 (bookworm) [name=seccomp name=rootless]", "unset DOCKER_HOST"),
    ],
)
def test_an_engine_of_the_wrong_kind_is_refused(machine: Machine, info: str, says: str) -> None:
    machine.engine(info)
    result = machine.run()
    assert result.returncode == 3
    assert says in result.stdout
    assert not machine.calls("apt-get")
    assert not (machine.home / ".venv").exists()


def test_docker_host_that_does_not_answer(machine: Machine) -> None:
    machine.engine(None)
    result = machine.run(DOCKER_HOST="tcp://nowhere:1")
    assert result.returncode == 3
    assert "tcp://nowhere:1" in result.stdout
    assert "unset DOCKER_HOST" in result.stdout


def test_other_systems_are_refused(machine: Machine) -> None:
    machine.fake("uname", "echo Darwin")
    result = machine.run()
    assert result.returncode == 3
    assert "this is Darwin" in result.stdout
    assert "Debian 12" in result.stdout


def test_neither_root_nor_sudo(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    result = machine.run()
    assert result.returncode == 3
    assert "sudo is not installed" in result.stdout
    assert "su -c" in result.stdout


def test_without_root_it_goes_on_by_sudo(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", "exit 5")
    assert machine.run().returncode == 5
    assert machine.calls("sudo -E", "/scripts/setup.sh")


def test_packages_missing_where_there_is_no_apt(machine: Machine) -> None:
    machine.without("apt-get", "mnexec")
    result = machine.run()
    assert result.returncode == 3
    assert "mininet" in result.stdout
    assert "not Debian" in result.stdout


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.without("mnexec", "iperf3")
    machine.fake("apt-get", 'case "$*" in *install*) for t in mnexec iperf3; do cp "$0" "${0%/*}/$t"; done ;; esac')
    result = machine.run()
    assert result.returncode == 0, result.stdout
    (install,) = machine.calls("apt-get install")
    assert "--no-install-recommends" in install
    packages = set(install.split()) & {"mininet", "iperf3", "gcc", "docker.io", "ethtool", "mmdebstrap", "python3"}
    assert packages == {"mininet", "iperf3"}


def test_no_network_ends_with_a_remedy_and_the_reason(machine: Machine) -> None:
    machine.without("mnexec")
    machine.fake("apt-get", "echo 'E: Could not resolve deb.debian.org'; exit 100")
    result = machine.run()
    assert result.returncode == 3
    assert "Could not resolve deb.debian.org" in result.stdout
    assert "http_proxy" in result.stdout
    assert not (machine.home / ".venv").exists()


def test_a_python_that_is_too_old(machine: Machine) -> None:
    machine.fake("python3.9", "exit 1")
    result = machine.run(PYTHON="python3.9")
    assert result.returncode == 3
    assert "PYTHON=python3.9" in result.stdout


def test_a_kernel_without_what_links_need(machine: Machine) -> None:
    machine.fake("unshare", "echo 'RTNETLINK answers: Operation not supported' >&2; exit 2")
    result = machine.run()
    assert result.returncode == 3
    assert "veth, bridge" in result.stdout
    assert "modprobe" in result.stdout


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd starts engines here")
@pytest.mark.parametrize("starter", ["service", "setsid"])
def test_the_engine_is_started_where_it_is_silent(machine: Machine, starter: str) -> None:
    machine.engine(None)
    machine.fake("pidof", "exit 1")
    machine.fake("service", "exit 1")
    machine.fake(starter, 'echo "Debian []" >"$STATE/engine"')
    result = machine.run()
    assert result.returncode == 0, result.stdout
    assert "start the container engine" in result.stdout
    assert machine.calls("service docker start")
    assert bool(machine.calls("setsid dockerd")) == (starter == "setsid")


@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="systemd starts engines here")
def test_an_engine_that_ends_at_once_is_not_waited_for(machine: Machine) -> None:
    machine.engine(None)
    machine.fake("pidof", "exit 1")
    machine.fake("service", "exit 1")
    machine.fake("setsid", "echo 'failed to start daemon: no cgroups'; exit 1")
    began = time.monotonic()
    result = machine.run()
    assert result.returncode == 3
    assert "no cgroups" in result.stdout
    assert time.monotonic() - began < 30


def test_torch_comes_from_its_cpu_index_and_first(machine: Machine) -> None:
    result = machine.run()
    assert result.returncode == 0, result.stdout
    torch, rest = machine.calls("pip install")
    assert "--index-url https://download.pytorch.org/whl/cpu torch>=2.4,<3" in torch
    assert "-e .[dev]" in rest


def test_torch_comes_from_a_wheel_that_is_here(machine: Machine) -> None:
    for name in (
        "torch-2.9.0+cu126-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.9.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.9.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl",
        "torch-2.8.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    ):
        machine.wheel(name)
    best = machine.wheel("torch-2.10.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl")
    result = machine.run()
    assert result.returncode == 0, result.stdout
    assert machine.calls("pip install", str(best))
    assert not machine.calls("index-url")
    assert [wheel.name for wheel in (machine.home / "image/wheels").glob("*.whl")] == [best.name]


def test_a_cuda_build_of_torch_is_not_kept(machine: Machine) -> None:
    result = machine.run(TORCH_THAT_PIP_GIVES="12.6")
    assert result.returncode == 3
    assert "CUDA build" in result.stdout
    assert machine.calls("pip uninstall", "torch", "nvidia-cublas-cu12")
    assert not machine.calls("-e .[dev]")


def test_a_second_time_nothing_is_done(machine: Machine) -> None:
    assert machine.run().returncode == 0
    (machine.state / "calls").unlink()
    result = machine.run()
    assert result.returncode == 0, result.stdout
    assert "this will" not in result.stdout
    for doing in ("apt-get", "pip install", "-m venv", "docker build", "docker pull", "dockerd"):
        assert not machine.calls(doing)


def test_a_change_of_pyproject_installs_again(machine: Machine) -> None:
    assert machine.run().returncode == 0
    (machine.state / "calls").unlink()
    with (machine.home / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert machine.run().returncode == 0
    assert len(machine.calls("pip install")) == 1, "torch is there: only the rest is installed"
    assert not machine.calls("-m venv")


def test_a_checkout_that_was_moved_gets_an_environment_of_its_own(machine: Machine) -> None:
    assert machine.run().returncode == 0
    (machine.state / "calls").unlink()
    machine.home = machine.home.rename(machine.home.with_name("elsewhere"))
    assert machine.run().returncode == 0
    assert machine.calls("-m venv")


def test_at_a_terminal_it_asks_and_no_means_no(machine: Machine) -> None:
    code, said = machine.answer("n\n")
    assert code == 1
    assert "make a virtual environment" in said
    assert "nothing was changed" in said
    assert not machine.calls("-m pip")
    assert not (machine.home / ".venv").exists()


def test_at_a_terminal_yes_goes_ahead(machine: Machine) -> None:
    code, said = machine.answer("\n")
    assert code == 0, said
    assert (machine.home / ".venv/bin/testbed").exists()


def test_yes_in_the_environment_does_not_ask(machine: Machine) -> None:
    machine.env["YES"] = "1"
    code, said = machine.answer("")
    assert code == 0, said
    assert "Go ahead?" not in said
