"""Functions that fail, or give what nobody expects: what the orchestrator does about it."""

from __future__ import annotations

import msgspec
import pytest

from nodes.wire import control as ctl
from nodes.wire.platform_messages import CallEnded
from nodes.wire.task import Select
from tests.unit.platform.fleet import SPLIT, WHOLE, Fleet, job


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


@pytest.mark.parametrize(
    ("cut", "values", "why"),
    [
        (WHOLE, {"samples": -1}, "samples: -1"), (WHOLE, {"samples": float("nan")}, "samples: nan"),
        (SPLIT, {"samples": 10, "moved": "nowhere"}, "moved to nowhere, where nothing waits for it"),
        (SPLIT, {"samples": 10, "moved": "e2"}, "moved to e2, where nothing waits for it"),
    ],
)
def test_a_share_that_says_what_cannot_be_fails_and_is_not_tried_for_ever(cut, values, why):
    class Odd(Fleet):
        def _result(self, at, call):
            ended = super()._result(at, call)
            odd = call.task == "t" and call.function == ("train-device" if cut is WHOLE else "train-edge")
            return msgspec.structs.replace(ended, values=values) if odd else ended

    fleet = Odd()
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(cut,)))
    fleet.orchestrator.submit(job("u", ("d3",), cuts=(WHOLE,)))
    fleet.run(120)
    assert fleet.status().state == "failed"
    assert why in fleet.status().reason
    assert fleet.status("u").state == "done"
    assert not fleet.open()


def test_the_other_half_is_cancelled_before_a_pair_begins_again():
    fleet = Fleet()
    fleet.fails["train-edge"] = ["raised"]
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    fleet.run(60)  # the fleet itself looks that no half is there twice
    assert fleet.functions().count("train-device") == fleet.functions().count("train-edge") == 2
    assert len(fleet.cancelled) == 1
    assert fleet.status().state == "done"
