from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import InputError
from nodes.learn import datasets

draw = np.random.default_rng(0)


def records(n: int, seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (n, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(n) % 10
    return rows.tobytes()


def cifar(base: Path) -> Path:
    """A directory as the archive unpacks, with five records a file."""
    home = base / "cifar-10-batches-bin"
    home.mkdir()
    for i in range(1, 6):
        (home / f"data_batch_{i}.bin").write_bytes(records(5, i))
    (home / "test_batch.bin").write_bytes(records(4, 9))
    return home


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def fashion(base: Path) -> Path:
    for part, n in (("train", 12), ("t10k", 7)):
        images = np.random.default_rng(n).integers(0, 256, (n, 28, 28))
        (base / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (base / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(n) % 10))
    return base


def test_digits_are_embedded_and_always_split_alike() -> None:
    data = datasets.load("digits")
    assert data.train_x.shape == (1437, 3, 32, 32)
    assert data.test_x.shape == (360, 3, 32, 32)
    assert data.train_x.dtype == np.uint8
    assert data.train_y.dtype == np.int64
    assert data.train_x.max() == 255
    assert np.bincount(data.test_y).min() >= 20  # all classes in both
    # Runs of all versions are compared: this set is what it has always been.
    assert data.digest() == "10821fcfc1d81b78378370171957950e8c7adadfc8bc206e0958d83a1f83788f"
    again = datasets.load("digits")
    assert np.array_equal(again.train_x, data.train_x)
    assert np.array_equal(again.test_y, data.test_y)


def test_digits_lose_and_double_none() -> None:
    data = datasets.load("digits")
    joined = np.concatenate([data.train_x, data.test_x])[:, 0, ::4, ::4].reshape(1797, 64)
    from sklearn.datasets import load_digits

    source = np.rint(load_digits().images.reshape(1797, 64) * (255 / 16)).astype(np.uint8)
    assert sorted(map(bytes, joined)) == sorted(map(bytes, source))


def test_cifar10_as_published(tmp_path: Path) -> None:
    home = cifar(tmp_path)
    inside, outside = datasets.load("cifar10", home), datasets.load("cifar10", tmp_path)
    assert inside.train_x.shape == (25, 3, 32, 32)
    assert inside.test_x.shape == (4, 3, 32, 32)
    assert np.array_equal(inside.train_x, outside.train_x)
    assert inside.train_y.tolist() == [0, 1, 2, 3, 4] * 5
    second = records(5, 1)[3073:6146]
    assert inside.train_x[1].tobytes() == second[1:]
    assert inside.train_x[1, 2, 31, 31] == second[-1]


def test_cifar10_packed_and_partial(tmp_path: Path) -> None:
    (tmp_path / "train_lossless_30.bin.xz").write_bytes(lzma.compress(records(30, 1)))
    (tmp_path / "test_lossless_8.bin.xz").write_bytes(lzma.compress(records(8, 2)))
    data = datasets.load("cifar10", tmp_path)
    assert (len(data.train_x), len(data.test_x)) == (30, 8)
    assert data.train_x[0].tobytes() == records(30, 1)[1:3073]


def test_fashion_mnist_is_padded_to_colour(tmp_path: Path) -> None:
    data = datasets.load("fashion-mnist", fashion(tmp_path))
    assert data.train_x.shape == (12, 3, 32, 32)
    assert len(data.test_y) == 7
    source = np.random.default_rng(12).integers(0, 256, (12, 28, 28))
    for channel in range(3):
        assert np.array_equal(data.train_x[:, channel, 2:30, 2:30], source)
    assert data.train_x[:, :, :2].max() == data.train_x[..., 30:].max() == 0


def test_statistics_are_those_of_the_training_samples() -> None:
    x = draw.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    x[:, 2] = 7
    mean, std = datasets.statistics(x)
    np.testing.assert_allclose(mean, (x / 255).mean((0, 2, 3)))
    np.testing.assert_allclose(std[:2], (x / 255).std((0, 2, 3))[:2])
    assert std[2] == 1.0  # nothing to divide by


def test_taking_only_so_many(tmp_path: Path) -> None:
    data = datasets.load("cifar10", cifar(tmp_path), train_samples=7, test_samples=2)
    assert (len(data.train_x), len(data.train_y), len(data.test_x)) == (7, 7, 2)
    assert data.mean == datasets.statistics(data.train_x)[0]
    for wanted in (0, 26):
        with pytest.raises(InputError, match="1 to 25"):
            datasets.load("cifar10", tmp_path, train_samples=wanted)


def test_no_such_set_or_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cifar10, digits, docstrings, fashion-mnist, motion, passages, sms, wisdm"):
        datasets.load("cifar100", tmp_path)
    with pytest.raises(InputError, match=r"workload\.data\.dir"):
        datasets.load("cifar10")
    with pytest.raises(InputError, match="not found") as caught:
        datasets.load("fashion-mnist", tmp_path / "nowhere")
    assert caught.value.where == str(tmp_path / "nowhere")


@pytest.mark.parametrize("missing", ["data_batch_3.bin", "test_batch.bin"])
def test_a_file_of_cifar10_is_missing(tmp_path: Path, missing: str) -> None:
    (cifar(tmp_path) / missing).unlink()
    with pytest.raises(InputError, match="binary version") as caught:
        datasets.load("cifar10", tmp_path)
    assert caught.value.where == str(tmp_path / "cifar-10-batches-bin")


def test_a_file_of_fashion_mnist_is_missing(tmp_path: Path) -> None:
    (fashion(tmp_path) / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz: .*missing"):
        datasets.load("fashion-mnist", tmp_path)


def test_damaged_records(tmp_path: Path) -> None:
    path = cifar(tmp_path) / "data_batch_2.bin"
    for content in (path.read_bytes()[:-1], b"", b"\x0b" + path.read_bytes()[1:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged") as caught:
            datasets.load("cifar10", tmp_path)
        assert caught.value.where == str(path)
        assert caught.value.remedy
    path.unlink()
    packed = lzma.compress(records(5, 2))
    for content in (packed[: len(packed) // 2], b"not xz"):
        path.with_name("data_batch_2.bin.xz").write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            datasets.load("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_damaged_idx(tmp_path: Path, name: str) -> None:
    path = fashion(tmp_path) / name
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    swapped = gzip.compress(plain[:2] + b"\x0d" + plain[3:])
    other = idx(np.zeros((3, 28, 28)) if "images" in name else np.zeros(3))
    for content in (whole[:-9], whole[:20], b"", b"\x1f\x8b", gzip.compress(plain[:-1]), swapped, other):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            datasets.load("fashion-mnist", tmp_path)
