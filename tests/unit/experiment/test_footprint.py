"""The estimate of memory knows the models that are trained."""

from __future__ import annotations

import pytest
import torch

from nodes.learn import datasets, models
from nodes.policies import samples
from nodes.policies.layers import LAYERS
from testbed.experiment import footprint

MIB = 2**20


@pytest.mark.parametrize("model", LAYERS)
def test_layers_are_those_of_the_models(model):
    built = models.build(model, None)
    assert [layer.parameters for layer in footprint.layers(model)] == [models.parameters(child) for child in built]
    outputs = [numbers for shape in models.shapes(model)[1:] for numbers in [_product(shape)]]
    assert [layer.output for layer in footprint.layers(model)] == outputs


def _product(shape):
    return 1 if not shape else shape[0] * _product(shape[1:])


@pytest.mark.parametrize("model", LAYERS)
def test_what_is_kept_is_what_torch_keeps(model):
    """Tensors that autograd saves, each memory counted once, without weights."""
    built, batch = models.build(model, 0), 4
    weights = {tensor.untyped_storage().data_ptr() for tensor in built.state_dict().values()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        shape = (batch, *models.usual_shape(model))
        built(torch.randint(1024, shape) if models.takes_tokens(model) else torch.randn(shape)).sum()
    found = sum(t.numel() * t.element_size() for at, t in kept.items() if at not in weights) / batch / footprint.NUMBER
    estimate = samples.usual(model).numbers + sum(layer.kept for layer in footprint.layers(model))
    assert 0.97 * found < estimate < 1.03 * found


@pytest.mark.parametrize(
    ("model", "first", "last", "batch", "measured"),
    [("vgg5", 0, 7, 16, 256), ("vgg5", 0, 7, 64, 316), ("vgg5", 0, 7, 256, 436), ("vgg5", 0, 7, 1024, 1011),
     ("vgg5", 0, 4, 256, 512), ("vgg5", 4, 7, 256, 274), ("cnn", 0, 5, 16, 244), ("cnn", 0, 5, 256, 307)],
)  # fmt: skip
def test_the_estimate_is_near_what_was_measured_and_not_above(model, first, last, batch, measured):
    estimate = footprint.training(model, first, last, batch) / MIB
    assert 0.8 * measured < estimate < measured + 12


def test_a_batch_and_another_owner_take_more():
    one = footprint.training("vgg5", 4, 7, 16)
    assert footprint.training("vgg5", 4, 7, 32) > one
    assert footprint.training("vgg5", 4, 7, 16, parts=4) - one > 3 * 12 * 500_000
    assert footprint.training("vgg5", 7, 7, 16) == footprint.BASE


def test_the_built_in_set_has_as_many_samples_as_the_check_thinks():
    digits = datasets.load("digits")
    assert footprint.SAMPLES["digits"] == (len(digits.train_y), len(digits.test_y))
    assert digits.train_x[0].nbytes == samples.FORMS["digits"].nbytes


@pytest.mark.parametrize("name", [name for name, form in samples.FORMS.items() if form.built_in])
def test_forms_are_those_of_the_sets_that_are_built_in(name):
    data, form = datasets.load(name, seed=2), samples.FORMS[name]
    assert (len(data.train_y), len(data.test_y)) == (form.train, form.test)
    assert data.train_x.shape[1:] == data.test_x.shape[1:] == form.shape
    assert data.train_x[0].nbytes == form.nbytes
    assert set(data.train_y.tolist()) == set(data.test_y.tolist()) == set(range(form.classes))


@pytest.mark.parametrize("name", samples.FORMS)
def test_every_set_has_models_that_know_its_form(name):
    form = samples.FORMS[name]
    assert samples.takers(form.kind)
    for model in samples.takers(form.kind):
        built = models.build(model, None, form.shape, form.classes)
        found = footprint.layers(model, form)
        assert [layer.parameters for layer in found] == [models.parameters(child) for child in built]
        assert found[-1].output == form.classes
        assert footprint.training(model, 0, len(found), 16, 1, form) > footprint.BASE


def test_samples_count_as_what_they_are():
    tokens, digits = samples.FORMS["docstrings"], samples.FORMS["digits"]
    assert footprint.evaluating("mlp", 1000, 1, digits) - footprint.evaluating("mlp", 900, 1, digits) == 100 * 3072
    more = [footprint.evaluating("transformer", n, 1, tokens) for n in (900, 1000)]
    assert more[1] - more[0] == 100 * 32 * 2
    assert samples.taken("motion", "transformer") == samples.usual("transformer")


def test_halves_of_several_cuts_are_held_together_and_train_in_turn():
    assert footprint.tails("vgg5", [4, 4, 4], 16) == footprint.training("vgg5", 4, 7, 16, parts=3)
    early, late = footprint.training("vgg5", 2, 7, 16), footprint.training("vgg5", 5, 7, 16)
    assert early < footprint.tails("vgg5", [5, 2], 16) < early + late - footprint.BASE
    assert footprint.tails("vgg5", [], 16) == footprint.BASE


def test_an_aggregator_holds_a_model_of_every_owner():
    one, four = (footprint.evaluating("resnet18", 100, owners) for owners in (1, 4))
    assert four - one > 3 * 4 * 11_000_000
