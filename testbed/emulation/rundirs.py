"""Directories of runs: where they are, which of them have a controller that lives, and how they come and go.

A run's controller holds a lock in its directory for its whole life, so that kill -9 frees it. What is in a directory
is in ``ledger``.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import InputError

ROOT = "/run/roambed"
ROOT_VARIABLE = "ROAMBED_RUN_DIR"
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_STAGING, _GOING = ".new-", ".gone-"
_STAGING_GRACE = 60.0  # s; a directory being set up by a live process is never older than this


@dataclass(frozen=True)
class RunInfo:
    """A run that has a directory. ``alive`` means that its controller holds the lock."""

    run_id: str
    directory: Path
    alive: bool
    created: float  # seconds since the epoch


def root() -> Path:
    """Where runs keep their ledgers: ``ROAMBED_RUN_DIR`` or ``/run/roambed``."""
    return Path(os.environ.get(ROOT_VARIABLE) or ROOT)


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` if it can name directories, containers and namespaces.

    Raises:
        InputError: It cannot.
    """
    if not RUN_ID.fullmatch(run_id):
        raise InputError(
            "not a run id",
            wanted="1 to 40 letters, digits, '-' or '_', starting with a letter or digit",
            found=repr(run_id),
            remedy="testbed ls shows the runs that stand",
        )
    return run_id


def staging(run_id: str) -> Path:
    """Where a run's directory is set up, before it appears under its name."""
    return root() / f"{_STAGING}{run_id}-{os.getpid()}"


def runs() -> list[RunInfo]:
    """Every run that has a directory, oldest first."""
    found = [
        RunInfo(directory.name, directory, held(directory), _created(directory))
        for directory in _children(root())
        if RUN_ID.fullmatch(directory.name) and (directory / "lock").exists()
    ]
    return sorted(found, key=lambda run: (run.created, run.run_id))


def remove_abandoned() -> None:
    """Remove directories whose making or removal was killed half-way."""
    for directory in _children(root()):
        if directory.name.startswith((_STAGING, _GOING)) and time.time() - _created(directory) > _STAGING_GRACE:
            shutil.rmtree(directory, ignore_errors=True)


def remove_directory(directory: Path) -> None:
    """Remove a run's directory. It disappears at once, so that nobody takes a half-removed one for a dead run.

    Raises:
        OSError: It cannot be removed.
    """
    going = directory.with_name(f"{_GOING}{directory.name}-{os.getpid()}")
    try:
        directory.rename(going)
    except FileNotFoundError:
        return
    shutil.rmtree(going)


def held(directory: Path) -> bool:
    """Whether a controller holds the lock of a run's directory."""
    try:
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def try_lock(lock: int, operation: int) -> bool:
    """Take a lock that nobody holds (``operation`` as of flock); False if somebody does."""
    # Readers hold the lock for an instant while they look: a few tries tell them from a controller.
    for _ in range(3):
        try:
            fcntl.flock(lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.005)
        else:
            return True
    return False


def _children(directory: Path) -> list[Path]:
    try:
        return [child for child in directory.iterdir() if child.is_dir()]
    except FileNotFoundError:
        return []


def _created(directory: Path) -> float:
    for name in ("lock", "."):
        try:
            return (directory / name).stat().st_mtime
        except FileNotFoundError:
            continue
    return time.time()
