from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nodes.errors import InputError
from nodes.learn import shards, tensorfile
from nodes.learn.shards import Batches
from tests.unit.learn.toys import shard


def same(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_written_and_read_back(tmp_path: Path) -> None:
    made = shard()
    path = tmp_path / "dev.safetensors"
    shards.write(path, made.x.numpy(), made.y.numpy(), made.classes, made.mean, made.std)
    back = shards.read(path)
    assert torch.equal(back.x, made.x)
    assert torch.equal(back.y, made.y)
    assert (back.classes, back.mean, back.std) == (made.classes, made.mean, made.std)
    assert path.stat().st_mode & 0o444 == 0o444  # nodes read it as another user


def test_files_that_are_no_shard(tmp_path: Path) -> None:
    path = tmp_path / "dev.safetensors"
    with pytest.raises(InputError, match=r"dev\.safetensors"):
        shards.read(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        shards.read(path)
    tensorfile.write(path, {"x": np.zeros((1, 3, 8, 8))}, {})
    with pytest.raises(InputError, match="not a shard"):
        shards.read(path)
    made = shard()
    shards.write(path, made.x.numpy(), made.y.numpy()[:-1], made.classes, made.mean, made.std)
    with pytest.raises(InputError, match="not a shard"):
        shards.read(path)


def test_normalised_by_mean_and_deviation() -> None:
    made = shard()
    x, _ = Batches(made, 0, "a", 40).get(1, 0)
    assert x.dtype == torch.float32
    expected = (made.x.double() / 255 - torch.tensor(made.mean).view(1, 3, 1, 1)) / torch.tensor(
        made.std
    ).view(1, 3, 1, 1)
    torch.testing.assert_close(x.sum((0, 2, 3)), expected.sum((0, 2, 3)).float(), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("shape", [(5,), (3, 7)])
def test_numbers_are_normalised_along_their_first_dimension(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(3, 2, (40, *shape)).astype(np.float32)
    mean, std = tuple(range(shape[0])), tuple(1.0 + i for i in range(shape[0]))
    shards.write(tmp_path / "s", x, np.arange(40) % 2, 2, tuple(map(float, mean)), std)
    made = shards.read(tmp_path / "s")
    before = made.x.clone()
    got = made.normalise(made.x[:10])
    along = (1, -1, *(1 for _ in shape[1:]))
    expected = (x[:10] - np.reshape(mean, along)) / np.reshape(std, along)
    torch.testing.assert_close(got, torch.from_numpy(expected.astype(np.float32)))
    assert torch.equal(made.x, before)  # the shard itself stays as it is


def test_words_stay_whole_numbers(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.int16).reshape(20, 3)
    shards.write(tmp_path / "s", x, np.arange(20) % 2, 2, (), ())
    batch, _ = Batches(shards.read(tmp_path / "s"), 0, "a", 20).get(1, 0)
    assert batch.dtype == torch.int64
    assert sorted(batch[:, 0].tolist()) == x[:, 0].tolist()


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 3), "uint8"), ((4, 3, 8, 8), "float32"), ((4, 3), "int64"), ((4,), "int16")]
)
def test_samples_of_a_form_that_nothing_takes(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    shards.write(tmp_path / "s", np.zeros(shape, kind), np.zeros(4, np.int64), 2, (), ())
    with pytest.raises(InputError, match="not a shard"):
        shards.read(tmp_path / "s")


def test_a_round_deals_every_full_batch_once_an_epoch() -> None:
    made = shard(43)
    numbered = shards.Shard(made.x, torch.arange(43), 43, made.mean, made.std)
    batches = Batches(numbered, 1, "a", 8, epochs=2)
    assert (len(batches), batches.per_epoch) == (10, 5)
    for epoch in (0, 1):
        seen = torch.cat([batches.get(1, epoch * 5 + at)[1] for at in range(5)])
        assert len(seen) == 40 == len(set(seen.tolist()))
    assert not torch.equal(batches.get(1, 0)[1], batches.get(1, 5)[1])
    assert not torch.equal(batches.get(1, 0)[1], batches.get(2, 0)[1])


@pytest.mark.parametrize("augment", [False, True])
def test_any_batch_at_any_time_is_the_same(augment: bool) -> None:
    forward = Batches(shard(), 1, "a", 8, augment=augment)
    order = [(r, i) for r in (1, 2) for i in range(5)]
    first = {at: forward.get(*at) for at in order}
    other = Batches(shard(), 1, "a", 8, augment=augment)
    assert all(same(other.get(*at), first[at]) for at in reversed(order))
    assert not same(Batches(shard(), 2, "a", 8).get(1, 0), first[1, 0])
    assert not same(Batches(shard(), 1, "b", 8).get(1, 0), first[1, 0])


def test_few_samples_are_one_smaller_batch() -> None:
    batches = Batches(shard(5), 1, "a", 8)
    assert len(batches) == 1
    assert batches.get(1, 0)[0].shape[0] == 5


def test_no_batch_outside_the_round() -> None:
    batches = Batches(shard(), 1, "a", 8)
    for index in (-1, 5):
        with pytest.raises(IndexError):
            batches.get(1, index)
    with pytest.raises(InputError, match="at least 1"):
        Batches(shard(), 1, "a", 0)


def test_augmenting_shifts_and_mirrors_whole_images() -> None:
    made = shard(32)
    plain = shards.Shard(made.x + 1, made.y, 10, (0.0,) * 3, (1 / 255,) * 3)  # black only by padding
    before, y = Batches(plain, 1, "a", 32).get(1, 0)
    after, y2 = Batches(plain, 1, "a", 32, augment=True).get(1, 0)
    assert torch.equal(y, y2)
    padded = torch.nn.functional.pad(before, (4, 4, 4, 4))
    seen = set()
    for image, source in zip(after, padded, strict=True):
        found = [
            (dy, dx, mirrored)
            for dy in range(9)
            for dx in range(9)
            for mirrored in (False, True)
            for crop in [source[:, dy : dy + 8, dx : dx + 8]]
            if torch.equal(crop.flip(2) if mirrored else crop, image)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 16
    assert {mirrored for _, _, mirrored in seen} == {False, True}


def test_labels_alone_are_those_of_the_batch() -> None:
    batches = Batches(shard(40), 1, "a", 8, epochs=2)
    for index in range(len(batches)):
        assert torch.equal(batches.labels(2, index), batches.get(2, index)[1])
    with pytest.raises(IndexError):
        batches.labels(2, len(batches))


def test_only_kept_samples_are_dealt_out_as_if_there_were_no_others() -> None:
    made, kept = shard(), np.array([3, 4, 8, 15, 16, 23, 30, 31, 38])
    batches = Batches(made, 5, "a", 4, epochs=2)
    batches.get(1, 0)
    batches.keep(kept)
    alone = Batches(replace(made, x=made.x[kept], y=made.y[kept]), 5, "a", 4, epochs=2)
    assert (len(batches), batches.samples, batches.size) == (len(alone), 9, 4)
    for round in (1, 2):
        for i in range(len(batches)):
            assert same(batches.get(round, i), alone.get(round, i))
            assert torch.equal(batches.labels(round, i), alone.labels(round, i))
    batches.keep(kept[:3])
    assert (len(batches), batches.size) == (2, 3)


@pytest.mark.parametrize("kept", [[], [1, 1], [-1, 2], [0, 40]])
def test_selections_that_are_none(kept: list[int]) -> None:
    with pytest.raises(InputError, match="selection"):
        Batches(shard(), 5, "a", 4).keep(np.array(kept, dtype=np.int64))
