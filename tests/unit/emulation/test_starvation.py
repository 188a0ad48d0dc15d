"""Starvation: run delay less throttled time, by the law and on real threads of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.emulation.starvation import RunDelays, Starvation, stolen

PERIOD = 0.1


def law() -> Starvation:
    made = Starvation(PERIOD)
    assert made.since({1: 5.0}, 0.0) == 0.0, "what was before the watch does not count"
    return made


def test_a_thread_that_was_ready_and_had_no_core_is_starved() -> None:
    assert law().since({1: 5.4}, 0.0) == pytest.approx(0.4)


def test_held_back_by_its_own_quota_is_not_starved() -> None:
    assert law().since({1: 5.8}, 0.8) == pytest.approx(0.0)


def test_both_at_once_are_told_apart() -> None:
    assert law().since({1: 5.9}, 0.6) == pytest.approx(0.3)


def test_throttling_that_is_counted_before_the_delay_is_remembered() -> None:
    one = law()
    assert one.since({1: 5.0}, 0.08) == 0.0  # throttled until just now; the thread has not run since
    assert one.since({1: 5.08}, 0.0) == pytest.approx(0.0)
    assert one.since({1: 5.18}, 0.0) == pytest.approx(0.1), "it is remembered once"


def test_what_is_remembered_does_not_pile_up() -> None:
    one = law()
    for _ in range(50):
        one.since({1: 5.0}, 0.09)
    assert one.since({1: 6.0}, 0.0) == pytest.approx(1.0 - 2 * PERIOD)


def test_threads_that_wait_side_by_side_count_once() -> None:
    one = Starvation(PERIOD)
    one.since({1: 0.0, 2: 0.0, 3: 0.0}, 0.0)
    assert one.since({1: 0.5, 2: 0.7, 3: 0.6}, 0.0) == pytest.approx(0.7)


def test_threads_come_and_go() -> None:
    one = law()
    assert one.since({2: 0.3}, 0.0) == pytest.approx(0.3)  # began since, and waited at once
    assert one.since({2: 0.3, 1: 0.0}, 0.0) == 0.0


def test_steal_is_shared_by_cpu_time() -> None:
    assert stolen(0.2, used_s=0.5, busy_s=2.0) == pytest.approx(0.05)
    assert stolen(0.2, used_s=3.0, busy_s=2.0) == pytest.approx(0.2)
    assert stolen(0.2, used_s=0.0, busy_s=0.0) == 0.0


def schedstat(proc: Path, thread: int, delay_s: float) -> None:
    (proc / str(thread)).mkdir(exist_ok=True)
    (proc / str(thread) / "schedstat").write_text(f"123456 {delay_s * 1e9:.0f} 77\n")


def test_threads_are_read_as_the_cgroup_lists_them(tmp_path: Path) -> None:
    listing = tmp_path / "tasks"
    listing.write_text("7\n8\n")
    schedstat(tmp_path, 7, 0.25)
    schedstat(tmp_path, 8, 0.5)
    delays = RunDelays(listing, tmp_path)
    try:
        assert delays.read() == pytest.approx({7: 0.25, 8: 0.5})
        schedstat(tmp_path, 9, 1.5)
        schedstat(tmp_path, 7, 0.75)
        listing.write_text("7\n9\n10\n")  # 8 has ended, 10 ended before it could be looked at
        assert delays.read() == pytest.approx({7: 0.75, 9: 1.5})
    finally:
        delays.close()
        delays.close()
    assert delays.read() is None


def test_a_kernel_that_does_not_count_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("7\n")
    delays = RunDelays(tmp_path / "tasks", tmp_path)
    assert delays.read() is None
    delays.close()
    assert RunDelays(tmp_path / "missing", tmp_path).read() is None
