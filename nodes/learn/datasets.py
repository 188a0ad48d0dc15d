"""Data sets, read on the host alone, from the standard files or made there; nodes get shards of them.

    digits         scikit-learn's 8x8 digits, embedded: 1,437 train, 360 test
    cifar10        the "binary version": data_batch_1.bin .. data_batch_5.bin and test_batch.bin, or one
                   train*.bin and one test*.bin of the same records; ``.bin.xz`` is taken too
    fashion-mnist  train-images-idx3-ubyte.gz and its three sisters; unpacked files are taken too
    motion         SYNTHETIC windows of an accelerometer, made from the seed: 2,400 train, 600 test
    wisdm          WISDM_ar_v1.1_transformed.arff: 43 features of each 10 s of a real accelerometer; ``.xz`` too
    docstrings     docstrings of twelve packages of this Python's standard library: 1,800 train, 450 test
    passages       passages of longer docstrings of four packages, which overlap: 11,200 train, 1,600 test
    sms            SMSSpamCollection (or sms_spam.tsv): messages and whether they are spam; ``.xz`` too

Images are brought to 3 x 32 x 32 bytes, texts to 32 words. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nodes.errors import InputError
from nodes.learn import accelerometer, images, texts
from nodes.learn.reading import Labels, Read, Samples
from nodes.policies.samples import FORMS


@dataclass(frozen=True)
class DataSet:
    """Samples, their classes, and what normalises them.

    Samples are bytes (N x channels x height x width), float32 (N x channels x time, or N x features), or words as
    int16 (N x length). ``mean`` and ``std`` are of the training samples, per channel or feature, of bytes as fractions
    of 255; there are none of words. ``notes`` tell what was left out in reading.
    """

    train_x: Samples
    train_y: Labels
    test_x: Samples
    test_y: Labels
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256 of all samples and classes, with their types and shapes."""
        found = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            found.update(f"{array.dtype.str} {array.shape};".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def load(
    name: str,
    directory: Path | None = None,
    train_samples: int | None = None,
    test_samples: int | None = None,
    seed: int = 0,
) -> DataSet:
    """Read a data set; the same files give the same arrays.

    Args:
        name: One of `READERS`.
        directory: Where the standard files are; not needed for those that are built in.
        train_samples: Take only the first so many.
        test_samples: The same for testing.
        seed: The experiment's; only what is synthetic depends on it.

    Raises:
        InputError: No such set, or its files are missing or damaged.
    """
    if name not in READERS:
        raise InputError("no such data set", wanted=", ".join(sorted(READERS)), found=name)
    read = READERS[name](directory, seed)
    train_x, train_y = _first(read.train_x, read.train_y, train_samples, "train")
    test_x, test_y = _first(read.test_x, read.test_y, test_samples, "test")
    return DataSet(train_x, train_y, test_x, test_y, FORMS[name].classes, *statistics(train_x), read.notes)


READERS: Mapping[str, Callable[[Path | None, int], Read]] = {
    "digits": images.digits,
    "cifar10": images.cifar10,
    "fashion-mnist": images.fashion_mnist,
    "motion": accelerometer.motion,
    "wisdm": accelerometer.wisdm,
    "docstrings": texts.docstrings,
    "passages": texts.passages,
    "sms": texts.sms,
}
"""Data set name to its reader, of the directory and the experiment's seed."""


def statistics(x: Samples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel or feature, of bytes as fractions of 255; none of words.

    Exact whatever the order of summing: of bytes from counts of the 256 values, of others with `math.fsum`.
    """
    if x.dtype == np.int16:
        return (), ()
    if x.dtype != np.uint8:
        return _statistics_of_numbers(x)
    values = np.arange(256, dtype=np.float64)
    means, deviations = [], []
    for channel in range(x.shape[1]):
        counts = np.bincount(x[:, channel].reshape(-1), minlength=256)
        total = counts.sum()
        mean = float(counts @ values / total)
        variance = float(counts @ (values - mean) ** 2 / total)
        means.append(mean / 255)
        # A channel of one value has no spread to normalise by.
        deviations.append(math.sqrt(variance) / 255 if variance > 0 else 1.0)
    return tuple(means), tuple(deviations)


def _statistics_of_numbers(x: Samples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    means, deviations = [], []
    for channel in range(x.shape[1]):
        values = x[:, channel].reshape(-1).astype(np.float64)
        mean = math.fsum(values) / len(values)
        variance = math.fsum((values - mean) ** 2) / len(values)
        means.append(mean)
        deviations.append(math.sqrt(variance) if variance > 0 else 1.0)
    return tuple(means), tuple(deviations)


def _first(x: Samples, y: Labels, wanted: int | None, what: str) -> tuple[Samples, Labels]:
    if wanted is None:
        return x, y
    if not 0 < wanted <= len(x):
        raise InputError(
            f"workload.data.{what} cannot be had",
            wanted=f"1 to {len(x)}, the samples that there are",
            found=str(wanted),
        )
    return x[:wanted], y[:wanted]
