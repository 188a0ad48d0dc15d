"""Models as sequences of named layers that can be cut after any of them.

``vgg5`` is the network of FedFly (582,346 parameters at 3x32x32 and ten classes), with its initial
distributions; ``cnn`` is small, for smoke tests. A layer's initial weights depend on the seed and its name
alone, so a model cut anywhere starts from the same numbers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from nodes.errors import InputError
from nodes.learn import keyed
from nodes.policies.layers import LAYERS

IN_SHAPE = (3, 32, 32)


def build(
    model: str, seed: int | None, in_shape: tuple[int, ...] = IN_SHAPE, classes: int = 10
) -> nn.Sequential:
    """The whole model with its initial weights, in training mode.

    Args:
        model: A name of `LAYERS`.
        seed: The experiment's; None leaves all weights zero, for a model whose weights are about to be loaded.
        in_shape: Channels, height, width of one sample; height and width are multiples of 4.
        classes: Number of outputs.

    Raises:
        InputError: There is no such model, or it cannot take this shape.
    """
    # Made without memory first: constructors would draw from torch's global generator.
    with torch.device("meta"):
        sequence = _design(model, in_shape, classes)
    sequence.to_empty(device="cpu")
    if seed is None:
        for tensor in sequence.state_dict().values():
            tensor.zero_()
        return sequence.train()
    for name, layer in sequence.named_children():
        _initialise(layer, keyed.torch_generator(seed, "", f"init/{name}"))
    return sequence.train()


def cut(sequence: nn.Sequential, k: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The first ``k`` layers and the rest, sharing the model's weights and their names.

    ``k`` may be 0 or the number of layers; one side is empty then.

    Raises:
        InputError: ``k`` is outside the model.
    """
    check_cut(k, len(sequence))
    layers = list(sequence.named_children())
    return nn.Sequential(OrderedDict(layers[:k])), nn.Sequential(OrderedDict(layers[k:]))


def check_cut(k: int, layers: int) -> None:
    """Refuse a cut outside a model of that many layers (InputError)."""
    if not 0 <= k <= layers:
        raise InputError(
            "the cut lies outside the model",
            wanted=f"0 to {layers}",
            found=str(k),
            remedy="set workload.cut to the number of layers that stay on the device",
        )


def shapes(
    model: str, in_shape: tuple[int, ...] = IN_SHAPE, classes: int = 10
) -> tuple[tuple[int, ...], ...]:
    """Shape of one sample at every cut, from 0 (the input) to the last (the logits); computes nothing."""
    with torch.device("meta"):
        x = torch.empty(1, *in_shape)
        at = [in_shape]
        for layer in _design(model, in_shape, classes).eval():
            x = layer(x)
            at.append(tuple(x.shape[1:]))
    return tuple(at)


def parameters(sequence: nn.Sequential) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in sequence.parameters())


def _design(model: str, in_shape: tuple[int, ...], classes: int) -> nn.Sequential:
    if model not in _DESIGNS:
        raise InputError("no such model", wanted=", ".join(sorted(_DESIGNS)), found=model)
    if len(in_shape) != 3 or any(n <= 0 or n % 4 for n in in_shape[1:]):
        raise InputError(
            f"{model} cannot take samples of this shape",
            wanted="channels x height x width, height and width multiples of 4",
            found="x".join(map(str, in_shape)),
        )
    layers = _DESIGNS[model](in_shape, classes)
    return nn.Sequential(OrderedDict(zip(LAYERS[model], layers, strict=True)))


def _vgg5(in_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
    channels, height, width = in_shape
    return [
        _conv(channels, 32, norm=True),
        nn.MaxPool2d(2),
        _conv(32, 64, norm=True),
        nn.MaxPool2d(2),
        _conv(64, 64, norm=True),
        _flat_linear(64 * height * width // 16, 128),
        nn.Linear(128, classes),  # no ReLU between the two, as FedFly has it
    ]


def _cnn(in_shape: tuple[int, ...], classes: int) -> list[nn.Module]:
    channels, height, width = in_shape
    return [
        _conv(channels, 16, norm=False),
        nn.MaxPool2d(2),
        _conv(16, 24, norm=False),
        nn.MaxPool2d(2),
        _flat_linear(24 * height * width // 16, classes),
    ]


_DESIGNS: dict[str, Callable[[tuple[int, ...], int], list[nn.Module]]] = {"vgg5": _vgg5, "cnn": _cnn}


def _conv(channels: int, out: int, *, norm: bool) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(channels, out, 3, padding=1))
    if norm:
        parts["norm"] = nn.BatchNorm2d(out)
    parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


def _flat_linear(features: int, out: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(features, out)))


@torch.no_grad()
def _initialise(layer: nn.Module, generator: torch.Generator) -> None:
    """He's normal for convolutions (fan out), a narrow normal for linear layers, no bias."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            _normal(module.weight, math.sqrt(2 / fan_out), generator)
        elif isinstance(module, nn.Linear):
            _normal(module.weight, 0.01, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            continue
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()


def _normal(weight: Tensor, deviation: float, generator: torch.Generator) -> None:
    weight.normal_(0.0, deviation, generator=generator)
