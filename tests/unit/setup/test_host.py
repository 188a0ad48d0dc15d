"""What doctor and preflight make of a machine, on recorded and on broken ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.emulation import features, host
from testbed.emulation.host import Check
from testbed.errors import EnvironmentProblem

FIXTURES = Path(__file__).parents[1] / "emulation" / "fixtures"
HERE = os.uname().release
GOOD: dict[str, Any] = {
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "KernelVersion": HERE,
    "CgroupDriver": "systemd",
    "CpuCfsQuota": True,
    "CpuCfsPeriod": True,
    "MemoryLimit": True,
    "SwapLimit": True,
    "ServerVersion": "27.0.1",
}


class FakeEngine:
    info = GOOD
    image: str | None = "sha256:0123456789abcdef"

    def __init__(self) -> None:
        self.api = SimpleNamespace(info=lambda: self.info)

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def require_image(self, image: str) -> str:
        if self.image is None:
            raise EnvironmentProblem(f"the image {image} is not here", remedy="make image")
        return self.image


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    """A machine on which a run works, whatever this one is."""

    class Engine(FakeEngine):
        pass

    monkeypatch.setattr(host, "Engine", Engine)
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    monkeypatch.setattr(host.sys, "platform", "linux")
    monkeypatch.setattr(host.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(host, "TUN", "/dev/null")
    return Engine


def refusal() -> EnvironmentProblem:
    with pytest.raises(EnvironmentProblem) as raised:
        host.preflight()
    assert raised.value.exit_code == 3
    assert raised.value.remedy, "a refusal without a remedy"
    return raised.value


def test_a_good_machine_passes(machine: type[FakeEngine]) -> None:
    host.preflight()


def test_without_root_the_remedy_is_sudo(machine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "geteuid", lambda: 1000)
    problem = refusal()
    assert problem.remedy is not None
    assert "sudo" in problem.remedy
    assert problem.found == "user 1000"


def test_another_system_is_refused(machine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.sys, "platform", "darwin")
    assert refusal().found == "darwin"


@pytest.mark.parametrize(("program", "package"), [("mnexec", "mininet"), ("ip", "iproute2")])
def test_a_missing_program_is_named_with_its_package(
    machine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch, program: str, package: str
) -> None:
    monkeypatch.setattr(host.shutil, "which", lambda name: None if name == program else f"/usr/bin/{name}")
    problem = refusal()
    assert program in problem.message
    assert package in str(problem.remedy)


@pytest.mark.parametrize("kind", ["absent", "a plain file"])
def test_no_tun_device(machine: type[FakeEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    tun = tmp_path / "tun"
    if kind != "absent":
        tun.touch()
    monkeypatch.setattr(host, "TUN", str(tun))
    assert str(tun) in refusal().message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"OperatingSystem": "Docker Desktop"}, "Docker Desktop"),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}, "rootless"),
        ({"KernelVersion": "6.6.12-linuxkit"}, "engine runs on"),
    ],
)
def test_engines_that_cannot_be_used(machine: type[FakeEngine], said: dict[str, Any], words: str) -> None:
    machine.info = {**GOOD, **said}
    assert words in refusal().message


def test_a_missing_image_is_built_with_make(machine: type[FakeEngine]) -> None:
    machine.image = None
    assert refusal().remedy == "make image"
    (found,) = (check for check in host.engine_facts() if check.name == "node image")
    assert (found.ok, found.remedy) == (False, "make image")


def test_an_engine_that_does_not_run(
    monkeypatch: pytest.MonkeyPatch, machine: type[FakeEngine], tmp_path: Path
) -> None:
    from testbed.emulation.containers import Engine

    monkeypatch.setattr(host, "Engine", Engine)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert "docker" in str(refusal().remedy)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{tmp_path}/docker.sock")
    assert "does not answer" in refusal().message
    (found,) = host.engine_facts()
    assert found.ok is False
    assert found.remedy


def test_a_warning_lets_a_run_go_on() -> None:
    Check("x", "little", "more", None).require()
    with pytest.raises(EnvironmentProblem, match="x"):
        Check("x", "none", "some", False).require()


@pytest.mark.parametrize(
    ("release", "ok"),
    [
        ("6.18.44-fc", True),
        ("5.3.0", True),
        ("5.2.21", False),
        ("4.19.0-27-amd64", False),
        ("10.0", True),
        ("?", False),
    ],
)
def test_kernel_releases(release: str, ok: bool) -> None:
    assert host.kernel(release).ok is ok


@pytest.mark.parametrize(("tree", "words"), [("v1", "version 1, hybrid"), ("v2-systemd", "version 2")])
def test_cgroups_of_recorded_machines(tree: str, words: str, tmp_path: Path) -> None:
    mountinfo = (FIXTURES / tree / "proc/self/mountinfo").read_text()
    file = tmp_path / "mountinfo"
    file.write_text(mountinfo)
    unified = tmp_path / "sys/fs/cgroup/cgroup.controllers"
    unified.parent.mkdir(parents=True)
    unified.write_text("cpuset cpu io memory pids\n")
    found = host.cgroup(file, tmp_path)
    assert found.ok
    assert words in found.found
    if tree.startswith("v2"):
        unified.write_text("cpuset io memory pids\n")
        lacking = host.cgroup(file, tmp_path)
        assert lacking.ok is False
        assert "no cpu" in lacking.found
    file.write_text("22 1 0:1 / / rw - ext4 /dev/vda rw\n")
    assert host.cgroup(file, tmp_path).ok is False


def test_swap_that_cannot_be_limited_is_a_warning() -> None:
    assert host.engine_limits(GOOD).ok is True
    assert host.engine_limits({**GOOD, "SwapLimit": False}).ok is None
    assert host.engine_limits({**GOOD, "CpuCfsQuota": False}).ok is False
    assert host.cgroup_driver(GOOD).ok is True
    assert host.cgroup_driver({"CgroupDriver": "none"}).ok is False


@pytest.mark.parametrize(
    ("source", "ok"),
    [
        ("cuda: Optional[str] = None\n", True),
        ("cuda = None\n", True),
        ("cuda: Optional[str] = '12.4'\n", None),
        ("debug = False\ncuda = '12.4'\n", None),
    ],
)
def test_torch_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, ok: bool | None) -> None:
    (tmp_path / "version.py").write_text(source)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(host.importlib.metadata, "version", lambda _: "2.9.0")
    assert host.torch_build().ok is ok
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda _: None)
    assert host.torch_build().ok is False


def test_jitter_is_measured_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ms late" in features.clock_jitter(0.05).found
    monkeypatch.setattr(features, "_lateness", lambda _: [0.0001] * 97 + [0.003] * 3)
    late = features.clock_jitter()
    assert late.ok is None
    assert late.found.startswith("3.00 ms")
    monkeypatch.setattr(features, "_lateness", lambda _: [0.0001] * 200 + [0.5])
    assert features.clock_jitter().ok is True


def test_a_kernel_without_netem_is_a_warning_and_without_veth_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.netns, "create", lambda name: f"/run/netns/{name}")
    deleted = []
    monkeypatch.setattr(features.netns, "delete", deleted.append)
    monkeypatch.setattr(features.netns, "inside", lambda _, act: act())
    monkeypatch.setattr(features, "_tap", lambda: None)
    monkeypatch.setattr(features, "_run", lambda *words: "unknown" if {"netem", "veth"} & set(words) else None)
    found = {check.name: check.ok for check in features.kernel_features()}
    assert found == {
        "kernel: veth": False,
        "kernel: bridge": True,
        "kernel: TAP": True,
        "kernel: HTB": True,
        "kernel: netem": None,
    }
    assert len(deleted) == 5
