"""The watch's events summed up, and what a verdict makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nodes.events import Span
from nodes.wire.control import Pacing
from testbed.emulation.links.shape import Direction, LinkCalibration, Shape
from testbed.run import summary, verdict
from testbed.run.seen import Seen, seen
from testbed.run.speed import NodeSpeed
from testbed.run.watch import COLUMNS, row
from tests import support

PLAN = support.loop_plan()
LATE = PLAN.tolerances.link_late


def node(name: str, second: int, starved: float | None = 0.0, by_others: float | None = None, **more: Any) -> Span:
    attrs = {
        "throttled_s": 0.1, "starved_s": starved, "starved_by_others_s": starved if by_others is None else by_others,
        "memory": 1000, "memory_working": 900, "memory_peak": 1200, "oom_kills": 0, "cpu_stalled_s": 0.2,
        "memory_stalled_s": None,
    }  # fmt: skip
    return Span(kind="watch", node=name, begin=second, end=second + 1, cpu_s=0.25, attrs=attrs | more)


def machine(second: int, others: float = 0.0, steal: float = 0.0, **more: Any) -> Span:
    attrs = {
        "cores": 2, "nodes_s": 0.3, "testbed_s": 0.2, "others_s": others, "steal_s": steal, "cpu_stalled_s": 0.1,
        "memory_stalled_s": 0.0,
    }  # fmt: skip
    return Span(kind="watch", node="", begin=second, end=second + 1, cpu_s=0.5 + others, attrs=attrs | more)


def run(starved: dict[str, float], seconds: int = 100, others: float = 1.6, **more: Any) -> list[Span]:
    """A run in which nodes starve for so many of its seconds, for half of each."""
    spans = []
    for second in range(seconds):
        spans += [node(name, second, 0.5 if second < 2 * lost else 0.0) for name, lost in starved.items()]
        spans.append(machine(second, others if any(second < 2 * lost for lost in starved.values()) else 0.0, **more))
    return spans


def reasons(found: Seen, **pacing: Pacing) -> list[str]:
    named = {name.replace("_", "-"): kept for name, kept in pacing.items()}
    rows = summary.node_rows(PLAN, {}, named, found.nodes)
    return verdict.reasons(PLAN, [], rows, found, {}, [])


def trained(asked: float, measured: float, took_s: float = 30.0) -> NodeSpeed:
    return NodeSpeed(asked, True, None, None, measured, (), None, 100, 0.0, took_s)


def test_sums_are_by_node_and_over_the_disturbed_seconds() -> None:
    spans = run({"dev-1": 2.0}, seconds=20)
    found = seen(spans, LATE)
    one = found.nodes["dev-1"]
    assert (one.took_s, one.cpu_s, one.throttled_s) == pytest.approx((20.0, 5.0, 2.0))
    assert (one.starved_s, one.memory_peak, one.oom_kills) == (2.0, 1200, 0)
    assert one.as_dict()["starved_share"] == pytest.approx(0.1)
    assert (found.bad_s, found.others, found.cores) == (4.0, pytest.approx(1.6), 2)


def test_a_starved_node_is_named_with_the_time_lost_and_the_cause() -> None:
    spans = run({"edge-north": 14.0, "dev-1": 0.0}, seconds=117)
    next(s for s in spans if not s.node).attrs["others"] = {"sh": 30.0, "cron": 0.1}
    spans[-1].attrs["others"] = {"sh": 10.0}  # told later, as it is told seldom
    [reason] = reasons(seen(spans, LATE))
    assert reason == (
        "edge-north was starved for 14 s (12% of the training): the machine was busy with something else, such as sh "
        "(1.6 of its 2 cores)"
    )


def test_one_cause_is_one_reason_with_what_followed() -> None:
    spans = run({"edge-north": 14.0, "dev-1": 9.0, "dev-2": 0.5}, seconds=100)
    [reason] = reasons(seen(spans, LATE), edge_north=Pacing("t", 100, 30, 0.0, 1.0, 1.2),
                       dev_2=Pacing("t", 100, 12, 0.0, 1.0, 1.2))  # fmt: skip
    assert reason.startswith("edge-north and dev-1 were starved, edge-north the most, for 14 s (14% of the training): ")
    assert reason.endswith("; dev-2 and edge-north: up to 30% of their training steps ended late (tolerated: 5%)")


def test_a_hypervisor_is_named() -> None:
    spans = run({"cloud": 5.0}, seconds=100, others=0.0, steal=0.4)
    [reason] = reasons(seen(spans, LATE))
    assert reason.endswith(": the hypervisor took 20% of the machine")


def test_waiting_that_others_did_not_cause_is_no_reason() -> None:
    spans = [node("dev-1", s, starved=0.2, by_others=0.005) for s in range(50)] + [machine(s) for s in range(50)]
    found = seen(spans, LATE)
    assert found.nodes["dev-1"].starved_s == pytest.approx(10.0)
    assert reasons(found) == []


def test_a_node_that_only_waits_for_its_links_is_no_reason() -> None:
    assert reasons(seen(run({"dev-1": 0.0, "cloud": 0.0}), LATE)) == []


def test_a_kernel_that_does_not_count_makes_nothing_up() -> None:
    spans = [node("dev-1", 0, None), machine(0)]
    spans[0].attrs["starved_by_others_s"] = None
    found = seen(spans, LATE)
    assert found.nodes["dev-1"].starved_s is None
    assert found.nodes["dev-1"].as_dict()["starved_share"] is None
    assert reasons(found) == []


def test_late_steps_without_starvation() -> None:
    [one] = reasons(Seen(), dev_1=Pacing("t", 100, 30, 0.0, 1.0, 1.2))
    assert one == (
        "dev-1: 30% of its training steps ended late (tolerated: 5%); the machine could not deliver speed 0.2 all the "
        "time"
    )
    [two] = reasons(Seen(), dev_1=Pacing("t", 100, 30, 0.0, 1.0, 1.2), dev_2=Pacing("t", 100, 9, 0.0, 1.0, 1.2))
    assert two.startswith("dev-1 and dev-2: up to 30% of their training steps ended late (tolerated: 5%)")
    assert reasons(Seen(), dev_1=Pacing("t", 100, 5, 0.0, 1.0, 1.2)) == []


def test_a_few_of_few_steps_are_chance() -> None:
    assert reasons(Seen(), dev_1=Pacing("t", 59, 4, 0.0, 1.0, 1.2)) == []
    assert reasons(Seen(), dev_1=Pacing("t", 590, 40, 0.0, 1.0, 1.2)) != []
    none = replace(PLAN.tolerances, late_steps=0.0)
    rows = summary.node_rows(PLAN, {}, {"dev-1": Pacing("t", 1000, 1, 0.0, 1.0, 1.2)}, {})
    assert verdict.reasons(replace(PLAN, tolerances=none), [], rows, Seen(), {}, []) != []


@pytest.mark.parametrize(
    ("late", "tolerated", "said"),
    [
        (504, 0.05, "5.04% of its training steps ended late (tolerated: 5%)"),
        (540, 0.05, "5.4% of its training steps ended late (tolerated: 5%)"),
        (560, 0.05, "6% of its training steps ended late (tolerated: 5%)"),
        (540, 0.052, "5.4% of its training steps ended late (tolerated: 5.2%)"),
        (60, 0.005, "1% of its training steps ended late (tolerated: 0.5%)"),
        (1, 0.0, "0.01% of its training steps ended late (tolerated: 0%)"),
    ],
)  # fmt: skip
def test_rounding_never_makes_what_is_too_much_look_tolerated(late: int, tolerated: float, said: str) -> None:
    plan = replace(PLAN, tolerances=replace(PLAN.tolerances, late_steps=tolerated))
    rows = summary.node_rows(plan, {}, {"dev-1": Pacing("t", 1_000_000, 100 * late, 0.0, 1.0, 1.2)}, {})
    [reason] = verdict.reasons(plan, [], rows, Seen(), {}, [])
    assert reason.startswith(f"dev-1: {said};")


def test_a_node_that_its_own_quota_held_back_is_told_to_have_a_looser_one() -> None:
    spans = [node(name, s, throttled_s=t) for s in range(50) for name, t in (("dev-1", 0.2), ("dev-2", 0.02))]
    late = Pacing("t", 100, 30, 0.0, 1.0, 1.2)
    [one] = reasons(seen([*spans, machine(0)], LATE), dev_1=late)
    profile = PLAN.node("dev-1").profile
    assert one == (
        "dev-1: 30% of its training steps ended late (tolerated: 5%); dev-1 was held back by its own CPU quota for 20% "
        f"of the time, as what a node does beside its steps takes CPU, too: set profiles.{profile}.cpus higher"
    )
    [both] = reasons(seen([*spans, machine(0)], LATE), dev_1=late, dev_2=late)
    assert "dev-1 was held back" in both
    assert both.endswith("the machine could not deliver speed 0.2 all the time")


def test_so_is_one_that_only_a_few_long_waits_made_too_slow() -> None:
    spans = [node(name, s, throttled_s=t) for s in range(50) for name, t in (("dev-1", 0.2), ("dev-2", 0.02))]
    slow = {"dev-1": trained(0.2, 0.19), "dev-2": trained(0.2, 0.19)}
    rows = summary.node_rows(PLAN, {}, {}, {})
    [reason] = verdict.reasons(PLAN, [], rows, seen([*spans, machine(0)], LATE), slow, [])
    assert reason.startswith("dev-1 and dev-2 trained too slowly, by up to 5% (tolerated: 2%); dev-1 was held back")
    assert reason.endswith(f"set profiles.{PLAN.node('dev-1').profile}.cpus higher")


def test_missed_speeds() -> None:
    rows = summary.node_rows(PLAN, {}, {}, {})

    def told(**speeds: NodeSpeed) -> list[str]:
        return verdict.reasons(PLAN, [], rows, Seen(), {n.replace("_", "-"): s for n, s in speeds.items()}, [])

    assert told(dev_1=trained(0.2, 0.19)) == ["dev-1 trained at speed 0.19, -5.0% of the 0.2 asked (tolerated: 2%)"]
    [reason] = told(dev_1=trained(0.2, 0.18), dev_2=trained(0.2, 0.19), cloud=trained(0.2, 0.199))
    assert reason == "dev-1 and dev-2 trained too slowly, by up to 10% (tolerated: 2%)"
    assert told(dev_1=trained(0.2, 0.19, took_s=0.3)) == [], "too little was done to say"
    assert told(dev_1=replace(trained(0.2, 0.19), paced=False)) == []


def test_a_late_relay() -> None:
    late = run({"dev-1": 0.0}, seconds=10, relay_late_p999_s=0.012)
    [reason] = reasons(seen(late, LATE))
    assert "relay handed frames over late in 10 s" in reason
    assert "up to 12.0 ms (tolerated: 5 ms)" in reason
    both = reasons(seen(run({"dev-1": 5.0}, relay_late_p999_s=0.012), LATE))
    assert len(both) == 1, "who starves the nodes makes the relay late as well"
    assert "; the relay handed frames over late" in both[0]
    assert reasons(seen(run({"dev-1": 0.0}, seconds=10, relay_late_p999_s=0.004), LATE)) == []


@pytest.mark.parametrize(("late", "seconds", "said"), [(1, 10, False), (2, 10, True), (2, 150, False), (4, 150, True)])
def test_single_seconds_in_which_the_relay_was_late(late: int, seconds: int, said: bool) -> None:
    spans = run({"dev-1": 0.0}, seconds=seconds, relay_late_p999_s=0.001)
    for span in [span for span in spans if not span.node][:late]:
        span.attrs["relay_late_p999_s"] = 0.006
    found = seen(spans, LATE)
    assert (found.late_s, found.took_s, found.late_worst_s) == (late, seconds, 0.006)
    assert bool(reasons(found)) == said


def test_calibration_comes_first_and_notes_last() -> None:
    good = Direction(Shape(1e6), Shape(1e6), rate=0.99e6, rate_error=-0.01)
    link = LinkCalibration("l", "access", "a", "b", good, good, 0.01, 0.0102, 0.0002, ["l: too slow"])
    rows = summary.node_rows(PLAN, {}, {"dev-1": Pacing("t", 100, 30, 0.0, 1.0, 1.2)}, {})
    found = verdict.reasons(PLAN, [link], rows, Seen(), {}, ["dev-1: the kernel killed a process"])
    assert (found[0], found[2]) == ("l: too slow", "dev-1: the kernel killed a process")
    assert verdict.reasons(PLAN, [], summary.node_rows(PLAN, {}, {}, {}), Seen(), {}, []) == []


def test_rows_of_the_watch() -> None:
    of_node = row(node("dev-1", 107, 0.5, 0.25), 100.0)
    assert (of_node["kind"], of_node["name"], of_node["t"]) == ("node", "dev-1", 8)
    assert (of_node["cpu"], of_node["throttled"], of_node["starved"], of_node["starved_by_others"]) == (
        0.25, 0.1, 0.5, 0.25,
    )  # fmt: skip
    assert (of_node["memory_pressure"], of_node["memory"]) == (None, 1000)
    of_machine = row(machine(107, others=1.5, steal=0.4), 100.0)
    assert (of_machine["kind"], of_machine["others"], of_machine["steal"]) == ("machine", 1.5, 0.2)
    attrs = {"link": "a -- b", "ab_bytes": 7, "ba_bytes": 9, "ab_queue": 3, "ba_queue": 0}
    of_link = row(Span(kind="link", node="", begin=107, end=108, attrs=attrs), 100.0)
    assert (of_link["kind"], of_link["name"], of_link["ab_bytes"]) == ("link", "a -- b", 7)
    for made in (of_node, of_machine):
        assert {"t", "took_s", "kind", "name", "cpu"} <= made.keys() & set(COLUMNS)
