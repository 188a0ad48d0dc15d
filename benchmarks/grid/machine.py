"""What machine it was measured on, and when: the rows that every page begins with."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Machine:
    """Where and when it was measured."""

    rows: tuple[tuple[str, str], ...]


def machine(links: ModuleType) -> Machine:
    """As it is now, before anything is measured on links."""
    missing = links.netem_missing()
    with _Trial(links) as (backend, priority):
        how = backend + (f", {priority}" if priority else "")
    kernel = f"{platform.system()} {platform.release()}"
    return computer(("kernel", kernel), ("links by", how + (" (this kernel has no netem)" if missing else "")))


def computer(*more: tuple[str, str]) -> Machine:
    """As it is now, before anything is measured: what every page says, and what is of interest beside it."""
    return Machine(
        (
            ("date", datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")),
            ("commit", _commit()),
            ("machine", f"{_processor()}, {os.cpu_count()} cores, {_memory():.1f} GiB"),
            *more,
            ("load before", f"{os.getloadavg()[0]:.2f}"),
        )
    )


class _Trial:
    """The back end that `auto` takes here, and at which priority it may run."""

    def __init__(self, links: ModuleType) -> None:
        self._emulator = links.choose("auto")

    def __enter__(self) -> tuple[str, str]:
        self._emulator.open()
        shaped = getattr(self._emulator, "shaped", self._emulator)
        return self._emulator.name, getattr(shaped, "priority", "")

    def __exit__(self, *_: object) -> None:
        self._emulator.close()


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(REPOSITORY), "-c", f"safe.directory={REPOSITORY}", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "testbed", "nodes", "native", "benchmarks")
    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return commit + (", with changes that are not committed" if changed else "")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
