"""The orchestrator's loop, on a fleet that is simulated: what becomes of tasks, whatever happens."""

from __future__ import annotations

import msgspec
import pytest

from nodes.errors import InputError
from nodes.platform.orchestrator import Orchestrator
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings
from nodes.wire.platform_messages import CallEnded
from nodes.wire.task import Select
from tests.unit.platform.fleet import MB, SPLIT, WHOLE, Fleet, Sim, job


def functions(fleet, name="t"):
    return [call.function for _, _, call in fleet.invoked if call.task == name]


def test_a_task_is_done_round_by_round():
    fleet = Fleet()
    fleet.orchestrator.submit(job())
    fleet.run(60)
    status = fleet.status()
    assert (status.state, status.round, status.best) == ("done", 2, 0.02)
    assert [done.round for done in fleet.of(ctl.RoundDone)] == [1, 2]
    assert [set(models) for _, models in fleet.averages] == [{"d1", "d2"}] * 2
    assert fleet.of(ctl.TaskDone)[0].weights_sha256 == "t/2:d1+d2"
    assert [kept.digest for kept in fleet.of(ctl.Kept)] == ["t/1:d1+d2", "t/2:d1+d2"]
    assert not fleet.open()
    said = [one.status.state for one in fleet.of(ctl.JobStatus)]
    assert said == ["queued", "running", "running", "done"]


def test_nothing_but_the_best_model_is_kept():
    fleet = Fleet(accuracy=lambda _, round: 0.5 if round == 1 else 0.2)
    fleet.orchestrator.submit(job(of_task={"rounds": 3}))
    fleet.run(90)
    assert fleet.status().best == 0.5
    assert fleet.status().accuracy == 0.2
    pins = {(unit.name, digest) for unit in fleet.units.values() for digest, n in unit.pins.items() if n}
    assert {digest for _, digest in pins} == {"t/1:d1+d2"}


def test_each_placement_says_what_it_is_predicted_to_take():
    fleet = Fleet()
    fleet.orchestrator.submit(job(select=Select("random", 0.5), share=0.5))
    fleet.run(60)
    first, second = fleet.of(ctl.PlacedRound)
    assert (first.round, second.round) == (1, 2)
    assert first.predicted_s > second.predicted_s > 0  # cold starts, and choosing data
    assert set(first.predicted_j) == {"d1", "d2"}
    assert min(first.predicted_j.values()) > 0
    assert {"train-device", "select-data", "aggregate", "evaluate"} <= {row[0] for row in first.rows}
    assert "select-data" not in {row[0] for row in second.rows}


def test_data_is_chosen_once_and_by_the_device_alone():
    fleet = Fleet()
    fleet.orchestrator.submit(job(select=Select("random", 0.5), share=0.5))
    fleet.run(60)
    assert functions(fleet).count("select-data") == 2
    trained = [call for _, _, call in fleet.invoked if call.function == "train-device"]
    assert len(trained) == 4
    for call in trained:
        assert call.inputs["keep"] == f"keep t {call.values['owner']}"
        assert call.inputs["keep"] not in call.where
        assert call.values["task"].select is None


def test_a_unit_is_sent_the_layers_that_it_needs():
    fleet = Fleet()
    fleet.orchestrator.submit(job(cuts=(SPLIT,)))
    fleet.run(60)
    for _, unit, call in fleet.invoked:
        if call.function == "train-device":
            assert call.inputs["weights"].endswith("[conv1]")
        if call.function == "train-edge" and unit != "cloud":
            assert call.inputs["weights"].endswith("[conv2]")


def test_two_halves_are_told_of_the_same_placement():
    fleet = Fleet()
    fleet.orchestrator.submit(job(cuts=(SPLIT,)))
    fleet.run(60)
    halves = {}
    for _, unit, call in fleet.invoked:
        if call.parts:
            halves.setdefault((call.values["round"], call.values["owner"]), {})[call.parts[0].role] = (unit, call)
    assert len(halves) == 4
    for pair in halves.values():
        told = [{row.part.role: row.node for row in call.values["task"].placement} for _, call in pair.values()]
        assert told[0] == told[1]
        assert {role: unit for role, (unit, _) in pair.items()}.items() <= told[0].items()


def test_a_whole_model_is_trained_by_the_parts_of_whole_models():
    fleet = Fleet()
    fleet.orchestrator.submit(job(cuts=(WHOLE,)))
    fleet.run(60)
    call = next(call for _, _, call in fleet.invoked if call.function == "train-device")
    assert (call.values["task"].scheme, call.parts[0].role, call.inputs["weights"]) == ("fedavg", "whole", "t/0")
    assert fleet.status().state == "done"
    assert "train-edge" not in functions(fleet)


# --- admission ----------------------------------------------------------------------------------------------


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


# --- how tasks end ------------------------------------------------------------------------------------------


def test_the_target_ends_a_task():
    fleet = Fleet(accuracy=lambda _, round: 0.3 * round)
    fleet.orchestrator.submit(job(target=0.5, of_task={"rounds": 10}))
    fleet.run(120)
    assert (fleet.status().state, fleet.status().round) == ("done", 2)
    assert "target" in fleet.status().reason


def test_a_target_that_was_not_reached_is_told():
    fleet = Fleet()
    fleet.orchestrator.submit(job(target=0.9))
    fleet.run(60)
    assert fleet.status().state == "done"
    assert "not reached" in fleet.status().reason


def test_a_deadline_that_passes_ends_a_task_with_its_best_model():
    fleet = Fleet()
    fleet.takes["train"] = 11.0
    fleet.orchestrator.submit(job(deadline_s=30.0, of_task={"rounds": 4}))
    fleet.run(29)
    assert fleet.status().state == "running"
    fleet.run(2)
    status = fleet.status()
    assert (status.state, status.round) == ("failed", 2)
    assert "deadline of 30 s passed after 2 of 4 rounds" in status.reason
    assert "the model of round 2 is kept" in status.reason
    fleet.run(1)
    assert not fleet.open()
    assert fleet.units["cloud"].pins["t/2:d1+d2"] == 1


def test_a_cancelled_task_leaves_nothing_but_its_best_model():
    fleet = Fleet()
    fleet.orchestrator.submit(job(of_task={"rounds": 9}))
    fleet.orchestrator.submit(job("u"))
    fleet.run(8)
    fleet.orchestrator.cancel("t")
    fleet.orchestrator.cancel("nobody")
    assert fleet.status().state == "cancelled"
    assert fleet.status().round >= 1
    fleet.run(60)
    assert fleet.status("u").state == "done"
    assert not fleet.open()
    kept = {digest for unit in fleet.units.values() for digest, n in unit.pins.items() if n and digest.startswith("t/")}
    assert len(kept) == 1
    fleet.orchestrator.cancel("t")
    assert fleet.of(ctl.JobStatus)[-1].status.state == "cancelled"


# --- when something fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["raised", "died", "missing", "damaged"])
@pytest.mark.parametrize("function", ["train-device", "train-edge", "select-data", "aggregate", "evaluate", "broadcast",
                                      "initialise"])  # fmt: skip
def test_what_fails_twice_works_the_third_time(function, kind):
    fleet = Fleet()
    fleet.fails[function] = [kind] * 2
    if function == "train-device":  # a head ends when its tail has: let it be a whole model
        fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), select=Select("random", 0.5), share=0.5))
    else:
        fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), select=Select("random", 0.5), share=0.5))
    fleet.run(90)
    assert not fleet.fails[function]
    assert fleet.status().state == "done", fleet.status().reason
    averages = [models["d1"] for _, models in fleet.averages]
    assert list(dict.fromkeys(averages)) == ["d1 1 t/0", "d1 2 t/1:d1"]
    assert len(averages) == 2 + 2 * ((function, kind) == ("evaluate", "damaged"))  # nobody else has what is damaged


def test_an_owner_that_fails_too_often_is_left_out():
    fleet = Fleet()
    fleet.fails["train-device", "d2"] = ["raised"] * 9
    fleet.orchestrator.submit(job(least=1, absent=100.0, cuts=(WHOLE,)))
    fleet.run(90)
    assert fleet.status().state == "done"
    assert [done.missing for done in fleet.of(ctl.RoundDone)] == [("d2",), ("d2",)]
    assert len(fleet.fails["train-device", "d2"]) == 6  # once, and twice again
    assert not any("d2" in models for _, models in fleet.averages)


def test_another_owner_comes_in_its_place():
    fleet = Fleet()
    fleet.fails["train-device", "d1"] = ["raised"] * 9
    fleet.orchestrator.submit(job(owners=("d1", "d2", "d3"), least=2, cuts=(WHOLE,)))
    fleet.run(90)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2", "d3"}


def test_a_function_that_always_fails_fails_its_task_alone():
    fleet = Fleet()
    for owner in ("d1", "d2"):
        fleet.fails["train-device", owner] = ["raised"] * 3
    fleet.orchestrator.submit(job(cuts=(WHOLE,)))
    fleet.orchestrator.submit(job("u", ("d3",)))
    fleet.run(90)
    assert fleet.status().state == "failed"
    assert "raised: as the test has it" in fleet.status().reason
    assert fleet.status("u").state == "done"
    assert not fleet.open()


@pytest.mark.parametrize(
    ("function", "gives"),
    [
        ("initialise", {}), ("aggregate", {}), ("broadcast", {}), ("evaluate", {"accuracy": "good"}),
        ("evaluate", {"accuracy": 0.5, "loss": None}), ("train-device", {"samples": [10]}),
    ],
)  # fmt: skip
def test_a_function_that_gives_what_nobody_expects_fails_its_task_alone(function, gives):
    """A user's own one may declare what it likes."""
    class Odd(Fleet):
        def _result(self, at, call):
            if call.function == function and call.task == "t":
                return CallEnded(call=call.call, values=gives, reserved=call.memory or 0)
            return super()._result(at, call)

    fleet = Odd()
    fleet.orchestrator.submit(job(cuts=(WHOLE if function == "train-device" else SPLIT,)))
    fleet.orchestrator.submit(job("u", ("d3",)))
    fleet.run(120)
    assert fleet.status().state == "failed"
    assert "returned not what it should" in fleet.status().reason
    assert fleet.status("u").state == "done"


def test_the_other_half_is_cancelled_before_a_pair_begins_again():
    fleet = Fleet()
    fleet.fails["train-edge"] = ["raised"]
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    fleet.run(60)  # the fleet itself looks that no half is there twice
    assert functions(fleet).count("train-device") == functions(fleet).count("train-edge") == 2
    assert len(fleet.cancelled) == 1
    assert fleet.status().state == "done"


def test_a_unit_that_dies_while_it_trains():
    fleet = Fleet()
    fleet.orchestrator.submit(job(owners=("d1", "d2", "d3"), least=1, absent=100.0, cuts=(SPLIT,)))
    fleet.run(2)
    tails = {unit for _, unit, call in fleet.invoked if call.function == "train-edge"}
    fleet.die("d1")
    edge = min(tails - {"cloud"})
    fleet.die(edge)
    before = len(fleet.invoked)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2", "d3"}
    assert edge not in {unit for _, unit, _ in fleet.invoked[before:]}


def test_a_device_that_comes_back_in_time_goes_on():
    fleet = Fleet()
    fleet.orchestrator.submit(job())
    fleet.run(2)
    fleet.die("d1")
    fleet.run(8)
    assert fleet.status().state == "running"
    fleet.revive("d1")
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d1", "d2"}


def test_a_task_that_lost_a_device_it_cannot_do_without_fails():
    fleet = Fleet()
    fleet.orchestrator.submit(job())
    while fleet.status().round < 1:
        fleet.run(0.5)
    fleet.die("d1")
    fleet.run(30)
    assert fleet.status().state == "failed"
    assert "the model of round 1 is kept" in fleet.status().reason
    assert not fleet.open()


def test_a_unit_that_says_nothing_is_lost_after_a_while():
    fleet = Fleet()
    fleet.orchestrator.submit(job(least=1, absent=100.0))
    fleet.run(2)
    fleet.die("d1", told=False)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2"}


def test_an_average_that_is_lost_with_its_server_is_made_again():
    units = [Sim("d1", "device", 100 * MB, at="e1"), Sim("d2", "device", 100 * MB, at="e1"),
             Sim("e1", "edge", 300 * MB, 50.0), Sim("cloud", "cloud", 1000 * MB, 0.01)]  # fmt: skip
    fleet = Fleet(units)
    fleet.takes["evaluate"] = 1.0
    fleet.orchestrator.submit(job(of_task={"servers": ("cloud", "e1")}))
    while "evaluate" not in functions(fleet):
        fleet.run(0.1)
    assert fleet.invoked[-1][1] == "e1"
    fleet.die("e1")
    fleet.run(200)
    assert fleet.status().state == "done", fleet.status().reason
    assert [done.round for done in fleet.of(ctl.RoundDone)] == [1, 2]


def test_a_model_on_an_edge_server_has_a_copy_in_the_cloud():
    units = [Sim("d1", "device", 100 * MB, at="e1"), Sim("e1", "edge", 300 * MB, 50.0),
             Sim("cloud", "cloud", 1000 * MB, 0.01)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(owners=("d1",), of_task={"servers": ("cloud", "e1"), "rounds": 3}))
    while fleet.status().round < 1:
        fleet.run(0.1)
    fleet.run(0.3)
    assert fleet.units["e1"].pins["t/1:d1"] == fleet.units["cloud"].pins["t/1:d1"] == 1
    fleet.die("e1")
    fleet.run(200)
    assert (fleet.status().state, fleet.status().round) == ("done", 3)


def test_a_device_at_its_reserve_is_let_go_and_the_rest_goes_on():
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("d2", "device", 100 * MB, at="e1"),
             Sim("e1", "edge", 300 * MB, 2.0), Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.takes["train"] = 5.0
    fleet.orchestrator.submit(job(least=1, absent=100.0))
    fleet.run(4)
    assert any(call.values.get("owner") == "d1" for call in fleet.open())
    fleet.units["d1"].battery_j = 105.0
    fleet.run(1.5)
    assert not any(call.values.get("owner") == "d1" for call in fleet.open())
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2"}


def test_a_device_that_stopped_at_its_reserve_out_of_reach_is_let_go_when_it_is_back():
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("d2", "device", 100 * MB, at="e1"),
             Sim("e1", "edge", 300 * MB, 2.0), Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.takes["train"] = 30.0
    fleet.orchestrator.submit(job(least=1, absent=100.0))
    fleet.run(4)
    device = fleet.units["d1"]
    [call] = [call for call in device.calls.values() if call.function == "train-device"]
    device.silent, device.battery_j = True, 100.0
    reason = "the battery is at its reserve"
    fleet._end(device, call, CallEnded(call=call.call, kind="cancelled", reason=reason))
    fleet.run(8)
    device.silent = False
    fleet.run(120)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2"}
    assert max(at for at, unit, _ in fleet.invoked if unit == "d1") < 4


def test_a_task_whose_devices_run_out_ends_with_its_best_model():
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("e1", "edge", 300 * MB, 2.0),
             Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(owners=("d1",), of_task={"rounds": 50}))
    while fleet.status().round < 2:
        fleet.run(0.5)
    fleet.units["d1"].battery_j = 101.0
    fleet.run(30)
    status = fleet.status()
    assert status.state == "failed"
    assert "d1: its battery is at its reserve" in status.reason
    assert "the model of round" in status.reason
    assert not fleet.open()


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
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("d2", "device", 100 * MB, at="e1"),
             Sim("e1", "edge", 300 * MB, 2.0), Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(least=1, absent=100.0, cuts=(WHOLE,), of_task={"rounds": 1}))
    fleet.run(30)
    asked = fleet.of(ctl.PlacedRound)[0].predicted_j["d1"]
    again = Fleet([msgspec_copy(unit) for unit in units])
    again.units["d1"].battery_j = 100.0 + 1.2 * asked  # active 1.15 times would fit, idling does not
    again.report("d1")
    again.orchestrator.submit(job(least=1, absent=100.0, cuts=(WHOLE,), of_task={"rounds": 1}))
    again.run(30)
    assert fleet.owners(1) == {"d1", "d2"}
    assert again.owners(1) == {"d2"}


def msgspec_copy(unit):
    return Sim(unit.name, unit.kind, unit.memory, unit.speed, unit.at, battery_j=unit.battery_j)


def test_what_a_lost_unit_has_still_to_say_counts_for_nothing():
    units = [Sim("d1", "device", 100 * MB, at="e1"), Sim("e1", "edge", 300 * MB, 50.0),
             Sim("cloud", "cloud", 1000 * MB, 0.01)]  # fmt: skip
    fleet = Fleet(units, retries=0)
    fleet.takes["aggregate"] = 3.0
    fleet.fails["aggregate", "e1"] = ["raised"]
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("cloud", "e1"), "rounds": 1}))
    while "aggregate" not in functions(fleet):
        fleet.run(0.1)
    assert fleet.invoked[-1][1] == "e1"
    fleet.units["e1"].silent = True
    while functions(fleet).count("aggregate") < 2:  # it is lost, and the cloud averages
        fleet.run(0.1)
    fleet.units["e1"].silent = False  # what it says now was said long ago
    fleet.run(60)
    assert not fleet.fails["aggregate", "e1"]
    assert fleet.status().state == "done", fleet.status().reason


def test_averaging_and_evaluating_make_do_with_room_for_one_of_them():
    units = [Sim("d1", "device", 100 * MB, at="e1"), Sim("e1", "edge", 60 * MB, 2.0),
             Sim("cloud", "cloud", 60 * MB, 2.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("cloud", "e1"), "rounds": 1}))
    while "train-device" not in functions(fleet):
        fleet.run(0.1)
    fleet.die("e1")  # where one of them was to be
    fleet.run(60)
    assert fleet.status().state == "done", fleet.status()
    assert {unit for _, unit, call in fleet.invoked if call.function in ("aggregate", "evaluate")} == {"cloud"}


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


# --- devices that move --------------------------------------------------------------------------------------


def moving(**changes):
    fleet = Fleet(**changes)
    fleet.takes["train"] = 5.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    while not any(call.function == "train-edge" for call in fleet.open()):
        fleet.run(0.1)
    fleet.run(1)
    at = next(name for name, unit in fleet.units.items()
              if any(call.function == "train-edge" for call in unit.calls.values()))  # fmt: skip
    return fleet, at, next(name for name in ("e1", "e2") if name != at)


def test_an_edge_half_is_awaited_where_its_device_goes():
    fleet, old, new = moving()
    fleet.move("d1", new)
    waiting = next(call for call in fleet.units[new].calls.values() if call.function == "train-edge")
    assert {row.part.role: row.node for row in waiting.values["task"].placement}["tail"] == old
    fleet.run(60)
    assert fleet.status().state == "done"
    assert functions(fleet).count("train-edge") == 2
    assert functions(fleet).count("train-device") == 1
    assert not fleet.cancelled


def test_who_waited_in_vain_is_cancelled():
    fleet, _, new = moving()
    fleet.move("d1", new, follows=False)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert len(fleet.cancelled) == 1
    assert functions(fleet).count("train-device") == 1
    assert not fleet.open()


def test_an_edge_half_is_awaited_even_if_nobody_had_heard_of_the_handover():
    fleet, _, new = moving()
    fleet.units["d1"].at = new
    fleet.report("d1")
    assert [call.function for call in fleet.units[new].calls.values()] == ["train-edge"]
    fleet.run(60)
    assert fleet.status().state == "done"
    assert functions(fleet).count("train-device") == 1


def test_without_room_there_the_round_begins_again():
    fleet, _, new = moving()
    fleet.die(new)
    fleet.units[new].memory = 10 * MB
    fleet.revive(new)
    fleet.move("d1", new)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert functions(fleet).count("train-device") == 2


def test_a_link_that_gets_much_worse_has_a_round_begin_elsewhere():
    fleet = Fleet(rate=8e7)
    fleet.takes["train"] = 50.0
    fleet.orchestrator.submit(job(owners=("d1",), batches={"d1": 200}, of_task={"rounds": 1}))
    fleet.run(4)
    assert [call.parts[0].role for call in fleet.open() if call.function == "train-device"] == ["head"]
    fleet.units["d1"].up = 1e5
    fleet.run(3)
    assert [call.parts[0].role for call in fleet.open() if call.function == "train-device"] == ["whole"]


def test_a_link_that_does_not_settle_has_no_round_begin_again_for_ever():
    fleet = Fleet(rate=8e7)
    fleet.takes["train"] = 50.0
    fleet.orchestrator.submit(job(owners=("d1",), batches={"d1": 200}, of_task={"rounds": 1}))
    fleet.run(4)
    for up in (1e5, 8e7) * 12:
        fleet.units["d1"].up = up
        fleet.run(4)
    assert 2 <= functions(fleet).count("train-device") <= 4
    assert fleet.status().state == "done"


def test_messages_are_what_the_wire_takes():
    fleet = Fleet()
    fleet.orchestrator.submit(job(select=Select("random", 0.5), share=0.5))
    fleet.run(60)
    for _, _, call in fleet.invoked:
        msgspec.msgpack.encode(call)
