"""The layers of a model one by one: real training work on noise, for measuring what it takes here, and its bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodes.learn import models
from nodes.learn.reference import noise
from nodes.learn.stage import Sgd
from nodes.learn.stash import StashStage
from nodes.policies.profile import FULL, LayerProfile, ModelProfile

Timing = Callable[[str], AbstractContextManager[Any]]
"""Called with the name of an operation (`nodes.policies.stage_times`); what is done in it is that operation."""


def stages(model: str, in_shape: tuple[int, ...], classes: int) -> dict[str, StashStage]:
    """The layers of a model, each as a stage by itself, for work on noise.

    Without a learning rate: as noise is learnt by heart numbers become too small to be fast.
    """
    sgd = Sgd(lr=0.0)
    return {
        name: StashStage(nn.Sequential(OrderedDict({name: layer})), sgd, first=i == 0)
        for i, (name, layer) in enumerate(models.build(model, 0, in_shape, classes).named_children())
    }


class LayerWork:
    """The layers of a model, each on noise of the shape that it gets in training.

    Args:
        model: Its name.
        micro: Samples of a micro-batch.
        in_shape: Shape of a sample.
        classes: Of the data set.
    """

    def __init__(self, model: str, micro: int, in_shape: tuple[int, ...], classes: int) -> None:
        shapes = models.shapes(model, in_shape, classes)
        x, self._labels = noise(model, micro, in_shape, classes)
        self._work: dict[str, tuple[StashStage, Tensor, Tensor]] = {}
        generator = torch.Generator().manual_seed(0)
        for i, (name, stage) in enumerate(stages(model, in_shape, classes).items()):
            arrives = x if i == 0 else torch.randn(micro, *shapes[i], generator=generator)
            self._work[name] = (stage, arrives, torch.randn(micro, *shapes[i + 1], generator=generator))

    @property
    def names(self) -> tuple[str, ...]:
        """The layers, in order."""
        return tuple(self._work)

    def layer(self, name: str, timing: Timing) -> None:
        """Train one layer once."""
        stage, x, gradient = self._work[name]
        with timing(f"forward.{name}"):
            stage.forward(x)
        with timing(f"backward.{name}"):
            stage.backward(gradient)
        with timing(f"update.{name}"):
            stage.step()

    def loss(self, timing: Timing) -> None:
        """The loss and its gradient once, on the last layer's output."""
        logits = next(reversed(self._work.values()))[2].detach().requires_grad_()
        with timing("loss"):
            torch.autograd.grad(functional.cross_entropy(logits, self._labels), [logits])


@lru_cache(maxsize=8)
def layer_bytes(model: str, micro: int, in_shape: tuple[int, ...], classes: int) -> ModelProfile:
    """Bytes of each layer for a micro-batch, counted on a pass through it; all times are 0.

    What a layer leaves for the way back is what torch saves of it and what it hands on, but neither its weights nor
    what came into it: that is counted where it came from.
    """
    x, labels = noise(model, micro, in_shape, classes)
    found, crossing = [], x
    for i, (name, layer) in enumerate(models.build(model, 0, in_shape, classes).named_children()):
        arrived = crossing if i == 0 else crossing.requires_grad_()
        own = {t.data_ptr() for t in (*layer.parameters(), *layer.buffers(), arrived)}
        saved: dict[int, int] = {}

        def keep(tensor: Tensor, own: set[int] = own, saved: dict[int, int] = saved) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = layer(arrived)
        keep(out)
        weights = sum(t.nbytes for t in layer.state_dict().values())
        found.append(
            LayerProfile(name, 0.0, 0.0, 0.0, out.nbytes, out.nbytes, weights, sum(saved.values()))
        )
        crossing = out.detach()
    return ModelProfile(model, micro, tuple(found), x.nbytes, labels.nbytes, 0.0, FULL)
