from __future__ import annotations

import pytest
import torch

from nodes.errors import InputError
from nodes.learn import layer_times, reference
from nodes.policies.layers import LAYERS
from nodes.policies.stage_times import StageTimes, operations
from tests.unit.learn.toys import in_shape


@pytest.mark.parametrize("model", ["cnn", "mobilenetv3-small", "mlp", "cnn1d", "transformer"])
def test_every_layer_is_measured_each_way(model: str) -> None:
    found = layer_times.measure(model, 2, 1, in_shape(model), 6, seconds=0.0)
    assert set(found) == set(operations(LAYERS[model]))
    assert all(0 < seconds < 1 for seconds in found.values())
    assert len(StageTimes.of(found, LAYERS[model]).forward) == len(LAYERS[model])


def test_the_layers_add_up_to_about_the_whole() -> None:
    times = StageTimes.of(layer_times.measure("cnn", 32, 1, seconds=0.2), LAYERS["cnn"])
    whole = reference.measure("cnn", 2, 32, 1, seconds=0.2).ops["whole.step"]
    assert times.op("whole", 0, 5) + times.op("update", 0, 5) == pytest.approx(whole, rel=0.6)


def test_threads_and_generator_are_left_alone() -> None:
    before, state = torch.get_num_threads(), torch.get_rng_state()
    layer_times.measure("cnn", 2, 2, (3, 8, 8), seconds=0.0)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_key_names_all_that_it_depends_on() -> None:
    base = layer_times.key("vgg5", 4, 1)
    others = {
        layer_times.key("cnn", 4, 1), layer_times.key("vgg5", 8, 1), layer_times.key("vgg5", 4, 2),
        layer_times.key("vgg5", 4, 1, (1, 32, 32)), reference.key("vgg5", 4, 4, 1),
        layer_times.key("mlp", 4, 1), layer_times.key("mlp", 4, 1, (3, 128)),
        layer_times.key("vgg5", 4, 1, classes=2),
    }  # fmt: skip
    assert len(others | {base}) == 9
    assert base.endswith("vgg5 3x32x32 layers batch 4 threads 1")  # numbers that are stored go on holding
    assert layer_times.key("vgg5", 4, 1, (3, 32, 32), classes=10) == base
    assert layer_times.key("vgg5", 4, 1, torch_version="2.0") == base.replace(torch.__version__, "2.0")


def test_a_stage_takes_the_sum_of_its_layers() -> None:
    times = StageTimes((1, 2, 4), (10, 20, 40), (0.1, 0.2, 0.4), 100)
    assert times.op("forward", 0, 2) == 3
    assert times.op("backward", 1, 3) == 60
    assert times.op("update", 0, 3) == pytest.approx(0.7)
    assert times.op("tail", 1, 3) == 6 + 100 + 60
    assert times.op("whole", 0, 3) == times.op("tail", 0, 3)
    assert times.op("forward", 2, 2) == 0
    with pytest.raises(InputError, match="no operation"):
        times.op("sideways", 0, 1)
    with pytest.raises(InputError, match="without reference times"):
        StageTimes.of({"forward.a": 1.0, "loss": 1.0}, ["a"])
