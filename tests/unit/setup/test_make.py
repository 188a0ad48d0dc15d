"""What make offers."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.unit.setup.machine import ROOT

TARGETS = [
    "setup", "image", "doctor", "demo", "test", "test-netem", "unit", "smoke", "bench", "bench-fidelity",
    "bench-fedfly", "bench-edgemove", "bench-orchestrator", "bench-serverless", "up", "down", "lint", "clean",
]  # fmt: skip


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "TOPO"}
    return subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", *arguments],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_help_is_the_default_and_lists_every_target() -> None:
    result = make()
    assert result.returncode == 0
    listed = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("  make ")]
    assert sorted(listed) == sorted([*TARGETS, "help"])
    assert make("help").stdout == result.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_can_be_planned(target: str) -> None:
    result = make("--dry-run", target, "TOPO=topologies/smoke.yaml")
    assert result.returncode == 0, result.stderr


def test_up_without_a_topology_says_so() -> None:
    result = make("up", "-o", "need-setup")
    assert result.returncode != 0
    assert "TOPO=" in result.stderr


def test_ci_runs_every_test_and_skips_none() -> None:
    run = ROOT / ".ci/run"
    assert os.access(run, os.X_OK)
    text = run.read_text()
    for part in ("YES=1", "ROAMBED_REQUIRE_DOCKER=1", "make test", "</dev/null"):
        assert part in text
