"""Activations and gradients made smaller for their way, if an experiment wants that; what is lost is told.

    none    as they are
    fp16    numbers of 16 bits; what is too large for them becomes the largest there is
    int8    numbers of 8 bits, linear and symmetric: multiples of a 127th of the largest in the tensor

One scale a tensor and no statistics that run on: the simplest that is usual, and what comes out hangs on the tensor
alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nodes.errors import WireError

WAYS = ("none", "fp16", "int8")
_SCALE = ".scale"


@dataclass
class Loss:
    """What packing lost so far: squares of the differences, and of the numbers themselves."""

    lost: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float:
        """Root mean square of the differences as a share of that of the numbers."""
        return (self.lost / self.total) ** 0.5 if self.total else 0.0


def pack(name: str, tensor: Tensor, way: str, loss: Loss) -> dict[str, Tensor]:
    """A tensor as it goes over the network, under its name; what that loses is added to ``loss``.

    Whole numbers, as words of raw samples are, go as they are.
    """
    if way == "none" or not tensor.is_floating_point():
        return {name: tensor}
    if way == "fp16":
        most = torch.finfo(torch.float16).max
        packed = {name: tensor.clamp(-most, most).half()}
    else:
        scale = tensor.abs().max() / 127
        packed = {name: (tensor / scale.clamp(min=1e-38)).round().to(torch.int8), name + _SCALE: scale}
    lost = unpack(name, packed) - tensor
    loss.lost += float(torch.linalg.vector_norm(lost, dtype=torch.float64)) ** 2  # squares of floats are soon too small
    loss.total += float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
    return packed


def unpack(name: str, tensors: dict[str, Tensor]) -> Tensor:
    """Inverse of `pack`, but for what it lost (WireError if the tensor is not there)."""
    if name not in tensors:
        raise WireError(f"a message without its tensor {name}", found=", ".join(sorted(tensors)) or "none")
    tensor = tensors[name]
    if tensor.dtype == torch.int8:
        if name + _SCALE not in tensors:
            raise WireError(f"a message without the scale of its tensor {name}")
        return tensor.float() * tensors[name + _SCALE]
    return tensor.float() if tensor.dtype == torch.float16 else tensor
