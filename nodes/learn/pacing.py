"""Pacing: a training step on a slow node takes as long as it would there.

A CPU quota is not a slow device: it is saved up while the node waits for the network. So each step ends at
its deadline, its reference time (`nodes.learn.reference`) divided by the node's speed, and sleeps until
then. A step that overran leaves a *debt*, which the next ones work off by ending earlier; debt beyond five
steps is dropped and counted. The machine could not deliver the speed where steps are late: that is what a
run's verdict looks at.

Pacing is cooperative. Programs that are not ours get the quota alone.

How well it works is told in *windows* of a few seconds: what the steps that ended in one should have taken, and
took. A step belongs as a whole to where it ended, so that a window of few steps has no error of counting.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Protocol

from nodes.errors import InputError

MAX_DEBT = 5.0
"""Most debt that is carried on, in lengths of the step."""

LATE_SHARE = 0.05
"""A step is late when its work took longer than its length by this share of it ..."""

LATE_S = 0.002
"""... plus these seconds."""

WINDOW_S = 5.0
"""Length of a window, virtual seconds."""


class Clock(Protocol):
    """Time as a pacer sees it."""

    def now(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""

    def cpu(self) -> float:
        """Seconds of CPU time of the calling thread."""

    def sleep(self, seconds: float) -> None:
        """Sleep that long, or a little longer."""


class ThreadClock:
    """The machine's clock, with sleeps of the calling thread made exact."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def now(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def cpu(self) -> float:
        """Seconds of CPU time of the calling thread."""
        return time.thread_time()

    def sleep(self, seconds: float) -> None:
        """Sleep; the kernel may otherwise add 50 us or more to save wake-ups."""
        if not getattr(self._threads, "exact", False):
            _exact_timers()
            self._threads.exact = True
        time.sleep(seconds)


@dataclass
class Step:
    """One paced step; filled in when it ends.

    Attributes:
        begin: When it began, s of CLOCK_MONOTONIC.
        end: When it ended, the waiting included.
        cpu_s: CPU time of the calling thread in the body.
        wall_s: Time that the body took.
        late: Whether its work took longer than the step may: the machine could not deliver.
    """

    begin: float
    end: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    late: bool = False


@dataclass
class Totals:
    """What a pacer did so far: steps, late ones, debts cut and the seconds lost, CPU time of the bodies.

    ``asked_s`` is what the steps should have taken in all (unpaced ones at speed 1), ``took_s`` what they took.
    """

    steps: int = 0
    late: int = 0
    dropped: int = 0
    dropped_s: float = 0.0
    cpu_s: float = 0.0
    asked_s: float = 0.0
    took_s: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Plain data, for events and summaries."""
        return asdict(self)


@dataclass
class Window:
    """The steps that ended in a stretch of time.

    Attributes:
        begin: Begin of the stretch, s of CLOCK_MONOTONIC. end: When the last of its steps ended.
        steps: How many. late: How many of them were.
        asked_s: What they should have taken at the node's speed; where they are not paced, at speed 1.
        took_s: What they took.
    """

    begin: float
    end: float
    steps: int = 0
    late: int = 0
    asked_s: float = 0.0
    took_s: float = 0.0


class Pacer:
    """Paces the steps of one thread.

    Args:
        speed: Share of the reference speed, above 0; None for as fast as the machine goes, never late.
        clock: Stands in for the machine's in tests.
        window_s: Length of the windows that it tells of; they begin at multiples of it.
        turns: Entered for each paced step, where others share the speed. A step begins when it has been entered.
    """

    def __init__(
        self, speed: float | None, clock: Clock | None = None, window_s: float = WINDOW_S,
        turns: AbstractContextManager[object] | None = None,
    ) -> None:  # fmt: skip
        if speed is not None and not (speed > 0 and math.isfinite(speed)):
            raise InputError("a node's speed must be above 0", found=str(speed))
        self.speed = speed
        self.totals = Totals()
        self.debt = 0.0
        self._clock = clock or ThreadClock()
        self._window_s = window_s
        self._turns: AbstractContextManager[object] = nullcontext() if turns is None or speed is None else turns
        self._window: Window | None = None
        self._over: list[Window] = []

    @contextmanager
    def step(self, reference_s: float | None) -> Iterator[Step]:
        """Run the body as one step that takes ``reference_s`` at speed 1; None: the CPU time that it takes.

        The latter is for work that is done once and has no stored reference: a node's speed is a share of one core, so
        it takes its CPU time over that. A body that raises is not waited for and not counted.
        """
        clock = self._clock
        with self._turns:
            cpu = clock.cpu()
            step = Step(begin=clock.now())
            yield step
            step.cpu_s = clock.cpu() - cpu
            step.end = clock.now()
            step.wall_s = step.end - step.begin
            self.totals.steps += 1
            self.totals.cpu_s += step.cpu_s
            reference_s = step.cpu_s if reference_s is None else reference_s
            if self.speed is not None:
                self._pace(step, reference_s / self.speed)
        self._count(step, reference_s / (self.speed or 1.0))

    def forget(self) -> None:
        """Count from here on: nothing of the steps so far, and no debt of theirs."""
        self.totals, self.debt = Totals(), 0.0
        self._window, self._over = None, []

    def windows(self, *, last: bool = False) -> list[Window]:
        """Windows that are over and were not told of yet; with ``last`` also the one that is not over."""
        if last and self._window is not None:
            self._over.append(self._window)
            self._window = None
        told, self._over = self._over, []
        return told

    def _count(self, step: Step, length: float) -> None:
        took = step.end - step.begin
        self.totals.asked_s += length
        self.totals.took_s += took
        begin = math.floor(step.end / self._window_s) * self._window_s
        if self._window is not None and self._window.begin != begin:
            self._over.append(self._window)
            self._window = None
        window = self._window = self._window or Window(begin, step.end)
        window.end = step.end
        window.steps += 1
        window.late += step.late
        window.asked_s += length
        window.took_s += took

    def _pace(self, step: Step, length: float) -> None:
        deadline = step.begin + length - self.debt
        while step.end < deadline:
            self._clock.sleep(deadline - step.end)
            step.end = self._clock.now()
        behind = step.end - deadline
        # By its own length, not by what is left of it after debts: one stall is not many late steps.
        if step.wall_s > (1 + LATE_SHARE) * length + LATE_S:
            step.late = True
            self.totals.late += 1
        self.debt = min(behind, MAX_DEBT * length)
        if behind > self.debt:
            self.totals.dropped += 1
            self.totals.dropped_s += behind - self.debt


def _exact_timers() -> None:
    """Ask for a timer slack of 1 ns in this thread; where that is refused, sleeps are as they are."""
    set_timer_slack = 29
    ctypes.CDLL(None).prctl(set_timer_slack, ctypes.c_ulong(1), 0, 0, 0)
