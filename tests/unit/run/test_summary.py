"""Rounds and speeds from events."""

import pytest

from nodes.events import Span
from nodes.wire.control import Pacing
from testbed.emulation.links.shape import Direction, LinkCalibration, Shape
from testbed.run import summary
from tests import support


def span(kind, begin, end, **more):
    return Span(kind=kind, node="dev-1", begin=begin, end=end, part="head:dev-1", **more)


def test_the_time_of_a_round_counts_every_attempt():
    spans = [
        span("forward", 10.0, 10.5, round=1, batch=0),
        span("wait", 10.5, 11.0, round=1, batch=0),
        span("forward", 12.0, 12.5, round=1, batch=0, late=True),
        span("backward", 13.0, 13.5, round=1, batch=0),
        span("round", 12.0, 13.5, round=1, attrs={"batches": 1, "attempt": 1}),
        span("forward", 20.0, 20.5, round=2, batch=0),
    ]
    [row] = summary.device_rounds(spans)["dev-1"]
    assert row["time_s"] == pytest.approx(3.5)
    assert (row["attempts"], row["batches"], row["late_steps"]) == (2, 1, 1)
    assert (row["compute_s"], row["wait_s"]) == (pytest.approx(1.5), pytest.approx(0.5))


def test_measured_speed_is_asked_time_over_time_taken():
    plan = support.loop_plan()
    kept = {"dev-1": Pacing("t", steps=10, late=1, dropped_s=0.0, asked_s=9.0, took_s=10.0)}
    rows = summary.node_rows(plan, {}, kept, {})
    assert rows["dev-1"]["speed_measured"] == pytest.approx(plan.node("dev-1").speed * 0.9)
    assert rows["dev-1"]["late_share"] == pytest.approx(0.1)
    assert rows["cloud"]["speed_measured"] is None


def calibration(*problems):
    good = Direction(Shape(1e6), Shape(1e6), rate=0.99e6, rate_error=-0.01)
    return LinkCalibration("l", "access", "a", "b", good, good, 0.01, 0.0102, 0.0002, list(problems))


def test_the_worst_errors_stand_in_the_summary():
    found = summary.calibration_summary([calibration()])
    assert found["worst_rate_error"] == pytest.approx(0.01)
    assert found["worst_rtt_error_s"] == pytest.approx(0.0002)
    assert found["problems"] == []
