"""Tensors of torch to arrays of the wire and back, sharing memory."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nodes.wire.codec import Tensors


def to_arrays(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Views of the same memory; the tensors must not change while they are being sent."""
    return {name: t.detach().contiguous().numpy() for name, t in tensors.items()}


def to_torch(arrays: Tensors) -> dict[str, torch.Tensor]:
    """Views of the same memory."""
    return {name: torch.from_numpy(a) for name, a in arrays.items()}


def copies(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Arrays with memory of their own, for tensors that train on while they are being sent."""
    return {name: t.detach().numpy().copy() for name, t in tensors.items()}
