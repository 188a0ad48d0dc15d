from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from testbed.emulation.cgroups import CpuUse, Limits
from testbed.emulation.governor import INTERVAL_S, LEAST_RUN_S, RESUME_S, Governor, Governors
from testbed.errors import EmulationError
from tests.support import node

TICK = 0.001


class Kernel:
    """A core with one program under a quota, in steps of a millisecond.

    Args:
        wants: Whether the program wants the core at a moment.
        gives: How much of a quota the kernel really gives (it is not exact).
        taken: Whether others have the core at a moment.
    """

    def __init__(
        self,
        wants: Callable[[float], bool],
        gives: float = 1.0,
        taken: Callable[[float], bool] = lambda now: False,
        cpus: float = 0.25,
        period: float = 0.1,
    ) -> None:
        self.now = 0.0
        self.quota, self.period = cpus * period, period
        self.gone = False
        self.written = 0
        self.closed = False
        self._delay = 0.0
        self._wants, self._gives, self._taken = wants, gives, taken
        self._use = CpuUse(0.0, 0, 0, 0.0)
        self._left = self.quota
        self._held = False
        self._next = period

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            if self.now >= self._next - TICK / 2:
                self._next += self.period
                self._left, self._held = self.quota * self._gives + min(self._left, 0.0), False
                self._use = replace(self._use, periods=self._use.periods + 1)
            if self._wants(self.now):
                if self._left <= 0:
                    if not self._held:
                        self._use = replace(self._use, throttled=self._use.throttled + 1)
                    self._held = True
                    self._use = replace(self._use, throttled_s=self._use.throttled_s + TICK)
                if self._left <= 0 or self._taken(self.now):
                    self._delay += TICK
                else:
                    self._left -= TICK
                    self._use = replace(self._use, usage_s=self._use.usage_s + TICK)
            self.now += TICK

    def cpu(self, name: str) -> CpuUse:
        if self.gone:
            raise EmulationError("gone")
        return self._use

    def limits(self, name: str) -> Limits:
        return Limits(self.period, self.quota, None, None)

    def delays(self, name: str) -> dict[int, float]:
        return {1: self._delay}

    def close(self) -> None:
        self.closed = True

    def set_quota(self, name: str, cpus: float | None, period: float) -> Limits:
        assert cpus is not None
        self.written += 1
        self.quota = round(cpus * period * 1e6) / 1e6
        self._left, self._held = self.quota, False  # as the kernel does
        return self.limits(name)


def governed(kernel: Kernel, speed: float = 0.25, cap: float = 1.0, resume_s: float = 0.0) -> Governors:
    return Governors(kernel, {"n": Governor(speed, kernel.period, cap, resume_s)}, clock=lambda: kernel.now)


def shares(kernel: Kernel, governors: Governors, seconds: float, stretch: float = 20.0) -> Iterator[float]:
    """CPU got in each stretch that begins at a look of the governor."""
    used = [(kernel.now, kernel.cpu("n").usage_s)]
    for _ in range(round(seconds / INTERVAL_S)):
        governors.tick()
        kernel.run(INTERVAL_S)
        used.append((kernel.now, kernel.cpu("n").usage_s))
    length = round(stretch / INTERVAL_S)
    for (begin, before), (end, after) in zip(used, used[length:], strict=False):
        yield (after - before) / (end - begin)


def always(now: float) -> bool:
    return True


@pytest.mark.parametrize("gives", [0.9, 1.0, 1.1])
def test_a_busy_program_gets_its_speed_from_its_start_on(gives: float) -> None:
    kernel = Kernel(always, gives)
    for share in shares(kernel, governed(kernel), 60):
        assert share == pytest.approx(0.25, rel=0.05)


def test_what_is_exact_is_left_alone() -> None:
    kernel = Kernel(always)
    list(shares(kernel, governed(kernel), 30))
    assert kernel.written <= 1


def test_a_program_that_slept_is_not_faster_afterwards() -> None:
    kernel = Kernel(lambda now: now >= 30.0, gives=0.9)
    governors = governed(kernel)
    list(shares(kernel, governors, 30))
    assert kernel.cpu("n").usage_s == 0
    for share in shares(kernel, governors, 30, stretch=5.0):
        assert share <= 0.25 * 1.05


def test_what_is_owed_is_forgotten_while_it_sleeps() -> None:
    kernel = Kernel(lambda now: not 10 <= now < 20, gives=0.5)  # more than the range makes up for
    law = Governor(0.25, 0.1, 1.0)
    governors = Governors(kernel, {"n": law}, clock=lambda: kernel.now)
    list(shares(kernel, governors, 10))
    assert law.owed > 0.1
    list(shares(kernel, governors, 10))
    assert law.owed < 0.001


def test_waiting_for_links_is_not_wanting_a_core() -> None:
    kernel = Kernel(lambda now: now % 1.0 < 0.1)  # a tenth of a second of work each second: never more than it may
    law = Governor(0.9, 0.1, 1.0)
    wanted = 0.0
    for _ in range(40):
        wanted += law.update(kernel.now, kernel.cpu("n"))[0]
        kernel.run(INTERVAL_S)
    assert wanted == pytest.approx(2.0, abs=0.3)


def test_others_on_the_core_do_not_slow_it_further() -> None:
    kernel = Kernel(always, taken=lambda now: now % 0.01 < 0.005)  # half the core is not there, and that is enough
    governors = governed(kernel)
    for share in shares(kernel, governors, 40):
        assert share == pytest.approx(0.25, rel=0.03)
    assert governors.kept["n"].share == pytest.approx(0.25, rel=0.03)


def test_a_starved_program_is_owed_no_more_than_a_second() -> None:
    kernel = Kernel(always, taken=lambda now: now < 20)
    governors = governed(kernel)
    list(shares(kernel, governors, 20))
    [share] = shares(kernel, governors, 20)
    assert 0.25 < share <= 0.25 * 1.06
    assert governors.kept["n"].wanted_s == pytest.approx(40.0, rel=0.15)


def test_never_above_the_cap() -> None:
    kernel = Kernel(always, gives=0.5)
    governors = governed(kernel, cap=0.28)
    list(shares(kernel, governors, 20))
    assert 0.265 < governors.kept["n"].highest <= 0.28


def test_an_allowance_for_each_time_it_was_held_back() -> None:
    kernel = Kernel(always, cpus=0.25)
    governors = governed(kernel, resume_s=0.002)
    *_, share = shares(kernel, governors, 60)
    assert share == pytest.approx(0.25 + 0.002 / 0.1, rel=0.02)
    assert governors.kept["n"].share == pytest.approx(0.25, rel=0.02)


def test_a_quota_that_somebody_else_changed_is_set_again() -> None:
    kernel = Kernel(always)
    governors = governed(kernel)
    list(shares(kernel, governors, 5))
    before = governors.kept["n"].disturbed
    kernel.quota = 0.1  # everything
    list(shares(kernel, governors, 5))
    assert governors.kept["n"].disturbed == before + 1
    assert kernel.quota < 0.05


def test_windows_tell_of_times_when_it_wanted_to_run() -> None:
    kernel = Kernel(lambda now: now < 20)
    governors = governed(kernel)
    list(shares(kernel, governors, 40))
    assert 3 <= len(governors.kept["n"].windows) <= 4
    assert all(share == pytest.approx(0.25, rel=0.05) for share in governors.kept["n"].windows)


def test_a_node_that_has_gone_is_left_alone() -> None:
    kernel = Kernel(always)
    governors = governed(kernel)
    list(shares(kernel, governors, 2))
    kernel.gone = True
    governors.tick()
    kernel.gone = False
    governors.tick()
    assert governors.kept["n"].cpus > 0


def test_started_and_stopped() -> None:
    kernel = Kernel(always)
    governors = Governors(kernel, {"n": Governor(0.25, 0.1, 1.0)})
    governors.start()
    governors.start()
    governors.stop()
    governors.stop()
    assert kernel.closed


def test_laws_of_nodes() -> None:
    share = Governor.of(node("a", "host", speed=0.05, cpus=0.05, paced=False))
    assert (share.quota, share.period, share.resume_s) == (0.05, 0.1, 0.0)
    fast = Governor.of(node("a", "host", speed=0.4, cpus=0.6))
    assert (fast.quota, fast.period) == (pytest.approx(0.4 + RESUME_S / 0.1), 0.1)
    slow = Governor.of(node("a", "host", speed=0.05, cpus=0.075))
    assert slow.period == pytest.approx(LEAST_RUN_S / 0.05)
    assert Governor.of(node("a", "host", speed=0.001, cpus=0.0015)).period == 1.0
    assert Governor.of(node("a", "host", speed=0.4, cpus=0.3)).quota == 0.3
