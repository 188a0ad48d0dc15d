"""The orchestrator where units, blobs and memory are not what they were: fetches, restarts, rounds without room."""

from __future__ import annotations

import pytest

from nodes.wire import control as ctl
from tests.unit.platform.fleet import MB, SPLIT, WHOLE, Fleet, Sim, job


def device(name="d1", at="e1", memory=100 * MB):
    return Sim(name, "device", memory, at=at)


def until(fleet, condition, seconds=60.0):
    """Let time pass until a condition holds; returns how long that took."""
    begin = fleet.now
    while not condition():
        assert fleet.now - begin < seconds, fleet.status()
        fleet.run(0.05)
    return fleet.now - begin


def open_calls(fleet, function):
    return [call for call in fleet.open() if call.function == function]


def test_what_a_unit_did_is_begun_again_when_it_restarts_before_it_is_missed():
    fleet = Fleet()
    fleet.takes["train"] = 10.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
    until(fleet, lambda: open_calls(fleet, "train-device"))
    fleet.die("d1", told=False)
    fleet.run(1)
    fleet.revive("d1")
    until(fleet, lambda: fleet.status().state == "done", 20.0)
    assert fleet.owners(1) == {"d1"}


def test_a_unit_that_has_begun_again_is_told_to_let_go_nothing_that_it_does_not_have():
    fleet = Fleet()
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
    until(fleet, lambda: any(fleet.units["d1"].pins.values()))
    told = []
    fleet.keep = lambda unit, message: told.append((unit, message))
    fleet.orchestrator._books.holdings._keep = fleet.keep
    fleet.die("d1")
    fleet.revive("d1")
    assert not [message for unit, message in told if unit == "d1"]


def test_a_unit_that_was_only_silent_lets_go_what_it_kept():
    fleet = Fleet()
    fleet.takes["aggregate"] = 40.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
    until(fleet, lambda: open_calls(fleet, "aggregate"))
    d1 = fleet.units["d1"]
    assert any(d1.pins.values())
    d1.silent = True
    fleet.run(25)
    assert any(d1.pins.values())  # it is given up, and cannot know it
    d1.silent = False
    fleet.run(1.2)
    assert not any(d1.pins.values())


def test_a_model_that_was_only_fetched_is_copied_to_be_safe():
    units = [device(), Sim("e1", "edge", 300 * MB, 50.0), Sim("cloud", "cloud", 1000 * MB, 0.01)]

    def accuracy(task, number):  # what the cloud fetched makes room while it evaluates
        cloud = fleet.units["cloud"]
        cloud.blobs = {digest for digest in cloud.blobs if cloud.pins[digest]}
        return 0.5

    fleet = Fleet(units, accuracy=accuracy)
    fleet.orchestrator.submit(job(owners=("d1",), of_task={"servers": ("cloud", "e1"), "rounds": 1}))
    until(fleet, lambda: open_calls(fleet, "evaluate"))
    round = fleet.orchestrator._tasks["t"].round
    [call] = fleet.orchestrator._books.calls.of("t", "evaluate")
    if call.unit != "cloud":  # as if it had been placed there
        fleet.orchestrator._books.calls.cancel(call)
        round.evaluator = "cloud"
    fleet.run(20)
    assert fleet.status().state == "done"
    assert "t/1:d1" in fleet.units["cloud"].blobs
    assert fleet.units["cloud"].pins["t/1:d1"] == 1


def test_a_fetch_from_a_unit_that_is_lost_without_a_word_ends():
    units = [device(), Sim("e1", "edge", 300 * MB), Sim("e2", "edge", 400 * MB)]
    fleet = Fleet(units)
    ended = fleet.orchestrator.ended

    def last_words(unit, message):
        ended(unit, message)
        fleet.units["e2"].alive = unit != "e2"  # it has made the first weights, says nothing more, and gives nothing

    fleet.orchestrator.ended = last_words
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("e1", "e2"), "rounds": 1}))
    until(fleet, lambda: open_calls(fleet, "train-device"), 5.0)
    assert fleet.units["d1"].waits
    fleet.orchestrator.ended = ended
    until(fleet, lambda: fleet.status().state == "done", 40.0)


def test_a_source_that_does_not_have_a_blob_any_more_is_not_asked_again():
    fleet = Fleet()
    ended, lost = fleet.orchestrator.ended, []

    def forgetful(unit, message):
        ended(unit, message)
        if "part" in message.outputs and not lost:
            lost.append(unit)
            fleet.units[unit].blobs -= set(message.outputs.values())

    fleet.orchestrator.ended = forgetful
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    fleet.run(30)
    assert lost
    assert fleet.status().state == "done", fleet.status().reason
    assert sum(call.function == "train-device" for _, _, call in fleet.invoked) == 2


def test_a_model_that_is_damaged_before_it_is_averaged_is_trained_again():
    fleet = Fleet()
    ended, lost = fleet.orchestrator.ended, []

    def forgetful(unit, message):
        ended(unit, message)
        if "weights" in message.outputs and unit == "d1" and not lost:
            lost.append(unit)
            fleet.units[unit].blobs -= set(message.outputs.values())

    fleet.orchestrator.ended = forgetful
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
    fleet.run(30)
    assert lost
    assert fleet.status().state == "done", fleet.status().reason


@pytest.mark.parametrize("phase", ["initialise", "aggregate"])
def test_a_task_that_no_server_has_room_for_ends(phase):
    units = [device(), Sim("e1", "edge", 300 * MB), Sim("e2", "edge", 30 * MB)]
    fleet = Fleet(units)
    fleet.takes["initialise"] = fleet.takes["aggregate"] = 3.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("e1", "e2"), "rounds": 1}))
    until(fleet, lambda: open_calls(fleet, phase))
    fleet.die("e1")
    fleet.run(10)
    assert fleet.orchestrator._tasks["t"].open
    fleet.run(30)
    assert fleet.status().state == ("refused" if phase == "initialise" else "failed")
    assert "memory" in fleet.status().reason


def test_of_rounds_that_wait_for_each_others_memory_the_youngest_gives_way():
    units = [device("d1"), device("d2"), Sim("e1", "edge", 120 * MB), Sim("e2", "edge", 120 * MB),
             Sim("e3", "edge", 100 * MB, 50.0), Sim("cloud", "cloud", 45 * MB)]  # fmt: skip
    fleet = Fleet(units)
    fleet.takes["train"] = 5.0
    for name, owner in (("a", "d1"), ("b", "d2")):
        of_task = {"rounds": 1, "servers": ("e1", "e2"), "edges": ("e1", "e2", "e3")}
        fleet.orchestrator.submit(job(name, (owner,), cuts=(SPLIT,), of_task=of_task))
    until(fleet, lambda: len(open_calls(fleet, "train-edge")) == 2)
    assert not fleet.units["e1"].calls
    assert not fleet.units["e2"].calls
    fleet.die("e3")  # e1 and e2 have what is kept for the ends of both, and no room for either's edge half
    fleet.run(100)
    assert [one.state for one in fleet.orchestrator.status()] == ["done", "done"], fleet.orchestrator.status()


def test_best_models_of_tasks_that_ended_long_ago_make_room():
    fleet = Fleet(kept_bytes=2 * (MB // 10))
    for name in "abcd":
        fleet.orchestrator.submit(job(name, ("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
        until(fleet, lambda name=name: fleet.status(name).state == "done")
    fleet.run(5)
    pins = {digest.split("/")[0] for unit in fleet.units.values() for digest, n in unit.pins.items() if n}
    assert pins == {"c", "d"}
    assert [one.best for one in fleet.orchestrator.status()] == [0.01] * 4
    assert len(fleet.of(ctl.Kept)) == 4


def test_each_pair_of_invocations_has_a_number_of_its_own():
    fleet = Fleet()
    fleet.fails["train-edge"] = ["raised"]
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,)))
    fleet.run(60)
    pairs = [call.values["task"].pair for _, _, call in fleet.invoked if call.parts]
    assert len(pairs) == 6
    assert pairs[::2] == pairs[1::2]
    assert len(set(pairs)) == 3
    assert 0 not in pairs
