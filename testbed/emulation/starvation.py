"""How long a node wanted to run and could not, for reasons other than its own limit.

The kernel counts for each thread how long it was ready to run and had no core (the run delay, in
``/proc/<tid>/schedstat``). A thread that sleeps, waits for a message or for a lock is not ready, so nothing of that is
in it; but being held back by the own CPU quota is, so the time that the group was throttled is taken off.

*A node's starvation is that of its thread that was starved longest*: time on the clock, which no number of waiting
threads can push above the time that passed, and which is not made up of the many small waits of helper threads. It
errs on the safe side: threads that wait in turns, or that wait for each other's core, are not added up.

Where the machine is virtual, the hypervisor may take a core away while a thread runs on it. Threads do not see that;
of the machine's steal each node is given the share of CPU time that was its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_CARRY_PERIODS = 2.0
"""Throttled time is counted when it ends, a thread's delay when it next runs: so long the one may precede the other."""


class Starvation:
    """The law for one node.

    Args:
        period: Of its CPU quota, s.
    """

    def __init__(self, period: float) -> None:
        self._most = _CARRY_PERIODS * period
        self._last: dict[int, float] | None = None
        self._credit: dict[int, float] = {}

    def since(self, delays: Mapping[int, float], throttled_s: float) -> float:
        """How long the node was starved since the last look; 0 at the first, which only remembers.

        Args:
            delays: Run delay of each thread since it began, s.
            throttled_s: How long the group was throttled since the last look, s; read after ``delays``.
        """
        before, self._last = self._last, dict(delays)
        if before is None:
            return 0.0
        worst = 0.0
        credit = {}
        for thread, delay in delays.items():
            # A thread that was not there at the last look has waited since then only.
            left = self._credit.get(thread, 0.0) + throttled_s - (delay - before.get(thread, 0.0))
            worst = max(worst, -left)
            credit[thread] = min(max(0.0, left), self._most)
        self._credit = credit
        return worst


class RunDelays:
    """The run delays of all threads of a cgroup. Files are kept open: they are looked at every second.

    Args:
        listing: The cgroup's file of thread ids.
        proc: The proc file system.
    """

    def __init__(self, listing: Path, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._listing = _open(listing)
        self._listed = b""
        self._files: dict[int, int] = {}

    def read(self) -> dict[int, float] | None:
        """Run delay of each thread that lives, s; None if the kernel does not count it, or the cgroup is gone."""
        if self._listing is None:
            return None
        try:
            listed = _whole(self._listing)
        except OSError:
            return None
        if listed != self._listed:
            self._follow({int(word) for word in listed.split()})
            self._listed = listed
        found = {}
        for thread, file in list(self._files.items()):
            try:
                found[thread] = int(os.pread(file, 96, 0).split()[1]) / 1e9
            except (OSError, IndexError):  # it has ended
                os.close(self._files.pop(thread))
                self._listed = b""
        return found or None

    def close(self) -> None:
        """Close all files; twice is fine."""
        for file in [*self._files.values(), *([] if self._listing is None else [self._listing])]:
            os.close(file)
        self._files, self._listing = {}, None

    def _follow(self, threads: set[int]) -> None:
        for gone in self._files.keys() - threads:
            os.close(self._files.pop(gone))
        for thread in threads - self._files.keys():
            file = _open(self._proc / str(thread) / "schedstat")
            if file is not None:
                self._files[thread] = file


def stolen(steal_s: float, used_s: float, busy_s: float) -> float:
    """A node's part of what the hypervisor took: as large as its part of the machine's CPU time."""
    return steal_s * min(1.0, used_s / busy_s) if busy_s > 0 else 0.0


def _open(path: Path) -> int | None:
    with suppress(OSError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _whole(file: int) -> bytes:
    parts = []
    at = 0
    while part := os.pread(file, 1 << 14, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
