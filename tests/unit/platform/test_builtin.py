"""The built-in functions as the plain functions that they are."""

import subprocess
import sys
from contextlib import nullcontext
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from nodes.errors import InputError, RunError
from nodes.learn import models, shards
from nodes.learn.aggregate import fedavg
from nodes.learn.evaluate import evaluate as measure
from nodes.learn.pacing import Pacer
from nodes.platform.builtin import aggregate, broadcast, evaluate, initialise
from nodes.platform.hosting import train
from nodes.platform.selecting import select_data
from nodes.wire import control as ctl
from nodes.wire.task import Select
from tests.unit.runtime.memory import Net

MODEL = {"a.weight": np.ones((2, 3), np.float32), "a.bias": np.zeros(2, np.float32), "b.weight": np.ones(4, np.float32)}


class Steps(Pacer):
    """What it is asked to pace."""

    def __init__(self):
        super().__init__(None)
        self.asked = []

    def step(self, reference_s):
        self.asked.append(reference_s)
        return super().step(reference_s)


@pytest.fixture
def task(tmp_path):
    return Net(tmp_path, "fedavg", rounds=1).hosts["cloud"].task


def test_of_a_model_only_the_layers_that_are_needed_are_passed_on():
    got = broadcast(MODEL, ["a", "of-other-models"])
    assert sorted(got["part"]) == ["a.bias", "a.weight"]
    assert got["bytes"] == 4 * 8
    with pytest.raises(InputError, match="no such layer") as caught:
        broadcast(MODEL, ["c"])
    assert caught.value.wanted == "some of a, b"


def test_models_are_averaged_as_the_aggregator_does():
    given = {"d1": MODEL, "d2": {name: array * 4 for name, array in MODEL.items()}}
    samples, pacer = {"d1": 3.0, "d2": 1.0}, Steps()
    got = aggregate(given, samples, pacer)["weights"]
    wanted = fedavg({o: {n: torch.from_numpy(a) for n, a in m.items()} for o, m in given.items()}, samples)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(got[name], tensor.numpy())
    assert pacer.asked == [None]
    with pytest.raises(RunError, match="weight"):
        aggregate(given, {"d1": 1.0}, pacer)


def test_making_and_evaluating_a_model_are_held_to_the_units_speed(task):
    pacer = Steps()
    weights = initialise(task, pacer)["weights"]
    first = models.build(task.model, task.seed, tuple(task.in_shape), task.classes).state_dict()
    assert all(np.array_equal(weights[name], tensor.numpy()) for name, tensor in first.items())
    assert pacer.asked.pop() is None
    found = evaluate(weights, task, "cloud", pacer)
    assert pacer.asked.pop() is None  # nobody has measured what a sample takes: its CPU time
    assert evaluate(weights, msgspec.structs.replace(task, reference={"evaluate": 0.25}), "cloud", pacer) == found
    assert pacer.asked == [0.25 * found["samples"]]


class Said(list):
    """What a function says to the controller."""

    def say(self, frame):
        self.append(ctl.from_node(frame))


@pytest.mark.parametrize("select", [Select("hard", 0.4), Select("mixed", 0.4, "logistic", "half")], ids=str)
def test_data_is_chosen_in_several_steps_of_which_the_last_says_what(tmp_path, select):
    task = Net(tmp_path, "fedavg", devices=("d1",), rounds=1, select=select).hosts["cloud"].task
    pacer, said = Steps(), Said()
    got = select_data(task, "d1", "d1", said, pacer)
    [events] = said
    assert len(events.spans) == len(pacer.asked) > got["samples"] / 32
    assert set(pacer.asked) == {None}
    assert all(before.end <= after.begin for before, after in pairwise(events.spans)), "each is a turn by itself"
    *_, last = events.spans
    assert (last.attrs["samples"], last.attrs["kept"], last.attrs["by_class"]) == (160, 64, got["by_class"])
    assert [one.attrs for one in events.spans[:-1]] == [{"device": "d1"}] * (len(events.spans) - 1)


def test_a_large_test_set_is_evaluated_in_several_steps():
    data, counts = shards.Shard(torch.zeros(10, 4), torch.zeros(10, dtype=torch.int64), 2, (0.0,), (1.0,)), []

    def work(count):
        counts.append(count)
        return nullcontext()

    assert measure(torch.nn.Linear(4, 2), data, 4, work).samples == sum(counts)
    assert counts == [4, 4, 2]


def test_a_model_of_something_else_is_not_evaluated(task):
    with pytest.raises(RunError, match="weights"):
        evaluate(MODEL, task, "cloud", Steps())
    with pytest.raises(InputError, match="no samples"):
        evaluate(MODEL, task, "ea", Steps())


def test_a_round_of_nobody_is_refused(task):
    with pytest.raises(InputError, match="no share"):
        train(task, "d1", "d9", 1, MODEL, None, Steps())
    with pytest.raises(InputError, match="no samples"):
        train(task, "ea", "d1", 1, MODEL, None, Steps(), keep=np.array([1]))


def test_a_task_survives_being_a_plain_value(task):
    [port] = [evaluate.inputs["task"]]
    assert msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(task)), port.type) == task


def test_an_agent_needs_no_torch():
    code = """
import sys
from nodes.platform import describing, fetching, instances, library, streaming
for name in library.BUILT_IN:
    library.find(name)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
