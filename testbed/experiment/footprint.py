"""What training takes of a node's memory, estimated without torch.

    BASE + 1.1 x 4 bytes x (batch x (kept + largest) + 3 x parameters x parts) + samples held

``kept`` are the numbers that a sample leaves for the way back (outputs of convolutions, their norms and activations; a
pooled value with its index counts as three; of an encoder block what goes into its norms and linear layers, queries,
keys, values and the weights of attention), ``largest`` is the largest of them once more, as a gradient on its way.
Weights have a gradient and a momentum beside them. Measured in containers of the node image (torch 2 on a CPU, the
least limit at which six steps were survived, to 12 MiB): vgg5 256 MiB at batch 16, 316 at 64, 436 at 256, 1011 at
1024; cnn 244 at 16, 307 at 256; the estimate says 255, 291, 436, 1014; 240, 300. It is meant to be below what is
needed, by up to a fifth where the allocator wastes most: what it refuses would not have run. What is kept is counted
for the other models in the same way, and held against what torch keeps; in containers they were not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

from nodes.policies.designs import (
    DESIGNS,
    Conv,
    Embed,
    Encoder,
    Linear,
    MaxPool,
    MeanToken,
    Neck,
    Residual,
    Shape,
    after,
)
from nodes.policies.designs import Layer as Design
from nodes.policies.samples import FORMS, Form, usual

BASE = 236 << 20
"""Bytes of a worker with torch that holds nothing yet: what the kernel cannot take back."""
WASTE = 1.1
NUMBER = 4
SAMPLES = {name: (found.train, found.test) for name, found in FORMS.items()}
"""Training and test samples of each data set."""
EVALUATED = 256
"""Samples that are evaluated at once."""

_KEPT = {"": 1, "relu": 1, "hswish": 2}
"""Numbers that an activation leaves for the way back, for each of its output: it, or what it came from as well."""


@dataclass(frozen=True)
class Layer:
    """One layer: numbers that it keeps of a sample, its output, its parameters, the largest tensor within."""

    kept: int
    output: int
    parameters: int
    largest: int


@cache
def layers(model: str, samples: Form | None = None) -> tuple[Layer, ...]:
    """The layers of a model, for samples of a data set; without one for those that it is usually for."""
    samples = samples or usual(model)
    shape: Shape = samples.shape
    found = []
    for design in DESIGNS[model].values():
        behind = after(design, shape, samples.classes)
        found.append(_layer(design, shape, behind))
        shape = behind
    return tuple(found)


def _layer(design: Design, shape: Shape, behind: Shape) -> Layer:
    channels, output = shape[0], prod(behind)
    match design:
        case Conv(out, kernel, norm, bias, act):
            parameters = out * (channels * kernel ** len(shape[1:]) + bias) + (2 * out if norm else 0)
            return Layer(output * (norm + _KEPT[act]), output, parameters, output)
        case MaxPool():
            return Layer(3 * output, output, 0, output)
        case Linear(_, act):
            return Layer(output * _KEPT[act], output, output * (prod(shape) + 1), output)
        case Residual(out):
            around = shape != behind
            parameters = 9 * out * (channels + out) + 4 * out + (out * (channels + 2) if around else 0)
            return Layer(output * (4 + around), output, parameters, output)
        case Neck():
            return _neck(design, shape, behind)
        case Embed(width, words):
            return Layer(output, output, width * (words + shape[0]), output)
        case Encoder():
            return _encoder(design, shape)
        case MeanToken():
            return Layer(output + 2 * shape[0], output, 2 * output, prod(shape))
        case _:
            return Layer(output, output, 0, output)


def _neck(design: Neck, shape: Shape, behind: Shape) -> Layer:
    channels, wide, each = shape[0], design.wide, 1 + _KEPT[design.act]
    before, within, output = wide * prod(shape[1:]), wide * prod(behind[1:]), prod(behind)
    kept, parameters = within * each + output * 2, wide * (design.kernel**2 + 2) + design.out * (wide + 2)
    if wide != channels:
        kept, parameters = kept + before * each, parameters + wide * (channels + 2)
    if design.excite:
        kept += within + 3 * wide + 2 * design.squeezed
        parameters += design.squeezed * (wide + 1) + wide * (design.squeezed + 1)
    return Layer(kept, output, parameters, max(before if wide != channels else 0, within, output))


def _encoder(design: Encoder, shape: Shape) -> Layer:
    length, width = shape
    numbers, weights, wide = prod(shape), design.heads * length**2, design.wide * length
    # Into both norms (the first of them is the output before), their four sums a place, out of them, queries, keys and
    # values, and what heads have joined.
    kept = 8 * numbers + 4 * length + weights + wide
    parameters = 4 * width * (width + 1) + 2 * width * design.wide + design.wide + width + 4 * width
    return Layer(kept, numbers, parameters, max(3 * numbers, weights, wide))


def training(
    model: str, first: int, last: int, batch: int, parts: int = 1, samples: Form | None = None
) -> int:
    """Bytes that a node needs to train layers ``first`` to ``last`` (not included) with that batch.

    Args:
        model: Name of the model.
        first: Index of its first layer there.
        last: Index after its last.
        batch: Samples a batch.
        parts: Data owners whose layers are there; one computes at a time.
        samples: What samples are like, without it as `usual`.
    """
    run = layers(model, samples)[first:last]
    if not run:
        return BASE
    arrives = (samples or usual(model)).numbers if first == 0 else layers(model, samples)[first - 1].output
    kept = arrives + sum(layer.kept for layer in run)
    largest = max(layer.largest for layer in run)
    held = 3 * parts * sum(layer.parameters for layer in run)
    return BASE + round(WASTE * NUMBER * (batch * (kept + largest) + held))


def staged(
    model: str, stages: Sequence[tuple[int, int, int]], micro: int, samples: Form | None = None
) -> int:
    """Bytes that a node needs for stages of pipelines, all of which are at work at once.

    Args:
        model: Name of the model.
        stages: First layer of each, the one after its last, and its micro-batches under way.
        micro: Samples of a micro-batch.
        samples: What samples are like, without it as `usual`.
    """
    every, like = layers(model, samples), samples or usual(model)
    kept = held = largest = 0
    for first, last, depth in stages:
        run = every[first:last]
        arrives = like.numbers if first == 0 else every[first - 1].output
        kept += depth * (arrives + sum(layer.kept for layer in run)) if run else 0
        held += 3 * sum(layer.parameters for layer in run)
        largest = max(largest, *(layer.largest for layer in run), 0)
    return BASE + round(WASTE * NUMBER * (micro * (kept + largest) + held))


def tails(model: str, cuts: Sequence[int], batch: int, samples: Form | None = None) -> int:
    """Bytes that an edge server needs for the halves behind these cuts, one a device; one computes at a time."""
    if not cuts:
        return BASE
    every = layers(model, samples)
    alone = [
        (training(model, cut, len(every), batch, 1, samples), sum(layer.parameters for layer in every[cut:]))
        for cut in cuts
    ]
    resting = [need + round(WASTE * NUMBER * 3 * (sum(n for _, n in alone) - own)) for need, own in alone]
    return max(resting)


def models(model: str, number: int, samples: Form | None = None) -> int:
    """Bytes that so many whole models take."""
    return round(WASTE * NUMBER * number * sum(layer.parameters for layer in layers(model, samples)))


def evaluating(model: str, tests: int, owners: int = 1, samples: Form | None = None) -> int:
    """Bytes that a node needs to aggregate so many owners' models, and to evaluate one on so many samples."""
    run, like = layers(model, samples), samples or usual(model)
    numbers = min(tests, EVALUATED) * (like.numbers + 2 * max(layer.largest for layer in run))
    held = (2 + owners) * sum(layer.parameters for layer in run)
    return BASE + round(WASTE * NUMBER * (numbers + held)) + tests * like.nbytes
