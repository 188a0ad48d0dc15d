"""What units are told to run: how long it may take."""

from __future__ import annotations

import pytest

from nodes.platform.invoking import LIMIT, LIMIT_S, limit
from nodes.platform.states import Leg
from tests.unit.platform.fleet import SPLIT, WHOLE, Fleet, job

PREDICTED = LIMIT * 10.0 + LIMIT_S


@pytest.mark.parametrize(
    ("limits", "device", "edge"),
    [
        ({}, PREDICTED, PREDICTED),
        ({"train-device": 900.0}, 900.0, 900.0),  # the built-in half waits for it
        ({"train-device": 5.0}, 5.0, PREDICTED),
        ({"train-edge": 900.0}, 900.0, 900.0),
        ({"train-device": 5.0, "train-edge": 900.0}, 5.0, 900.0),
        ({"aggregate": 900.0}, PREDICTED, PREDICTED),
    ],
)
def test_a_users_half_has_the_time_that_it_declares_and_the_other_one_waits_for_it(limits, device, edge):
    leg = Leg("d1", cut=SPLIT, server="e1", seconds=10.0)
    made = job(limits=limits)
    assert (limit(made, leg, "train-device"), limit(made, leg, "train-edge")) == (device, edge)


def test_a_whole_model_waits_for_no_other_half():
    leg = Leg("d1", cut=WHOLE, seconds=10.0)
    assert limit(job(limits={"train-edge": 900.0}), leg, "train-device") == PREDICTED
    assert limit(job(limits={"train-device": 900.0}), leg, "train-device") == 900.0


@pytest.mark.parametrize(("limits", "state"), [({}, "failed"), ({"train-device": 900.0}, "done")])
def test_a_round_that_takes_much_longer_than_predicted_is_done_if_its_function_says_so(limits, state):
    fleet = Fleet()
    fleet.takes["train"] = 300.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), limits=limits, of_task={"rounds": 1}))
    fleet.run(700)
    assert fleet.status().state == state, fleet.status().reason
