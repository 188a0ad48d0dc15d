"""What training takes of a node's memory, estimated without torch.

    BASE + 1.1 x 4 bytes x (batch x (kept + largest) + 3 x parameters x parts) + samples held

``kept`` are the numbers that a sample leaves for the way back (outputs of convolutions, their norms and ReLUs; a
pooled value with its index counts as three), ``largest`` is the largest of them once more, as a gradient on its way.
Weights have a gradient and a momentum beside them. Measured in containers of the node image (torch 2 on a CPU, the
least limit at which six steps were survived, to 12 MiB): vgg5 256 MiB at batch 16, 316 at 64, 436 at 256, 1011 at
1024; cnn 244 at 16, 307 at 256; the estimate says 255, 291, 436, 1014; 240, 300. It is meant to be below what is
needed, by up to a fifth where the allocator wastes most: what it refuses would not have run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from nodes.policies.layers import LAYERS

BASE = 236 << 20
"""Bytes of a worker with torch that holds nothing yet: what the kernel cannot take back."""
WASTE = 1.1
NUMBER = 4
IN_SHAPE = (3, 32, 32)
SAMPLE = prod(IN_SHAPE)
"""Bytes of a sample as it is kept."""
SAMPLES = {"digits": (1437, 360), "cifar10": (50_000, 10_000), "fashion-mnist": (60_000, 10_000)}
"""Training and test samples of each data set."""
EVALUATED = 256
"""Samples that are evaluated at once."""
CLASSES = 10

_CONVOLUTIONS = {"vgg5": (32, 64, 64), "cnn": (16, 24)}
_HIDDEN = {"vgg5": 128}
_NORMED = {"vgg5"}


@dataclass(frozen=True)
class Layer:
    """One layer: numbers that it keeps of a sample, its largest output, its parameters."""

    kept: int
    output: int
    parameters: int


@cache
def layers(model: str) -> tuple[Layer, ...]:
    """The layers of a model, for samples of 3 x 32 x 32."""
    channels, height, width = IN_SHAPE
    widths, normed = list(_CONVOLUTIONS[model]), model in _NORMED
    features, found = 0, []
    for name in LAYERS[model]:
        if name.startswith("conv"):
            out = widths.pop(0)
            numbers = out * height * width
            parameters = out * (channels * 9 + 1) + (2 * out if normed else 0)
            found.append(Layer(numbers * (2 if normed else 1), numbers, parameters))
            channels = out
        elif name.startswith("pool"):
            height, width = height // 2, width // 2
            found.append(Layer(3 * channels * height * width, channels * height * width, 0))
        else:
            before = features or channels * height * width
            features = CLASSES if name == LAYERS[model][-1] else _HIDDEN[model]
            found.append(Layer(features, features, features * (before + 1)))
    return tuple(found)


def training(model: str, first: int, last: int, batch: int, parts: int = 1) -> int:
    """Bytes that a node needs to train layers ``first`` to ``last`` (not included) with that batch.

    Args:
        model: Name of the model.
        first: Index of its first layer there.
        last: Index after its last.
        batch: Samples a batch.
        parts: Data owners whose layers are there; one computes at a time.
    """
    run = layers(model)[first:last]
    if not run:
        return BASE
    arrives = SAMPLE if first == 0 else layers(model)[first - 1].output
    kept = arrives + sum(layer.kept for layer in run)
    largest = max(layer.output for layer in run)
    held = 3 * parts * sum(layer.parameters for layer in run)
    return BASE + round(WASTE * NUMBER * (batch * (kept + largest) + held))


def evaluating(model: str, samples: int) -> int:
    """Bytes that a node needs to aggregate and evaluate a model on so many samples."""
    run = layers(model)
    numbers = min(samples, EVALUATED) * (SAMPLE + 2 * max(layer.output for layer in run))
    return BASE + round(WASTE * NUMBER * (numbers + 2 * sum(layer.parameters for layer in run))) + samples * SAMPLE
