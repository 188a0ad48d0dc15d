from __future__ import annotations

from collections import Counter
from contextlib import nullcontext

import pytest

from nodes.learn import models
from nodes.learn.layer_work import LayerWork, layer_bytes
from nodes.policies.layers import LAYERS
from nodes.policies.stage_times import operations
from testbed.experiment import footprint

SHAPES = {model: models.usual_shape(model) for model in LAYERS}


@pytest.mark.parametrize("model", sorted(LAYERS))
def test_every_layer_works_by_itself(model: str) -> None:
    ops: Counter[str] = Counter()

    def timing(name: str) -> nullcontext[None]:
        ops[name] += 1
        return nullcontext()

    work = LayerWork(model, 2, SHAPES[model], 10)
    for _ in range(2):
        for name in work.names:
            work.layer(name, timing)
        work.loss(timing)
    assert work.names == LAYERS[model]
    assert ops == dict.fromkeys(operations(LAYERS[model]), 2)


@pytest.mark.parametrize("model", sorted(LAYERS))
def test_bytes_are_about_those_that_are_counted_without_torch(model: str) -> None:
    """Plans are made from counts; a node that admits stages by its own must not find other ones."""
    micro = 4
    profile, counted = layer_bytes(model, micro, SHAPES[model], 10), footprint.layers(model)
    assert [one.name for one in profile.layers] == list(LAYERS[model])
    for one, layer in zip(profile.layers, counted, strict=True):
        assert one.activation == one.gradient == 4 * micro * layer.output
    weights = sum(one.weights for one in profile.layers)
    assert weights == pytest.approx(4 * sum(layer.parameters for layer in counted), rel=0.02, abs=2000)
    kept = sum(one.memory for one in profile.layers)
    assert kept == pytest.approx(4 * micro * sum(layer.kept for layer in counted), rel=0.25)
