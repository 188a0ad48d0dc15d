"""How well a cheap classifier tells each of a device's samples: what selection (`nodes.policies.selection`) goes by.

A score is a margin: how much more the classifier finds a sample in its own class than in the next best. No sample has a
say in its own score, or a classifier that knows its samples by heart would find all of them easy:

    centroid   distance to the nearest centroid of another class, less that to the own class's, which is worked out
               without the sample (leave-one-out, in closed form). A sample that is alone in its class is the hardest
               there can be; on a device of one class it is the own distance alone that counts.
    logistic   log-odds of the own class against the next best, of a multinomial logistic regression on the other
               folds (`FOLDS`, dealt out class by class in order of index). Fixed number of steps of Nesterov's
               gradient method, L2.

Features are of the samples themselves: images average-pooled to 8x8 a channel; of windows mean, deviation, mean change
from one number to the next and means of eighths, by channel; plain features as they are; of texts the words, hashed
into 256 buckets and weighed by how rare they are. Or they are the activations of the device half with the weights that
training begins with (``half``), average-pooled to 4x4, to four stretches of time, or over all tokens. All are brought
to mean 0 and deviation 1 on the device. Rules and classifiers are our design.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from nodes.errors import InputError
from nodes.learn.shards import Shard
from nodes.policies.selection import Scores

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Work = Callable[[], AbstractContextManager[object]]
"""What each piece of the work is done in, such as a paced step: between two of them others may come."""

CLASSIFIERS = ("centroid", "logistic")
"""What tells samples; see above."""
FEATURES = ("samples", "half")
"""What it tells them by."""
FOLDS = 3
_STEPS = 60
_PENALTY = 1e-2
_BUCKETS = 256
_HASH = 40503  # odd, about 2**16 over the golden ratio: Knuth's multiplicative hashing
_POOLED, _HALF_POOLED, _STRETCHES, _HALF_STRETCHES = 8, 4, 8, 4
_AT_ONCE = 32
"""Samples that are worked on at a time: a device has little memory."""
_DIGITS = 4
"""Scores that differ by less are equal: they are not to hang on the order of a sum."""


def score(shard: Shard, by: str, half: nn.Module | None = None, work: Work = nullcontext) -> Scores:
    """Margins of a device's samples.

    Args:
        shard: The samples, N.
        by: One of `CLASSIFIERS`.
        half: The device half, to tell samples by its activations; it is left in training mode.
        work: Entered for each piece of the work: some samples' features, one fold of a classifier.

    Returns:
        N numbers; high is easy. Minus infinity is possible.

    Raises:
        InputError: There is no such classifier.
    """
    if by not in CLASSIFIERS:
        raise InputError("no such classifier", wanted=", ".join(CLASSIFIERS), found=by)
    x = of_samples(shard, work) if half is None else of_half(shard, half, work)
    with work():
        x = standardised(x)
    labels = shard.y.numpy()
    if by == "logistic":
        return np.round(logistic(x, labels, shard.classes, work), _DIGITS)
    with work():
        return np.round(centroid(x, labels, shard.classes), _DIGITS)


def centroid(x: Features, labels: Labels, classes: int) -> Scores:
    """Margins by distances to centroids, N; see above. ``x`` is N x F."""
    counts = np.bincount(labels, minlength=classes)
    there = np.flatnonzero(counts)
    sums = np.zeros((classes, x.shape[1]), dtype=np.float64)
    for c in there:
        sums[c] = x[labels == c].sum(axis=0, dtype=np.float64)
    centres = (sums[there] / counts[there, None]).astype(np.float32)
    squares = np.einsum("nf,nf->n", x, x)[:, None] - 2 * x @ centres.T + np.einsum("cf,cf->c", centres, centres)
    distances = np.sqrt(np.maximum(squares, 0.0)).astype(np.float64)
    own = np.searchsorted(there, labels)
    rows = np.arange(len(labels))
    others = counts[labels] - 1
    # Without x the centroid of n samples is (n c - x) / (n - 1), so x is n / (n - 1) times as far from it as from c.
    alone = np.where(others > 0, distances[rows, own] * counts[labels] / np.maximum(others, 1), np.inf)
    distances[rows, own] = np.inf
    nearest = distances.min(axis=1)
    return np.where(np.isinf(alone), -np.inf, np.where(np.isinf(nearest), 0.0, nearest) - alone)


def logistic(x: Features, labels: Labels, classes: int, work: Work = nullcontext) -> Scores:
    """Margins by a logistic regression that has not seen the sample, N; see above. ``x`` is N x F."""
    there, own = np.unique(labels, return_inverse=True)
    if len(there) < 2:
        with work():
            return centroid(x, labels, classes)  # nothing to tell it from
    fold = _folds(own)
    wide = np.hstack([x, np.ones((len(x), 1), dtype=np.float32)])
    margins = np.empty(len(x))
    rows = np.arange(len(x))
    for n in np.unique(fold):
        held = fold == n
        with work():
            logits = wide[held] @ _fitted(wide[~held], own[~held], len(there))
        at = rows[: held.sum()], own[held]
        mine = logits[at].copy()
        logits[at] = -np.inf
        margins[held] = mine - logits.max(axis=1)
    return margins


def of_samples(shard: Shard, work: Work = nullcontext) -> Features:
    """Features of the samples themselves, N x F."""
    if shard.x.dtype == torch.int16:
        with work():
            return _words(shard.x.numpy())
    return _in_parts(shard, lambda part: _plain(shard.normalise(part)), work)


def of_half(shard: Shard, half: nn.Module, work: Work = nullcontext) -> Features:
    """Features from the activations of the device half, N x F; nothing of it changes."""
    half.eval()
    tokens = shard.x.dtype == torch.int16
    with torch.no_grad():
        found = _in_parts(shard, lambda part: _activations(half(shard.normalise(part)), tokens), work)
    half.train()
    return found


def _in_parts(shard: Shard, features: Callable[[Tensor], Tensor], work: Work) -> Features:
    parts = []
    for part in torch.split(shard.x, _AT_ONCE):
        with work():
            parts.append(features(part).numpy())
    return np.concatenate(parts)


def standardised(x: Features) -> Features:
    """Mean 0 and deviation 1 by feature; what is the same everywhere is 0."""
    deviation = x.std(axis=0)
    still = deviation < 1e-6
    found: Any = (x - x.mean(axis=0)) / np.where(still, 1.0, deviation)
    found[:, still] = 0.0
    return found.astype(np.float32)  # type: ignore[no-any-return]


def _plain(x: Tensor) -> Tensor:
    """Images pooled, windows summed up; a vector as it is."""
    if x.ndim == 4:
        return functional.adaptive_avg_pool2d(x, _POOLED).flatten(1)
    if x.ndim == 2:
        return x
    change = (x[..., 1:] - x[..., :-1]).abs().mean(-1) if x.shape[-1] > 1 else torch.zeros(x.shape[:2])
    means = functional.adaptive_avg_pool1d(x, min(_STRETCHES, x.shape[-1])).flatten(1)
    return torch.cat([x.mean(-1), x.std(-1, correction=0), change, means], dim=1)


def _activations(x: Tensor, tokens: bool) -> Tensor:
    """Activations as some numbers a sample: of an image's, a window's, a text's (tokens x features) or a vector's."""
    if tokens and x.ndim == 3:
        return x.mean(1)
    if x.ndim == 4:
        return functional.adaptive_avg_pool2d(x, _HALF_POOLED).flatten(1)
    if x.ndim == 3:
        return functional.adaptive_avg_pool1d(x, min(_HALF_STRETCHES, x.shape[-1])).flatten(1)
    return x.flatten(1)


def _words(x: npt.NDArray[np.int16]) -> Features:
    """Which buckets of words are in a text, times the logarithm of how rare they are; 0 is what fills it up."""
    bucket = (x.astype(np.uint32) * _HASH % (1 << 16)) * _BUCKETS >> 16
    found = np.zeros((len(x), _BUCKETS), dtype=np.float32)
    row = np.broadcast_to(np.arange(len(x))[:, None], x.shape)
    found[row[x != 0], bucket[x != 0]] = 1.0
    rarity = np.log((1 + len(x)) / (1 + found.sum(axis=0)))
    return (found * rarity).astype(np.float32)  # type: ignore[no-any-return]


def _folds(own: Labels) -> Labels:
    """A fold for each sample: within a class in turn, in order of index, so that all folds have all classes."""
    fold = np.empty(len(own), dtype=np.int64)
    begin = 0
    for c in range(int(own.max()) + 1):
        here = np.flatnonzero(own == c)
        fold[here] = (begin + np.arange(len(here))) % FOLDS
        begin += len(here)  # classes of one sample do not all go to one fold
    return fold


def _fitted(x: Features, own: Labels, classes: int) -> Features:
    """Weights of a logistic regression, F x classes; classes that ``x`` has nothing of end up unlikely."""
    wanted = np.eye(classes, dtype=np.float32)[own]
    # The loss is smooth by at most half the largest eigenvalue of the features' second moments, and the penalty.
    moments = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    step = np.float32(1 / (0.5 * float(np.linalg.eigvalsh(moments)[-1]) / len(x) + _PENALTY))
    weights = ahead = np.zeros((x.shape[1], classes), dtype=np.float32)
    for n in range(_STEPS):
        logits = x @ ahead
        likely = np.exp(logits - logits.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        before = weights
        weights = ahead - step * (x.T @ (likely - wanted) / len(x) + _PENALTY * ahead)
        ahead = weights + np.float32(n / (n + 3)) * (weights - before)
    return weights
