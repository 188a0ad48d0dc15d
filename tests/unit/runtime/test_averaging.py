"""Averaging in tiers, and rounds that go on without those who are late: on the simulated network."""

from __future__ import annotations

import pytest
import torch

from nodes.learn import models, shards
from nodes.learn.aggregate import fedavg
from nodes.learn.digest import weights_digest
from nodes.learn.shards import Batches
from nodes.learn.stage import Sgd, Stage
from nodes.wire import codec
from nodes.wire.control import RoundDone
from nodes.wire.messages import Collect, PartId, Reported
from tests.unit.runtime.simulated import World

THREE = ("d1", "d2", "d3")
HOMES = {"d3": "eb"}


def tiers(tmp_path, **settings):
    world = World(tmp_path, devices=THREE, homes=HOMES, hierarchical=True, **settings)
    return world, world.run()


def weights(world):
    return world.hosts["cloud"].parts[PartId("t", "aggregator", "")]._weights


def sent(world, message):
    return [(s.node, s.peer, s.round) for s in world.spans if s.kind == "send" and s.attrs["message"] == message]


def missing(world):
    return {m.round: m.missing for m in world.said if isinstance(m, RoundDone)}


def trained(world, owner, rounds=2):
    """What a device comes to that trains alone, without any network."""
    task = world.hosts["cloud"].task
    stage = Stage(models.build(task.model, task.seed), Sgd(task.lr, task.momentum), first=True)
    batches = Batches(shards.read(task.data[owner]), task.seed, owner, task.batch)
    for number in range(1, rounds + 1):
        stage.load({name: t.clone() for name, t in stage.layers.state_dict().items()})
        for i in range(len(batches)):
            stage.train_step_tail(*batches.get(number, i))
    return len(batches.shard), stage.layers.state_dict()


# --- in tiers ---------------------------------------------------------------------------------------------


def test_edge_servers_average_their_devices_and_the_cloud_the_edge_servers(tmp_path):
    world, done = tiers(tmp_path)
    flat = World(tmp_path, devices=THREE, homes=HOMES)
    flat.run()
    for name, tensor in weights(flat).items():
        torch.testing.assert_close(weights(world)[name], tensor, rtol=1e-4, atol=1e-6)
    assert sent(world, "partial") == [(edge, "cloud", r) for r in (1, 2) for edge in ("ea", "eb")]
    assert {peer for _, peer, _ in sent(world, "update")} <= {"ea", "eb"}  # no device's model reaches the cloud
    assert tiers(tmp_path)[1].weights_sha256 == done.weights_sha256


def test_the_mean_of_means_is_weighted_by_samples(tmp_path):
    world, _ = tiers(tmp_path, rounds=1)
    alone = {owner: trained(world, owner, 1) for owner in THREE}
    near = fedavg({o: alone[o][1] for o in ("d1", "d2")}, {o: alone[o][0] for o in ("d1", "d2")})
    both = alone["d1"][0] + alone["d2"][0]
    expected = fedavg({"ea": near, "eb": alone["d3"][1]}, {"ea": both, "eb": alone["d3"][0]})
    assert weights_digest(weights(world)) == weights_digest(expected)


def test_a_device_is_averaged_where_its_edge_half_is_at_the_end(tmp_path):
    world, _ = tiers(tmp_path, plan={("d1", 1, 2): [lambda w: w.notice("d1", "eb")]}, rounds=1)
    alone = {owner: trained(world, owner, 1) for owner in THREE}
    near = fedavg({o: alone[o][1] for o in ("d1", "d3")}, {o: alone[o][0] for o in ("d1", "d3")})
    both = alone["d1"][0] + alone["d3"][0]
    expected = fedavg({"ea": alone["d2"][1], "eb": near}, {"ea": alone["d2"][0], "eb": both})
    assert weights_digest(weights(world)) == weights_digest(expected)


def test_an_edge_server_that_dies_with_models_has_them_trained_again(tmp_path):
    """It dies when one of its devices has delivered there and the cloud waits for another's."""
    world = World(tmp_path, devices=THREE, homes=HOMES, hierarchical=True, rounds=2, latency={
        frozenset(("d2", "ea")): 0.5}, plan={("d2", 1, 2): [lambda w: w.kill("ea")]})  # fmt: skip
    world.run()
    assert missing(world) == {1: (), 2: ()}
    assert {(s.part, s.round) for s in world.spans if s.kind == "restart"} == {("head:d1", 1), ("head:d2", 1)}
    assert {node for node, _, _ in sent(world, "partial")} <= {"eb", "ec"}
    flat = World(tmp_path, devices=THREE, homes=HOMES)
    flat.run()
    for name, tensor in weights(flat).items():
        torch.testing.assert_close(weights(world)[name], tensor, rtol=1e-4, atol=1e-6)


def test_the_cloud_learns_where_a_copy_goes_on_whose_edge_server_has_died(tmp_path):
    """Its model goes to the edge server's own aggregator, yet the next one has to find the way to it."""
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")],
            ("d1", 1, 3): [lambda w: w.kill("ea"), lambda w: w.tell_died("ea")]}  # fmt: skip
    world = World(tmp_path, strategy="shadow", hierarchical=True, plan=plan)
    world.run()
    assert [(s.part, s.round) for s in world.spans if s.kind == "restart"] == [("head:d2", 1)]
    assert {to for node, to, number in sent(world, "model") if node == "cloud" and number == 2} == {"eb"}
    assert world.now < 10


@pytest.mark.parametrize("after", range(6, 46, 4))
def test_an_edge_server_dies_with_a_standby_elsewhere(tmp_path, after):
    """So many events after the begin: before, within and after the copying of its state, and between rounds."""
    world = World(tmp_path, strategy="shadow", hierarchical=True)
    world.begin()
    world.forecast("d1", "eb")
    for _ in range(after):
        world.step()
    world.kill("ea")
    world.tell_died("ea")
    world.finish()
    assert missing(world) == {1: (), 2: ()}
    assert world.now < 30


def test_the_latest_report_counts_until_its_edge_server_dies(tmp_path):
    """The model is at two edge servers, and the report of the first comes last."""
    world = World(tmp_path, hierarchical=True)
    cloud = PartId("t", "aggregator", "")
    aggregator = world.hosts["cloud"].parts[cloud]
    for edge in ("eb", "ea"):
        aggregator.receive(PartId("t", "collector", edge), Reported(1, "d1"), {})
    world.tell_died("ea")
    aggregator.receive(PartId("t", "collector", "eb"), Reported(1, "d2"), {})
    posts = [what for _, _, kind, what in world._events if kind == "message"]
    asked = [codec.decode(frames)[0].body for _, to, frames in posts if to == "eb"]
    assert asked == [Collect(1, ("d1", "d2"))]


# --- without those who are late ---------------------------------------------------------------------------


def test_by_default_all_are_waited_for(tmp_path):
    still = World(tmp_path).run().weights_sha256
    away = [lambda w: w.lose("d2"), lambda w: w.at(500.0, lambda w: w.find("d2"))]
    world = World(tmp_path, plan={("d2", 1, 2): away})
    world.begin()
    assert world.finish(1000.0).weights_sha256 == still
    assert missing(world) == {1: (), 2: ()}


@pytest.mark.parametrize("hierarchical", [False, True])
def test_rounds_go_on_without_a_device_that_is_lost(tmp_path, hierarchical):
    world = World(tmp_path, drop_s=5.0, hierarchical=hierarchical)
    world.lose("d2")
    done = world.run()
    assert missing(world) == {1: ("d2",), 2: ("d2",)}
    assert done.weights_sha256 == weights_digest(trained(world, "d1")[1])
    assert 10.0 <= world.now < 11.0


def test_nobody_is_dropped_who_comes_in_time(tmp_path):
    still = World(tmp_path).run().weights_sha256
    world = World(tmp_path, drop_s=5.0)
    assert world.run().weights_sha256 == still
    assert missing(world) == {1: (), 2: ()}
    assert world.now < 5.0


def test_a_device_that_comes_back_takes_part_again(tmp_path):
    away = [lambda w: w.lose("d2"), lambda w: w.at(6.0, lambda w: w.find("d2"))]
    world = World(tmp_path, drop_s=5.0, rounds=3, plan={("d2", 1, 2): away})
    world.run()
    assert missing(world) == {1: ("d2",), 2: (), 3: ()}
    steps = [(s.round, s.batch) for s in world.spans if s.kind == "tail-step" and s.part == "tail:d2"]
    assert len([s for s in steps if s[0] > 1]) == len({s for s in steps if s[0] > 1}) == 10  # each once


def test_a_round_waits_for_one_at_least(tmp_path):
    world = World(tmp_path, drop_s=5.0, rounds=1)
    world.lose("d1")
    world.lose("d2")
    world.at(20.0, lambda w: w.find("d1"))
    done = world.run()
    assert missing(world) == {1: ("d2",)}
    assert done.weights_sha256 == weights_digest(trained(world, "d1", 1)[1])
    assert world.now > 20.0


def test_whole_models_that_come_late_count_for_nothing(tmp_path):
    world = World(tmp_path, scheme="fedavg", strategy="none", drop_s=5.0, rounds=3)
    world.lose("d2")
    world.at(7.0, lambda w: w.find("d2"))
    world.run()
    assert missing(world) == {1: ("d2",), 2: (), 3: ()}
    steps = [(s.round, s.batch) for s in world.spans if s.kind == "step" and s.node == "d2"]
    assert steps == [(r, b) for r in (1, 2, 3) for b in range(5)]


@pytest.mark.parametrize("hierarchical", [False, True])
def test_moves_and_drops_together_end(tmp_path, hierarchical):
    plan = {
        ("d1", 1, 3): [lambda w: w.notice("d1", "eb")],
        ("d2", 1, 1): [lambda w: w.lose("d2"), lambda w: w.at(5.5, lambda w: (w.find("d2"), w.notice("d2", "ec")))],
        ("d1", 2, 2): [lambda w: w.lose("d1"), lambda w: w.at(9.0, lambda w: w.find("d1"))],
    }
    world = World(tmp_path, drop_s=5.0, rounds=4, plan=plan, hierarchical=hierarchical)
    world.run()
    assert missing(world) == {1: ("d2",), 2: ("d1",), 3: (), 4: ()}
    assert {s.node for s in world.spans if s.kind == "tail-step" and s.round == 4} == {"eb", "ec"}
    assert not [s for s in world.spans if s.kind == "restart"]
