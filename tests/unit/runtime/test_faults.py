"""What can go wrong with a move and what comes of it: the same weights, and nothing lost that need not be."""

from __future__ import annotations

import pytest

from tests.unit.runtime.simulated import World


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """Weights of a run in which nothing happens."""
    return World(tmp_path_factory.mktemp("still")).run().weights_sha256


def captures(world):
    return [s for s in world.spans if s.kind == "capture"]


def restarts(world):
    return [s for s in world.spans if s.kind == "restart"]


def steps(world, device="d1", kind="tail-step"):
    return [(s.round, s.batch) for s in world.spans if s.kind == kind and s.part == f"tail:{device}"]


def go(tmp_path, still, plan, **settings):
    world = World(tmp_path, plan=plan, **settings)
    assert world.run().weights_sha256 == still
    return world


@pytest.mark.parametrize("strategy", ["migrate", "shadow", "restart", "relay"])
def test_a_calm_move(tmp_path, still, strategy):
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb")], ("d1", 1, 3): [lambda w: w.notice("d1", "eb", done=True)]}
    world = go(tmp_path, still, plan, strategy=strategy)
    assert world.now < 60


def test_a_standby_takes_over_and_nothing_but_the_answer_is_owed(tmp_path, still):
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")],
            ("d1", 1, 4): [lambda w: w.notice("d1", "eb", done=True)]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="shadow")
    [capture] = captures(world)
    assert capture.attrs["by"] == "standby"
    replayed = steps(world, kind="replay-step")
    assert replayed == [(1, 2), (1, 3), (1, 4)]
    assert sorted(steps(world)) == [(r, b) for r in (1, 2) for b in range(5)]
    after = {s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1" and s.round == 2}
    assert after == {"eb"}


def test_a_wrong_forecast_costs_only_traffic(tmp_path, still):
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "ec")],
            ("d1", 1, 3): [lambda w: w.notice("d1", "eb", done=True)]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="shadow")
    [capture] = captures(world)
    assert "by" not in capture.attrs
    assert capture.peer == "eb"


def test_a_standby_is_kept_across_rounds_and_dropped_when_nobody_comes(tmp_path, still):
    plan = {("d1", 1, 3): [lambda w: w.forecast("d1", "eb")], ("d1", 2, 3): [lambda w: w.forecast("d1", "")]}
    world = go(tmp_path, still, plan, strategy="shadow")
    assert not captures(world)
    assert steps(world, kind="replay-step") == [(1, 4), (2, 0), (2, 1), (2, 2)]


def test_a_standby_out_of_step_is_replaced_by_a_copy(tmp_path, still):
    def spoil(world):
        [copy] = world.hosts["eb"]._standbys.here.values()
        copy._loss_sum += 1.0

    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")], ("d1", 1, 3): [spoil],
            ("d1", 1, 4): [lambda w: w.notice("d1", "eb", done=True)]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="shadow")
    assert [c.attrs.get("by") for c in captures(world)] == ["standby", None]
    assert any("not in step" in s.attrs["text"] for s in world.spans if s.kind == "note")


def test_a_flipped_bit_in_a_standby_is_found_and_the_state_is_copied(tmp_path, still):
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")], ("d1", 1, 3): [lambda w: w.hosts["eb"].spoil()],
            ("d1", 1, 4): [lambda w: w.notice("d1", "eb", done=True)]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="shadow")
    assert [c.attrs.get("by") for c in captures(world)] == ["standby", None]
    assert any("not in step" in s.attrs["text"] for s in world.spans if s.kind == "note")


def test_a_flipped_bit_in_a_state_that_arrives_is_found_and_the_state_is_sent_again(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.hosts["eb"].spoil(), lambda w: w.notice("d1", "eb")],
            ("d1", 1, 3): [lambda w: w.notice("d1", "eb", done=True)]}  # fmt: skip
    world = go(tmp_path, still, plan)
    # Refused before the handover, the part stays; the state goes once more when the device is there.
    assert any("digest differs" in s.attrs["text"] for s in world.spans if s.kind == "note")
    assert [c.peer for c in captures(world)] == ["eb", "eb"]
    assert [s.node for s in world.spans if s.kind == "restore"] == ["eb"]


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.025, 0.035, 0.045, 0.06])
@pytest.mark.parametrize("victim", ["ea", "eb"])
@pytest.mark.parametrize("strategy", ["migrate", "shadow"])
def test_an_edge_server_dies_around_a_move(tmp_path, still, strategy, victim, after):
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")],
            ("d1", 1, 2): [lambda w: w.notice("d1", "eb", done=strategy == "shadow"),
                           lambda w: w.at(after, lambda w: w.kill(victim))]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy=strategy, devices=("d1", "d2"))
    assert len(restarts(world)) <= 4  # each device at most once a server that dies, and once for its state


def test_an_edge_server_dies_while_nobody_moves(tmp_path, still):
    world = go(tmp_path, still, {("d1", 1, 3): [lambda w: w.kill("ea")]})
    assert {s.part for s in restarts(world)} == {"head:d1", "head:d2"}
    assert all(s.attrs["lost"] for s in restarts(world))


def test_an_edge_server_dies_between_rounds(tmp_path, still):
    world = go(tmp_path, still, {("cloud", 1): [lambda w: w.kill("ea")]}, rounds=2)
    assert world.now < 120


def test_a_model_that_dies_with_an_edge_server_is_sent_again(tmp_path, still):
    """The standby is in step: it goes on, and has never heard of the new round."""
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")], ("cloud", 1): [lambda w: w.kill("ea")]}
    world = go(tmp_path, still, plan, strategy="shadow")
    assert {s.part for s in restarts(world)} == {"head:d2"}
    assert sorted(steps(world)) == [(r, b) for r in (1, 2) for b in range(5)]


@pytest.mark.parametrize("after", [0.005, 0.025, 0.035, 0.2])
@pytest.mark.parametrize("slow", [0.01, 1.0])
@pytest.mark.parametrize("strategy", ["migrate", "shadow"])
def test_an_edge_server_dies_after_a_move_at_the_end_of_a_round(tmp_path, still, strategy, slow, after):
    """With it may die the device's model on its way to the cloud, or the next model on its way from there."""
    plan = {("d1", 1, 3): [lambda w: w.forecast("d1", "eb")],
            ("d1", 1, 5): [lambda w: w.notice("d1", "eb", done=strategy == "shadow"),
                           lambda w: w.at(after, lambda w: w.kill("ea"))]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy=strategy, latency={frozenset(("ea", "cloud")): slow})
    assert world.now < 30


def test_an_edge_server_dies_before_the_first_batch(tmp_path, still):
    world = World(tmp_path)
    world.at(0.012, lambda w: w.kill("ea"))
    assert world.run().weights_sha256 == still


def test_a_standby_saves_the_work_of_an_edge_server_that_dies(tmp_path, still):
    plan = {("d1", 1, 1): [lambda w: w.forecast("d1", "eb")], ("d1", 1, 4): [lambda w: w.kill("ea")]}
    world = go(tmp_path, still, plan, strategy="shadow")
    assert {s.part for s in restarts(world)} == {"head:d2"}  # d1 goes on with the standby


def test_out_of_reach_and_back(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.lose("d1"), lambda w: w.at(30.0, lambda w: w.find("d1"))]}
    world = go(tmp_path, still, plan)
    assert not restarts(world)


def test_out_of_reach_and_back_elsewhere(tmp_path, still):
    def back(world):
        world.find("d1")
        world.notice("d1", "eb", done=False)

    world = go(tmp_path, still, {("d1", 1, 2): [lambda w: w.lose("d1"), lambda w: w.at(30.0, back)]})
    assert len(captures(world)) == 1


def test_the_backhaul_is_cut_for_good(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.cut("ea", "eb"), lambda w: w.cut("d1", "ea"), lambda w: w.notice("d1", "eb")]}
    world = go(tmp_path, still, plan)
    assert [s.attrs["to"] for s in restarts(world)] != []
    after = {s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1" and s.round == 2}
    assert "ea" not in after


def test_the_backhaul_is_cut_during_the_copy_and_heals(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"), lambda w: w.at(0.012, lambda w: w.cut("ea", "eb")),
                           lambda w: w.at(4.0, lambda w: w.heal("ea", "eb"))]}  # fmt: skip
    world = go(tmp_path, still, plan)
    assert not restarts(world)


def test_the_backhaul_is_cut_but_the_old_edge_server_can_be_reached(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"), lambda w: w.at(0.012, lambda w: w.cut("ea", "eb"))]}
    world = go(tmp_path, still, plan)
    assert not restarts(world)  # the move is given up, the state stays where it is
    assert "eb" not in {s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1"}


def test_there_and_back_before_the_migration_is_over(tmp_path, still):
    slow = {frozenset(("ea", "eb")): 2.0}
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"), lambda w: w.at(0.5, lambda w: w.notice("d1", "ea"))]}
    world = go(tmp_path, still, plan, latency=slow)
    last = [s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1"][-1]
    assert last == "ea"


def test_a_chain_of_three(tmp_path, still):
    slow = {frozenset(("ea", "eb")): 0.5}
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"), lambda w: w.at(0.1, lambda w: w.notice("d1", "ec"))]}
    world = go(tmp_path, still, plan, latency=slow)
    assert [s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1"][-1] == "ec"


def apart(world):
    world.cut("ea", "eb")
    world.cut("ea", "ec")


def handed_over(world):
    """What d1's edge servers reach of each other does not matter to it; where it is now, it reaches the one."""
    world.lose("d1", "ea")
    world.notice("d1", "eb", done=True)


@pytest.mark.parametrize("lead", [0.5, 2.5])
def test_a_device_carries_its_state_between_edge_servers_that_do_not_reach_each_other(tmp_path, still, lead):
    plan = {("d1", 1, 2): [apart, lambda w: w.notice("d1", "eb"), lambda w: w.at(lead, handed_over)]}
    world = go(tmp_path, still, plan, strategy="carry")
    assert not restarts(world)
    [capture] = captures(world)
    assert capture.peer == "eb"
    moved = [(s.node, s.peer) for s in world.spans if s.kind == "transfer"]
    assert moved == [("ea", "d1"), ("d1", "eb")]
    assert sorted(steps(world)) == [(r, b) for r in (1, 2) for b in range(5)]
    assert "tail:d1" not in {str(part) for part in world.hosts["eb"]._mover._leaving}


def test_its_old_edge_server_hears_of_it_when_it_can_be_reached(tmp_path, still):
    plan = {("d1", 1, 2): [apart, lambda w: w.notice("d1", "eb"), lambda w: w.at(0.5, handed_over)],
            ("d1", 2, 1): [lambda w: w.find("d1")]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="carry")
    assert "tail:d1" not in {str(part) for part in world.hosts["ea"].parts}


def test_who_is_gone_before_the_state_has_come_begins_its_round_again(tmp_path, still):
    plan = {("d1", 1, 2): [apart, lambda w: w.notice("d1", "eb"), lambda w: w.at(0.03, handed_over)]}
    world = go(tmp_path, still, plan, strategy="carry", latency={frozenset(("d1", "ea")): 0.1})
    assert [s.attrs["to"] for s in restarts(world)] == ["eb"]


def test_a_state_that_is_carried_to_where_it_is_refused_goes_back_to_its_source(tmp_path, still):
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"), lambda w: w.hosts["eb"].spoil(),
                           lambda w: w.at(0.5, lambda w: w.notice("d1", "eb", done=True))]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="carry")
    assert any("refused the state of tail:d1" in s.attrs["text"] for s in world.spans if s.kind == "note")


def test_a_carried_state_that_comes_too_late_counts_no_more(tmp_path, still):
    """The handover is so long in coming that the move is given up."""
    plan = {("d1", 1, 2): [lambda w: w.notice("d1", "eb"),
                           lambda w: w.at(60.0, lambda w: w.notice("d1", "eb", done=True))]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="carry")
    assert not restarts(world)
    assert {s.node for s in world.spans if s.kind == "tail-step" and s.part == "tail:d1"} == {"ea"}
