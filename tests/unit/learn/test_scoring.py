from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.learn import models, scoring
from nodes.learn.shards import Shard
from tests.unit.learn.toys import shard


def flat(x: np.ndarray, y: np.ndarray, classes: int) -> Shard:
    """Plain features as a shard that nothing normalises."""
    width = x.shape[1]
    return Shard(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y), classes, (0.0,) * width, (1.0,) * width)


def clouds(samples: int = 60, classes: int = 3, apart: float = 4.0, width: int = 5) -> Shard:
    """A cloud of samples a class, the last sample of each class in another one's."""
    draw = np.random.default_rng(5)
    y = np.arange(samples) % classes
    centres = apart * draw.normal(size=(classes, width))
    of = np.where(np.arange(samples) >= samples - classes, (y + 1) % classes, y)
    return flat(centres[of] + draw.normal(size=(samples, width)), y, classes)


@pytest.mark.parametrize("by", scoring.CLASSIFIERS)
def test_mislabelled_samples_are_the_hardest(by: str) -> None:
    found = scoring.score(clouds(), by)
    assert set(np.argsort(found)[:3].tolist()) == {57, 58, 59}
    assert (found[57:] < 0).all()
    assert (found[:57] > 0).mean() > 0.9


@pytest.mark.parametrize("by", scoring.CLASSIFIERS)
def test_work_is_done_in_pieces_one_after_the_other(by: str) -> None:
    under_way, pieces = [], []

    @contextmanager
    def work() -> Iterator[None]:
        assert not under_way
        under_way.append(None)
        yield
        pieces.append(under_way.pop())

    samples = clouds(samples=100)
    assert (scoring.score(samples, by, work=work) == scoring.score(samples, by)).all()
    assert len(pieces) == 4 + 1 + (scoring.FOLDS if by == "logistic" else 1)


@pytest.mark.parametrize("by", scoring.CLASSIFIERS)
def test_nobody_has_a_say_in_its_own_score(by: str) -> None:
    """With noise, and more features than samples, who knows the samples by heart would tell all of them."""
    draw = np.random.default_rng(1)
    noise = flat(draw.normal(size=(60, 200)), np.arange(60) % 4, 4)
    assert (scoring.score(noise, by) > 0).mean() < 0.5


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(8, 20))
def test_leave_one_out_in_closed_form(seed: int, classes: int, samples: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(samples, 4)).astype(np.float32), draw.integers(0, classes, samples)
    found = scoring.centroid(x, y, classes)
    for i in range(samples):
        rest = np.arange(samples) != i
        centres = {c: x[rest & (y == c)].mean(axis=0) for c in set(y[rest].tolist())}
        far = {c: float(np.linalg.norm(x[i] - centre)) for c, centre in centres.items()}
        others = [d for c, d in far.items() if c != y[i]]
        if y[i] not in far:
            assert found[i] == -np.inf
        else:
            assert found[i] == pytest.approx((min(others) if others else 0.0) - far[y[i]], abs=1e-3)


@pytest.mark.parametrize("by", scoring.CLASSIFIERS)
def test_classes_that_are_missing_alone_or_all_there_is(by: str) -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(7, 3))
    for y in ([4] * 7, [0, 0, 0, 0, 0, 0, 3], [0, 1, 2, 3, 4, 5, 6], [2, 5] + [2] * 5):
        found = scoring.score(flat(x, np.array(y), 8), by)
        assert found.shape == (7,)
        assert not np.isnan(found).any()
    alone = scoring.score(flat(x, np.array([0, 0, 0, 0, 0, 0, 3]), 8), by)
    assert alone.argmin() == 6
    assert scoring.score(flat(x[:1], np.array([0]), 2), by).shape == (1,)


@pytest.mark.parametrize("by", scoring.CLASSIFIERS)
@pytest.mark.parametrize("kind", ["images", "windows", "features", "words"])
def test_all_kinds_of_samples_alone_and_through_a_half(by: str, kind: str) -> None:
    draw = np.random.default_rng(3)
    y = np.arange(40) % 10
    if kind == "images":
        made, half = shard(), models.layers("cnn", 0, 2, (3, 8, 8))
    elif kind == "words":
        words = torch.from_numpy((draw.integers(0, 50, (40, 32)) + 50 * y[:, None]).astype(np.int16))
        made, half = Shard(words, torch.from_numpy(y), 10, (), ()), models.layers("transformer", 0, 1)
    else:
        shape = models.usual_shape("cnn1d") if kind == "windows" else (43,)
        x = torch.from_numpy((draw.normal(size=(40, *shape)) + y.reshape(-1, *(1 for _ in shape))).astype(np.float32))
        made = Shard(x, torch.from_numpy(y), 10, (0.0,) * shape[0], (1.0,) * shape[0])
        half = models.layers("cnn1d" if kind == "windows" else "mlp", 0, 1, shape)
    for tensor in half.parameters():
        tensor.data.normal_(generator=torch.Generator().manual_seed(1))
    before = {k: v.clone() for k, v in half.state_dict().items()}
    found = scoring.score(made, by)
    assert (found > 0).mean() > 0.15  # one in ten by chance
    through = scoring.score(made, by, half)
    assert through.shape == found.shape
    assert through.tolist() != found.tolist()
    assert all(torch.equal(before[k], v) for k, v in half.state_dict().items())
    assert half.training
    assert scoring.score(made, by, half).tolist() == through.tolist()


def test_features_are_few_and_alike_in_scale() -> None:
    x = scoring.standardised(scoring.of_samples(shard()))
    assert x.shape == (40, 3 * 64)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-4)
    still = scoring.standardised(np.ones((5, 2), dtype=np.float32))
    assert not still.any()


def test_what_fills_a_text_up_is_no_word() -> None:
    y = torch.arange(6) % 2
    short = torch.zeros(6, 8, dtype=torch.int16)
    short[:, 0] = torch.tensor([5, 6, 5, 6, 5, 6])
    features = scoring.of_samples(Shard(short, y, 2, (), ()))
    assert (features != 0).sum() <= 6  # one word a text, and none of zeros


def test_no_such_classifier() -> None:
    with pytest.raises(InputError, match="no such classifier"):
        scoring.score(shard(), "oracle")
