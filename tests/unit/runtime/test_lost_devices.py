"""Rounds that go on without a device whose container has died: on the simulated network."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.learn.aggregate import fedavg
from nodes.learn.digest import weights_digest
from tests.unit.runtime.simulated import EDGES, World
from tests.unit.runtime.test_averaging import HOMES, THREE, missing, trained

LONG = 300.0
KINDS = [
    {"scheme": "fedavg", "strategy": "none"},
    {"scheme": "splitfed", "strategy": "restart"},
    {"scheme": "fedfly", "strategy": "migrate"},
    {"scheme": "fedfly", "strategy": "migrate", "hierarchical": True},
]
NAMES = ["fedavg", "splitfed", "fedfly", "hierarchical"]


def dies(node, told_after=0.3):
    """An action: a node dies, and the others are told of it a little later."""

    def act(world):
        world.kill(node)
        world.at(told_after, lambda w: w.tell_died(node))

    return act


def parts_of(world, owner):
    """All that living nodes hold of an owner's parts."""
    found = []
    for name, host in world.hosts.items():
        if name not in world.dead:
            mover, standbys = host._mover, host._standbys
            kept = (host.parts, mover._leaving, mover._held, standbys.here, standbys._places)
            found += [part for held in kept for part in held if part.owner == owner]
    return found


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_the_round_goes_on_at_once_and_so_do_all_others(tmp_path, kind):
    world = World(tmp_path, drop_s=LONG, rounds=3, plan={("d2", 1, 2): [dies("d2")]}, **kind)
    done = world.run()
    assert missing(world) == {1: ("d2",), 2: ("d2",), 3: ("d2",)}
    assert done.weights_sha256 == weights_digest(trained(world, "d1", 3)[1])
    assert world.now < LONG / 10
    assert parts_of(world, "d2") == []


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_who_is_not_known_to_be_dead_is_late(tmp_path, kind):
    world = World(tmp_path, drop_s=5.0, plan={("d2", 1, 2): [lambda w: w.kill("d2")]}, **kind)
    world.run()
    assert missing(world) == {1: ("d2",), 2: ("d2",)}
    assert 10.0 <= world.now < 11.0


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_what_it_had_delivered_counts(tmp_path, kind):
    """It dies when its own round is in and the other's is not."""
    slow = {frozenset(("d1", node)): 0.2 for node in ("cloud", *EDGES)}

    def at_the_end(world):
        world.at(0.05, dies("d2", 0.0))

    world = World(tmp_path, drop_s=LONG, latency=slow, plan={("d2", 1, 5): [at_the_end]}, **kind)
    done = world.run()
    assert missing(world) == {1: (), 2: ("d2",)}
    calm = World(tmp_path, **kind).run()
    assert done.weights_sha256 != calm.weights_sha256
    assert world.now < LONG / 10


def test_a_move_under_way_ends_with_its_device(tmp_path):
    """The state takes its time between the edge servers, and is dropped on both."""
    slow = {frozenset(("ea", "eb")): 0.5}
    plan = {("d2", 1, 2): [lambda w: w.notice("d2", "eb"), lambda w: w.at(0.2, dies("d2", 0.1))]}
    world = World(tmp_path, drop_s=LONG, latency=slow, plan=plan)
    world.run()
    assert [s.peer for s in world.spans if s.kind == "capture"] == ["eb"]
    assert missing(world) == {1: ("d2",), 2: ("d2",)}
    assert parts_of(world, "d2") == []


def test_its_standby_is_dropped(tmp_path):
    plan = {("d2", 1, 1): [lambda w: w.notice("d2", "eb")], ("d2", 1, 4): [dies("d2", 0.0)]}
    world = World(tmp_path, drop_s=LONG, strategy="shadow", plan=plan)
    world.run()
    assert [s.peer for s in world.spans if s.kind == "standby"] == ["eb"]
    assert [s for s in world.spans if s.kind == "replay-step"]
    assert parts_of(world, "d2") == []


@pytest.mark.parametrize("first", ["d2", "ea"])
def test_a_model_that_dies_with_its_device_and_its_edge_server_is_not_waited_for(tmp_path, first):
    """d2 has delivered to the collector of its edge server; then both die while the cloud waits for d3."""
    second = {"d2": "ea", "ea": "d2"}[first]
    slow = {frozenset(("d3", node)): 0.5 for node in EDGES}
    plan = {("d2", 1, 3): [lambda w: w.at(0.5, dies(first)), lambda w: w.at(1.0, dies(second))]}
    world = World(tmp_path, devices=THREE, homes={"d1": "eb", "d3": "eb"}, hierarchical=True, drop_s=LONG,
                  latency=slow, plan=plan)  # fmt: skip
    world.run()
    assert missing(world) == {1: ("d2",), 2: ("d2",)}
    assert world.now < LONG / 10


def test_a_device_that_was_late_may_die_as_well(tmp_path):
    plan = {("d2", 1, 2): [lambda w: w.lose("d2"), lambda w: w.at(7.0, dies("d2"))]}
    for kind in KINDS:
        world = World(tmp_path, drop_s=5.0, rounds=4, plan=plan, **kind)
        world.run()
        assert missing(world) == dict.fromkeys((1, 2, 3, 4), ("d2",))
        assert world.now < 13.0, "the rounds after its death wait for nobody"


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(KINDS), victim=st.sampled_from(THREE), number=st.integers(1, 3), batch=st.integers(1, 3),
    told=st.sampled_from([0.0, 0.1, 2.0]),
)
def test_the_mean_is_that_of_those_who_are_left(kind, victim, number, batch, told):
    """Until the round before it dies all are averaged, from then on all others."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        plan = {(victim, number, batch): [dies(victim, told)]}
        world = World(directory, devices=THREE, homes=HOMES, drop_s=LONG, rounds=3, plan=plan, **kind)
        done = world.run()
        assert missing(world) == {r: (victim,) if r >= number else () for r in (1, 2, 3)}
        if number == 1 and not kind.get("hierarchical"):
            left = {owner: trained(world, owner, 1) for owner in THREE if owner != victim}
            mean = fedavg({o: w for o, (_, w) in left.items()}, {o: float(n) for o, (n, _) in left.items()})
            first = World(directory, devices=THREE, homes=HOMES, drop_s=LONG, rounds=1, plan=plan, **kind)
            assert first.run().weights_sha256 == weights_digest(mean)
        again = World(directory, devices=THREE, homes=HOMES, drop_s=LONG, rounds=3, plan=plan, **kind).run()
        assert again.weights_sha256 == done.weights_sha256

