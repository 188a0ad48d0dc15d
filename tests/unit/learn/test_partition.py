from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.learn import partition

quick = settings(max_examples=60, deadline=None, database=None)
names = st.lists(st.text("abcdefgh-12", min_size=1, max_size=6), min_size=1, max_size=8, unique=True)
seeds = st.integers(0, 2**32)


def labels(n: int, classes: int = 10) -> partition.Labels:
    return np.random.default_rng(n).integers(0, classes, n).astype(np.int64)


def check_disjoint(parts: dict[str, partition.Indices], n: int) -> int:
    every = np.concatenate(list(parts.values()))
    assert len(np.unique(every)) == len(every)
    assert ((every >= 0) & (every < n)).all()
    for part in parts.values():
        assert (np.diff(part) > 0).all()
    return len(every)


def alike(a: dict[str, partition.Indices], b: dict[str, partition.Indices]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@quick
@given(names, seeds, st.integers(8, 500))
def test_equal_deals_out_all(devices: list[str], seed: int, n: int) -> None:
    parts = partition.equal(labels(n), devices, seed)
    assert list(parts) == sorted(devices)
    assert check_disjoint(parts, n) == n
    sizes = [len(part) for part in parts.values()]
    assert max(sizes) - min(sizes) <= 1
    assert alike(parts, partition.equal(labels(n), reversed(devices), seed))


@quick
@given(names, seeds, st.integers(300, 500), st.data())
def test_fractions_are_kept(devices: list[str], seed: int, n: int, data: st.DataObject) -> None:
    raw = [data.draw(st.floats(0.1, 1)) for _ in devices]
    total = data.draw(st.floats(0.5, 1.0))
    fractions = {name: share * total / sum(raw) for name, share in zip(devices, raw, strict=True)}
    parts = partition.by_fractions(labels(n), fractions, seed)
    used = check_disjoint(parts, n)
    assert abs(used - total * n) <= 0.5 + 1e-6
    for name, part in parts.items():
        assert abs(len(part) - fractions[name] * n) <= 1 + 1e-6


def test_fractions_of_one_use_every_sample() -> None:
    fractions = dict.fromkeys("abc", 1 / 3)
    assert check_disjoint(partition.by_fractions(labels(100), fractions, 0), 100) == 100


@quick
@given(names, seeds, st.floats(1e-6, 1e3), st.integers(1, 20), st.integers(0, 300))
def test_dirichlet_deals_out_all_and_a_batch_to_each(
    devices: list[str], seed: int, alpha: float, batch: int, more: int
) -> None:
    y = labels(len(devices) * batch + more)
    parts = partition.by_dirichlet(y, devices, seed, alpha, batch)
    assert list(parts) == sorted(devices)
    assert check_disjoint(parts, len(y)) == len(y)
    assert min(len(part) for part in parts.values()) >= batch
    assert alike(parts, partition.by_dirichlet(y, sorted(devices, reverse=True), seed, alpha, batch))


def skew(alpha: float) -> float:
    """Mean share of a device's most frequent class."""
    y = labels(4000)
    parts = [p for seed in range(5) for p in partition.by_dirichlet(y, "abcd", seed, alpha, 16).values()]
    return float(np.mean([np.bincount(y[part]).max() / len(part) for part in parts]))


def test_smaller_alpha_is_more_skewed() -> None:
    assert skew(0.1) > skew(1) > skew(100)
    assert skew(1e4) < 0.15


def test_seed_matters() -> None:
    y = labels(400)
    for split in (
        lambda seed: partition.equal(y, "abc", seed),
        lambda seed: partition.by_fractions(y, {"a": 0.5, "b": 0.2}, seed),
        lambda seed: partition.by_dirichlet(y, "abc", seed, 0.5, 4),
    ):
        assert not alike(split(1), split(2))


def test_split_takes_what_the_experiment_asks_for() -> None:
    y = labels(200)
    assert alike(partition.split(y, "ab", 1, 8), partition.equal(y, "ab", 1))
    assert alike(partition.split(y, "ab", 1, 8, dirichlet=0.3), partition.by_dirichlet(y, "ab", 1, 0.3, 8))
    shares = {"a": 0.7, "b": 0.3}
    assert alike(partition.split(y, "ab", 1, 8, fractions=shares), partition.by_fractions(y, shares, 1))


def test_nobody_trains_on_less_than_a_batch() -> None:
    y = labels(200)
    for rule in ({}, {"fractions": {"a": 0.9, "b": 0.1}}):
        least = min(map(len, partition.split(y, "ab", 1, 8, **rule).values()))
        assert alike(partition.split(y, "ab", 1, least, **rule), partition.split(y, "ab", 1, 8, **rule))
        with pytest.raises(InputError, match="fewer samples than a batch") as error:
            partition.split(y, "ab", 1, least + 1, **rule)
        assert f"workload.batch to {least} or less" in str(error.value.remedy)


def test_what_cannot_be_split() -> None:
    y = labels(50)
    with pytest.raises(InputError, match="not both"):
        partition.split(y, "ab", 1, 8, dirichlet=1.0, fractions={"a": 0.5, "b": 0.5})
    with pytest.raises(InputError, match="not in both: b, c"):
        partition.split(y, "ab", 1, 8, fractions={"a": 0.5, "c": 0.5})
    with pytest.raises(InputError, match="do not add up"):
        partition.by_fractions(y, {"a": 0.7, "b": 0.6}, 1)
    with pytest.raises(InputError, match="do not add up"):
        partition.by_fractions(y, {"a": 0.7, "b": float("nan")}, 1)
    with pytest.raises(InputError, match="fraction of b"):
        partition.by_fractions(y, {"a": 0.7, "b": 0.001}, 1)
    with pytest.raises(InputError, match="4 devices x 16 = 64"):
        partition.by_dirichlet(y, "abcd", 1, 0.5, 16)
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha"):
            partition.by_dirichlet(y, "ab", 1, alpha, 4)
    with pytest.raises(InputError, match="no device"):
        partition.equal(y, [], 1)
    with pytest.raises(InputError, match="one name"):
        partition.equal(y, ["a", "a"], 1)
