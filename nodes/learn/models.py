"""Models as sequences of named layers that can be cut after any of them.

What they are stands in `nodes.policies.designs`: ``vgg5`` is the network of FedFly (582,346 parameters at 3x32x32 and
ten classes), with its initial distributions; ``cnn`` is small, for smoke tests; ``mlp``, ``cnn1d`` and ``transformer``
take something else than images. A layer's initial weights depend on the seed and its name alone, so a model cut
anywhere starts from the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from nodes.errors import InputError
from nodes.learn import blocks, keyed
from nodes.policies.designs import DESIGNS, FEATURES, IMAGE, TAKES, TOKENS, USUAL, WINDOW, after

IN_SHAPE = USUAL[IMAGE]
_DIMENSIONS = {IMAGE: 3, WINDOW: 2, FEATURES: 1, TOKENS: 1}
_WANTED = {
    IMAGE: "channels x height x width, height and width multiples of 4",
    WINDOW: "channels x time",
    FEATURES: "a number of features",
    TOKENS: "a number of tokens",
}


def usual_shape(model: str) -> tuple[int, ...]:
    """Shape of a sample of those that a model is for: `IN_SHAPE` for images (InputError: there is no such model)."""
    _known(model)
    return USUAL[TAKES[model][0]]


def build(
    model: str, seed: int | None, in_shape: tuple[int, ...] | None = None, classes: int = 10
) -> nn.Sequential:
    """The whole model with its initial weights, in training mode.

    Args:
        model: A name of `DESIGNS`.
        seed: The experiment's; None leaves all weights zero, for a model whose weights are about to be loaded.
        in_shape: Shape of one sample, without it `usual_shape`: channels, height, width (multiples of 4) of an image;
            channels and length of a window; number of features; number of tokens.
        classes: Number of outputs.

    Raises:
        InputError: There is no such model, or it cannot take this shape.
    """
    # Made without memory first: constructors would draw from torch's global generator.
    with torch.device("meta"):
        sequence = _design(model, in_shape, classes)
    _give_memory(sequence)
    if seed is None:
        for tensor in sequence.state_dict().values():
            tensor.zero_()
        return sequence.train()
    for name, layer in sequence.named_children():
        blocks.initialise(layer, keyed.torch_generator(seed, "", f"init/{name}"))
    return sequence.train()


def layers(
    model: str, first: int, last: int, in_shape: tuple[int, ...] | None = None, classes: int = 10
) -> nn.Sequential:
    """Layers ``first`` to ``last`` (not included) alone, all weights zero, in training mode; see `build`.

    Raises:
        InputError: There are no such layers.
    """
    with torch.device("meta"):
        sequence = _design(model, in_shape, classes)
    check_cut(first, last)
    check_cut(last, len(sequence))
    part = nn.Sequential(OrderedDict(list(sequence.named_children())[first:last]))
    _give_memory(part)
    for tensor in part.state_dict().values():
        tensor.zero_()
    return part.train()


def _give_memory(sequence: nn.Sequential) -> None:
    """Give a model made without memory some, with anything in it.

    As `Module.to_empty` does, which imports sympy on its way: 0.3 s of a core in each process, and its memory.
    """
    for module in sequence.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


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
    model: str, in_shape: tuple[int, ...] | None = None, classes: int = 10
) -> tuple[tuple[int, ...], ...]:
    """Shape of one sample at every cut, from 0 (the input) to the last (the logits); computes nothing."""
    shape = usual_shape(model) if in_shape is None else in_shape
    _check(model, shape)
    at = [shape]
    for layer in DESIGNS[model].values():
        at.append(after(layer, at[-1], classes))
    return tuple(at)


def parameters(sequence: nn.Sequential) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in sequence.parameters())


def _design(model: str, in_shape: tuple[int, ...] | None, classes: int) -> nn.Sequential:
    at = shapes(model, in_shape, classes)
    layers = [(name, blocks.make(layer, at[i], classes)) for i, (name, layer) in enumerate(DESIGNS[model].items())]
    return nn.Sequential(OrderedDict(layers))


def takes_tokens(model: str) -> bool:
    """Whether a model takes sequences of words: whole numbers, of which there is no gradient."""
    _known(model)
    return TOKENS in TAKES[model]


def _known(model: str) -> None:
    if model not in DESIGNS:
        raise InputError("no such model", wanted=", ".join(sorted(DESIGNS)), found=model)


def _check(model: str, in_shape: tuple[int, ...]) -> None:
    _known(model)
    kinds = [kind for kind in TAKES[model] if _DIMENSIONS[kind] == len(in_shape)]
    odd = IMAGE in kinds and any(n % 4 for n in in_shape[1:])
    if not kinds or odd or any(n <= 0 for n in in_shape):
        raise InputError(
            f"{model} cannot take samples of this shape",
            wanted=" or ".join(_WANTED[kind] for kind in TAKES[model]),
            found="x".join(map(str, in_shape)),
        )
