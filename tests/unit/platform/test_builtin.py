"""The built-in functions as the plain functions that they are."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest
import torch

from nodes.errors import InputError, RunError
from nodes.learn.aggregate import fedavg
from nodes.platform.builtin import aggregate, broadcast, evaluate
from nodes.platform.hosting import train
from tests.unit.runtime.memory import Net

MODEL = {"a.weight": np.ones((2, 3), np.float32), "a.bias": np.zeros(2, np.float32), "b.weight": np.ones(4, np.float32)}


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
    models = {"d1": MODEL, "d2": {name: array * 4 for name, array in MODEL.items()}}
    samples = {"d1": 3.0, "d2": 1.0}
    got = aggregate(models, samples)["weights"]
    wanted = fedavg({o: {n: torch.from_numpy(a) for n, a in m.items()} for o, m in models.items()}, samples)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(got[name], tensor.numpy())
    with pytest.raises(RunError, match="weight"):
        aggregate(models, {"d1": 1.0})


def test_a_model_of_something_else_is_not_evaluated(task):
    with pytest.raises(RunError, match="weights"):
        evaluate(MODEL, task, "cloud")
    with pytest.raises(InputError, match="no samples"):
        evaluate(MODEL, task, "ea")


def test_a_round_of_nobody_is_refused(task):
    with pytest.raises(InputError, match="no share"):
        train(task, "d1", "d9", 1, MODEL, None)
    with pytest.raises(InputError, match="no samples"):
        train(task, "ea", "d1", 1, MODEL, None, keep=np.array([1]))


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
