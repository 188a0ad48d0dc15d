"""SHA-256 over named tensors: what proves that two models, or two copies of a state, are the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # what handles arrays alone does without torch, which takes a second and 200 MB
    from torch import Tensor


class Digest:
    """Digest that grows tensor by tensor, in the caller's order; `weights_digest` sorts by name.

    A sender may hash while it sends: `begin` a tensor, then `update` with its bytes, chunk by chunk.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def text(self, value: object) -> None:
        """Add plain data, by its canonical JSON."""
        self._framed(json.dumps(value, sort_keys=True).encode())

    def begin(self, name: str, dtype: object, shape: tuple[int, ...]) -> None:
        """Announce a tensor whose bytes follow; its type as torch names it (``torch.float32``)."""
        self._framed(json.dumps([name, str(dtype), list(shape)]).encode())

    def update(self, data: memoryview | bytes) -> None:
        """Add bytes of the tensor announced last."""
        self._hash.update(data)

    def tensor(self, name: str, tensor: Tensor) -> None:
        """Add a whole tensor."""
        self.begin(name, tensor.dtype, tuple(tensor.shape))
        self.update(raw(tensor))

    def hexdigest(self) -> str:
        """Digest of all that was added so far."""
        return self._hash.hexdigest()

    def _framed(self, data: bytes) -> None:
        # Its length goes first, so that no data can be taken for the next header.
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)


def raw(tensor: Tensor) -> memoryview:
    """The tensor's bytes, without a copy where it is contiguous."""
    import torch

    flat: Any = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat)


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Hex digest of a state dict, whatever the order of its names: ``weights_sha256`` in summaries."""
    digest = Digest()
    for name in sorted(weights):
        digest.tensor(name, weights[name])
    return digest.hexdigest()


def arrays_digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """What `weights_digest` of the same tensors is, for arrays and without torch."""
    digest = Digest()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")  # not ascontiguousarray, which turns a scalar into a vector of one
        digest.begin(name, f"torch.{array.dtype.name}", array.shape)
        flat: Any = array.reshape(-1).view(np.uint8)
        digest.update(memoryview(flat))
    return digest.hexdigest()
