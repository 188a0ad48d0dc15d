"""Laws of the fixed order: every chain of stages comes to its end, nothing is done twice, staleness is bounded."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.order import SCHEDULES, Op, depths, order, require_depths, staleness

schedule = st.sampled_from(SCHEDULES)
few = st.integers(1, 5)


@st.composite
def chains(draw: st.DrawFn) -> tuple[str, int, int, tuple[int, ...]]:
    """A schedule, micro-batches, batches, and depths that do not grow along the chain."""
    name, micro, batches, stages = draw(schedule), draw(few), draw(few), draw(st.integers(2, 4))
    if name == "1f1b" and draw(st.booleans()):
        found = tuple(sorted(draw(st.lists(st.integers(1, 12), min_size=stages, max_size=stages)), reverse=True))
    else:
        found = depths(name, stages, micro, draw(st.none() | st.integers(1, 12)))
    return name, micro, batches, found


def orders(chain: tuple[str, int, int, tuple[int, ...]]) -> list[list[Op]]:
    name, micro, batches, found = chain
    last = len(found) - 1
    return [list(order(name, micro, batches, depth, last=s == last)) for s, depth in enumerate(found)]


@given(chains(), st.randoms(use_true_random=False))
def test_a_chain_of_stages_comes_to_its_end(chain, random) -> None:
    """Whichever stage is the next to do something: each does its next piece as soon as what it needs is there."""
    require_depths(chain[3])
    stages = orders(chain)
    at = [0] * len(stages)
    done: set[tuple[int, str, int, int]] = set()

    def ready(stage: int) -> bool:
        if at[stage] == len(stages[stage]):
            return False
        kind, batch, micro = stages[stage][at[stage]]
        if kind in ("forward", "tail"):
            return stage == 0 or (stage - 1, "forward", batch, micro) in done
        behind = "tail" if stage == len(stages) - 2 else "backward"
        return kind == "update" or (stage + 1, behind, batch, micro) in done

    while able := [stage for stage in range(len(stages)) if ready(stage)]:
        stage = random.choice(able)
        done.add((stage, *stages[stage][at[stage]]))
        at[stage] += 1
    assert at == [len(ops) for ops in stages]


@given(chains())
def test_every_micro_batch_goes_once_each_way(chain) -> None:
    _, micro, batches, found = chain
    every = {(batch, piece) for batch in range(batches) for piece in range(micro)}
    for stage, ops in enumerate(orders(chain)):
        assert max(Counter(ops).values()) == 1
        ways = ("tail",) if stage == len(found) - 1 else ("forward", "backward")
        for way in ways:
            assert [op[1:] for op in ops if op.kind == way] == sorted(every)  # each way in order of micro-batches
        for batch in range(batches):  # the update follows the last backward pass of its batch, before anything else
            update = ops.index(Op("update", batch, micro - 1))
            assert ops[update - 1] == Op(ways[-1], batch, micro - 1)
        assert {op.kind for op in ops} == {*ways, "update"}


@given(chains())
def test_no_more_are_under_way_than_the_depth(chain) -> None:
    for ops, depth in zip(orders(chain)[:-1], chain[3], strict=False):
        under_way = most = 0
        for op in ops:
            under_way += {"forward": 1, "backward": -1}.get(op.kind, 0)
            most = max(most, under_way)
        assert 1 <= most <= depth
        assert under_way == 0


@given(chains())
def test_staleness_is_what_is_said(chain) -> None:
    name, micro, _, found = chain
    for stage, ops in enumerate(orders(chain)):
        version, index = 0, 0
        for op in ops:
            if op.kind in ("forward", "tail"):
                stale = op.batch - version
                behind = name != "1f1b" or stage == len(found) - 1
                assert stale == (0 if behind else staleness(micro, found[stage], index))
                assert stale <= (found[stage] + micro - 2) // micro
                index += 1
            version += op.kind == "update"
    if name == "1f1b" and found[0] <= micro:
        assert staleness(micro, found[0], 3 * micro) <= 1


@given(schedule, st.integers(1, 6), st.integers(1, 9), st.none() | st.integers(1, 9))
def test_depths_never_grow_along_the_chain(name: str, stages: int, micro: int, depth: int | None) -> None:
    found = depths(name, stages, micro, depth)
    require_depths(found)
    assert len(found) == stages
    assert found[-1] == 1
    assert depth is None or name != "1f1b" or stages == 1 or found[0] == depth


def test_one_stage_after_the_other_in_words() -> None:
    def told(name: str, depth: int, batches: int = 1) -> str:
        return " ".join(f"{op.kind[0]}{op.batch}{op.micro}" for op in order(name, 3, batches, depth, last=False))

    assert told("sync", 3) == "f00 f01 f02 b00 b01 b02 u02"
    assert told("sequential", 1) == "f00 b00 f01 b01 f02 b02 u02"
    assert told("1f1b", 2, 2) == "f00 f01 b00 f02 b01 f10 b02 u02 f11 b10 f12 b11 b12 u12"


def test_depths_go_down_evenly() -> None:
    """Neighbours of one depth would take turns."""
    assert depths("1f1b", 2, 4) == depths("sync", 2, 4) == (4, 1)
    assert depths("1f1b", 2, 8) == (4, 1)
    assert depths("sync", 2, 8) == (8, 1)
    assert depths("1f1b", 3, 4) == (4, 2, 1)
    assert depths("1f1b", 3, 8) == (7, 4, 1)
    assert depths("sync", 4, 16) == (16, 7, 4, 1)
    assert depths("1f1b", 3, 4, 9) == (9, 4, 1)
    assert depths("sequential", 3, 4) == (1, 1, 1)


@pytest.mark.parametrize("found", [(), (0,), (1, 2), (3, 1, 2)])
def test_depths_under_which_nothing_goes_on(found: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="stand still"):
        require_depths(found)


def test_what_is_no_pipeline() -> None:
    with pytest.raises(InputError, match="no schedule"):
        depths("zigzag", 2, 4)
    for stages, micro, depth in ((0, 4, None), (2, 0, None), (2, 4, 0)):
        with pytest.raises(InputError, match="at least 1"):
            depths("1f1b", stages, micro, depth)
