"""Dilated plans: every time longer, every rate and speed lower, every size as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.emulation.links.shape import Schedule, Shape, Step
from testbed.experiment.changes import Move
from testbed.experiment.dilate import AUTO, dilated, dilated_shape, factor_that_fits, settled
from tests.support import loop_plan

SCHEDULE = Schedule("s", (Step(0.0, 8e6, 0.01, 0.1), Step(2.0, None, None, None)), (), 4.0, True)
CHANCES = Schedule("c", (), (0, 1, 1, 7), 0.007, True)


def test_one_is_the_plan_itself() -> None:
    plan = loop_plan()
    assert dilated(plan) is plan


def test_everything_is_scaled_and_sizes_are_not() -> None:
    plan = replace(loop_plan(), dilation=4.0, moves=(Move("dev-1", "south", at=3.0), Move("dev-1", "north", round=1)))
    sites = tuple(replace(site, access_up_trace=SCHEDULE, access_down_trace=CHANCES) for site in plan.sites)
    plan = replace(plan, sites=sites)
    real = dilated(plan)
    for was, now in zip(plan.nodes, real.nodes, strict=True):
        assert (now.speed, now.cpus, now.period) == (was.speed / 4, was.cpus / 4, min(was.period * 4, 1.0))
        assert now.memory == was.memory
    for link, slow in zip(plan.links, real.links, strict=True):
        assert slow.ab == dilated_shape(link.ab, 4.0)
    assert [move.at for move in real.moves] == [12.0, None]
    assert real.lead == plan.lead * 4
    assert real.tolerances.node_silence == plan.tolerances.node_silence * 4
    assert real.tolerances.rtt == plan.tolerances.rtt * 4
    assert real.tolerances.rate == plan.tolerances.rate
    up, down = real.sites[0].access_up_trace, real.sites[0].access_down_trace
    assert up is not None
    assert down is not None
    assert up.steps == (Step(0.0, 2e6, 0.04, 0.1), Step(8.0, None, None, None))
    assert up.length == 16.0
    assert down.deliveries == (0, 4, 4, 28)


def test_a_queue_keeps_its_bytes() -> None:
    slow = dilated_shape(Shape(rate=80e6), 2.0)  # 100 ms at 80 Mbit/s
    assert slow.queue_bytes == 1_000_000
    assert dilated_shape(Shape(rate=1e6, queue_packets=7), 2.0).queue_packets == 7
    assert dilated_shape(Shape(rate=1e6, queue_packets=7), 2.0).queue is None


def test_a_plain_wire_stays_one() -> None:
    assert dilated_shape(Shape(), 3.0).unshaped


@given(st.floats(1, 50), st.floats(1e4, 1e10), st.floats(0, 10), st.floats(0, 1))
def test_back_again(factor: float, rate: float, delay: float, loss: float) -> None:
    shape = Shape(rate=rate, delay=delay, jitter=delay / 2, loss=loss, queue=10_000)
    back = dilated_shape(dilated_shape(shape, factor), 1 / factor)
    assert back.rate == pytest.approx(rate)
    assert back.delay == pytest.approx(delay)
    assert (back.loss, back.queue) == (loss, 10_000)


def test_auto_is_the_smallest_that_fits() -> None:
    plan = replace(loop_plan(devices=10), dilation=AUTO)  # 13 nodes at 0.2
    assert settled(plan, 1.7).dilation == 1.53  # 2.6 / 1.7 = 1.529...
    assert settled(plan, 100).dilation == 1.0
    fast = replace(plan, nodes=(replace(plan.nodes[0], speed=1.5), *plan.nodes[1:]))
    assert settled(fast, 100).dilation == 1.5
    assert settled(replace(plan, dilation=7.0), 1.7).dilation == 7.0


def test_no_factor_makes_room_where_there_is_none() -> None:
    assert factor_that_fits(loop_plan(), 0.0) == float("inf")
