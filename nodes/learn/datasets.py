"""Data sets, read on the host from the standard files and brought to 3 x 32 x 32 bytes a sample.

    digits         scikit-learn's 8x8 digits, embedded: 1,437 train, 360 test
    cifar10        the "binary version": data_batch_1.bin .. data_batch_5.bin and test_batch.bin, or one
                   train*.bin and one test*.bin of the same records; ``.bin.xz`` is taken too
    fashion-mnist  train-images-idx3-ubyte.gz and its three sisters; unpacked files are taken too

Nothing here needs torch, and nothing is unpickled: the Python version of CIFAR-10 is not read.
"""

from __future__ import annotations

import gzip
import lzma
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn import keyed

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DataSet:
    """Samples as bytes (N x 3 x 32 x 32), their classes, and what normalises them.

    ``mean`` and ``std`` are per channel, of the training samples as fractions of 255.
    """

    train_x: Bytes
    train_y: Labels
    test_x: Bytes
    test_y: Labels
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(
    name: str,
    directory: Path | None = None,
    train_samples: int | None = None,
    test_samples: int | None = None,
) -> DataSet:
    """Read a data set; the same files give the same arrays.

    Args:
        name: ``digits``, ``cifar10`` or ``fashion-mnist``.
        directory: Where the standard files are; not needed for ``digits``.
        train_samples: Take only the first so many.
        test_samples: The same for testing.

    Raises:
        InputError: No such set, or its files are missing or damaged.
    """
    if name not in READERS:
        raise InputError("no such data set", wanted=", ".join(sorted(READERS)), found=name)
    train_x, train_y, test_x, test_y = READERS[name](directory)
    train_x, train_y = _first(train_x, train_y, train_samples, "train")
    test_x, test_y = _first(test_x, test_y, test_samples, "test")
    data = DataSet(train_x, train_y, test_x, test_y, 10, (), ())
    mean, std = statistics(train_x)
    return replace(data, mean=mean, std=std)


def statistics(x: Bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, as fractions of 255.

    From counts of the 256 values, so that they are exact whatever the order of summing.
    """
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


_Arrays = tuple[Bytes, Labels, Bytes, Labels]


def _digits(directory: Path | None) -> _Arrays:
    from sklearn.datasets import load_digits  # slow to import and of no use to the other sets

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    x = np.repeat(images[:, None], 3, axis=1)
    # The writers come one after another; the split is part of the set, so no experiment's seed is in it.
    order = keyed.permutation(len(x), 0, "", "digits/split")
    x, y = x[order], bunch.target[order].astype(np.int64)
    tests = len(x) // 5 + 1
    return x[tests:], y[tests:], x[:tests], y[:tests]


def _cifar10(directory: Path | None) -> _Arrays:
    base = _existing("cifar10", directory, "cifar-10-batches-bin")
    trains = [_either(base, f"data_batch_{i}.bin", ".xz") for i in range(1, 6)]
    test = _either(base, "test_batch.bin", ".xz")
    if test is None and not any(trains):  # a part of the set, in files of its own
        trains, test = [_only(base, "train*.bin")], _only(base, "test*.bin")
    if test is None or None in trains:
        raise InputError(
            "files of CIFAR-10 are missing",
            where=str(base),
            wanted="data_batch_1.bin to data_batch_5.bin and test_batch.bin (or .bin.xz)",
            found=", ".join(sorted(p.name for p in base.iterdir())[:8]) or "an empty directory",
            remedy="unpack cifar-10-binary.tar.gz (the binary version, not the Python one) there",
        )
    parts = [_records(path) for path in trains if path]
    test_x, test_y = _records(test)
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), test_x, test_y


def _records(path: Path) -> tuple[Bytes, Labels]:
    data = _content(path)
    record = 1 + 3 * 32 * 32
    if not len(data) or len(data) % record:
        raise _damaged(path, f"a multiple of {record} bytes", f"{len(data)} bytes")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return rows[:, 1:].reshape(-1, 3, 32, 32).copy(), _labels(path, rows[:, 0])


def _fashion_mnist(directory: Path | None) -> _Arrays:
    base = _existing("fashion-mnist", directory, "fashion-mnist")
    arrays: list[Any] = []
    for part in ("train", "t10k"):
        images = _idx(base, f"{part}-images-idx3-ubyte", 3)
        path, labels = _idx(base, f"{part}-labels-idx1-ubyte", 1)
        if images[1].shape != (len(labels), 28, 28):
            raise _damaged(images[0], f"{len(labels)} x 28 x 28", " x ".join(map(str, images[1].shape)))
        padded = np.pad(images[1], ((0, 0), (2, 2), (2, 2)))
        arrays += [np.repeat(padded[:, None], 3, axis=1), _labels(path, labels)]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def _idx(base: Path, name: str, dimensions: int) -> tuple[Path, Bytes]:
    """An array in the IDX format: magic number, sizes (big-endian), bytes."""
    path = _either(base, name, ".gz")
    if path is None:
        raise InputError(
            "a file of Fashion-MNIST is missing",
            where=str(base / f"{name}.gz"),
            remedy="put the four *-ubyte.gz files of Fashion-MNIST there",
        )
    data = _content(path)
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, 8, dimensions]):
        raise _damaged(path, f"IDX bytes of {dimensions} dimensions", f"first bytes {data[:4].hex()}")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, head, 4))
    if len(data) - head != math.prod(shape) or not math.prod(shape):
        raise _damaged(path, f"{math.prod(shape)} bytes after the header", f"{len(data) - head}")
    return path, np.frombuffer(data, np.uint8, offset=head).reshape(shape)


READERS: dict[str, Callable[[Path | None], _Arrays]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "fashion-mnist": _fashion_mnist,
}
"""Data set name to its reader."""


def _labels(path: Path, labels: Bytes) -> Labels:
    if labels.max() > 9:
        raise _damaged(path, "labels 0 to 9", f"label {labels.max()}")
    return labels.astype(np.int64)


def _existing(name: str, directory: Path | None, usual: str) -> Path:
    """The directory, or the one of the usual name in it."""
    remedy = f"set workload.data.dir to the directory that holds the files of {name}"
    if directory is None:
        raise InputError(f"the data set {name} needs a directory", remedy=remedy)
    if not directory.is_dir():
        raise InputError("data directory not found", where=str(directory), remedy=remedy)
    return directory / usual if (directory / usual).is_dir() else directory


def _either(base: Path, name: str, packed: str) -> Path | None:
    return next((path for path in (base / name, base / (name + packed)) if path.is_file()), None)


def _only(base: Path, pattern: str) -> Path | None:
    """The one file of this pattern, plain or packed; None unless there is exactly one."""
    found = [*base.glob(pattern), *base.glob(f"{pattern}.xz")]
    return found[0] if len(found) == 1 else None


def _content(path: Path) -> bytes:
    """The file's bytes, unpacked as its name says."""
    try:
        packed = path.read_bytes()
        if path.suffix == ".gz":
            return gzip.decompress(packed)
        return lzma.decompress(packed) if path.suffix == ".xz" else packed
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise _damaged(path, "a whole file", str(error) or type(error).__name__) from None


def _damaged(path: Path, wanted: str, found: str) -> InputError:
    return InputError(
        "data file is damaged", where=str(path), wanted=wanted, found=found, remedy="fetch the file again"
    )


def _first(x: Bytes, y: Labels, wanted: int | None, what: str) -> tuple[Bytes, Labels]:
    if wanted is None:
        return x, y
    if not 0 < wanted <= len(x):
        raise InputError(
            f"workload.data.{what} cannot be had",
            wanted=f"1 to {len(x)}, the samples that there are",
            found=str(wanted),
        )
    return x[:wanted], y[:wanted]
