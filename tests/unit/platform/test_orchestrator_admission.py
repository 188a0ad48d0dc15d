"""Which tasks the orchestrator takes, which it refuses and why, and who waits."""

from __future__ import annotations

import pytest

from nodes.errors import InputError
from nodes.platform.orchestrator import Orchestrator
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings
from tests.unit.platform.fleet import MB, SPLIT, WHOLE, Fleet, Sim, job, one_on_battery


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"of_task": {"model": "gpt"}}, "nobody has such a model"),
        ({"of_task": {"scheme": "edgemove"}}, "does not host pipelines"),
        ({"of_task": {"hierarchical": True}}, "edge servers do not average"),
        ({"of_task": {"rounds": 0}}, "a round needs a participant"),
        ({"share": 0.0}, "no share of data"),
        ({"share": 1.5}, "no share of data"),
        ({"least": 3}, "a round needs a participant"),
        ({"owners": ("d8", "d9")}, "no eligible device"),
        ({"batches": {"d1": 3}}, "owners have no data"),
        ({"target": 1.5}, "no accuracy"),
        ({"deadline_s": float("nan")}, "no deadline"),
        ({"cuts": (SPLIT,), "labels_stay": True}, "labels"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(changes, words):
    fleet = Fleet()
    fleet.orchestrator.submit(job("bad", **changes))
    fleet.orchestrator.submit(job())
    fleet.run(60)
    assert fleet.status("bad").state == "refused"
    assert words in fleet.status("bad").reason
    assert fleet.status().state == "done"  # the other one goes on


@pytest.mark.parametrize("deadline", [-1.0, 0.0, 0.5])
def test_a_deadline_that_cannot_be_met_is_answered_with_the_best(deadline):
    fleet = Fleet()
    fleet.orchestrator.submit(job(deadline_s=deadline))
    fleet.run(10)
    assert fleet.status().state == "refused"
    assert "best achievable" in fleet.status().reason
    assert not fleet.averages


def test_with_the_best_achievable_as_its_deadline_a_task_is_taken():
    fleet = Fleet()
    fleet.orchestrator.submit(job("a", deadline_s=0.5))
    fleet.run(1)
    best = float(fleet.status("a").reason.split("best achievable ")[1].split(" s")[0])
    fleet.orchestrator.submit(job("b", deadline_s=best * 0.97))
    fleet.orchestrator.submit(job("c", deadline_s=best * 1.03))
    fleet.step()
    assert (fleet.status("b").state, fleet.status("c").state) == ("refused", "queued")


def best(*cuts, rounds=2, warm=(), **settings):
    """The best achievable of a task, s, where the cloud has these functions warm: cold they take 0.5 s, or 0.3 s."""
    fleet = Fleet(**settings)
    fleet.units["cloud"].warm = warm
    fleet.report("cloud")
    fleet.orchestrator.submit(job(owners=("d1",), cuts=cuts, deadline_s=0.0, of_task={"rounds": rounds}))
    fleet.step()
    return float(fleet.status().reason.split("best achievable ")[1].split(" s")[0])


@pytest.mark.parametrize(
    ("cut", "function", "seconds"),
    [
        (WHOLE, "initialise", 0.5), (WHOLE, "aggregate", 0.5), (WHOLE, "evaluate", 0.5),
        (WHOLE, "broadcast", 0.0), (SPLIT, "broadcast", 0.3),  # what goes to a device whole is not taken apart
    ],
)  # fmt: skip
def test_cold_starts_of_all_that_is_done_before_its_end_count_for_a_deadline(cut, function, seconds):
    assert best(cut) - best(cut, warm=(function,)) == pytest.approx(seconds, abs=0.02)


def test_averaging_and_evaluating_begin_cold_each_time_if_they_are_not_kept_for_as_long_as_others_train():
    kept, gone = ([best(WHOLE, rounds=rounds, keep_alive=seconds) for rounds in (1, 3)] for seconds in (60.0, 1.0))
    assert gone[0] == kept[0], "the first time they are cold in any case"
    assert gone[1] - kept[1] == pytest.approx(2 * 2 * 0.5, abs=0.11)


def test_without_keep_alive_each_round_is_predicted_as_cold_as_the_first():
    one, two = (best(WHOLE, rounds=rounds, keep_alive=0.0) for rounds in (1, 2))
    weights = 0.5 + 0.01
    assert two - one == pytest.approx(one - weights, abs=0.02)


def test_the_first_weights_take_their_work_too():
    fleet, heavy = Fleet(), Fleet()
    for one, work in ((fleet, 0.01), (heavy, 3.01)):
        one.orchestrator.submit(job(owners=("d1",), aggregate_s=work, deadline_s=0.0, of_task={"rounds": 1}))
        one.step()
    first, second = (float(one.status().reason.split("best achievable ")[1].split(" s")[0]) for one in (fleet, heavy))
    assert second - first == pytest.approx(2 * 3.0, abs=0.11), "of making them, and of averaging"


def test_a_full_queue_refuses_and_the_others_go_on():
    fleet = Fleet(queue=2)
    for name in "abc":
        fleet.orchestrator.submit(job(name))
    assert [one.state for one in fleet.orchestrator.status()] == ["queued", "queued", "refused"]
    assert "the queue is full" in fleet.status("c").reason
    fleet.run(120)
    assert [one.state for one in fleet.orchestrator.status()] == ["done", "done", "refused"]


def test_a_queue_without_end_and_a_policy_that_is_none():
    for settings in ({"queue": 0}, {"retries": -1}, {"policy": "wise"}):
        with pytest.raises(InputError):
            Orchestrator(PlatformSettings(**settings), None, lambda: 0.0)


def test_a_name_twice_leaves_the_first_alone():
    fleet = Fleet()
    fleet.orchestrator.submit(job())
    fleet.run(1)
    fleet.orchestrator.submit(job())
    assert fleet.of(ctl.JobStatus)[-1].status.state in ("queued", "running")
    fleet.run(60)
    assert fleet.status().state == "done"
    assert len(fleet.averages) == 2


def test_tasks_that_do_not_fit_together_go_one_after_the_other():
    fleet = Fleet([Sim("d1", "device", 60 * MB, at="e1"), Sim("e1", "edge", 130 * MB, 2.0),
                   Sim("cloud", "cloud", 130 * MB, 4.0)])  # fmt: skip
    for name in "abc":
        fleet.orchestrator.submit(job(name, ("d1",)))
    fleet.run(200)
    assert [one.state for one in fleet.orchestrator.status()] == ["done"] * 3


def test_a_task_that_comes_before_the_units_waits_for_them():
    fleet = Fleet()
    fleet.orchestrator = Orchestrator(fleet.settings, fleet, lambda: fleet.now)
    fleet.orchestrator.submit(job())
    fleet.step()
    assert fleet.status().state == "queued"
    fleet.run(60)
    assert fleet.status().state == "done"


@pytest.mark.parametrize(("seconds", "state"), [(8, "done"), (20, "refused")])
def test_a_task_that_comes_while_its_devices_are_out_of_reach_waits_a_while(seconds, state):
    fleet = Fleet()
    fleet.units["d1"].in_reach = False
    fleet.report("d1")
    fleet.orchestrator.submit(job())
    fleet.run(seconds)
    assert fleet.status().state == ("queued" if state == "done" else "refused")
    fleet.units["d1"].in_reach = True
    fleet.run(60)
    assert fleet.status().state == state


def test_an_empty_battery_is_no_eligible_device():
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=0.0), Sim("e1", "edge", 300 * MB, 2.0),
             Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(owners=("d1",)))
    fleet.run(30)
    assert fleet.status().state == "refused"
    assert not fleet.averages


def test_work_is_admitted_on_predicted_energy():
    """A battery that has a little more than the round's active energy, and less than that, idling and the margin."""
    fleet = Fleet(one_on_battery())
    fleet.orchestrator.submit(job(least=1, absent=100.0, cuts=(WHOLE,), of_task={"rounds": 1}))
    fleet.run(30)
    asked = fleet.of(ctl.PlacedRound)[0].predicted_j["d1"]
    again = Fleet(one_on_battery())
    again.units["d1"].battery_j = 100.0 + 1.2 * asked  # active 1.15 times would fit, idling does not
    again.report("d1")
    again.orchestrator.submit(job(least=1, absent=100.0, cuts=(WHOLE,), of_task={"rounds": 1}))
    again.run(30)
    assert fleet.owners(1) == {"d1", "d2"}
    assert again.owners(1) == {"d2"}
