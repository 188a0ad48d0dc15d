"""What this machine as a whole is doing: CPU time used and stolen, pressure, and who else uses it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from testbed.emulation.cgroups import parse_stalled

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_MOST_NAMED = 8
_NOT_WORTH_NAMING_S = 0.02


@dataclass(frozen=True)
class MachineUse:
    """CPU time of all cores since boot, s: used by programs, by interrupts, taken by the hypervisor."""

    busy_s: float
    interrupts_s: float
    steal_s: float


class Machine:
    """Counters of the machine.

    Args:
        proc: The proc file system.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self.cores = os.cpu_count() or 1

    def use(self) -> MachineUse:
        """CPU time so far."""
        line = (self._proc / "stat").read_text().partition("\n")[0]
        # Time of guests is in the user's already. See proc_stat(5).
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) * _TICK for word in line.split()[1:9])
        return MachineUse(user + nice + system, irq + softirq, steal)

    def process_s(self, pid: int) -> float:
        """CPU time of a process so far, s; 0 if it has ended."""
        try:
            return parse_stat((self._proc / str(pid) / "stat").read_text())[1]
        except OSError:
            return 0.0

    def stalled_s(self, resource: str) -> float | None:
        """How long some process has waited for ``cpu``, ``memory`` or ``io`` so far; None if the kernel is silent."""
        try:
            return parse_stalled((self._proc / "pressure" / resource).read_text())
        except OSError:
            return None


class Others:
    """Who uses the CPU apart from us, by the names of programs.

    Args:
        groups: Words of which one is in the cgroup of each of our processes: the ids of our containers.
        pids: Our processes outside of containers.
        proc: The proc file system.
    """

    def __init__(self, groups: Collection[str], pids: Collection[int], proc: Path = Path("/proc")) -> None:
        self._groups = tuple(groups)
        self._pids = set(pids)
        self._proc = proc
        self._last = self._scan()

    def since(self) -> dict[str, float]:
        """CPU time of other programs since the last look, s, most first; those that ended meanwhile are missed."""
        before, self._last = self._last, self._scan()
        used = {
            pid: (name, cpu_s - (before[pid][1] if pid in before else 0.0)) for pid, (name, cpu_s) in self._last.items()
        }
        most = sorted((pid for pid in used if used[pid][1] > _NOT_WORTH_NAMING_S), key=lambda pid: -used[pid][1])
        found: dict[str, float] = defaultdict(float)
        for pid in islice((pid for pid in most if not self._ours(pid)), _MOST_NAMED):
            found[used[pid][0]] += used[pid][1]
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _scan(self) -> dict[int, tuple[str, float]]:
        found = {}
        for entry in os.listdir(self._proc):
            if entry.isdecimal():
                with suppress(OSError), open(f"{self._proc}/{entry}/stat", errors="replace") as file:  # it may be gone
                    found[int(entry)] = parse_stat(file.read())
        return found

    def _ours(self, pid: int) -> bool:
        if pid in self._pids:
            return True
        try:
            member = (self._proc / str(pid) / "cgroup").read_text()
        except OSError:
            return False
        return any(group in member for group in self._groups)


def parse_stat(stat: str) -> tuple[str, float]:
    """Program and CPU time so far, s, from a process's ``stat``."""
    before, _, after = stat.rpartition(")")  # the name in parentheses may hold anything
    fields = after.split()
    return before.partition("(")[2], (int(fields[11]) + int(fields[12])) * _TICK
