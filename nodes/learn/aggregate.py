"""Averaging models, and putting the halves of one together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from nodes.errors import RunError

StateDict = dict[str, Tensor]


def fedavg(models: Mapping[str, Mapping[str, Tensor]], weights: Mapping[str, float]) -> StateDict:
    """Average of the owners' models, each weighted by its owner's number of samples.

    Sums run in the order of owners' names and in double precision, so that the result depends neither on
    who answered first nor, with weights that are whole numbers, on anything when all models are equal: then
    it is that model, bit for bit. Whole-number tensors (BatchNorm's count of batches) are not averaged; the
    largest is taken.

    Raises:
        RunError: Models do not match, or the weights have no positive sum.
    """
    owners = sorted(models)
    if set(owners) != set(weights):
        raise RunError("averaging needs one weight for every model", found=", ".join(sorted(weights)))
    if not owners or any(not weights[o] >= 0 for o in owners) or not sum(weights[o] for o in owners) > 0:
        raise RunError("averaging needs weights with a positive sum", found=str(dict(weights)))
    first = models[owners[0]]
    for owner in owners[1:]:
        if models[owner].keys() != first.keys():
            raise RunError(f"the models of {owners[0]} and {owner} differ in their layers")
    counts = [weights[owner] for owner in owners]
    return {name: _average(name, [models[owner][name] for owner in owners], counts) for name in first}


def _average(name: str, tensors: list[Tensor], weights: list[float]) -> Tensor:
    if any(t.shape != tensors[0].shape or t.dtype != tensors[0].dtype for t in tensors):
        raise RunError(f"models to be averaged differ in shape or type at {name}")
    if not tensors[0].is_floating_point():
        return torch.stack(tensors).amax(0)
    total = torch.zeros_like(tensors[0], dtype=torch.float64)
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor.to(torch.float64), alpha=float(weight))
    return total.div_(float(sum(weights))).to(tensors[0].dtype)


def merge(head: Mapping[str, Tensor], tail: Mapping[str, Tensor]) -> StateDict:
    """The whole model of two halves; their names do not overlap (RunError if they do)."""
    both = sorted(head.keys() & tail.keys())
    if both:
        raise RunError(f"two halves of a model both hold {', '.join(both[:4])}")
    return {**head, **tail}


def split(model: Mapping[str, Tensor], keys: Iterable[str]) -> StateDict:
    """The tensors of these keys: names of tensors, or of layers for all of theirs.

    A layer without a tensor (pooling) is fine; so is asking for nothing. Nothing is copied.
    """
    chosen = set(keys)
    return {name: t for name, t in model.items() if name in chosen or name.partition(".")[0] in chosen}
