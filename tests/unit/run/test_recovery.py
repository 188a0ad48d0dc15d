"""What broke, what was done about it, and what standbys cost."""

import time
from types import SimpleNamespace

import pytest

from nodes.wire import control as ctl
from testbed.experiment.changes import FaultPlan
from testbed.run import recovery
from testbed.run.breaking import Breaking, Broken
from tests.unit.run.test_moves import carried, describe, migrated, plan, span  # noqa: F401


class Bed:
    def __init__(self):
        self.done = []

    def __getattr__(self, verb):
        return lambda target: self.done.append((verb, target))


def test_faults_are_told_as_they_happened_and_the_others_as_missing():
    faults = (
        FaultPlan("cut", "north -- south", at=0.0, lasting=0.0),
        FaultPlan("kill", "edge-north", device="dev-1", round=1, progress=0.5),
        FaultPlan("kill", "edge-west", device="dev-1", round=9, progress=0.5),
    )
    breaking = Breaking(SimpleNamespace(bed=Bed(), lost={}), "t", faults)
    begin = time.monotonic()
    breaking.start(begin)
    breaking.run_due()
    breaking.run_due()
    breaking.progress(ctl.Progress(task="t", device="dev-1", round=1, done=5, batches=10))
    assert breaking._session.bed.done == [("cut", "north -- south"), ("mend", "north -- south"), ("kill", "edge-north")]
    assert breaking.finish() == ["edge-west was not killed: training had ended before"]
    cut, kill = recovery.faults(breaking.broken, begin)
    assert (cut["kind"], cut["target"], kill["kind"], kill["target"]) == ("cut", "north -- south", "kill", "edge-north")
    assert 0 <= cut["at_s"] <= cut["mended_s"] <= kill["at_s"] < 5
    assert kill["mended_s"] is None


def test_what_is_still_cut_at_the_end_is_mended_and_not_said_to_have_been():
    breaking = Breaking(SimpleNamespace(bed=Bed(), lost={}), "t", (FaultPlan("cut", "north -- south", at=0.0),))
    breaking.start(time.monotonic())
    breaking.run_due()
    assert breaking.finish() == []
    assert breaking._session.bed.done[-1] == ("mend", "north -- south")
    assert recovery.faults(breaking.broken, 0.0)[0]["mended_s"] is None


def test_nothing_is_done_to_the_dead_and_that_is_said():
    faults = (
        FaultPlan("cut", "access:dev-1", device="dev-2", round=1, progress=0.1),
        FaultPlan("cut", "access:dev-1", device="dev-2", round=1, progress=0.1, lasting=0.0),
        FaultPlan("kill", "dev-1", device="dev-2", round=1, progress=0.2),
        FaultPlan("spoil", "edge-north", device="dev-1", round=2, progress=0.5),
    )
    session = SimpleNamespace(bed=Bed(), lost={})
    breaking = Breaking(session, "t", faults)
    breaking.start(0.0)
    breaking.progress(ctl.Progress(task="t", device="dev-2", round=1, done=1, batches=10))
    session.lost["dev-1"] = "dead"
    breaking.run_due()
    breaking.progress(ctl.Progress(task="t", device="dev-2", round=1, done=2, batches=10))
    assert breaking.finish() == [
        "dev-1 was not killed: dev-1 had died before",
        "edge-north was not spoilt: dev-1, whose training tells the moment, had died before",
    ]
    assert session.bed.done == 2 * [("cut", "access:dev-1")], "its link is left alone"
    assert {row["mended_s"] for row in recovery.faults(breaking.broken, 0.0)} == {None}


def test_when_each_node_was_killed_is_known():
    session = SimpleNamespace(bed=Bed(), lost={})
    breaking = Breaking(session, "t", (FaultPlan("kill", "dev-2", at=0.0),))
    breaking.start(time.monotonic())
    breaking.run_due()
    assert session.bed.done == [("kill", "dev-2")]
    assert breaking.killed == {"dev-2": breaking.broken[0].begin}


def test_deaths_are_told_with_the_rounds_that_went_on_without():
    died = [
        recovery.Died("dev-2", "device", 107.0, "died (exit code 137)", asked=False),
        recovery.Died("edge-north", "edge", 103.0, "died (exit code 1)", asked=True),
    ]
    dropped = [{"round": 1, "devices": ["dev-2"]}, {"round": 2, "devices": ["dev-1", "dev-2"], "dead": ["dev-2"]},
               {"round": 3, "devices": ["dev-2"], "dead": ["dev-2"]}]  # fmt: skip
    first, second = recovery.deaths(died, dropped, 100.0)
    assert (first["node"], first["kind"], first["at_s"], first["asked"]) == ("edge-north", "edge", 3.0, True)
    assert first["rounds_without"] == []
    assert (second["node"], second["how"], second["asked"]) == ("dev-2", "died (exit code 137)", False)
    assert second["rounds_without"] == [2, 3], "in round 1 it was only late"


def test_rows_are_in_the_order_in_which_things_happened():
    rows = recovery.faults([Broken(FaultPlan("kill", "b"), 103.0), Broken(FaultPlan("cut", "a"), 101.0, 102.0)], 100.0)
    assert [(row["target"], row["at_s"], row["mended_s"]) for row in rows] == [("a", 1.0, 2.0), ("b", 3.0, None)]
    spans = [span("note", "dev-2", at, at, attrs={"text": text}) for at, text in ((105.0, "later"), (101.0, "now"))]
    assert [(row["at_s"], row["text"]) for row in recovery.notes(spans, 100.0)] == [(1.0, "now"), (5.0, "later")]


def standby(target, begin, size):
    part = "tail:dev-1"
    return [
        span("standby", "edge-north", begin, begin, part=part, peer=target),
        span("send", "edge-north", begin, begin + 0.1, part=part, peer=target, bytes=size,
             attrs={"message": "standby"}),
        span("send", "edge-north", begin + 0.2, begin + 0.3, part=part, peer=target, bytes=10,
             attrs={"message": "replay"}),
        span("replay-step", target, begin + 0.3, begin + 0.35, part=part),
    ]  # fmt: skip


def test_a_standby_counts_for_the_move_that_comes_after_it_and_a_wrong_one_for_none(plan):  # noqa: F811
    spans = [*standby("edge-south", 60.0, 500), *standby("edge-west", 90.0, 300), *standby("edge-south", 99.0, 1000)]
    row = describe(plan, carried(), "shadow", migrated() + spans, 50.0, since=80.0)
    assert (row["standby_bytes"], row["standby_s"]) == (1010, pytest.approx(0.05))
    sums = recovery.standbys(spans, [row])
    assert sums == {
        "made": 3, "bytes": 1830, "edge_s": pytest.approx(0.15),
        "unused_bytes": 820, "unused_edge_s": pytest.approx(0.1),
    }  # fmt: skip
    assert recovery.standbys([], [row]) == {}
