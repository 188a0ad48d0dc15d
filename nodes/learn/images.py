"""Images, brought to 3 x 32 x 32 bytes: scikit-learn's digits, CIFAR-10 (never its Python version), Fashion-MNIST."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn.reading import Labels, Read, content, damaged, either, existing, hold_out, only

Bytes = npt.NDArray[np.uint8]


def digits(directory: Path | None, seed: int) -> Read:
    """scikit-learn's 8 x 8 digits, embedded: each pixel 4 x 4."""
    from sklearn.datasets import load_digits  # slow to import and of no use to the other sets

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    x = np.repeat(images[:, None], 3, axis=1)
    y = bunch.target.astype(np.int64)
    train, test = hold_out(len(x), "digits")  # shuffled: the writers come one after another
    return Read(x[train], y[train], x[test], y[test])


def cifar10(directory: Path | None, seed: int) -> Read:
    """CIFAR-10 in its binary version, whole or a part of it."""
    base = existing("cifar10", directory, "cifar-10-batches-bin")
    trains = [either(base, f"data_batch_{i}.bin", ".xz") for i in range(1, 6)]
    test = either(base, "test_batch.bin", ".xz")
    if test is None and not any(trains):  # a part of the set, in files of its own
        trains, test = [only(base, "train*.bin")], only(base, "test*.bin")
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
    return Read(np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]), test_x, test_y)


def _records(path: Path) -> tuple[Bytes, Labels]:
    data = content(path)
    record = 1 + 3 * 32 * 32
    if not len(data) or len(data) % record:
        raise damaged(path, f"a multiple of {record} bytes", f"{len(data)} bytes")
    rows = np.frombuffer(data, np.uint8).reshape(-1, record)
    return rows[:, 1:].reshape(-1, 3, 32, 32).copy(), _labels(path, rows[:, 0])


def fashion_mnist(directory: Path | None, seed: int) -> Read:
    """Fashion-MNIST, padded from 28 x 28 and with three equal channels."""
    base = existing("fashion-mnist", directory, "fashion-mnist")
    arrays: list[Any] = []
    for part in ("train", "t10k"):
        images = _idx(base, f"{part}-images-idx3-ubyte", 3)
        path, labels = _idx(base, f"{part}-labels-idx1-ubyte", 1)
        if images[1].shape != (len(labels), 28, 28):
            raise damaged(images[0], f"{len(labels)} x 28 x 28", " x ".join(map(str, images[1].shape)))
        padded = np.pad(images[1], ((0, 0), (2, 2), (2, 2)))
        arrays += [np.repeat(padded[:, None], 3, axis=1), _labels(path, labels)]
    return Read(*arrays)


def _idx(base: Path, name: str, dimensions: int) -> tuple[Path, Bytes]:
    """An array in the IDX format: magic number, sizes (big-endian), bytes."""
    path = either(base, name, ".gz")
    if path is None:
        raise InputError(
            "a file of Fashion-MNIST is missing",
            where=str(base / f"{name}.gz"),
            remedy="put the four *-ubyte.gz files of Fashion-MNIST there",
        )
    data = content(path)
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, 8, dimensions]):
        raise damaged(path, f"IDX bytes of {dimensions} dimensions", f"first bytes {data[:4].hex()}")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, head, 4))
    if len(data) - head != math.prod(shape) or not math.prod(shape):
        raise damaged(path, f"{math.prod(shape)} bytes after the header", f"{len(data) - head}")
    return path, np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _labels(path: Path, labels: Bytes) -> Labels:
    if labels.max() > 9:
        raise damaged(path, "labels 0 to 9", f"label {labels.max()}")
    return labels.astype(np.int64)
