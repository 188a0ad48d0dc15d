"""What became of the timeline, from moves and outages with known times."""

from dataclasses import replace

import pytest

from nodes.policies.prediction import Guess, Prediction
from testbed.experiment.changes import Move, Outage
from testbed.run import mobile
from testbed.run.mobile import ABSENT, COVERAGE, HANDOVER, LinkDown
from testbed.run.moves import Carried
from testbed.run.virtual import VirtualTime
from tests import support

TO_SOUTH, BACK = Move("dev-1", "south", at=10.0), Move("dev-1", "north", at=20.0)
LATER = Move("dev-2", "south", at=99.0)


def carried(move: Move, origin: str, late: float) -> Carried:
    due = 100 + (move.at or 0.0)
    return Carried(move, move.device, origin, move.to, due - 0.5, due, due + late, due=due, moved=due + late)


@pytest.fixture
def plan():
    return replace(support.loop_plan(), moves=(TO_SOUTH, BACK, LATER), lead=0.5)


def test_the_latest_handover_is_told_and_what_was_not_due_is_not_missed(plan):
    begun = Carried(LATER, "dev-2", "north", "south", 1)
    moves = [carried(TO_SOUTH, "north", 0.004), carried(BACK, "south", 0.05), begun]
    found = mobile.section(plan, moves, [], 100.0, 150.0)["handovers"]
    assert found["late_max_s"] == pytest.approx(0.05)
    assert found["late_median_s"] == pytest.approx(0.027)
    assert (found["planned"], found["carried_out"], found["latest"]) == (2, 2, "dev-1 to north")


def test_without_moves_no_lateness_is_made_up(plan):
    found = mobile.section(replace(plan, moves=()), [], [], 100.0, 150.0)
    assert found["handovers"]["late_max_s"] is None
    assert found["outages"] == {}
    assert found["prediction"] is None


def test_seconds_out_of_coverage_by_device(plan):
    plan = replace(plan, outages=(Outage("dev-1", 5, 8, COVERAGE), Outage("dev-1", 40, None, ABSENT),
                                  Outage("dev-2", 60, 70, COVERAGE)))  # fmt: skip
    downs = [
        LinkDown("dev-1", COVERAGE, 105.0, 105.0, 108.1), LinkDown("dev-1", HANDOVER, 110.0, 110.0, 110.2),
        LinkDown("dev-1", ABSENT, 140.0, 140.0),
    ]  # fmt: skip
    rows = mobile.section(plan, [], downs, 100.0, 150.0)["outages"]
    assert rows["dev-1"] == {"times": 2, "out_of_coverage_s": pytest.approx(3.1), "absent_s": pytest.approx(10),
                             "interrupted_s": pytest.approx(0.2), "planned_s": pytest.approx(13)}  # fmt: skip
    assert rows["dev-2"]["planned_s"] == 0, "training had ended before"


def test_predictions_are_judged_by_the_handovers_that_came(plan):
    said = (Prediction("dev-1", 6.0, Guess("south", 10.0)), Prediction("dev-1", 19.8, Guess("north", 20.0)),
            Prediction("dev-2", 1.0, Guess("south", 3.0)), Prediction("dev-2", 95.0, Guess("south", 99.0)))  # fmt: skip
    plan = replace(plan, predictions=said, predictor="oracle, 5 s ahead")
    moves = [carried(TO_SOUTH, "north", 0.0), carried(BACK, "south", 0.0)]
    found = mobile.section(plan, moves, [], 100.0, 150.0)["prediction"]
    assert found["policy"] == "oracle, 5 s ahead"
    assert (found["hits"], found["late"], found["misses"], found["false_alarms"]) == (1, 1, 1, 1)
    assert found["mean_lead"] == pytest.approx(4)


def test_a_prediction_at_a_handovers_own_moment_is_of_the_next_one(plan):
    """It was carried out 20 ms later than it was due, and predictions are made at its due time."""
    said = (Prediction("dev-1", 6.0, Guess("south", 10.0)), Prediction("dev-1", 10.0, Guess("north", 20.0)))
    plan = replace(plan, predictions=said, predictor="oracle, 5 s ahead")
    moves = [replace(carried(TO_SOUTH, "north", 0.02), due=110.0), replace(carried(BACK, "south", 0.02), due=120.0)]
    found = mobile.section(plan, moves, [], 100.0, 150.0)["prediction"]
    assert (found["hits"], found["misses"], found["false_alarms"]) == (2, 0, 0)


def test_nothing_is_expected_of_the_dead(plan):
    """dev-1 dies at 12 s: before its second move, in an outage, and with a prediction standing."""
    said = (Prediction("dev-1", 6.0, Guess("south", 10.0)), Prediction("dev-1", 11.0, Guess("north", 20.0)),
            Prediction("dev-1", 15.0, Guess("north", 20.0)))  # fmt: skip
    scripted = Move("dev-1", "south", round=9, progress=0.5)
    plan = replace(plan, moves=(*plan.moves, scripted), predictions=said, predictor="oracle, 5 s ahead",
                   outages=(Outage("dev-1", 11, 40, COVERAGE), Outage("dev-1", 45, None, ABSENT)))  # fmt: skip
    downs = [LinkDown("dev-1", COVERAGE, 111.0, 111.0, 112.0)]
    moves = [carried(TO_SOUTH, "north", 0.0), Carried(BACK, "dev-1", "south", "north", 111.5)]
    found = mobile.section(plan, moves, downs, 100.0, 150.0, {"dev-1": 112.0})
    assert {k: found["handovers"][k] for k in ("planned", "carried_out", "died_before")} == {
        "planned": 3, "carried_out": 1, "died_before": 2,
    }  # fmt: skip
    assert found["outages"]["dev-1"]["planned_s"] == pytest.approx(1)
    assert found["outages"]["dev-1"]["out_of_coverage_s"] == pytest.approx(1)
    assert (found["prediction"]["hits"], found["prediction"]["false_alarms"]) == (1, 0)
    alive = mobile.section(plan, moves, downs, 100.0, 150.0)
    assert alive["handovers"]["died_before"] == 0
    assert alive["prediction"]["false_alarms"] == 1


def test_events_of_links_that_go_down_and_come_up():
    def kinds(down):
        return [kind for kind, *_ in mobile.events(down)]

    assert kinds(LinkDown("d", COVERAGE, 1, 1)) == ["link-down"]
    assert kinds(LinkDown("d", COVERAGE, 1, 1, 2)) == ["link-up", "outage"]
    assert kinds(LinkDown("d", HANDOVER, 1, 1, 2, turned=False)) == ["outage"], "down for another reason still"
    assert kinds(LinkDown("d", ABSENT, 1, 1)) == ["leave"]
    assert kinds(LinkDown("d", ABSENT, 0, 0, first=True)) == [], "who was never there has not left"
    assert kinds(LinkDown("d", ABSENT, 0, 0, 4, first=True)) == ["join", "outage"]


def test_lateness_is_told_in_virtual_time():
    down = LinkDown("d", COVERAGE, 110.0, 108.0, 120.0).told(VirtualTime(2, 100.0))
    assert (down.begin, down.due, down.end) == (105.0, 104.0, 110.0)
    assert mobile.events(replace(down, end=None))[0][3]["late_s"] == 1.0
