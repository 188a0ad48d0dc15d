"""Finds runs: by id, by directory, as ``<run>/<scheme>``, or the newest."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from testbed.errors import InputError

_PARTS = ("summary.json", "manifest.json", "experiment.yaml", "events.jsonl", "calibration.json")


def is_run(path: Path) -> bool:
    """Whether a directory holds a run, or one scheme of it."""
    return path.is_dir() and (_has(path, *_PARTS) or bool(scheme_directories(path)))


def scheme_directories(path: Path) -> dict[str, Path]:
    """The directories of a run's schemes, where it has several."""
    if not path.is_dir():
        return {}
    # What has a manifest or an experiment of its own is a run, and so no scheme of another.
    here = sorted(p for p in path.iterdir() if p.is_dir() and not _has(p, "manifest.json", "experiment.yaml"))
    return {p.name: p for p in here if _has(p, "events.jsonl", "summary.json")}


def runs_in(base: Path) -> list[Path]:
    """All runs of a directory, the newest last."""
    if not base.is_dir():
        return []
    return sorted((p for p in base.iterdir() if is_run(p)), key=lambda p: (_made(p), p.name))


def newest_run(base: Path) -> Path:
    """The run that was begun last.

    Raises:
        InputError: There is none.
    """
    runs = runs_in(base)
    if not runs:
        raise InputError(
            "there is no run yet", where=str(base), remedy="make one: testbed run topologies/smoke.yaml"
        )  # fmt: skip
    return runs[-1]


def find_run(run: str, base: Path) -> Path:
    """The directory of a run: its id, its directory, or ``<run>/<scheme>``.

    Raises:
        InputError: There is no such run; the remedy names near ones.
    """
    for path in (base / run, Path(run)):
        if is_run(path):
            return path
        # A run of a single scheme has no directory for it: <run>/<scheme> is the run.
        if is_run(path.parent) and path.parent != base and _only_scheme(path.parent) == path.name:
            return path.parent
    known = [p.name for p in runs_in(base)]
    head, _, scheme = run.rstrip("/").rpartition("/")
    if scheme and head and is_run(base / head):
        having = ", ".join(scheme_directories(base / head)) or _only_scheme(base / head)
        raise InputError(
            f"run {Path(head).name} has no scheme {scheme!r}", where=str(base / head), found=having,
            remedy=f"name one of these, or the run alone: {head}",
        )  # fmt: skip
    near = difflib.get_close_matches(run, known, n=3, cutoff=0.6) or [k for k in known if k.startswith(run)][-3:]
    if near:
        remedy = f"did you mean {' or '.join(near)}?"
    else:
        remedy = f"the newest are {', '.join(known[-3:])}" if known else "make one: testbed run topologies/smoke.yaml"
    raise InputError(
        f"there is no run {run!r}", where=str(base), wanted="the id of a run, its directory, or <run>/<scheme>",
        found=f"{len(known)} run{'s' * (len(known) > 1)} there" if known else "no runs there", remedy=remedy,
    )  # fmt: skip


def _has(path: Path, *names: str) -> bool:
    return any((path / name).is_file() for name in names)


def _made(path: Path) -> float:
    # Written once, when the run begins; the directory itself changes with every report drawn.
    for name in ("experiment.yaml", "manifest.json"):
        if _has(path, name):
            return (path / name).stat().st_mtime
    return path.stat().st_mtime


def _only_scheme(path: Path) -> str:
    try:
        content = json.loads((path / "summary.json").read_text())
    except (OSError, ValueError):
        return ""
    scheme = content.get("scheme") if isinstance(content, dict) else None
    return scheme if isinstance(scheme, str) else ""
