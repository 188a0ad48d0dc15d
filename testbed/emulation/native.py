"""The C programs: compiled at first use, found again as long as their sources stay the same."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import EnvironmentProblem

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "native"
FLAGS = ("-O2", "-g", "-std=gnu11", "-Wall", "-Wextra")
PROGRAMS = {
    "relay": (
        (
            *("relay.c", "commands.c", "settings.c", "report.c", "link.c", "direction.c", "segments.c", "frame.c"),
            *("gso.c", "chance.c", "schedule.c", "load.c", "priority.c", "tap.c", "util.c"),
        ),
        (),
    ),
    "player": (("player.c", "util.c"), ()),
    "probe": (("probe.c", "probe_rate.c", "probe_stream.c", "probe_gap.c", "port.c", "util.c"), ("-pthread", "-lm")),
}
"""Sources and libraries of each program; native/Makefile says the same for work by hand."""

_GRACE = 3600.0  # s that programs of other sources are kept: a run that is just starting may want them


@dataclass(frozen=True)
class NativeTools:
    """Where the compiled programs are.

    ``relay`` shapes links in user space, ``player`` varies those that the kernel shapes, ``probe`` measures links.
    """

    relay: Path
    player: Path
    probe: Path


def build(force: bool = False) -> NativeTools:
    """Compile what is not compiled yet and say where it is.

    Args:
        force: Compile even if nothing changed.

    Raises:
        EnvironmentProblem: There is no compiler, or it failed.
    """
    if not SOURCES.is_dir():
        raise EnvironmentProblem(
            "the sources of the C programs are missing",
            wanted=str(SOURCES),
            remedy="run from a checkout, installed with pip install --editable",
        )
    directory = _writable(REPOSITORY / "build" / "native", Path.home() / ".cache" / "roambed" / "native")
    # Programs are named after their sources, so a run in progress keeps what it started with.
    digest = _digest()
    made = {name: directory / f"{name}-{digest}" for name in PROGRAMS}
    if force or not all(os.access(path, os.X_OK) for path in made.values()):
        with _locked(directory / "lock"):
            for name, path in made.items():
                if force or not os.access(path, os.X_OK):
                    _compile(name, path)
            _remove_old(directory, made.values())
    return NativeTools(**made)


def _digest() -> str:
    state = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()[:12]


def _compile(name: str, path: Path) -> None:
    compiler = os.environ.get("CC") or "gcc"
    if shutil.which(compiler) is None:
        raise EnvironmentProblem(
            "there is no C compiler",
            wanted=f"{compiler}, to build {name} (link emulation and measurement)",
            remedy="apt install gcc libc6-dev, or: make setup",
        )
    sources, libraries = PROGRAMS[name]
    partial = path.with_suffix(f".{os.getpid()}")
    command = [compiler, *FLAGS, "-o", str(partial), *(str(SOURCES / source) for source in sources), *libraries]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise EnvironmentProblem(
            f"{name} does not compile",
            found=done.stderr.strip()[-2000:],
            where=str(SOURCES),
            remedy="apt install gcc libc6-dev linux-libc-dev, or: make setup",
        )
    os.replace(partial, path)


def _writable(*candidates: Path) -> Path:
    for directory in candidates:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            _hand_over(directory)
            return directory
    raise EnvironmentProblem(
        "there is nowhere to put the compiled programs",
        wanted=f"one writable directory of: {', '.join(str(path) for path in candidates)}",
    )


def _hand_over(directory: Path) -> None:
    # With sudo, what is made in the user's checkout belongs to the user.
    owner, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and owner and group and directory.is_relative_to(REPOSITORY):
        for path in (directory.parent, directory, *directory.iterdir()):
            os.chown(path, int(owner), int(group), follow_symlinks=False)


def _remove_old(directory: Path, keep: Iterable[Path]) -> None:
    kept = set(keep)
    for path in directory.iterdir():
        stale = path.name.partition("-")[0] in PROGRAMS and path not in kept
        if stale and time.time() - path.stat().st_mtime > _GRACE:
            path.unlink(missing_ok=True)
    _hand_over(directory)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Two runs that start at once compile once.
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
