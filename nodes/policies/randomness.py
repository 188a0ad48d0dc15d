"""Generators of random numbers for what is drawn before a run begins (training has `nodes.learn.keyed`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np


def generator(seed: int, *key: str) -> np.random.Generator:
    """A generator that belongs to this use of the seed alone: what others draw does not matter."""
    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    words: Sequence[int] = np.frombuffer(digest, dtype=np.uint32).tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
