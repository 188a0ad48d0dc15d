"""Randomness by key: the same key always draws the same numbers, whatever was drawn before.

Nothing here is a generator that runs on, so training state need not carry one: a part that moved, or a
round that is done again, draws what it would have drawn anyway.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def key(seed: int, owner: str, purpose: str, round: int = 0, batch: int = 0, micro: int = 0) -> bytes:
    """32 bytes that belong to this use of randomness and to no other.

    Args:
        seed: The experiment's.
        owner: Node whose data or part it is; empty where all share it.
        purpose: What it is for, or the layer's name.
        round: Round of training.
        batch: Batch or epoch in the round.
        micro: Micro-batch in the batch.
    """
    # JSON quotes the strings, so that no two different keys spell the same text.
    text = json.dumps([seed, owner, purpose, round, batch, micro])
    return hashlib.sha256(text.encode()).digest()


def torch_generator(seed: int, owner: str, purpose: str, **at: int) -> torch.Generator:
    """Fresh torch generator for this key (``at``: round, batch, micro)."""
    # The top bit stays clear: torch takes signed 64-bit seeds.
    number = int.from_bytes(key(seed, owner, purpose, **at)[:8], "little") >> 1
    return torch.Generator().manual_seed(number)


def numpy_generator(seed: int, owner: str, purpose: str, **at: int) -> np.random.Generator:
    """Fresh numpy generator for this key (``at``: round, batch, micro)."""
    return np.random.Generator(_philox(seed, owner, purpose, **at))


def permutation(n: int, seed: int, owner: str, purpose: str, **at: int) -> npt.NDArray[np.int64]:
    """Order of ``0 .. n-1`` for this key.

    Sorting raw 64-bit words instead of calling ``Generator.permutation``: numpy promises the words for all
    versions, not what it makes of them, and host and image need not hold the same version.
    """
    words = _philox(seed, owner, purpose, **at).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)


def _philox(seed: int, owner: str, purpose: str, **at: int) -> Any:
    return np.random.Philox(key=int.from_bytes(key(seed, owner, purpose, **at)[:16], "little"))
