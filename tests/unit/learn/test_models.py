from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nodes.errors import InputError
from nodes.learn.digest import weights_digest
from nodes.learn.models import build, cut, layers, parameters, shapes, takes_tokens, usual_shape
from nodes.policies.layers import LAYERS, cut_at
from tests.unit.learn.toys import in_shape


def test_vgg5_is_fedflys() -> None:
    model = build("vgg5", 0)
    assert parameters(model) == 582_346
    assert [name for name, _ in model.named_children()] == list(LAYERS["vgg5"])
    head, tail = cut(model, 4)
    assert (parameters(head), parameters(tail)) == (19_584, 562_762)
    fully_connected = torch.nn.Sequential(*list(model)[5:])
    assert not [m for m in fully_connected.modules() if isinstance(m, torch.nn.ReLU)]


def test_models_of_motion_and_text_are_as_their_sizes_by_hand() -> None:
    linear = [43 * 256 + 256, 256 * 256 + 256, 256 * 128 + 128, 128 * 10 + 10]
    assert parameters(build("mlp", None)) == sum(linear)
    convolutions = [3 * 5 * 32 + 32 * 3, 32 * 5 * 64 + 64 * 3, 64 * 3 * 96 + 96 * 3]
    assert parameters(build("cnn1d", None)) == sum(convolutions) + 96 * 10 + 10
    block = 64 * 192 + 192 + 64 * 64 + 64 + 2 * 64 * 128 + 128 + 64 + 4 * 64
    assert parameters(build("transformer", None)) == (1024 + 32) * 64 + 3 * block + 2 * 64 + 650


def test_mlp_takes_whatever_is_a_number() -> None:
    for shape in ((43,), (3, 128), (3, 32, 32)):
        assert build("mlp", 0, shape, 4)(torch.zeros(2, *shape)).shape == (2, 4)


def test_cnn_is_small() -> None:
    assert 10_000 < parameters(build("cnn", 0)) < 30_000


@pytest.mark.parametrize(
    ("model", "published"),
    # Of ten classes. VGG-11: configuration A with batch norm and fully connected layers of 512. MobileNetV3-small:
    # 2,542,856 at 1,000 classes, of which the last layer has 1,025,000 there and 10,250 here.
    [("vgg11", 9_756_426), ("resnet18", 11_173_962), ("mobilenetv3-small", 2_542_856 - 1_025_000 + 10_250)],
)
def test_models_have_as_many_parameters_as_published(model: str, published: int) -> None:
    assert parameters(build(model, None)) == published


def test_large_models_come_down_to_a_few_pixels() -> None:
    assert shapes("vgg11")[13] == (512, 1, 1)
    assert shapes("resnet18")[9] == (512, 4, 4)
    assert shapes("mobilenetv3-small")[13] == (576, 4, 4)


@pytest.mark.parametrize("model", LAYERS)
def test_every_weight_is_initialised(model: str) -> None:
    for name, tensor in build(model, 0).state_dict().items():
        values = tensor.float()
        assert bool(values.isfinite().all()), name
        if name.endswith(("bias", "running_mean", "num_batches_tracked")):
            assert not values.any(), name
        elif tensor.dim() == 1:  # what batch norm multiplies by
            assert bool((values == 1).all()), name
        else:
            assert 0 < values.std() < 1, name


def test_no_layer_is_random() -> None:
    for model in LAYERS:
        assert not [m for m in build(model, None).modules() if "ropout" in type(m).__name__]


def test_cuts_have_names() -> None:
    assert [cut_at("vgg5", name) for name in ("SP1", "sp2", "SP3", "pool2", 4, "fc2")] == [2, 4, 5, 4, 4, 7]
    assert cut_at("resnet18", "block8") == 9
    assert cut_at("resnet18", "SP1") is None
    assert cut_at("cnn", "conv3") is None


@pytest.mark.parametrize("model", LAYERS)
def test_shapes_are_those_that_cross_the_cut(model: str) -> None:
    sequence = build(model, 0)
    at = shapes(model)
    x = torch.zeros(2, *usual_shape(model), dtype=torch.int64 if takes_tokens(model) else torch.float32)
    for k in range(len(sequence) + 1):
        crossing = cut(sequence, k)[0](x)
        assert tuple(crossing.shape) == (2, *at[k])


def test_initial_weights_follow_seed_and_layer_alone() -> None:
    whole = build("vgg5", 3)
    torch.manual_seed(99)
    again = build("vgg5", 3)
    assert weights_digest(whole.state_dict()) == weights_digest(again.state_dict())
    assert weights_digest(whole.state_dict()) != weights_digest(build("vgg5", 4).state_dict())
    for k in range(len(whole) + 1):
        head, tail = cut(build("vgg5", 3), k)
        both = {**head.state_dict(), **tail.state_dict()}
        assert weights_digest(both) == weights_digest(whole.state_dict())


def test_layers_draw_apart_from_each_other() -> None:
    whole, narrow = build("vgg5", 3), build("vgg5", 3, (3, 8, 8))
    assert torch.equal(narrow.fc2.weight, whole.fc2.weight)  # though fc1 before it is smaller
    second, third = (layer.conv.weight.flatten()[:1000] for layer in (whole.conv2, whole.conv3))
    assert not torch.equal(second, third)  # of one deviation, so one key would make them equal


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build("vgg5", 0)
    assert torch.equal(torch.rand(3), expected)


def test_halves_share_the_models_weights() -> None:
    model = build("cnn", 0)
    _, tail = cut(model, 2)
    with torch.no_grad():
        tail.conv2.conv.weight.fill_(1)
    assert bool((model[2].conv.weight == 1).all())


@pytest.mark.parametrize("k", [-1, 8])
def test_cut_outside_the_model(k: int) -> None:
    with pytest.raises(InputError, match="0 to 7"):
        cut(build("vgg5", 0), k)


def test_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match="cnn, cnn1d, mlp, mobilenetv3-small, resnet18, transformer, vgg11, vgg5"):
        build("vgg55", 0)
    with pytest.raises(InputError, match="3x30x32"):
        build("cnn", 0, (3, 30, 32))
    for model, shape, wanted in (
        ("vgg5", (43,), "channels x height x width"), ("cnn1d", (3, 32, 32), "channels x time"),
        ("cnn1d", (3, 0), "channels x time"), ("transformer", (3, 128), "tokens"),
        ("mlp", (3, 128, 1, 1), "a number of features or channels x time or channels x height x width"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"{model} cannot take") as error:
            shapes(model, shape)
        assert wanted in str(error.value.wanted)
    with pytest.raises(InputError, match="no such model"):
        usual_shape("vgg55")


@pytest.mark.parametrize("model", sorted(LAYERS))
def test_some_layers_alone_are_those_of_the_whole(model: str) -> None:
    count = len(LAYERS[model])
    shape = in_shape(model, 16)
    whole = build(model, 3, shape)
    for first, last in ((0, count), (1, 3), (count - 1, count), (2, 2)):
        part = layers(model, first, last, shape)
        expected = cut(cut(whole, first)[1], last - first)[0].state_dict()
        assert {n: t.shape for n, t in part.state_dict().items()} == {n: t.shape for n, t in expected.items()}
        assert part.training
        assert not any(t.any() for t in part.state_dict().values())
    with pytest.raises(InputError, match="outside the model"):
        layers(model, 0, count + 1)


def test_making_a_model_imports_nothing_that_takes_its_time() -> None:
    """What the first model of a process takes is work of its function, and not of its cold start."""
    code = """
import sys
from nodes.learn import models
models.build("cnn", 1)
models.layers("vgg5", 0, 2)
assert "sympy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
