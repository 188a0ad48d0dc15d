"""The node image as nodes use it, and set-up on a machine that is set up."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from testbed.emulation.image import expected_tag

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.root, pytest.mark.docker]

LIMITED = (
    "docker", "run", "--rm", "--network", "none", "--user", "1000:1000", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--read-only",
)  # fmt: skip


def image() -> str:
    tag = expected_tag()
    assert tag is not None
    return tag


def in_image(*command: str, sysctl: str = "0 2147483647") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LIMITED, "--sysctl", f"net.ipv4.ping_group_range={sysctl}", image(), *command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run(*command: str) -> tuple[str, float]:
    """Its stdout and stderr, and the seconds it took."""
    began = time.monotonic()
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "YES": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return result.stdout, time.monotonic() - began


@pytest.mark.parametrize("tool", [("ping", "-c", "1", "127.0.0.1"), ("ip", "link"), ("ps", "-e")])
def test_tools_work_under_the_limits_of_nodes(tool: tuple[str, ...]) -> None:
    result = in_image(*tool)
    assert result.returncode == 0, result.stderr


def test_ping_needs_no_rights_to_start() -> None:
    result = in_image("ping", "-c", "1", "127.0.0.1", sysctl="1 0")
    assert "not permitted" in result.stderr.lower(), "without the range it starts, and says what it lacks"
    assert "exec" not in result.stderr


def test_what_is_in_it() -> None:
    program = (
        "import json, sys, os, importlib.util as u, torch, zmq, msgspec, numpy, safetensors.torch;"
        "print(json.dumps({'cuda': torch.version.cuda, 'curve': zmq.has('curve'), 'version': sys.version_info[:2],"
        "'uid': os.getuid(), 'nodes': u.find_spec('nodes') is not None, 'threads': torch.get_num_threads(),"
        "'pyc': os.path.exists(u.cache_from_source(torch.__file__))}))"
    )
    result = in_image("python3", "-c", program)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["version"] >= [3, 11]
    del found["version"]
    assert found == {"cuda": None, "curve": True, "uid": 1000, "nodes": False, "threads": 1, "pyc": True}


def test_user_and_environment() -> None:
    text = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config}}", image()],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    config = json.loads(text)
    assert config["User"] == "node"
    env = dict(item.split("=", 1) for item in config["Env"])
    assert env["PATH"].startswith("/opt/venv/bin:")
    assert (env["OMP_NUM_THREADS"], env["PYTHONUNBUFFERED"], env["PYTHONDONTWRITEBYTECODE"]) == ("1", "1", "1")


def test_an_image_that_fits_is_not_built_again() -> None:
    said, seconds = run("scripts/image.sh")
    assert f"{image()} is up to date" in said
    assert seconds < 5, "about 0.2 s on an idle machine"


@pytest.mark.skipif(not (ROOT / ".venv/.set-up").exists(), reason="not set up by make setup")
def test_setting_up_again_does_nothing() -> None:
    run("scripts/setup.sh")
    before = {path: path.stat().st_mtime_ns for path in (ROOT / ".venv").iterdir()}
    said, seconds = run("scripts/setup.sh")
    assert "this will" not in said
    assert seconds < 10, "about 0.6 s on an idle machine"
    assert {path: path.stat().st_mtime_ns for path in (ROOT / ".venv").iterdir()} == before
