"""The machine as /proc tells it, from files written for the purpose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.emulation.machine import Machine, Others, parse_stat

TICK = 1 / os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, name: str, ticks: int, group: str = "/user.slice") -> None:
    (proc / str(pid)).mkdir(exist_ok=True)
    zeros = " ".join(["0"] * 10)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {zeros} {ticks // 2} {ticks - ticks // 2} 0 0 20 0 1 0")
    (proc / str(pid) / "cgroup").write_text(f"3:cpu:{group}\n")


def test_cpu_time_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 10 40 5000 30 3 7 50 20 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    use = Machine(tmp_path).use()
    assert (use.busy_s, use.interrupts_s, use.steal_s) == pytest.approx((150 * TICK, 10 * TICK, 50 * TICK))
    assert Machine(tmp_path).stalled_s("cpu") is None
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n")
    assert Machine(tmp_path).stalled_s("cpu") == 2.5


def test_a_name_may_hold_anything() -> None:
    assert parse_stat(f"7 (a) (b c) R {' '.join(['0'] * 10)} 3 4 0 0") == ("a) (b c", pytest.approx(7 * TICK))


def test_others_are_named_by_what_they_used_since(tmp_path: Path) -> None:
    process(tmp_path, 10, "sh", 1000)
    process(tmp_path, 11, "sh", 0)
    process(tmp_path, 12, "python3", 50, "/docker/abc123")
    process(tmp_path, 13, "roambed", 0)
    process(tmp_path, 14, "cron", 9)
    others = Others(["abc123"], [13], tmp_path)
    for pid, name, ticks in ((10, "sh", 1080), (11, "sh", 90), (13, "roambed", 300), (14, "cron", 10)):
        process(tmp_path, pid, name, ticks)
    process(tmp_path, 12, "python3", 500, "/docker/abc123")
    process(tmp_path, 15, "make", 40)  # began since
    found = others.since()
    assert list(found) == ["sh", "make"], "ours are left out, and who hardly did anything"
    assert found == pytest.approx({"sh": 170 * TICK, "make": 40 * TICK})
    assert others.since() == {}


def test_many_busy_nodes_of_ours_do_not_hide_others(tmp_path: Path) -> None:
    everybody = range(100, 120)
    for pid in everybody:
        process(tmp_path, pid, "python3", 0, "/docker/abc123")
    process(tmp_path, 10, "sh", 0)
    others = Others(["abc123"], [], tmp_path)
    for pid in everybody:
        process(tmp_path, pid, "python3", 500, "/docker/abc123")
    process(tmp_path, 10, "sh", 20)
    assert others.since() == pytest.approx({"sh": 20 * TICK})


def test_a_process_that_has_ended(tmp_path: Path) -> None:
    process(tmp_path, 10, "sh", 100)
    assert Machine(tmp_path).process_s(10) == pytest.approx(100 * TICK)
    assert Machine(tmp_path).process_s(11) == 0.0
