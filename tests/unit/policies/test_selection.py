from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.selection import BLIND, RULES, by_class, even, keep, proportional, size

KEY, OTHER = bytes(range(32)), bytes(32)
SCORED = tuple(rule for rule in RULES if rule not in BLIND)


@st.composite
def shards(draw: st.DrawFn) -> tuple[list[float], list[int], int]:
    """Scores with ties and infinities, labels with classes that are missing or rare."""
    classes = draw(st.integers(1, 6))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=60))
    scores = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0])
    return draw(st.lists(scores, min_size=len(labels), max_size=len(labels))), labels, classes


shares = st.floats(0, 1, exclude_min=True)


@given(shards(), st.sampled_from(RULES), shares, st.integers(1, 20))
def test_as_many_as_were_asked_for_each_once_and_a_batch_at_least(
    shard: tuple[list[float], list[int], int], rule: str, share: float, least: int
) -> None:
    scores, labels, classes = shard
    kept = keep(scores, labels, classes, rule, share, KEY, least)
    assert len(kept) == size(len(labels), share, least) >= min(least, len(labels))
    assert (np.diff(kept) > 0).all()
    assert kept[0] >= 0
    assert kept[-1] < len(labels)
    assert keep(scores, labels, classes, rule, share, KEY, least).tolist() == kept.tolist()
    assert sum(by_class(np.array(labels)[kept], classes)) == len(kept)


@given(shards(), st.sampled_from(RULES))
def test_the_whole_is_all_there_is(shard: tuple[list[float], list[int], int], rule: str) -> None:
    scores, labels, classes = shard
    assert keep(scores, labels, classes, rule, 1.0, KEY).tolist() == list(range(len(labels)))


@given(shards(), st.sampled_from(SCORED), shares)
def test_each_class_keeps_its_share_whatever_its_scores(
    shard: tuple[list[float], list[int], int], rule: str, share: float
) -> None:
    scores, labels, classes = shard
    kept = keep(scores, labels, classes, rule, share, KEY)
    found, counts = by_class(np.array(labels)[kept], classes), by_class(labels, classes)
    for got, count in zip(found, counts, strict=True):
        assert abs(got - len(kept) * count / len(labels)) < 1


@given(shards(), st.sampled_from(("hard", "easy")), shares)
def test_nobody_left_out_goes_before_who_is_kept(
    shard: tuple[list[float], list[int], int], rule: str, share: float
) -> None:
    scores, labels, classes = shard
    kept = set(keep(scores, labels, classes, rule, share, KEY).tolist())
    for c in range(classes):
        ranks = [(scores[i], i) for i in range(len(labels)) if labels[i] == c]
        inside = [rank for rank in ranks if rank[1] in kept]
        outside = [rank for rank in ranks if rank[1] not in kept]
        if inside and outside:
            assert max(inside) < min(outside) if rule == "hard" else min(inside) > max(outside)


@given(st.integers(1, 50), shares)
def test_mixed_goes_evenly_through_the_ranks(samples: int, share: float) -> None:
    kept = keep(np.arange(samples) / 7, np.zeros(samples), 1, "mixed", share, KEY).tolist()
    for stretch, rank in enumerate(kept):
        assert stretch * samples // len(kept) <= rank < -(-(stretch + 1) * samples // len(kept))


@given(shards(), shares)
def test_balanced_gives_more_to_nobody_while_another_with_less_has_some_left(
    shard: tuple[list[float], list[int], int], share: float
) -> None:
    _, labels, classes = shard
    kept = keep(None, labels, classes, "balanced", share, KEY)
    found, counts = by_class(np.array(labels)[kept], classes), by_class(labels, classes)
    for got, count in zip(found, counts, strict=True):
        assert got == count or got >= max(found) - 1


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.floats(0, 1))
def test_quotas_add_up_and_nobody_has_more_than_there_is(counts: list[int], share: float) -> None:
    total = round(share * sum(counts))
    if not sum(counts):
        return
    for rule in (proportional, even):
        quotas = rule(counts, total)
        assert sum(quotas) == total
        assert all(0 <= quota <= count for quota, count in zip(quotas, counts, strict=True))


@pytest.mark.parametrize("rule", BLIND)
def test_draws_hang_on_the_key_and_not_on_scores(rule: str) -> None:
    labels = np.arange(100) % 5
    kept = keep(None, labels, 5, rule, 0.3, KEY)
    assert keep(np.arange(100.0), labels, 5, rule, 0.3, KEY).tolist() == kept.tolist()
    assert keep(None, labels, 5, rule, 0.3, OTHER).tolist() != kept.tolist()


def test_equal_scores_go_by_index() -> None:
    assert keep(np.zeros(6), np.zeros(6), 1, "hard", 0.5, KEY).tolist() == [0, 1, 2]
    assert keep(np.zeros(6), np.zeros(6), 1, "easy", 0.5, OTHER).tolist() == [3, 4, 5]


def test_a_class_that_is_missing_or_small() -> None:
    labels = [0] * 8 + [2] * 2  # none of class 1
    assert by_class(np.array(labels)[keep(np.arange(10.0), labels, 3, "hard", 0.5, KEY)], 3) == [4, 0, 1]
    assert by_class(np.array(labels)[keep(None, labels, 3, "balanced", 0.8, KEY)], 3) == [6, 0, 2]
    assert by_class(np.array(labels)[keep(np.arange(10.0), labels, 3, "easy", 0.2, KEY)], 3) == [2, 0, 0]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan"), float("inf")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(InputError, match="share of the data"):
        keep(np.zeros(4), np.zeros(4), 1, "hard", share, KEY)


def test_what_cannot_be_selected_from() -> None:
    with pytest.raises(InputError, match="no such rule"):
        keep(np.zeros(4), np.zeros(4), 1, "best", 0.5, KEY)
    with pytest.raises(InputError, match="one number a sample"):
        keep([0.0, float("nan")], [0, 0], 1, "hard", 0.5, KEY)
    with pytest.raises(InputError, match="one number a sample"):
        keep(None, [0, 0], 1, "easy", 0.5, KEY)
    with pytest.raises(InputError, match="labels"):
        keep([0.0, 1.0], [0, 3], 3, "hard", 0.5, KEY)
    with pytest.raises(InputError, match="nothing to select from"):
        keep([], [], 3, "hard", 0.5, KEY)
    with pytest.raises(InputError, match="key"):
        keep(None, [0, 0], 1, "random", 0.5, b"short")
