from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.costs import Chain, Stage, Transfer
from nodes.policies.simulate import order, play, staleness
from tests.unit.policies.problems import chain_of, chains, seconds

micros, batches = st.integers(1, 8), st.integers(1, 4)


def ops(schedule: str, depth: int, micro: int, batches: int, last: bool = False) -> str:
    return " ".join(f"{op}{i}" for op, i in order(schedule, depth, micro, batches, last=last))


def test_orders_as_they_are_defined():
    assert ops("sync", 1, 2, 2) == "F0 F1 B0 B1 U0 F2 F3 B2 B3 U1"
    assert ops("1f1b", 3, 2, 2) == "F0 F1 F2 B0 F3 B1 U0 B2 B3 U1"
    assert ops("1f1b", 1, 2, 1) == ops("sequential", 3, 2, 1) == "F0 B0 F1 B1 U0"
    assert ops("1f1b", 1, 2, 1, last=True) == "FB0 FB1 U0"
    assert ops("sync", 1, 2, 1, last=True) == "FB0 FB1 U0"


@given(st.sampled_from(["1f1b", "sync", "sequential"]), st.integers(1, 9), micros, batches, st.booleans())
def test_every_micro_batch_goes_forward_and_back_once(schedule, depth, micro, count, last):
    done = list(order(schedule, depth, micro, count, last=last))
    forward = [i for op, i in done if op in ("F", "FB")]
    back = [i for op, i in done if op in ("B", "FB")]
    assert forward == back == list(range(micro * count))
    assert [i for op, i in done if op == "U"] == list(range(count))
    for batch in range(count):  # an update comes right behind the last backward of its batch
        at = done.index(("U", batch))
        assert done[at - 1][1] == (batch + 1) * micro - 1


@given(st.integers(1, 12), micros, st.integers(1, 5))
def test_staleness_is_what_the_order_makes_of_it(depth, micro, count):
    version, forward, worst = 0, {}, 0
    for op, i in order("1f1b", depth, micro, count, last=False):
        if op == "F":
            forward[i] = version
        elif op == "B":
            worst = max(worst, version - forward[i])
        else:
            version += 1
    assert worst <= staleness(depth, micro)
    if count * micro > depth + micro:
        assert worst == staleness(depth, micro)
    assert depth > micro or worst <= 1


def test_a_pipeline_by_hand():
    """Two stages: forward 1, back 1; the link there takes 1 and its delay 1, back as well."""
    chain = chain_of([(1, 1), (1, 1)], [(1, 1)], delay=1)
    assert chain.latency == 8
    assert play(chain, "sequential", 2, 1).ends == (16,)
    assert play(chain, "sync", 2, 1).ends == (8 + 2,)
    played = play(chain, "1f1b", 2, 1, (2, 1), trace=True)
    assert [(s.where, s.op, s.index, s.begin) for s in played.spans if s.where == "n1"] == [
        ("n1", "FB", 0, 3), ("n1", "FB", 1, 5), ("n1", "U", 0, 7),
    ]  # fmt: skip
    assert played.ends == (10,)
    assert played.idle("n0") == pytest.approx(0.6)


def test_a_device_with_two_stages_takes_what_could_have_begun_first():
    stages = (Stage("d", 1, 0, 0), Stage("e", 1, 0, 0), Stage("d", 1, 0, 0))
    wire = Transfer("w", 0, 0)
    played = play(Chain(stages, (wire, wire), (wire, wire)), "1f1b", 4, 1, (3, 2, 1), trace=True)
    mine = [(s.stage, s.op, s.index, s.begin) for s in played.spans if s.where == "d" and s.op in ("F", "FB")]
    assert mine[:4] == [(0, "F", 0, 0), (0, "F", 1, 1), (0, "F", 2, 2), (2, "FB", 0, 3)]


@given(chains(), micros, seconds)
def test_sequential_is_its_closed_form(chain, micro, update):
    chain = with_update(chain, update)
    assert play(chain, "sequential", micro, 1).ends[0] == pytest.approx(micro * chain.latency + update)


@given(chains(), micros, seconds)
def test_sync_is_its_closed_form(chain, micro, update):
    chain = with_update(chain, update)
    assert play(chain, "sync", micro, 1).ends[0] == pytest.approx(chain.flush(micro) + update)


def with_update(chain: Chain, update: float) -> Chain:
    first, *rest = chain.stages
    return Chain((Stage(first.node, first.forward, first.backward, update), *rest), chain.there, chain.back)


@given(chains(), st.sampled_from(["1f1b", "sync", "sequential"]), micros, batches, st.data())
def test_nothing_is_done_twice_at_once_and_nothing_is_lost(chain, schedule, micro, count, data):
    depths: list[int] = []
    for _ in chain.stages:
        depths.append(data.draw(st.integers(1, depths[-1] if depths else 6)))
    played = play(chain, schedule, micro, count, depths, trace=True)
    by: dict[str, list[tuple[float, float]]] = {}
    for span in played.spans:
        by.setdefault(span.where, []).append((span.begin, span.end))
    for spans in by.values():
        spans.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    for where, busy in chain.busy(micro).items():
        assert played.busy[where] == pytest.approx(micro * count * busy)
        assert played.end >= played.busy[where] - 1e-9
    assert len(played.ends) == count
    assert play(chain, schedule, micro, count, depths).ends == played.ends


@given(chains(), micros, st.integers(2, 4))
def test_sequential_is_never_faster_than_sync(chain, micro, count):
    assert play(chain, "sync", micro, count).end <= play(chain, "sequential", micro, count).end + 1e-9


@pytest.mark.parametrize("bad", [
    ("gpipe", 1, 1, (1, 1)), ("sync", 0, 1, ()), ("sync", 1, 0, ()), ("1f1b", 1, 1, (1, 2)), ("1f1b", 1, 1, (1,)),
    ("1f1b", 1, 1, (1, 0)), ("1f1b", 1, 1, ()),
])  # fmt: skip
def test_what_cannot_be_played(bad):
    with pytest.raises(InputError):
        play(chain_of([(1, 1), (1, 1)]), *bad)
