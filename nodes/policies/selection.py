"""Which of a device's samples are worth training on: a share of them, by how well a cheap classifier tells each.

The paper on serverless edge learning (arXiv 2111.14955) has a "general, simple data classifier" choose what is trained
on; what it says of it is not public, so rules and quotas are our design. A score is a margin: how much more a
classifier finds a sample in its own class than in the next best (`nodes.learn.scoring`); low is hard, high is easy.

    hard       the lowest margins of each class
    easy       the highest margins of each class
    mixed      evenly through the ranks of each class, from its hardest to its easiest: as coverage-centric selection
               has it (Zheng et al., Coverage-centric Coreset Selection for High Pruning Rates, ICLR 2023)
    balanced   as many of every class, whatever their shares, at random within a class; needs no scores
    random     any, whatever their classes; needs no scores. What the other rules are held against

`hard`, `easy` and `mixed` keep the same share of every class, so that the classes stay as they are on the device and no
class goes for being easy: quotas by largest remainder, of equal ones the lower class first. A class that is missing has
a quota of nothing. One that is so small that its quota is less than half a sample may lose all of them: shares are of
samples, and nobody else gets more for it than the rest of the share. With `balanced`, what a class has too little of
for its quota is divided among the others.

Of equal scores the lower index comes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError

Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

RULES = ("hard", "easy", "mixed", "balanced", "random")
"""Names of rules; see above."""
BLIND = ("balanced", "random")
"""Of them those that look at no scores."""
CONTROL = "random"
"""The rule that others are compared with."""


def size(samples: int, share: float, least: int = 1) -> int:
    """How many of so many samples a share is: to the nearest, ``least`` (a batch) or all there are as the fewest.

    Raises:
        InputError: The share is not above 0 and at most 1, or there are no samples.
    """
    if not 0 < share <= 1:
        raise InputError("a share of the data that is none", wanted="above 0%, at most 100%", found=f"{share:.6g}")
    if samples < 1 or least < 1:
        raise InputError("nothing to select from", wanted="a sample and a batch at least",
                         found=f"{samples} samples, batches of {least}")  # fmt: skip
    return min(samples, max(math.floor(share * samples + 0.5), least))


def keep(
    scores: npt.ArrayLike | None,
    labels: npt.ArrayLike,
    classes: int,
    rule: str,
    share: float,
    key: bytes,
    least: int = 1,
) -> Indices:
    """The samples to be trained on.

    Args:
        scores: Margin of each sample, N; any but NaN. None with a rule that looks at none.
        labels: Class of each sample, N, from 0.
        classes: Number of classes, whether they are there or not.
        rule: One of `RULES`.
        share: Of the samples, above 0 and at most 1.
        key: 16 bytes or more that the draws of this owner hang on, and nothing else (`nodes.learn.keyed.key`).
        least: Fewest to keep, where there are so many: a batch.

    Returns:
        Their indices, ascending: `size` of them.

    Raises:
        InputError: Something of this cannot be.
    """
    of = np.asarray(labels, dtype=np.int64)
    _check(of, classes, rule, key)
    total = size(len(of), share, least)
    ranks = _shuffled(len(of), key) if rule in BLIND else _ranked(scores, len(of))
    if rule == "random":
        return np.sort(ranks[:total])
    counts = np.bincount(of, minlength=classes)
    quotas = even(counts.tolist(), total) if rule == "balanced" else proportional(counts.tolist(), total)
    chosen = [_of_class(ranks[of[ranks] == c], quota, rule) for c, quota in enumerate(quotas) if quota]
    return np.sort(np.concatenate(chosen))


def proportional(counts: Sequence[int], total: int) -> list[int]:
    """``total`` divided in proportion to ``counts``, by largest remainder; nobody gets more than there is."""
    there = sum(counts)
    exact = [total * count for count in counts]  # of `there`: whole numbers, so that equal remainders are equal
    quotas = [one // there for one in exact]
    order = sorted(range(len(counts)), key=lambda c: (-(exact[c] % there), c))
    for c in order[: total - sum(quotas)]:
        quotas[c] += 1
    return quotas


def even(counts: Sequence[int], total: int) -> list[int]:
    """``total`` divided evenly, but nobody gets more than there is; what is over goes to the lower classes."""
    quotas = [0] * len(counts)
    left = min(total, sum(counts))
    while left:
        open_ = [c for c, count in enumerate(counts) if quotas[c] < count]
        each = max(1, left // len(open_))
        for c in open_:
            more = min(each, counts[c] - quotas[c], left)
            quotas[c] += more
            left -= more
    return quotas


def by_class(labels: npt.ArrayLike, classes: int) -> list[int]:
    """Samples of each class: all that leaves a device of what was selected."""
    return [int(n) for n in np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)]


def _of_class(ranked: Indices, quota: int, rule: str) -> Indices:
    """``quota`` of a class's samples, which are in order from the hardest, or shuffled."""
    if rule == "easy":
        return ranked[len(ranked) - quota :]
    if rule == "mixed":  # the middle of each of as many equal stretches of ranks
        return ranked[(2 * np.arange(quota) + 1) * len(ranked) // (2 * quota)]
    return ranked[:quota]


def _ranked(scores: npt.ArrayLike | None, samples: int) -> Indices:
    found = np.asarray([] if scores is None else scores, dtype=np.float64)
    if found.shape != (samples,) or np.isnan(found).any():
        raise InputError("scores that are not one number a sample", wanted=f"{samples} numbers",
                         found=f"shape {found.shape}, {int(np.isnan(found).sum())} of them NaN")  # fmt: skip
    return np.argsort(found, kind="stable").astype(np.int64)


def _shuffled(samples: int, key: bytes) -> Indices:
    """An order of all samples; raw words are sorted, as in `nodes.learn.keyed.permutation`."""
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(samples)
    return np.argsort(words, kind="stable").astype(np.int64)


def _check(labels: Indices, classes: int, rule: str, key: bytes) -> None:
    if rule not in RULES:
        raise InputError("no such rule of selection", wanted=", ".join(RULES), found=rule)
    if labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
        raise InputError("labels that are none", wanted=f"one a sample, 0 to {classes - 1}",
                         found=f"shape {labels.shape}")  # fmt: skip
    if len(key) < 16:
        raise InputError("a key that is too short", wanted="16 bytes", found=f"{len(key)}")
