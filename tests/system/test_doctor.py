"""``testbed doctor`` and the check before every run, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.emulation import features, host, netns


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import typer; from testbed.cli.doctor import command; typer.run(command)"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


@pytest.mark.root
def test_probes_agree_with_what_links_are_made_of() -> None:
    before = netns.names()
    found = {check.name: check for check in features.kernel_features()}
    assert found["kernel: veth"].ok, found["kernel: veth"].found
    assert found["kernel: bridge"].ok
    assert found["kernel: TAP"].ok
    assert [name for name in netns.names() if name.startswith("rbprobe-")] == []
    assert set(netns.names()) >= set(before) - {name for name in before if not os.path.exists(netns.path_of(name))}


@pytest.mark.root
@pytest.mark.docker
def test_doctor_finds_that_a_run_works_here() -> None:
    said = doctor("--format", "json")
    assert said.returncode == 0, said.stdout + said.stderr
    report = json.loads(said.stdout)
    assert report["ok"] is True
    names = [check["name"] for check in report["checks"]]
    assert len(names) == len(set(names))
    for check in report["checks"]:
        assert check["ok"] is True or check["remedy"], f"no remedy: {check}"


@pytest.mark.root
@pytest.mark.docker
def test_preflight_is_quick() -> None:
    host.preflight()
    begin = time.monotonic()
    host.preflight()
    assert time.monotonic() - begin < 0.3


@pytest.mark.root
def test_doctor_says_no_without_an_engine(tmp_path: Path) -> None:
    said = doctor(DOCKER_HOST=f"unix://{tmp_path}/none.sock", COLUMNS="200")
    assert said.returncode == 3
    assert "container engine" in said.stdout
    assert "a run cannot work here" in said.stdout


@pytest.mark.root
def test_doctor_without_rights_asks_for_root() -> None:
    """As nobody: nothing can be made, and it says sudo rather than break."""
    drop = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    run = "from testbed.emulation.host import facts; print([c.remedy for c in facts() if c.ok is False])"
    said = subprocess.run(
        [sys.executable, "-c", "import testbed.emulation.features; " + drop + run],
        capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "sudo" in said.stdout
    assert "modprobe" not in said.stdout
