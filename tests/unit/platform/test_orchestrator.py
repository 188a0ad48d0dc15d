"""The orchestrator's loop, on a fleet that is simulated: tasks where all goes well, and how they end."""

from __future__ import annotations

import msgspec
import pytest

from nodes.wire import control as ctl
from nodes.wire.task import Select
from tests.unit.platform.fleet import MB, SPLIT, WHOLE, Fleet, Sim, job


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


@pytest.mark.parametrize(("cut", "warm", "keep_alive", "seconds"), [
    (SPLIT, "broadcast", 60.0, 0.3), (WHOLE, "broadcast", 60.0, 0.0),
    (WHOLE, "aggregate", 60.0, 0.5), (WHOLE, "aggregate", 1.0, 0.0),  # it is warm, but not for so long
])  # fmt: skip
def test_a_round_is_predicted_with_the_cold_starts_that_it_will_have(cut, warm, keep_alive, seconds):
    predicted = []
    for there in ((), (warm,)):
        fleet = Fleet(keep_alive=keep_alive)
        fleet.units["cloud"].warm = there
        fleet.report("cloud")
        fleet.orchestrator.submit(job(owners=("d1",), cuts=(cut,)))
        fleet.run(2)
        predicted.append(fleet.of(ctl.PlacedRound)[0].predicted_s)
    assert predicted[0] - predicted[1] == pytest.approx(seconds)


@pytest.mark.parametrize("owners", [1, 2])
def test_cold_starts_at_once_on_a_unit_are_predicted_to_share_its_speed(owners):
    predicted = []
    for warm in ((), ("train-edge",)):
        fleet = Fleet([Sim("d1", "device", 100 * MB, at="e1"), Sim("d2", "device", 100 * MB, at="e1"),
                       Sim("e1", "edge", 300 * MB, 4.0, warm=warm), Sim("cloud", "cloud", 1000 * MB)])  # fmt: skip
        fleet.orchestrator.submit(job(owners=("d1", "d2")[:owners], cuts=(SPLIT,)))
        fleet.run(2)
        assert {unit for _, unit, call in fleet.invoked if call.function == "train-edge"} == {"e1"}
        predicted.append(fleet.of(ctl.PlacedRound)[0].predicted_s)
    # One starts while its device does; of two, the second one takes as long again. What is left is the fetch.
    assert predicted[0] - predicted[1] == pytest.approx(0.5 * (owners - 1) + 0.08, abs=0.02)


def test_data_is_chosen_once_and_by_the_device_alone():
    fleet = Fleet()
    fleet.orchestrator.submit(job(select=Select("random", 0.5), share=0.5))
    fleet.run(60)
    assert fleet.functions().count("select-data") == 2
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
    assert "train-edge" not in fleet.functions()


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


def test_messages_are_what_the_wire_takes():
    fleet = Fleet()
    fleet.orchestrator.submit(job(select=Select("random", 0.5), share=0.5))
    fleet.run(60)
    for _, _, call in fleet.invoked:
        msgspec.msgpack.encode(call)
