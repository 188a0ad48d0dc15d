"""``manifest.json``: everything that could make another run of the same experiment come out differently."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from nodes.learn.reference import cpu_model
from testbed.emulation.containers import NODE_IMAGE, Engine
from testbed.experiment.plan import Plan
from testbed.run.session import Session
from testbed.run.staging import stagings

_PACKAGES = ("docker", "mininet", "msgspec", "numpy", "pydantic", "pyzmq", "scikit-learn", "torch")


def build(
    plan: Plan, session: Session, reference: dict[str, float], argv: list[str], data: dict[str, Any]
) -> dict[str, Any]:
    """The manifest of a run that stands, with what `testbed.run.data.described` says about its data."""
    with Engine() as engine:
        version, image = engine.api.version(), engine.require_image(NODE_IMAGE)
    return {
        "run": session.run_id,
        "experiment": plan.name,
        "source": plan.source,
        "argv": argv,
        "seed": plan.seed,
        "data": data,
        "dilation": plan.dilation,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "roambed": importlib.metadata.version("roambed"),
        "git": git_state(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "kernel": platform.release(),
        "machine": {"cpu": cpu_model(), "node": platform.node()},
        "engine": {"version": version.get("Version"), "api": version.get("ApiVersion")},
        "images": {NODE_IMAGE: image},
        "links": {"backend": session.bed.emulator.name, "asked": plan.link_backend},
        "congestion_control": session.bed.record.congestion_control,
        "nodes": session.versions,
        "reference": reference,
        "reference_by_cut": {str(cut): ops for cut, ops in session.references.items()} if plan.workload.cuts else {},
        "reference_by_layer": session.layer_times,
        "stages": {device: one.as_dict() for device, one in stagings(plan, session.layer_times).items()},
        "timings": session.timings,
    }


def git_state() -> dict[str, Any]:
    """Commit of the checkout and whether it has local changes; empty outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        # safe.directory: root runs this on the user's checkout.
        command = ["git", "-c", "safe.directory=*", "-C", str(here), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return {} if commit is None else {"commit": commit, "changed": bool(git("status", "--porcelain"))}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
