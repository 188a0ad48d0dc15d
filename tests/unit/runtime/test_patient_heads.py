"""What a device makes of silence: how long it waits, having waited long, and what it does not expect of the dead."""

from __future__ import annotations

import pytest

from nodes.schemes._arrays import copies
from nodes.wire.messages import Model, PartId
from tests.unit.runtime.simulated import PATIENCE, World
from tests.unit.runtime.test_faults import captures, go, restarts, steps
from tests.unit.runtime.test_faults import still as still

NEXT = [(1, 2), (1, 3), (1, 4)]


def died(node):
    return [lambda w: w.kill(node), lambda w: w.tell_died(node)]


def notes(world):
    return [s.attrs["text"] for s in world.spans if s.kind == "note"]


def test_a_long_outage_makes_nobody_slow_to_find_a_fault_that_comes_later(tmp_path, still):
    back = 60.0

    def lose(world):
        world.lose("d1")
        world.at(back, lambda w: w.find("d1"))

    world = go(tmp_path, still, {("d1", 1, 1): [lose], ("d1", 1, 3): [lambda w: w.kill("ea")]})
    [mine] = [s for s in restarts(world) if s.part == "head:d1"]
    begun = min(s.end for s in world.spans if s.kind == "backward" and s.part == "head:d1" and s.batch == 2)
    assert mine.end - begun < 10 * PATIENCE, "the outage says nothing of how long answers take"


def test_who_is_told_that_its_edge_server_is_dead_asks_the_others_at_once(tmp_path, still):
    slow, told = ({("d1", 1, 3): acts} for acts in ([lambda w: w.kill("ea")], died("ea")))
    worlds = [go(tmp_path, still, plan) for plan in (slow, told)]
    first, second = (max(s.end for s in restarts(w)) - min(s.begin for s in w.spans if s.batch == 3) for w in worlds)
    assert second < 0.6 * first
    assert second < PATIENCE


@pytest.mark.parametrize("strategy", ["migrate", "shadow", "restart"])
def test_nobody_moves_to_the_dead(tmp_path, still, strategy):
    plan = {("d1", 1, 1): died("eb"), ("d1", 1, 2): [lambda w: w.notice("d1", "eb")],
            ("d1", 1, 3): [lambda w: w.notice("d1", "eb", done=True), lambda w: w.forecast("d1", "eb")]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy=strategy)
    assert not captures(world)
    assert not restarts(world)
    assert world.now < 5 * PATIENCE
    assert any("eb is dead: tail:d1 stays on ea" in text for text in notes(world))


def test_nor_does_a_part_whose_device_does_not_know_yet(tmp_path, still):
    def dies(world):
        world.kill("eb")
        world.hosts["ea"].lost("eb")

    world = go(tmp_path, still, {("d1", 1, 1): [dies], ("d1", 1, 2): [lambda w: w.notice("d1", "eb")]})
    assert not captures(world)
    assert world.now < 5 * PATIENCE


def test_a_standby_is_used_though_the_next_handover_is_foretold_already(tmp_path, still):
    plan = {("d1", 1, 1): [lambda w: w.notice("d1", "eb")],
            ("d1", 1, 3): [lambda w: w.forecast("d1", "ec")],  # of what comes after eb, by somebody early
            ("d1", 1, 4): [lambda w: w.notice("d1", "eb", done=True), lambda w: w.forecast("d1", "ea")]}  # fmt: skip
    world = go(tmp_path, still, plan, strategy="shadow")
    [capture] = captures(world)
    assert capture.attrs.get("by") == "standby"
    assert steps(world, kind="replay-step")[:3] == NEXT


def test_a_move_that_was_given_up_is_not_asked_for_again(tmp_path, still):
    def cut(world):
        world.cut("ea", "eb")
        world.notice("d1", "eb")

    world = go(tmp_path, still, {("d1", 1, 5): [cut]})  # with the end of the round, which has to be sent again
    assert len(captures(world)) == 1
    assert any("does not come to an end: it stays on ea" in text for text in notes(world))


def test_a_later_attempt_that_an_edge_server_has_is_taken(tmp_path):
    world = World(tmp_path)
    world.begin()
    while not any(s.kind == "backward" and s.part == "head:d1" and s.batch == 1 for s in world.spans):
        world.step()
    head = world.hosts["d1"].parts[PartId("t", "head", "d1")]
    tail = PartId("t", "tail", "d1")
    at = head._round, head._attempt, head._batch
    head.receive(tail, Model(1, 0), {})
    assert (head._round, head._attempt, head._batch) == at, "that is under way"
    head.receive(tail, Model(1, 1), copies(head._stage.layers.state_dict()))
    assert (head._round, head._attempt, head._batch) == (1, 1, 0)
