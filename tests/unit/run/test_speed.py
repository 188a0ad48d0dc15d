from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.events import Span
from nodes.learn.pacing import Window
from nodes.learn.speed import SpeedCheck
from testbed.emulation.cgroups import Limits
from testbed.emulation.fleet import AppliedLimits
from testbed.emulation.governor import Kept
from testbed.experiment.plan import NodePlan, Plan
from testbed.run import speed
from testbed.run.virtual import VirtualTime
from tests.support import loop_plan

LIMITS = AppliedLimits(Limits(0.1, 0.03, 1, 1), Limits(0.1, 0.03, 1, 1), swap_accounted=True)


def plan(**changes: object) -> Plan:
    return replace(loop_plan(), **changes)  # type: ignore[arg-type]


def device(**changes: object) -> NodePlan:
    return replace(loop_plan().node("dev-1"), **changes)  # type: ignore[arg-type]


def window(asked: float, took: float, at: float = 0.0, steps: int = 10, late: int = 0) -> Window:
    return Window(at, at + 5.0, steps, late, asked, took)


def test_speed_is_asked_over_taken() -> None:
    found = speed.rate(plan(), device(), LIMITS, [window(5.0, 5.0), window(5.0, 5.2, late=3), window(5.0, 4.9)])
    assert found.asked == 0.2
    assert found.measured == pytest.approx(0.2 * 15 / 15.1)
    assert found.windows == pytest.approx((0.2, 0.2 * 5 / 5.2, 0.2 * 5 / 4.9))
    assert found.worst_error == pytest.approx(5 / 5.2 - 1)
    assert (found.steps, found.late_share) == (30, 0.1)
    assert (found.cpus, found.period) == (pytest.approx(0.3), 0.1)


def test_windows_of_little_work_say_nothing() -> None:
    found = speed.rate(plan(), device(), None, [window(0.1, 0.2), window(5.0, 5.0)])
    assert found.windows == (pytest.approx(0.2),)
    assert found.error == pytest.approx(5.1 / 5.2 - 1)
    nothing = speed.rate(plan(), device(), None, [window(0.1, 0.2)])
    assert nothing.worst is None
    assert speed.problems(plan(), {"dev-1": nothing}, "in bring-up") == []


def test_no_steps_no_speed() -> None:
    found = speed.rate(plan(), device(), None, [])
    assert (found.measured, found.worst, found.error, found.steps) == (None, None, None, 0)


def test_a_share_has_a_speed_and_no_error() -> None:
    found = speed.rate(plan(), device(paced=False), None, [window(1.0, 5.0)])
    assert found.measured == pytest.approx(0.2)
    assert found.windows == (pytest.approx(0.2),)
    assert (found.error, found.worst_error) == (None, None)


def test_ratios_between_nodes() -> None:
    one = speed.rate(plan(), device(), None, [window(5.0, 5.0), window(5.0, 5.1)])
    two = speed.rate(plan(), device(speed=0.4), None, [window(5.0, 5.0), window(5.0, 5.0)])
    assert speed.ratio_error({"a": one, "b": two}) == pytest.approx(10.1 / 10 - 1)
    assert speed.ratio_error({"a": one, "b": two}, windows=True) == pytest.approx(5.1 / 5 - 1)
    assert speed.ratio_error({"a": one}) is None


def test_speeds_while_training_come_from_events() -> None:
    def told(node: str, at: float, took: float) -> Span:
        attrs = {"steps": 5, "late": 1, "asked_s": 5.0, "took_s": took}
        return Span(kind="speed", node=node, begin=at, end=at + 5, attrs=attrs)

    spans = [told("dev-1", 0, 5.0), told("dev-1", 5, 5.5), Span(kind="wait", node="dev-2", begin=0, end=1)]
    found = speed.trained(plan(), {"dev-1": LIMITS}, spans)
    assert list(found) == ["dev-1"]
    assert found["dev-1"].late_share == 0.2
    [problem] = speed.problems(plan(), found, "while it trained")
    assert "dev-1" in problem
    assert "-4.8%" in problem


def test_dilated_speeds_are_told_in_virtual_time() -> None:
    told = VirtualTime(2.0, 100.0).window(Window(110.0, 120.0, 3, 1, 10.0, 10.5))
    assert told == Window(105.0, 110.0, 3, 1, 5.0, 5.25)
    # Half a core of a machine that is twice as fast in virtual time.
    assert speed.rate(plan(dilation=2.0), device(paced=False), None, [window(2.5, 5.0)]).measured == pytest.approx(1.0)
    kept = Kept(0.1, 0.1, 0.09, 0.11, 0.2, wanted_s=10.0, used_s=1.1)
    kept.windows.extend([0.1, 0.12])
    row = speed.governed(plan(dilation=2.0), {"dev-1": kept})["dev-1"]
    assert (row["asked"], row["cpus"], row["period"], row["wanted_s"]) == (0.2, 0.2, 0.1, 5.0)
    assert (row["measured"], row["worst"]) == (pytest.approx(0.22), 0.24)


@pytest.mark.parametrize(
    ("kind", "schemes", "operations"),
    [
        ("device", ["fedfly"], ("head.forward", "head.backward")),
        ("device", ["fedavg"], ("whole.step",)),
        ("device", ["splitfed", "fedavg"], ("head.forward", "head.backward", "whole.step")),
        ("edge", ["splitfed", "fedavg"], ("tail.step",)),
        ("cloud", ["fedavg"], ("whole.step",)),
    ],
)
def test_nodes_are_checked_by_what_they_will_do(kind: str, schemes: list[str], operations: tuple[str, ...]) -> None:
    assert speed.operations(kind, schemes) == operations


def test_drift_of_the_machine_is_told_and_noted_beyond_ten_percent() -> None:
    stored = {"tail.step": 0.010, "head.forward": 0.020, "evaluate": 1.0}
    today = {"tail.step": 0.011, "head.forward": 0.021, "evaluate": 9.0}
    near = speed.drift(stored, today, ["tail.step", "head.forward"])
    assert near["value"] == pytest.approx(30 / 32 - 1)
    assert near["note"] is None
    far = speed.drift(stored, {"tail.step": 0.015, "head.forward": 0.020}, ["tail.step"] * 3)
    assert far["value"] == pytest.approx(-1 / 3)
    assert "33% slower" in far["note"]
    assert "faster" in speed.drift(stored, {"tail.step": 0.005}, ["tail.step"])["note"]


def test_section_of_a_summary() -> None:
    found = speed.rate(plan(), device(), LIMITS, [window(5.0, 5.0), window(5.0, 5.2)])
    made = speed.section(plan(), {"dev-1": found}, {}, None, {})
    assert made["check"]["nodes"]["dev-1"]["worst_error"] == pytest.approx(5 / 5.2 - 1)
    assert made["check"]["worst_error"] == pytest.approx(1 - 5 / 5.2)
    assert made["training"] == {"nodes": {}, "worst_error": None, "ratio_error": None}


class Work:
    """Steps that take as long as a test says."""

    def __init__(self) -> None:
        self.time = 100.0
        self.lengths: list[float] = []
        self.done: list[str] = []

    def do(self, op: str) -> None:
        self.done.append(op)
        self.time += self.lengths.pop(0) if self.lengths else 0.001

    def now(self) -> float:
        return self.time

    def cpu(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_a_check_counts_all_time_from_its_begin_on() -> None:
    work = Work()
    check = SpeedCheck(work, ("a", "b"), {"a": 0.01, "b": 0.03}, 0.5, work)  # type: ignore[arg-type]
    assert work.done == ["a", "b"] * 3
    assert work.time < 101
    windows = check.run(begin=101.0, seconds=1.59, window_s=0.79)
    assert [w.begin for w in windows] == [101.0, pytest.approx(101.79)]
    assert [w.steps for w in windows] == [19, 21]  # a step belongs to where it ended
    assert sum(w.took_s for w in windows) == pytest.approx(1.6)
    assert sum(w.asked_s for w in windows) == pytest.approx(1.6)
    assert sum(w.late for w in windows) == 0


def test_a_check_finds_a_machine_that_cannot_deliver() -> None:
    work = Work()
    check = SpeedCheck(work, ("a",), {"a": 0.01}, 0.5, work)  # type: ignore[arg-type]
    work.lengths = [0.04] * 50
    [window] = check.run(begin=101.0, seconds=2.0, window_s=2.0)
    assert window.asked_s / window.took_s == pytest.approx(0.5, rel=0.05)
    assert window.late == window.steps == 50


def test_a_check_that_begins_late_owns_up_to_it() -> None:
    work = Work()
    check = SpeedCheck(work, ("a",), {"a": 0.05}, 0.5, work)  # type: ignore[arg-type]
    work.time = 101.5
    [window] = check.run(begin=101.0, seconds=1.0, window_s=1.0)
    assert window.took_s == pytest.approx(window.end - 101.0)
    assert window.asked_s < window.took_s
