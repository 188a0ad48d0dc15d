from __future__ import annotations

import copy
import functools

import pytest
import torch

from nodes.errors import RunError
from nodes.learn.aggregate import merge
from nodes.learn.digest import weights_digest
from nodes.learn.models import build
from nodes.learn.stage import Sgd, Stage
from nodes.policies.layers import LAYERS
from tests.unit.learn.toys import SGD, batches, halves, in_shape, split_step

CUTS = [(model, k) for model in ("vgg5", "cnn", "mlp", "cnn1d", "transformer") for k in range(len(LAYERS[model]) + 1)]
LARGE = {
    "vgg11": ("conv1", "pool2", "conv5", "pool5", "fc1"),
    "resnet18": ("conv1", "block3", "block6", "block8", "pool"),
    "mobilenetv3-small": ("conv1", "neck1", "neck4", "neck5", "neck11", "conv2", "pool", "fc1"),
}
"""The last layers on the device: each kind of boundary."""


def whole(model: str, sgd: Sgd = SGD) -> Stage:
    return Stage(build(model, 7, in_shape(model)), sgd, first=True)


@pytest.mark.parametrize(("model", "k"), CUTS)
def test_cut_anywhere_trains_as_the_whole_does(model: str, k: int) -> None:
    stage = whole(model)
    head, tail = halves(model, k)
    before = weights_digest(stage.layers.state_dict())
    for x, y in batches(5, model=model):
        assert split_step(head, tail, x, y) == stage.train_step_tail(x, y)[1]
    both = merge(head.layers.state_dict(), tail.layers.state_dict())
    assert weights_digest(both) == weights_digest(stage.layers.state_dict()) != before
    assert weights_digest(merge(head.momentum, tail.momentum)) == weights_digest(stage.momentum)


@pytest.mark.parametrize(("model", "last"), [(model, last) for model, names in LARGE.items() for last in names])
def test_a_large_model_cut_anywhere_trains_as_the_whole_does(model: str, last: str) -> None:
    expected, momentum, losses = trained_whole(model)
    head, tail = halves(model, LAYERS[model].index(last) + 1, side=SIDE)
    assert tuple(split_step(head, tail, x, y) for x, y in batches(2, size=3, side=SIDE)) == losses
    assert weights_digest(merge(head.layers.state_dict(), tail.layers.state_dict())) == expected
    assert weights_digest(merge(head.momentum, tail.momentum)) == momentum


SIDE = 16


@functools.cache
def trained_whole(model: str) -> tuple[str, str, tuple[float, ...]]:
    """Digests of weights and momentum after two batches, and the losses."""
    stage = Stage(build(model, 7, (3, SIDE, SIDE)), SGD, first=True)
    before = weights_digest(stage.layers.state_dict())
    losses = tuple(stage.train_step_tail(x, y)[1] for x, y in batches(2, size=3, side=SIDE))
    after = weights_digest(stage.layers.state_dict())
    assert after != before
    return after, weights_digest(stage.momentum), losses


@pytest.mark.parametrize("sgd", [SGD, Sgd(0.1, 0.0), Sgd(0.1, 0.9), Sgd(0.1, 0.0, 0.01)])
def test_update_is_that_of_torch(sgd: Sgd) -> None:
    ours = whole("cnn", sgd)
    theirs = copy.deepcopy(ours.layers)
    optimizer = torch.optim.SGD(
        theirs.parameters(), lr=sgd.lr, momentum=sgd.momentum, weight_decay=sgd.weight_decay
    )
    for x, y in batches(4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(x), y).backward()
        optimizer.step()
        ours.train_step_tail(x, y)
    assert bool(ours.momentum) == bool(sgd.momentum)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, ours.layers.state_dict()[name]), name


def test_micro_batches_add_up_to_one_update() -> None:
    head, tail = halves("cnn", 2)  # no BatchNorm: the parts of a batch are independent
    stage = whole("cnn")
    [(x, y)] = batches(1, size=8)
    sent = [head.forward(x[at : at + 4], micro) for micro, at in enumerate((0, 4))]
    gradients = [tail.loss_backward(sent[m], y[4 * m : 4 * m + 4], share=0.5)[0] for m in (0, 1)]
    tail.step()
    for micro in (1, 0):  # in whatever order they come back
        head.backward(gradients[micro], micro)
    head.step()
    stage.train_step_tail(x, y)
    both = merge(head.layers.state_dict(), tail.layers.state_dict())
    for name, tensor in stage.layers.state_dict().items():
        torch.testing.assert_close(both[name], tensor, rtol=1e-4, atol=1e-6)


def test_first_stage_makes_no_gradient_of_the_data() -> None:
    [(x, y)] = batches(1)
    assert whole("cnn").train_step_tail(x, y)[0] is None
    assert x.grad is None
    assert not x.requires_grad


def test_words_have_no_gradient() -> None:
    [(x, y)] = batches(1, model="transformer")
    before = x.clone()
    assert x.dtype == torch.int64
    assert whole("transformer").train_step_tail(x, y)[0] is None
    head, tail = halves("transformer", 1)
    crossing = head.forward(x)
    gradient, _ = tail.train_step_tail(crossing, y)
    assert gradient is not None
    assert crossing.shape == gradient.shape == (6, 32, 64)
    assert head.backward(gradient) is None
    assert torch.equal(x, before)


@pytest.mark.parametrize("model", ["mlp", "transformer"])
def test_samples_are_independent_where_there_is_no_batch_norm(model: str) -> None:
    [(x, _)] = batches(1, model=model)
    stage = whole(model)
    torch.testing.assert_close(stage.layers(x)[:2], stage.layers(x[:2]), rtol=1e-5, atol=1e-6)


def test_a_gradient_must_belong_to_a_forward_pass() -> None:
    head, _ = halves("cnn", 2)
    [(x, _)] = batches(1)
    with pytest.raises(RunError, match="did not go forward"):
        head.backward(torch.zeros(6, 16, 4, 4))
    crossing = head.forward(x)
    with pytest.raises(RunError, match="twice"):
        head.forward(x)
    with pytest.raises(RunError, match="wait for their gradients"):
        head.step()
    head.backward(crossing)
    assert head.busy
    head.step()
    assert not head.busy
    head.forward(x)
    with pytest.raises(RunError, match="does not fit"):
        head.backward(crossing[:3])


def test_dropping_a_batch_leaves_no_trace() -> None:
    head, tail = halves("cnn", 2)
    other, other_tail = halves("cnn", 2)
    (x, _), (x2, y2) = batches(2)
    head.forward(x)
    head.drop()
    crossing = head.forward(x)
    head.backward(crossing)
    head.drop()
    split_step(head, tail, x2, y2)
    split_step(other, other_tail, x2, y2)
    assert weights_digest(head.layers.state_dict()) == weights_digest(other.layers.state_dict())


def test_load_takes_a_copy_and_starts_momentum_afresh() -> None:
    stage, other = whole("cnn"), whole("cnn")
    start = {name: t.clone() for name, t in stage.layers.state_dict().items()}
    (x, y), (x2, y2) = batches(2)
    stage.train_step_tail(x, y)
    stage.load(start)
    stage.train_step_tail(x2, y2)
    other.train_step_tail(x2, y2)
    assert weights_digest(stage.layers.state_dict()) == weights_digest(other.layers.state_dict())
    assert weights_digest(start) != weights_digest(stage.layers.state_dict())


def test_load_drops_the_batch_in_the_middle() -> None:
    head, _ = halves("cnn", 2)
    start = {name: t.clone() for name, t in head.layers.state_dict().items()}
    [(x, _)] = batches(1)
    head.backward(head.forward(x))
    head.load(start)
    assert not head.busy
    head.step()  # nothing is left to apply
    assert weights_digest(head.layers.state_dict()) == weights_digest(start)


def test_load_refuses_another_model_and_changes_nothing() -> None:
    stage = whole("vgg5")
    before = weights_digest(stage.layers.state_dict())
    with pytest.raises(RunError, match="another model"):
        stage.load(build("cnn", 0).state_dict())
    with pytest.raises(RunError, match=r"fc2\.weight does not fit"):
        stage.load(build("vgg5", 0, (3, 8, 8), classes=5).state_dict())
    assert weights_digest(stage.layers.state_dict()) == before


def test_settings_may_change_between_steps() -> None:
    stage = whole("cnn")
    [(x, y)] = batches(1)
    stage.sgd = Sgd(lr=0.0)
    before = weights_digest(stage.layers.state_dict())
    stage.train_step_tail(x, y)
    assert weights_digest(stage.layers.state_dict()) == before
