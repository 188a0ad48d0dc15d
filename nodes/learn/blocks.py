"""Layers of the models, built from their designs (`nodes.policies.designs`), and their initial weights."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from nodes.learn.sequences import Embedding, EncoderBlock, TokenMean
from nodes.policies.designs import (
    Conv,
    Embed,
    Encoder,
    Layer,
    Linear,
    MaxPool,
    MeanPool,
    MeanToken,
    Neck,
    Residual,
)

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "hswish": nn.Hardswish}


def make(layer: Layer, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A layer for samples of this shape; its weights are whatever torch puts there."""
    flat = len(shape) == 2  # channels x time
    match layer:
        case Conv():
            return _conv_in_time(shape[0], layer) if flat else _conv(shape[0], layer)
        case MaxPool():
            return nn.MaxPool1d(2, ceil_mode=True) if flat else nn.MaxPool2d(2, ceil_mode=True)
        case MeanPool():
            return nn.AdaptiveAvgPool1d(1) if flat else nn.AdaptiveAvgPool2d(1)
        case Linear():
            return _linear(shape, layer.out or classes, layer.act)
        case Residual():
            return ResidualBlock(shape[0], layer)
        case Neck():
            return InvertedResidual(shape[0], layer)
        case Embed():
            return Embedding(shape[0], layer)
        case Encoder():
            return EncoderBlock(shape[-1], layer)
        case MeanToken():
            return TokenMean(shape[-1])


class ResidualBlock(nn.Module):
    """The basic block of ResNet (He et al., 2016)."""

    def __init__(self, channels: int, design: Residual) -> None:
        super().__init__()
        out, stride = design.out, design.stride
        self.conv1 = _normed(channels, out, 3, stride, act="relu")
        self.conv2 = _normed(out, out, 3)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.around = _normed(channels, out, 1, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H/stride x W/stride."""
        result: Tensor = self.act(self.conv2(self.conv1(x)) + self.around(x))
        return result


class InvertedResidual(nn.Module):
    """The block of MobileNetV3 (Howard et al., 2019)."""

    def __init__(self, channels: int, design: Neck) -> None:
        super().__init__()
        wide, act = design.wide, design.act
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if wide != channels:
            parts["widen"] = _normed(channels, wide, 1, act=act)
        parts["each"] = _normed(wide, wide, design.kernel, design.stride, groups=wide, act=act)
        if design.excite:
            parts["excite"] = SqueezeExcite(wide, design.squeezed)
        parts["narrow"] = _normed(wide, design.out, 1)
        self.inner = nn.Sequential(parts)
        self.residual = design.stride == 1 and channels == design.out

    def forward(self, x: Tensor) -> Tensor:
        """N x C x H x W to N x out x H/stride x W/stride."""
        result: Tensor = self.inner(x)
        return result + x if self.residual else result


class SqueezeExcite(nn.Module):
    """Weighs channels by what all of their pixels say (Hu et al., 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(1),
                squeeze=nn.Conv2d(channels, squeezed, 1),
                act=nn.ReLU(),
                excite=nn.Conv2d(squeezed, channels, 1),
                share=nn.Hardsigmoid(),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        result: Tensor = self.weigh(x) * x
        return result


def _conv(channels: int, design: Conv) -> nn.Sequential:
    if design.norm:
        return _normed(channels, design.out, design.kernel, bias=design.bias, act=design.act)
    conv = nn.Conv2d(channels, design.out, design.kernel, padding=design.kernel // 2, bias=design.bias)
    return nn.Sequential(OrderedDict(conv=conv, act=_ACTIVATIONS[design.act]()))


def _conv_in_time(channels: int, design: Conv) -> nn.Sequential:
    conv = nn.Conv1d(channels, design.out, design.kernel, padding=design.kernel // 2, bias=design.bias)
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if design.norm:
        parts["norm"] = nn.BatchNorm1d(design.out)
    parts["act"] = _ACTIVATIONS[design.act]()
    return nn.Sequential(parts)


def _normed(
    channels: int, out: int, kernel: int, stride: int = 1, *, groups: int = 1, bias: bool = False, act: str = ""
) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=bias)
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=nn.BatchNorm2d(out))
    if act:
        parts["act"] = _ACTIVATIONS[act]()
    return nn.Sequential(parts)


def _linear(shape: tuple[int, ...], out: int, act: str) -> nn.Module:
    linear = nn.Linear(math.prod(shape), out)
    if len(shape) == 1 and not act:
        return linear
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if len(shape) > 1:
        parts["flatten"] = nn.Flatten()
    parts["linear"] = linear
    if act:
        parts["act"] = _ACTIVATIONS[act]()
    return nn.Sequential(parts)


@torch.no_grad()
def initialise(layer: nn.Module, generator: torch.Generator) -> None:
    """He's normal for convolutions (fan out) and activated linear layers, a narrow normal for others, no bias.

    Layers of sequences have their own ways.
    """
    if isinstance(layer, Embedding | EncoderBlock | TokenMean):
        layer.initialise(generator)
        return
    activated = any(name == "act" for name, _ in layer.named_children())
    for module in layer.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            _normal(module.weight, math.sqrt(2 / fan_out), generator)
        elif isinstance(module, nn.Linear):
            _normal(module.weight, math.sqrt(2 / module.in_features) if activated else 0.01, generator)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_parameters()
            continue
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()


def _normal(weight: Tensor, deviation: float, generator: torch.Generator) -> None:
    weight.normal_(0.0, deviation, generator=generator)
