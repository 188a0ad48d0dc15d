"""Reading cgroups from file trees: one recorded on version 1 (hybrid, cgroupfs), one of version 2 with systemd."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from testbed.emulation.cgroups import Cgroup, Limits, parse_mounts
from testbed.errors import EmulationError

FIXTURES = Path(__file__).parent / "fixtures"
PID = 4242
ID = "0123456789abcdef" * 4


def recorded(tree: Path) -> Cgroup:
    return Cgroup.of(PID, proc=tree / "proc", base=tree)


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "v1", tmp_path / "v1"))


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "v2-systemd", tmp_path / "v2"))


def file(tree: Path, name: str) -> Path:
    found = list(tree.rglob(name))
    assert len(found) == 1, found
    return found[0]


def test_version_1_is_read(v1: Path) -> None:
    group = recorded(v1)
    assert group.version == 1
    assert group.directory("cpu") == v1 / "sys/fs/cgroup/cpu/docker" / ID
    assert group.limits() == Limits(period=0.1, quota=0.03, memory=256 << 20, memory_swap=256 << 20)
    assert group.limits().cpus == pytest.approx(0.3)
    cpu = group.cpu()
    assert (cpu.periods, cpu.throttled) == (17, 16)
    assert cpu.usage_s == pytest.approx(0.517186724)
    assert cpu.throttled_s == pytest.approx(1.061151108)
    assert group.memory().usage == 475136
    assert group.memory().peak == 4341760
    assert group.oom_kills() == 0


def test_version_2_below_systemd_is_read(v2: Path) -> None:
    group = recorded(v2)
    assert group.version == 2
    assert group.directory("memory").name == f"docker-{ID}.scope"
    assert group.limits() == Limits(period=0.1, quota=0.03, memory=256 << 20, memory_swap=256 << 20)
    cpu = group.cpu()
    assert (cpu.usage_s, cpu.throttled_s) == (pytest.approx(5.171867), pytest.approx(10.611511))
    assert (cpu.periods, cpu.throttled) == (172, 165)
    memory = group.memory()
    assert (memory.usage, memory.working, memory.peak) == (144 << 20, 114 << 20, 192 << 20)
    assert group.oom_kills() == 2
    assert group.pressure("cpu") == pytest.approx(0.125)


def test_no_limit_reads_as_none(v1: Path, v2: Path) -> None:
    file(v1, "cpu.cfs_quota_us").write_text("-1\n")
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        file(v1, name).write_text("9223372036854771712\n")
    file(v2, "cpu.max").write_text("max 100000\n")
    for name in ("memory.max", "memory.swap.max"):
        file(v2, name).write_text("max\n")
    for tree in (v1, v2):
        assert recorded(tree).limits() == Limits(period=0.1, quota=None, memory=None, memory_swap=None)
        assert recorded(tree).limits().cpus is None


def test_kernel_without_swap_accounting(v1: Path, v2: Path) -> None:
    file(v1, "memory.memsw.limit_in_bytes").unlink()
    file(v2, "memory.swap.max").unlink()
    for tree in (v1, v2):
        limits = recorded(tree).limits()
        assert (limits.memory, limits.memory_swap) == (256 << 20, None)


def test_version_2_counts_swap_on_top_of_memory(v2: Path) -> None:
    file(v2, "memory.swap.max").write_text(f"{64 << 20}\n")
    assert recorded(v2).limits().memory_swap == 320 << 20


def test_oom_kills_of_children_are_counted_on_version_1(v1: Path) -> None:
    file(v1, "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert recorded(v1).oom_kills() == 3


def test_a_kernel_that_does_not_count_oom_kills_says_none(v1: Path, v2: Path) -> None:
    assert (recorded(v1).oom_kills_if_told(), recorded(v2).oom_kills_if_told()) == (0, 2)
    file(v1, "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert recorded(v1).oom_kills_if_told() is None
    assert recorded(v1).oom_kills() == 0


def test_hybrid_has_pressure_and_version_1_alone_has_not(v1: Path) -> None:
    assert recorded(v1).pressure("cpu") == 0.0
    assert recorded(v1).pressure("io") is None
    member = v1 / "proc" / str(PID) / "cgroup"
    member.write_text("".join(line for line in member.read_text().splitlines(True) if not line.startswith("0::")))
    assert recorded(v1).pressure("cpu") is None


def test_time_stalled_so_far(v1: Path, v2: Path) -> None:
    assert recorded(v1).stalled_s("cpu") == pytest.approx(1.115123)
    assert recorded(v2).stalled_s("cpu") == pytest.approx(1.115123)
    file(v2, "cpu.pressure").unlink()
    assert recorded(v2).stalled_s("cpu") is None


def test_where_threads_are_listed(v1: Path, v2: Path) -> None:
    assert recorded(v1).threads == v1 / "sys/fs/cgroup/cpu/docker" / ID / "tasks"
    assert recorded(v2).threads == v2 / f"sys/fs/cgroup/system.slice/docker-{ID}.scope" / "cgroup.threads"


def test_controllers_mounted_together(v1: Path) -> None:
    mounts = v1 / "proc/self/mountinfo"
    text = mounts.read_text()
    kept = [line for line in text.splitlines() if "/cgroup/cpu " not in line and "/cgroup/cpuacct " not in line]
    kept.append("32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct")
    mounts.write_text("\n".join(kept))
    both = v1 / "sys/fs/cgroup/cpu,cpuacct/docker" / ID
    shutil.copytree(v1 / "sys/fs/cgroup/cpu/docker" / ID, both)
    shutil.copy(v1 / "sys/fs/cgroup/cpuacct/docker" / ID / "cpuacct.usage", both)
    member = v1 / "proc" / str(PID) / "cgroup"
    lines = [ln for ln in member.read_text().splitlines() if ":cpu:" not in ln and ":cpuacct:" not in ln]
    member.write_text("\n".join([*lines, f"1:cpu,cpuacct:/docker/{ID}"]))
    group = recorded(v1)
    assert group.directory("cpu") == both
    assert group.cpu().usage_s == pytest.approx(0.517186724)


def test_a_mount_of_part_of_the_hierarchy(v2: Path) -> None:
    # As a controller in a container sees it when it is given only a slice.
    mounts = v2 / "proc/self/mountinfo"
    mounts.write_text("35 24 0:30 /system.slice /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    inner = v2 / "sys/fs/cgroup" / f"docker-{ID}.scope"
    shutil.move(v2 / "sys/fs/cgroup/system.slice" / inner.name, inner)
    assert recorded(v2).limits().memory == 256 << 20


def test_process_that_is_gone(v2: Path) -> None:
    with pytest.raises(EmulationError, match="cannot find a process's cgroup"):
        Cgroup.of(1, proc=v2 / "proc", base=v2)


def test_cgroup_that_is_gone_says_which_file(v2: Path) -> None:
    group = recorded(v2)
    file(v2, "cpu.stat").unlink()
    with pytest.raises(EmulationError) as raised:
        group.cpu()
    assert "cpu.stat" in str(raised.value.found)


def test_nothing_mounted(v2: Path) -> None:
    (v2 / "proc/self/mountinfo").write_text("25 29 0:23 / /proc rw - proc proc rw\n")
    with pytest.raises(EmulationError, match="no cgroup file system"):
        recorded(v2)


def test_mounts_are_told_from_other_file_systems() -> None:
    text = "25 29 0:23 / /proc rw shared:1 - proc proc rw\n35 24 0:30 / /c rw shared:2 master:3 - cgroup2 cgroup2 rw\n"
    assert [(str(m.point), m.part, m.controllers) for m in parse_mounts(text)] == [("/c", "/", frozenset())]
