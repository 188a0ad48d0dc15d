"""What the kernel enforces on a container and what it has counted, read from its cgroup.

Reads version 1, version 2 and the hybrid of both, wherever the engine's driver (cgroupfs or systemd) put the
container: the place is found from ``/proc/<pid>/cgroup`` and the mounts, never guessed. Limits are set through the
engine (see ``containers``); the one thing that is written here is a CPU quota that is changed all the time, as a
governor does: it takes 0.1 ms here, and 50 ms there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import EmulationError

_LARGEST = 1 << 16  # such a file comes in one piece
_UNLIMITED = 1 << 62  # version 1 writes "no limit" as the largest multiple of a page


@dataclass(frozen=True)
class Limits:
    """Limits in force; None means unlimited, or (``memory_swap``) that the kernel does not account swap.

    Attributes:
        period: CFS period, s. quota: CPU time a period, s. memory: Bytes. memory_swap: Memory and swap, bytes.
    """

    period: float | None
    quota: float | None
    memory: int | None
    memory_swap: int | None

    @property
    def cpus(self) -> float | None:
        """The quota in cores."""
        return self.quota / self.period if self.quota is not None and self.period else None


@dataclass(frozen=True)
class CpuUse:
    """CPU time used since the container began, and how often its quota held it back.

    Attributes:
        usage_s: CPU time, s. periods: Periods with something to run. throttled: Those that ran out of quota.
        throttled_s: Time spent held back, s.
    """

    usage_s: float
    periods: int
    throttled: int
    throttled_s: float


@dataclass(frozen=True)
class MemoryUse:
    """Memory in use, bytes. ``working`` leaves out file cache that the kernel would drop first."""

    usage: int
    working: int
    peak: int | None


@dataclass(frozen=True)
class Mount:
    """Where a cgroup hierarchy is mounted, and which part of it."""

    controllers: frozenset[str]  # empty for version 2
    point: Path
    part: str


class Cgroup:
    """The cgroup of one process, found once; files are read anew each time."""

    def __init__(self, directories: dict[str, Path], unified: Path | None) -> None:
        self._v1 = directories
        self._v2 = unified

    @classmethod
    def of(cls, pid: int, *, proc: Path = Path("/proc"), base: Path = Path("/")) -> Cgroup:
        """Find the cgroup of ``pid``.

        Args:
            pid: A process in it.
            proc: The proc file system.
            base: Prefix of all mount points (tests read recorded trees).

        Raises:
            EmulationError: There is no such process, or no cgroup file system is mounted.
        """
        try:
            member = (proc / str(pid) / "cgroup").read_text()
            mounts = parse_mounts((proc / "self" / "mountinfo").read_text())
        except OSError as error:
            raise EmulationError("cannot find a process's cgroup", found=f"pid {pid}: {error.strerror}") from error
        directories: dict[str, Path] = {}
        unified: Path | None = None
        for line in member.splitlines():
            _, controllers, place = line.split(":", 2)
            for mount in mounts:
                directory = base / str(mount.point).lstrip("/") / _below(place, mount.part)
                if controllers == "" and not mount.controllers:
                    unified = unified or directory
                for controller in mount.controllers.intersection(controllers.split(",")):
                    directories.setdefault(controller, directory)
        if not directories and unified is None:
            raise EmulationError("no cgroup file system is mounted", found=f"pid {pid} is in {member!r}")
        return cls(directories, unified)

    @property
    def version(self) -> int:
        """2 if limits are enforced by version 2, else 1 (the hybrid enforces them by version 1)."""
        return 1 if "cpu" in self._v1 else 2

    def directory(self, controller: str) -> Path:
        """Directory that holds a controller's files."""
        found = self._v1.get(controller) or self._v2
        if found is None:
            raise EmulationError(f"the {controller} cgroup controller is not mounted", remedy="testbed doctor")
        return found

    def limits(self) -> Limits:
        """Limits in force."""
        cpu, memory = self.directory("cpu"), self.directory("memory")
        if "cpu" in self._v1:
            quota, period = int(_read(cpu / "cpu.cfs_quota_us")), int(_read(cpu / "cpu.cfs_period_us"))
            quota_s = quota / 1e6 if quota > 0 else None
        else:
            words = _read(cpu / "cpu.max").split()
            quota_s = None if words[0] == "max" else int(words[0]) / 1e6
            period = int(words[1])
        if "memory" in self._v1:
            return Limits(
                period / 1e6,
                quota_s,
                _bytes(_read(memory / "memory.limit_in_bytes")),
                _bytes(_read_if_there(memory / "memory.memsw.limit_in_bytes")),
            )
        limit = _bytes(_read(memory / "memory.max"))
        swap = _bytes(_read_if_there(memory / "memory.swap.max"))
        return Limits(period / 1e6, quota_s, limit, None if limit is None or swap is None else limit + swap)

    def set_quota(self, cpus: float | None, period: float) -> None:
        """Set the CPU quota, in cores (None: no limit) over the ``period`` that is in force, s.

        Raises:
            EmulationError: The kernel refuses it, or the cgroup is gone.
        """
        quota = None if cpus is None else round(cpus * period * 1e6)
        directory = self.directory("cpu")
        if "cpu" in self._v1:
            file, text = directory / "cpu.cfs_quota_us", str(-1 if quota is None else quota)
        else:
            file, text = directory / "cpu.max", f"{'max' if quota is None else quota} {round(period * 1e6)}"
        try:
            file.write_text(text)
        except OSError as error:
            raise EmulationError(
                "cannot set a CPU quota", wanted=text, found=f"{file}: {error.strerror}",
                remedy="the container may just have ended; otherwise see testbed doctor",
            ) from error  # fmt: skip

    def cpu(self) -> CpuUse:
        """CPU time and throttling so far."""
        stat = _pairs(_read(self.directory("cpu") / "cpu.stat"))
        periods, throttled = stat.get("nr_periods", 0), stat.get("nr_throttled", 0)
        if "cpu" in self._v1:
            usage = int(_read(self.directory("cpuacct") / "cpuacct.usage")) / 1e9
            return CpuUse(usage, periods, throttled, stat.get("throttled_time", 0) / 1e9)
        return CpuUse(stat["usage_usec"] / 1e6, periods, throttled, stat.get("throttled_usec", 0) / 1e6)

    def memory(self) -> MemoryUse:
        """Memory in use."""
        directory = self.directory("memory")
        stat = _pairs(_read(directory / "memory.stat"))
        if "memory" in self._v1:
            usage = int(_read(directory / "memory.usage_in_bytes"))
            idle = stat.get("total_inactive_file", 0)
            peak = _read_if_there(directory / "memory.max_usage_in_bytes")
        else:
            usage = int(_read(directory / "memory.current"))
            idle = stat.get("inactive_file", 0)
            peak = _read_if_there(directory / "memory.peak")
        return MemoryUse(usage, max(0, usage - idle), int(peak) if peak else None)

    def oom_kills(self) -> int:
        """Processes that the kernel killed here for want of memory: the main one or any child of it."""
        return self.oom_kills_if_told() or 0

    def oom_kills_if_told(self) -> int | None:
        """The same; None where the kernel does not tell (version 1 before Linux 4.13)."""
        directory = self.directory("memory")
        name = "memory.oom_control" if "memory" in self._v1 else "memory.events"
        return _pairs(_read(directory / name)).get("oom_kill")

    @property
    def threads(self) -> Path:
        """File that lists the threads in it, as the host numbers them."""
        return self._v1["cpu"] / "tasks" if "cpu" in self._v1 else self.directory("cpu") / "cgroup.threads"

    def stalled_s(self, resource: str) -> float | None:
        """How long some process has waited for ``cpu``, ``memory`` or ``io`` so far, s; None if unknown.

        Only version 2 tells (the hybrid too); waiting for the own CPU quota counts as waiting.
        """
        text = None if self._v2 is None else _read_if_there(self._v2 / f"{resource}.pressure")
        return parse_stalled(text or "")

    def pressure(self, resource: str) -> float | None:
        """Share of the last 10 s in which some process waited for ``cpu``, ``memory`` or ``io``; None if unknown."""
        if self._v2 is None:
            return None
        for line in (_read_if_there(self._v2 / f"{resource}.pressure") or "").splitlines():
            if line.startswith("some "):
                return float(dict(word.split("=") for word in line.split()[1:])["avg10"]) / 100
        return None


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup mounts of a ``mountinfo`` file, in order."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        words = before.split()
        controllers = options.split(" ")[-1].split(",") if kind == "cgroup" else []
        found.append(Mount(frozenset(controllers), Path(words[4]), words[3]))
    return found


def parse_stalled(pressure: str) -> float | None:
    """Seconds in which some process waited, from a pressure file; None if it does not tell."""
    for line in pressure.splitlines():
        if line.startswith("some "):
            return int(line.rpartition("total=")[2]) / 1e6
    return None


def _below(place: str, part: str) -> str:
    # A mount may show only part of the hierarchy (bind mounts, cgroup namespaces).
    prefix = part.rstrip("/")
    inner = place.removeprefix(prefix) if f"{place}/".startswith(f"{prefix}/") else place
    return inner.lstrip("/")


def _read(file: Path) -> str:
    try:
        return _text(file)
    except OSError as error:
        raise EmulationError(
            "cannot read a cgroup",
            found=f"{file}: {error.strerror}",
            remedy="the container may just have ended; otherwise see testbed doctor",
        ) from error


def _read_if_there(file: Path) -> str | None:
    try:
        return _text(file)
    except OSError:
        return None


def _text(file: Path) -> str:
    # Many of these are read every second. This takes a third of the time that read_text does.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LARGEST).decode().strip()
    finally:
        os.close(descriptor)


def _bytes(text: str | None) -> int | None:
    if text is None or text == "max":
        return None
    return int(text) if int(text) < _UNLIMITED else None


def _pairs(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))
