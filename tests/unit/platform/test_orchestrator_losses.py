"""The orchestrator where units, blobs and memory are not what they were: fetches, restarts, rounds without room."""

from __future__ import annotations

import pytest

from nodes.platform.orchestrator import Orchestrator
from nodes.policies.layers import LAYERS
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


def forgets(fleet, output, by=""):
    """Have the first unit that gives an output (``by``: this one) lose it at once; the list gets its name then."""
    ended, lost = fleet.orchestrator.ended, []

    def forgetful(unit, message):
        ended(unit, message)
        if output in message.outputs and by in ("", unit) and not lost:
            lost.append(unit)
            fleet.units[unit].blobs -= set(message.outputs.values())

    fleet.orchestrator.ended = forgetful
    return lost


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


@pytest.mark.parametrize(("rate", "stays", "until_s"), [(8e6, 0.0, 21.0), (4e4, 55.0, 70.0)])
def test_a_unit_may_be_silent_for_longer_while_its_model_has_the_link_to_itself(rate, stays, until_s):
    fleet = Fleet(rate=rate)  # 0.1 s, or 20 s for a model
    fleet.takes["aggregate"] = 300.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"rounds": 1}))
    until(fleet, lambda: open_calls(fleet, "aggregate"), 600.0)
    fleet.units["d1"].silent = True
    fleet.run(stays)
    assert fleet.orchestrator._books.registry.alive("d1")
    fleet.run(until_s - stays)
    assert not fleet.orchestrator._books.registry.alive("d1")


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


def test_a_copy_leaves_the_way_to_the_round_that_begins():
    fleet = Fleet([device(), Sim("e1", "edge", 300 * MB, 50.0), Sim("cloud", "cloud", 1000 * MB, 0.01)])
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"servers": ("cloud", "e1")}))
    until(fleet, lambda: fleet.status().state == "done", 60.0)
    broadcasts = [(unit, call) for _, unit, call in fleet.invoked if call.function == "broadcast"]
    copies = [(unit, call.gently) for unit, call in broadcasts if call.values["layers"] == list(LAYERS["cnn"])]
    assert copies == [("cloud", True), ("cloud", False)]  # after the last round nothing is in its way
    assert sum(call.gently for _, call in broadcasts) == 1


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
    lost = forgets(fleet, "part")
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    fleet.run(30)
    assert lost
    assert fleet.status().state == "done", fleet.status().reason
    assert sum(call.function == "train-device" for _, _, call in fleet.invoked) == 2


def test_a_model_that_is_damaged_before_it_is_averaged_is_trained_again():
    fleet = Fleet()
    lost = forgets(fleet, "weights", by="d1")
    of_task = {"rounds": 1, "servers": ("cloud", "e1")}
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task=of_task))
    fleet.run(30)
    assert lost
    assert fleet.status().state == "done", fleet.status().reason
    averaging = [unit for _, unit, call in fleet.invoked if call.function == "aggregate"]
    assert len(averaging) == 2
    assert len(set(averaging)) == 1, "it has not failed"


def test_who_was_sent_for_a_blob_in_vain_has_not_failed_if_somebody_else_has_it():
    units = [device(), Sim("e1", "edge", 300 * MB, 50.0), Sim("cloud", "cloud", 1000 * MB, 0.01)]
    fleet = Fleet(units, retries=1)
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("cloud", "e1"), "rounds": 2}))
    until(fleet, lambda: fleet.status().round == 1 and open_calls(fleet, "train-device"))
    fleet.fails["train-device"] = ["raised"]  # that counts, and is all that may
    fleet.run(1)
    assert fleet.units["cloud"].pins["t/1:d1"] == 1
    for name in ("d1", "e1"):
        fleet.units[name].blobs.discard("t/1:d1")
    fleet.run(60)
    assert fleet.status().state == "done", fleet.status().reason
    sources = [call.where["t/1:d1"] for _, _, call in fleet.invoked if "t/1:d1" in call.where and call.parts]
    assert sources == ["e1", "e1", "cloud"]


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


def test_numbers_are_none_that_an_earlier_orchestrator_has_given():
    """What that one has asked for, and what its pairs have said, may still be on its way."""
    fleet = Fleet()
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,)))
    fleet.run(30)
    before = len(fleet.invoked)
    fleet.orchestrator = Orchestrator(fleet.settings, fleet, lambda: fleet.now)
    fleet.report()
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,)))
    fleet.run(30)
    numbers = [{call.call, *([call.values["task"].pair] if call.parts else [])} for _, _, call in fleet.invoked]
    assert len(numbers) > before
    assert set.union(*numbers[:before]).isdisjoint(set.union(*numbers[before:]))


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
    while "evaluate" not in fleet.functions():
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


def test_what_a_lost_unit_has_still_to_say_counts_for_nothing():
    units = [Sim("d1", "device", 100 * MB, at="e1"), Sim("e1", "edge", 300 * MB, 50.0),
             Sim("cloud", "cloud", 1000 * MB, 0.01)]  # fmt: skip
    fleet = Fleet(units, retries=0)
    fleet.takes["aggregate"] = 3.0
    fleet.fails["aggregate", "e1"] = ["raised"]
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(WHOLE,), of_task={"servers": ("cloud", "e1"), "rounds": 1}))
    while "aggregate" not in fleet.functions():
        fleet.run(0.1)
    assert fleet.invoked[-1][1] == "e1"
    fleet.units["e1"].silent = True
    while fleet.functions().count("aggregate") < 2:  # it is lost, and the cloud averages
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
    while "train-device" not in fleet.functions():
        fleet.run(0.1)
    fleet.die("e1")  # where one of them was to be
    fleet.run(60)
    assert fleet.status().state == "done", fleet.status()
    assert {unit for _, unit, call in fleet.invoked if call.function in ("aggregate", "evaluate")} == {"cloud"}
