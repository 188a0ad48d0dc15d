"""What a move cost, from events with known times."""

import msgspec
import pytest

from nodes.events import Span
from testbed.experiment.changes import Move
from testbed.run.moves import Carried, describe, path_limit
from tests import support

STATE = 4_000_000


def span(kind, node, begin, end, **more):
    part = more.pop("part", "head:dev-1")
    return Span(kind=kind, node=node, begin=begin, end=end, scheme="fedfly", part=part, **more)


def batches(first, last, start, step=0.1, wait=0.05, number=2):
    """Batches of ``step`` seconds, of which ``wait`` is waiting; gradients take 10 ms to come back."""
    found = []
    for i in range(first, last):
        t = start + (i - first) * step
        found += [
            span("forward", "dev-1", t, t + 0.03, round=number, batch=i),
            span("tail-step", "edge-north", t + 0.05, t + 0.06, part="tail:dev-1", round=number, batch=i),
            span("send", "edge-north", t + 0.07, t + 0.08, part="tail:dev-1", round=number, batch=i, peer="dev-1",
                 attrs={"message": "gradients"}),
            span("wait", "dev-1", t + 0.03, t + 0.03 + wait, round=number, batch=i),
        ]
    return found


@pytest.fixture
def plan():
    return support.loop_plan()


def carried(noticed=100.48, begin=100.75):
    move = Move("dev-1", "south", round=2, progress=0.5)
    return Carried(move, "dev-1", "north", "south", noticed, begin=begin, end=begin + 0.004, command_s=0.004, gap=0.01)


def migrated(extra=0.5):
    spans = batches(0, 5, 100.0)
    t = 100.5
    spans += [
        span("forward", "dev-1", t, t + 0.03, round=2, batch=5),
        span("tail-step", "edge-north", t + 0.05, t + 0.06, part="tail:dev-1", round=2, batch=5),
        span("capture", "edge-north", t + 0.07, t + 0.075, part="tail:dev-1", peer="edge-south", bytes=STATE,
             attrs={"device": "dev-1"}),
        span("restore", "edge-south", t + 0.07 + extra - 0.02, t + 0.07 + extra, part="tail:dev-1"),
        span("send", "edge-south", t + 0.07 + extra, t + 0.08 + extra, part="tail:dev-1", round=2, batch=5,
             peer="dev-1", attrs={"message": "gradients"}),
        span("wait", "dev-1", t + 0.03, t + 0.08 + extra, round=2, batch=5),
    ]
    spans += batches(6, 10, t + 0.1 + extra)
    return [*spans, span("round", "dev-1", 100.0, 102.0, round=2, attrs={"batches": 10, "attempt": 0})]


def test_waiting_for_state_is_told_from_waiting_as_usual(plan):
    row = describe(plan, carried(), "migrate", migrated(0.5), 90.0)
    assert row["state_s"] == pytest.approx(0.5)
    assert row["downtime_s"] == pytest.approx(0.5)
    assert (row["round"], row["batch"], row["progress"]) == (2, 5, pytest.approx(0.6))
    assert row["state_bytes"] == STATE
    assert row["at_s"] == pytest.approx(10.75)
    assert row["lost_batches"] == 0


def test_a_standby_that_was_refused_is_followed_by_a_copy_whose_bytes_count(plan):
    standby = span("capture", "edge-north", 100.565, 100.568, part="tail:dev-1", peer="edge-south", bytes=0)
    row = describe(plan, carried(), "shadow", [standby, *migrated(0.5)], 90.0)
    assert row["state_bytes"] == STATE
    assert row["state_s"] == pytest.approx(0.505)


def test_gradients_usual_time_is_that_of_the_new_edge_server(plan):
    # The old one was far away: a second for what takes 10 ms from the new one. The move is not faster for that.
    spans = [
        msgspec.structs.replace(s, end=s.end + 1.0) if s.kind == "send" and s.begin < 100.4 else s
        for s in migrated(0.5)
    ]
    spans = [
        msgspec.structs.replace(s, node="edge-south") if s.kind == "send" and s.begin > 101.0 else s for s in spans
    ]
    assert describe(plan, carried(), "migrate", spans, 90.0)["state_s"] == pytest.approx(0.5)


def test_the_limit_is_the_slowest_link_between_the_edges_and_one_round_trip(plan):
    trunk = next(link for link in plan.links if link.kind == "backhaul")
    slowest = min(
        link.ab.rate for link in plan.links
        if link.name in ("edge:edge-north", "edge:edge-south", trunk.name) and link.ab.rate
    )
    rtt = sum(
        link.ab.delay + link.ba.delay
        for link in plan.links if link.name in ("edge:edge-north", "edge:edge-south", trunk.name)
    )
    assert path_limit(plan, "edge-north", "edge-south", STATE) == pytest.approx(STATE * 8 / slowest + rtt)


def test_lateness_is_from_due_to_the_port_having_moved(plan):
    move = carried()
    move.due, move.moved = 100.74, 100.754
    row = describe(plan, move, "migrate", migrated(), 90.0)
    assert (row["due_s"], row["late_s"]) == (pytest.approx(10.74), pytest.approx(0.014))
    assert describe(plan, carried(), "migrate", migrated(), 90.0)["late_s"] is None


def test_a_restart_counts_what_it_threw_away(plan):
    spans = batches(0, 5, 100.0)
    spans += [
        span("restart", "dev-1", 100.0, 100.5, round=2, batch=5, peer="edge-south"),
        span("forward", "dev-1", 100.9, 100.93, round=2, batch=0),
        span("round", "dev-1", 100.9, 101.9, round=2, attrs={"batches": 10, "attempt": 1}),
    ]
    row = describe(plan, carried(), "restart", spans, 90.0)
    assert row["downtime_s"] == pytest.approx(0.4)
    assert row["lost_s"] == pytest.approx(0.5)
    assert (row["lost_batches"], row["progress"], row["state_bytes"]) == (5, 0.5, 0)


def test_a_migration_that_never_happened_has_no_numbers(plan):
    row = describe(plan, carried(), "migrate", batches(0, 5, 100.0), 90.0)
    assert row["state_s"] is None
    assert row["downtime_s"] is None
    assert row["handover_gap_s"] == 0.01


def test_lost_connections_of_the_device_are_counted(plan):
    spans = [*migrated(), span("disconnect", "dev-1", 100.8, 100.8), span("disconnect", "dev-2", 100.8, 100.8)]
    assert describe(plan, carried(), "migrate", spans, 90.0)["reconnects"] == 1


def test_moves_of_one_device_do_not_share_a_migration(plan):
    spans = migrated(0.5)
    assert describe(plan, carried(), "migrate", spans, 90.0, until=100.6)["state_s"] == pytest.approx(0.5)
    overtaken = describe(plan, carried(), "migrate", spans, 90.0, until=100.55)  # the capture is at 100.57
    assert overtaken["state_s"] is None
    assert overtaken["state_bytes"] is None


def test_a_move_that_was_given_up_has_no_time(plan):
    """The source goes on after many seconds: its gradients are not those of a state that came."""
    spans = [msgspec.structs.replace(s, node="edge-north") if s.kind == "send" else s for s in migrated(22.0)]
    row = describe(plan, carried(), "migrate", spans, 90.0)
    assert (row["state_s"], row["downtime_s"]) == (None, None)
    assert (row["batch"], row["state_bytes"]) == (5, STATE)


def test_a_state_that_was_refused_and_sent_again_is_timed_from_the_second_time(plan):
    refused = [
        span("capture", "edge-north", 100.465, 100.47, part="tail:dev-1", peer="edge-south", bytes=STATE),
        span("send", "edge-north", 100.48, 100.49, part="tail:dev-1", round=2, batch=4, peer="dev-1",
             attrs={"message": "gradients"}),
    ]  # fmt: skip
    row = describe(plan, carried(noticed=100.4), "migrate", [*refused, *migrated(0.5)], 90.0)
    assert row["state_s"] == pytest.approx(0.5)
    assert (row["round"], row["batch"]) == (2, 5)
