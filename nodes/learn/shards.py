"""A device's own samples: written by the host, read and dealt out in batches by the node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nodes.errors import InputError
from nodes.learn import keyed, tensorfile

_CROP = 4  # pixels of padding that a random crop may shift by, as usual for CIFAR-10


_DIMENSIONS = {torch.uint8: (4,), torch.float32: (2, 3), torch.int16: (2,)}
"""Dimensions that samples of a type may have: images, features or windows, words."""


@dataclass(frozen=True)
class Shard:
    """Samples, classes, and what normalises them.

    Samples are bytes (N x C x H x W), float32 (N x C x T, or N x F), or words as int16 (N x T), which nothing
    normalises.
    """

    x: Tensor
    y: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.y)

    def normalise(self, x: Tensor) -> Tensor:
        """Bytes and numbers to numbers of mean 0 and deviation 1 per channel, words to whole numbers of 64 bits."""
        if x.dtype == torch.int16:
            return x.long()
        scale = 255 if x.dtype == torch.uint8 else 1
        along = (1, -1, *(1 for _ in x.shape[2:]))
        mean = torch.tensor(self.mean, dtype=torch.float32).mul(scale).view(along)
        std = torch.tensor(self.std, dtype=torch.float32).mul(scale).view(along)
        return x.to(torch.float32, copy=True).sub_(mean).div_(std)


def write(
    path: Path,
    x: npt.NDArray[Any],
    y: npt.NDArray[np.int64],
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Write a shard file."""
    about = {"classes": classes, "mean": mean, "std": std}
    tensorfile.write(path, {"x": x, "y": y}, {"shard": json.dumps(about)})


def read(path: Path) -> Shard:
    """Read a shard file.

    Raises:
        InputError: It is missing, damaged, or something else.
    """
    arrays, metadata = tensorfile.read(path)
    try:
        about: dict[str, Any] = json.loads(metadata["shard"])
        x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
        shard = Shard(x, y, int(about["classes"]), tuple(about["mean"]), tuple(about["std"]))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError("not a shard of training data", where=str(path), found=str(error)) from None
    typed = x.ndim in _DIMENSIONS.get(x.dtype, ()) and y.dtype == torch.int64
    if not typed or y.shape != x.shape[:1] or not len(y):
        raise InputError("not a shard of training data", where=str(path), found=f"x {x.shape}, y {y.shape}")
    return shard


class Batches:
    """The batches of one device, any of them at any time: batch ``i`` of round ``r`` is always the same.

    All batches are full; what does not fill one is left out of that epoch (another draw leaves out others).
    Only a shard smaller than a batch is one smaller batch. Where samples were selected (`keep`), these alone are dealt
    out, as if there were no others.

    Args:
        shard: The device's samples. seed: The experiment's. owner: The device.
        batch: Samples in a batch. epochs: Passes over the shard in a round.
        augment: Random crops and mirror images, for photographs (bytes).
    """

    def __init__(
        self, shard: Shard, seed: int, owner: str, batch: int, epochs: int = 1, *, augment: bool = False
    ) -> None:
        if batch < 1 or epochs < 1:
            raise InputError("batch and epochs must be at least 1", found=f"batch {batch}, epochs {epochs}")
        self.shard = shard
        self._batch = batch
        self._key = (seed, owner)
        self._epochs = epochs
        self._augment = augment
        self._kept: npt.NDArray[np.int64] | None = None
        self._deal(len(shard))

    @property
    def samples(self) -> int:
        """Samples that are dealt out: what a model that was trained on them counts for."""
        return len(self.shard) if self._kept is None else len(self._kept)

    def keep(self, indices: npt.NDArray[np.int64]) -> None:
        """Deal out these samples of the shard alone from now on.

        Raises:
            InputError: There are none, or the shard does not have them.
        """
        kept = np.unique(indices)
        if not len(kept) or len(kept) < len(indices) or kept[0] < 0 or kept[-1] >= len(self.shard):
            raise InputError("a selection of samples that is none", wanted=f"some of {len(self.shard)}, each once",
                             found=f"{len(indices)} indices")  # fmt: skip
        self._kept = kept
        self._deal(len(kept))

    def _deal(self, samples: int) -> None:
        self.size = min(self._batch, samples)
        self.per_epoch = samples // self.size
        self._order: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        """Batches in a round."""
        return self.per_epoch * self._epochs

    def get(self, round: int, index: int) -> tuple[Tensor, Tensor]:
        """Batch ``index`` (from 0, through all epochs) of a round: samples, normalised, and classes."""
        chosen = self._chosen(round, index)
        x = self.shard.x[chosen]
        if self._augment:
            x = _augmented(x, keyed.numpy_generator(*self._key, "augment", round=round, batch=index))
        return self.shard.normalise(x), self.shard.y[chosen]

    def labels(self, round: int, index: int) -> Tensor:
        """The classes of a batch alone."""
        return self.shard.y[self._chosen(round, index)]

    def _chosen(self, round: int, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        epoch, at = divmod(index, self.per_epoch)
        return self._permutation(round, epoch)[at * self.size : (at + 1) * self.size]

    def _permutation(self, round: int, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != (round, epoch):
            order = keyed.permutation(self.samples, *self._key, "shuffle", round=round, batch=epoch)
            order = order if self._kept is None else self._kept[order]
            self._order = (round, epoch), torch.from_numpy(order)
        return self._order[1]


def _augmented(x: Tensor, draw: np.random.Generator) -> Tensor:
    """Each image shifted by up to `_CROP` pixels (black comes in) and mirrored or not."""
    n, channels, height, width = x.shape
    padded = torch.nn.functional.pad(x, (_CROP,) * 4)
    shift = draw.integers(0, 2 * _CROP + 1, size=(n, 2))
    rows = shift[:, :1] + np.arange(height)
    columns = shift[:, 1:] + np.arange(width)
    mirrored = draw.random(n) < 0.5
    columns[mirrored] = columns[mirrored, ::-1]
    image = torch.arange(n).view(n, 1, 1, 1)
    channel = torch.arange(channels).view(1, channels, 1, 1)
    at_row, at_column = torch.from_numpy(rows), torch.from_numpy(columns)
    return padded[image, channel, at_row.view(n, 1, height, 1), at_column.view(n, 1, 1, width)]
