"""Keeps programs that are not ours as slow as asked, by closing the quota in a loop on the CPU time that they get.

Training steps of ours are paced; other programs know nothing of that. A governed node gets ``speed`` x wall time of
CPU while it wants CPU. It wants it while it runs, is held back by its quota, or waits for a core that others have;
waiting for a link and sleeping are not in it. What it got too much or too little is set off in the next seconds, as far
as that is not much; what it did not want is forgotten, so that a program which slept is not faster for it afterwards.

A program that was held back comes back to cold caches, and does less with its first millisecond. What that costs
cannot be seen from outside, so governed programs get an allowance for it that is the middle of what was measured, and
periods that are long enough for the rest not to matter (docs/speed.md). Where a profile asks for a share of CPU time
plainly, it gets neither.

Quotas are written to the cgroup's file, which takes 0.1 ms where the engine's interface takes 50, and read back each
time.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from testbed.emulation.cgroups import CpuUse, Limits
from testbed.emulation.starvation import RunDelays, Starvation
from testbed.errors import EmulationError
from testbed.experiment.plan import NodePlan

if TYPE_CHECKING:
    from testbed.emulation.fleet import Fleet

INTERVAL_S = 0.5
"""How often each node is looked at."""

HORIZON_S = 5.0
"""Over how long a deviation is set off."""

MOST_OWED_S = 1.0
"""A deviation is remembered up to what the node gets in so many seconds."""

RANGE = (0.5, 1.5)
"""Quotas that a governor sets, as multiples of the speed."""

WINDOW_S = 5.0
"""Length of the windows in which the share got is told."""

RESUME_S = 0.0003
"""CPU time that a program loses each time it was held back: 0.1 ms for a busy loop, 1 ms for training were measured."""

LEAST_RUN_S = 0.02
"""Least quota of a period where speed is asked for: so long a program runs between two times that it is held back."""

LONGEST_PERIOD_S = 1.0
"""The kernel takes no longer one."""

_DEAD_BAND = 0.04  # of the speed: the kernel is exact by itself, and each write has it give a whole quota anew
_NOISE_PERIODS = 2.5  # what it gets in so many may be counted too early or too late, or be given anew by a write
_REST_S = 2.0  # between two writes, for the same reason
_KEPT = 720  # windows
_BUSY = 0.5  # of a window: if it wanted CPU for less, its share says nothing about its quota


class Governor:
    """The law for one node.

    Args:
        speed: Share of a core that it shall get while it wants CPU.
        period: Of its quota, s.
        cap: Cores that it must never exceed, whatever it is owed.
        resume_s: What it gets on top for each period in which it was held back.
    """

    def __init__(self, speed: float, period: float, cap: float, resume_s: float = 0.0) -> None:
        self.speed = min(speed, cap)
        self.period = period
        self.cap = cap
        self.resume_s = resume_s
        self.quota = min(cap, self.speed + resume_s / period)
        self.owed = 0.0  # s of CPU time
        self._last: tuple[float, CpuUse] | None = None
        self._held = 0.0
        self._changed = -math.inf

    @classmethod
    def of(cls, node: NodePlan) -> Governor:
        """The law for a node of a plan."""
        if not node.paced:  # a share of CPU time is what was asked for
            return cls(node.speed, node.period, node.cpus)
        period = min(LONGEST_PERIOD_S, max(node.period, LEAST_RUN_S / min(node.speed, node.cpus)))
        return cls(node.speed, period, node.cpus, RESUME_S)

    def update(self, now: float, use: CpuUse, starved_s: float = 0.0) -> tuple[float, float]:
        """Set `quota` by what has been counted.

        Args:
            now: When, s.
            use: What the cgroup has counted by then.
            starved_s: How long it waited for a core that others had, since the last time.

        Returns:
            Since the last time: s that it wanted CPU, and s of CPU time that it used, the allowance not counted.
        """
        before, self._last = self._last, (now, use)
        if before is None or now <= before[0]:
            return 0.0, 0.0
        passed = now - before[0]
        used = use.usage_s - before[1].usage_s
        # Time held back is counted when it ends: up to a period of it may be told too late.
        times = use.throttled - before[1].throttled
        # Where several threads wait in turns the kernel's times miss some; periods that were used up count whole.
        held = used + use.throttled_s - before[1].throttled_s + starved_s
        self._held += max(held, times * self.period)
        wanted = min(self._held, passed)
        self._held = min(self._held - wanted, self.period)
        used -= times * self.resume_s
        owed = (self.owed + self.speed * wanted - used) * (wanted / passed)
        most = MOST_OWED_S * self.speed
        self.owed = max(-most, min(most, owed))
        low, high = (factor * self.speed for factor in RANGE)
        quota = self.speed + self.resume_s / self.period + self.owed / HORIZON_S
        quota = max(low, min(high, self.cap, quota))
        dead = max(_DEAD_BAND, _NOISE_PERIODS * self.period / HORIZON_S) * self.speed
        if abs(quota - self.quota) > dead and now - self._changed >= _REST_S:
            self.quota, self._changed = quota, now
        return wanted, used


@dataclass
class Kept:
    """How a node was governed.

    Attributes:
        speed: Share of a core it was to get. cpus: Quota now, in cores. lowest, highest: Bounds of what it was.
        period: Of the quota, s.
        wanted_s: How long it wanted CPU in its busy windows: those for half of which it did so or more.
        used_s: CPU time that it got in them, the allowance not counted.
        windows: Share got in each of them.
        disturbed: How often the quota in force was not the one set: somebody else changed it.
    """

    speed: float
    cpus: float
    lowest: float
    highest: float
    period: float
    wanted_s: float = 0.0
    used_s: float = 0.0
    windows: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    disturbed: int = 0

    @property
    def share(self) -> float | None:
        """CPU time got while it was wanted, in cores; None if it was never busy."""
        return self.used_s / self.wanted_s if self.wanted_s else None


class Quotas(Protocol):
    """What governors need of the containers (`FleetQuotas`)."""

    def cpu(self, node: str) -> CpuUse:
        """CPU time and throttling so far."""

    def limits(self, node: str) -> Limits:
        """Limits in force."""

    def set_quota(self, node: str, cpus: float | None, period: float) -> Limits:
        """Set a CPU quota and read it back."""

    def delays(self, node: str) -> Mapping[int, float] | None:
        """Run delay of each thread so far, s (see `testbed.emulation.starvation`); None if unknown."""

    def close(self) -> None:
        """Close files."""


class FleetQuotas:
    """The quotas of containers that stand."""

    def __init__(self, fleet: Fleet, nodes: Iterable[str]) -> None:
        self.cpu, self.limits, self.set_quota = fleet.cpu, fleet.limits, fleet.set_quota
        self._delays = {name: RunDelays(fleet.cgroup(name).threads) for name in nodes}

    def delays(self, node: str) -> Mapping[int, float] | None:
        """Run delay of each thread so far, s; None if unknown."""
        return self._delays[node].read()

    def close(self) -> None:
        """Close files."""
        for delays in self._delays.values():
            delays.close()


class Governors:
    """Governs nodes in a thread of its own, from `start` to `stop`.

    Args:
        quotas: The containers.
        governed: A law for each node; its quota must be in force already.
        clock: Time in s; a test's own.
    """

    def __init__(
        self, quotas: Quotas, governed: Mapping[str, Governor], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quotas = quotas
        self._laws = dict(governed)
        self._starved = {name: Starvation(law.period) for name, law in self._laws.items()}
        self._clock = clock
        self._throttled: dict[str, float] = {}
        self._windows: dict[str, tuple[float, float, float]] = {}  # begin, wanted, used
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.kept = {n: Kept(law.speed, law.quota, law.quota, law.quota, law.period) for n, law in self._laws.items()}

    def start(self) -> None:
        """Begin (with nobody to govern, nothing)."""
        if self._laws and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="governors", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, leaving quotas as they are; twice is fine."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._quotas.close()

    def _run(self) -> None:
        due = self._clock()
        while not self._over.wait(max(0.0, due - self._clock())):
            self.tick()
            due = max(due + INTERVAL_S, self._clock())

    def tick(self) -> None:
        """Look at every node once."""
        for name in list(self._laws):
            try:
                self._govern(name)
            except EmulationError:
                # It has ended, which others notice and tell: there is nobody to govern any more.
                del self._laws[name]

    def _govern(self, name: str) -> None:
        law, kept = self._laws[name], self.kept[name]
        delays = self._quotas.delays(name)  # before the throttled time: see Starvation.since
        use, now = self._quotas.cpu(name), self._clock()
        throttled, self._throttled[name] = use.throttled_s - self._throttled.get(name, use.throttled_s), use.throttled_s
        starved = 0.0 if delays is None else self._starved[name].since(delays, throttled)
        wanted, used = law.update(now, use, starved)
        in_force = self._quotas.limits(name).cpus
        if in_force is None or abs(in_force - kept.cpus) > 1e-6 / law.period:
            kept.disturbed += 1
        if in_force is None or abs(in_force - law.quota) > 1e-6 / law.period:
            kept.cpus = self._quotas.set_quota(name, law.quota, law.period).cpus or 0.0
        kept.lowest, kept.highest = min(kept.lowest, kept.cpus), max(kept.highest, kept.cpus)
        begin, want, got = self._windows.get(name, (now, 0.0, 0.0))
        want, got = want + wanted, got + used
        if now - begin >= WINDOW_S:
            if want >= _BUSY * (now - begin):
                kept.windows.append(got / want)
                kept.wanted_s += want
                kept.used_s += got
            begin, want, got = now, 0.0, 0.0
        self._windows[name] = begin, want, got
