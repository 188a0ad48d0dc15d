"""Keeps programs that are not ours as slow as asked, by closing the quota in a loop on the CPU time that they get.

Training steps of ours are paced; other programs know nothing of that. A governed node gets ``speed`` x wall time of
CPU while it wants CPU. It wants it while it runs or is held back by its quota, which its cgroup counts; waiting for a
link and sleeping are not in it. (What it waited for a core that others had is in it only in periods in which it came to
the end of its quota all the same: who is starved is told elsewhere.) What it got too much or too little is set off in
the next seconds; what it did not want is forgotten, so that a program which slept is not faster for it afterwards.

Quotas are written to the cgroup's file, which takes 0.1 ms where the engine's interface takes 50, and read back each
time. This does not see how much *work* a program does with its CPU time: see docs/speed.md for what was measured.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from testbed.emulation.cgroups import CpuUse, Limits
from testbed.errors import EmulationError

INTERVAL_S = 0.5
"""How often each node is looked at."""

HORIZON_S = 3.0
"""Over how long a deviation is set off."""

MOST_OWED_S = 1.0
"""A deviation is remembered up to what the node gets in so many seconds."""

RANGE = (0.5, 1.5)
"""Quotas that a governor sets, as multiples of the speed."""

WINDOW_S = 5.0
"""Length of the windows in which the share got is told."""

_DEAD_BAND = 0.005  # of the speed; a write also starts a new period, which is worth a little CPU time
_KEPT = 720  # windows
_LEAST_S = 1.0  # of wanting in a window for its share to say something


class Governor:
    """The law for one node.

    Args:
        speed: Share of a core that it shall get while it wants CPU.
        period: Of its quota, s.
        cap: Cores that it must never exceed, whatever it is owed.
    """

    def __init__(self, speed: float, period: float, cap: float) -> None:
        self.speed = min(speed, cap)
        self.period = period
        self.cap = cap
        self.quota = self.speed
        self.owed = 0.0  # s of CPU time
        self._last: tuple[float, CpuUse] | None = None
        self._held = 0.0

    def update(self, now: float, use: CpuUse) -> tuple[float, float]:
        """Take what the cgroup has counted by ``now`` and set `quota`.

        Returns:
            Since the last time: s that it wanted CPU, and s of CPU time that it used.
        """
        before, self._last = self._last, (now, use)
        if before is None or now <= before[0]:
            return 0.0, 0.0
        passed = now - before[0]
        used = use.usage_s - before[1].usage_s
        # Time held back is counted when it ends: up to a period of it may be told too late.
        held = used + use.throttled_s - before[1].throttled_s
        self._held += max(held, (use.throttled - before[1].throttled) * self.period)
        wanted = min(self._held, passed)
        self._held = min(self._held - wanted, self.period)
        owed = (self.owed + self.speed * wanted - used) * (wanted / passed)
        most = MOST_OWED_S * self.speed
        self.owed = max(-most, min(most, owed))
        low, high = (factor * self.speed for factor in RANGE)
        quota = max(low, min(high, self.cap, self.speed + self.owed / HORIZON_S))
        if abs(quota - self.quota) > _DEAD_BAND * self.speed:
            self.quota = quota
        return wanted, used


@dataclass
class Kept:
    """How a node was governed.

    Attributes:
        speed: Share of a core it was to get. cpus: Quota now, in cores. lowest, highest: Bounds of what it was.
        wanted_s: How long it wanted CPU. used_s: CPU time that it got.
        windows: Share got, in windows in which it wanted CPU for a second or more.
        disturbed: How often the quota in force was not the one set: somebody else changed it.
    """

    speed: float
    cpus: float
    lowest: float
    highest: float
    wanted_s: float = 0.0
    used_s: float = 0.0
    windows: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    disturbed: int = 0

    @property
    def share(self) -> float | None:
        """CPU time got while it was wanted, in cores."""
        return self.used_s / self.wanted_s if self.wanted_s > _LEAST_S else None


class Quotas(Protocol):
    """What governors need of the containers (`testbed.emulation.fleet.Fleet`)."""

    def cpu(self, node: str) -> CpuUse:
        """CPU time and throttling so far."""

    def limits(self, node: str) -> Limits:
        """Limits in force."""

    def set_quota(self, node: str, cpus: float | None, period: float) -> Limits:
        """Set a CPU quota and read it back."""


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
        self._clock = clock
        self._windows: dict[str, tuple[float, float, float]] = {}  # begin, wanted, used
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.kept = {n: Kept(law.speed, law.quota, law.quota, law.quota) for n, law in self._laws.items()}

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
        use, now = self._quotas.cpu(name), self._clock()
        wanted, used = law.update(now, use)
        in_force = self._quotas.limits(name).cpus
        if in_force is None or abs(in_force - kept.cpus) > 1e-6 / law.period:
            kept.disturbed += 1
        if in_force is None or abs(in_force - law.quota) > 1e-6 / law.period:
            kept.cpus = self._quotas.set_quota(name, law.quota, law.period).cpus or 0.0
        kept.lowest, kept.highest = min(kept.lowest, kept.cpus), max(kept.highest, kept.cpus)
        kept.wanted_s += wanted
        kept.used_s += used
        begin, want, got = self._windows.get(name, (now, 0.0, 0.0))
        self._windows[name] = begin, want + wanted, got + used
        if now - begin >= WINDOW_S:
            if want + wanted >= _LEAST_S:
                kept.windows.append((got + used) / (want + wanted))
            self._windows[name] = now, 0.0, 0.0
