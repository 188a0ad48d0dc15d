"""Stages that leave for their standbys just as the device is handed over, and micro-batches that go there early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.schemes._ahead import LEAST, Gate, Pace
from tests.unit.runtime.test_edgemove_faults import TWO, check, death, driver, make, nodes_of
from tests.unit.runtime.test_steering import FAR, task_of
from tests.unit.runtime.test_steering import World as Timed

SOON = 0.012


@given(st.integers(LEAST, 30), st.floats(0.01, 10), st.floats(0, 100), st.integers(0, 5), st.floats(0, 30))
def test_the_first_micro_batch_that_returns_behind_a_time_is_foreseen(sent, each, left, before, back) -> None:
    """At a steady pace: back at the time, or up to half of what one takes before it."""
    pace = Pace()
    for index in range(before):
        pace.sent(index + 7, index * each)
    for index in range(sent):
        pace.sent(index, index * each)
    last = (sent - 1) * each
    pace.returned(sent - LEAST, last - (LEAST - 1) * each + back / 2)
    pace.returned(sent - 1, last + back)
    found = pace.first_behind(last + left)
    due = found * each + back
    assert due >= last + left - each / 2 - 1e-6 * (1 + due)
    assert found == sent or due - each < last + left - each / 2 + 1e-6 * (1 + due)


def test_without_a_pace_nothing_is_foreseen() -> None:
    pace = Pace()
    for index in range(LEAST - 1):
        pace.sent(index, float(index))
    pace.returned(0, 1.0)
    assert pace.first_behind(100.0) is None


def test_before_any_gradients_are_here_nothing_is_foreseen() -> None:
    pace = Pace()
    for index in range(2 * LEAST):
        pace.sent(index, float(index))
    assert pace.first_behind(100.0) is None
    pace.returned(99, 100.0)  # of another attempt
    assert pace.first_behind(100.0) is None
    pace.returned(0, 8.0)
    assert pace.first_behind(100.0) is not None


def goes(world, *, standby: bool) -> None:
    """The last stage's driver is told of a handover to ``eb`` that comes soon, and is carried out."""
    one = driver(world)
    if standby:
        one.relocate(1, "eb", go=False)
    assert one.foresees(world.now + SOON)
    one.relocate(1, "eb", go=True, behind=world.now + SOON)
    world.at(SOON, lambda w: w.notice("d1", "eb", done=True))


def early(world) -> list:
    """Activations that came to the new node before the stage."""
    [moved] = [s for s in world.spans if s.kind == "relocate" and s.attrs["to"] == "eb"]
    return [
        s for s in world.spans
        if s.kind == "send" and s.peer == "eb" and s.attrs["message"] == "activations" and s.begin < moved.end
    ]  # fmt: skip


@pytest.mark.parametrize("schedule", ["sync", "1f1b"])
@pytest.mark.parametrize("standby", [True, False])
def test_it_changes_no_weight(tmp_path, schedule, standby) -> None:
    still = make(tmp_path, plan=TWO, schedule=schedule, devices=("d1",))
    still.run()
    world = make(
        tmp_path, plan=TWO, schedule=schedule, devices=("d1",),
        when={("d1", 1, 2): [lambda w: goes(w, standby=standby)]},
    )  # fmt: skip
    world.run()
    check(world, exact=schedule == "sync")
    assert world.done.weights_sha256 == still.done.weights_sha256
    assert nodes_of(world, 2, "d1")[1] == "eb"
    assert early(world)


@pytest.mark.parametrize("after", [0.0, 0.011, 0.021, 0.026, 0.031, 0.041, 0.06])
@pytest.mark.parametrize("who", ["ea", "eb"])
@pytest.mark.parametrize("told", [0.02, None])
def test_a_death_on_the_way(tmp_path, after, who, told) -> None:
    plan = {("d1", 1, 2): [lambda w: goes(w, standby=True), lambda w: w.at(after, death(who, told))]}
    world = make(tmp_path, plan=TWO, when=plan)
    world.run()
    check(world)
    assert who not in nodes_of(world, 2).values()


def test_a_handover_that_does_not_come_has_the_round_begin_again_at_worst(tmp_path) -> None:
    """Nothing is sent there then; the device finds out that nobody answers."""

    def told(world) -> None:
        driver(world).relocate(1, "eb", go=True, behind=world.now + SOON)

    world = make(tmp_path, plan=TWO, when={("d1", 1, 2): [told]})
    world.run()
    check(world)


def test_a_steered_pipeline_sends_ahead_what_a_notice_with_a_time_allows(tmp_path) -> None:
    for told, ahead in ((0.3, True), (None, False)):
        world = Timed(task_of(tmp_path, probing="off"))
        world.hand_over("eb", 5.0, foretold=3.0, told=told)
        world.train()
        [moved] = world.spans_of("relocate")
        assert (moved.begin < 105.0) == ahead, told
        came = [s for s in world.spans_of("send") if s.peer == "eb" and s.attrs["message"] == "activations"]
        direct = [s for s in came if s.end - s.begin < FAR]  # not by way of the old server
        assert (min(s.begin for s in direct) < moved.end) == ahead, told

def test_what_belongs_to_the_new_site_passes_as_its_way_back_opens() -> None:
    gate, sent = _gate()
    gate.send(lambda: sent.append("a"), 5)
    assert sent == ["a"]  # no handover comes
    gate.shut()
    for name in ("b", "c", "d", "e"):
        gate.send(lambda name=name: sent.append(name), 7)
    assert sent == ["a"]
    gate.filled(0)  # of the handover before
    gate.arrived()
    assert sent == ["a", "wish 7", "b"]
    gate.arrived()
    gate.filled(1)
    assert sent[3:] == ["c"]
    gate.filled(0)
    gate.send(lambda: sent.append("f"), 7)
    assert sent[4:] == ["d", "e", "f"]


def test_what_comes_behind_the_handover_passes_at_once_and_what_is_not_wanted_never() -> None:
    gate, sent = _gate()
    gate.shut()
    gate.arrived()
    gate.send(lambda: sent.append("a"), 3)
    gate.send(lambda: sent.append("b"), 3)
    assert sent == ["wish 3", "a"]
    gate.forget()
    gate.send(lambda: sent.append("c"), 3)
    gate.open()  # the stage is at work there, whatever has come
    assert sent[2:] == ["c"]


def test_what_nobody_can_send_is_not_waited_for() -> None:
    gate, sent = _gate(can=False)
    gate.shut()
    for name in ("a", "b"):
        gate.send(lambda name=name: sent.append(name), 3)
    gate.arrived()
    assert sent == ["wish 3", "a", "b"]


def _gate(can: bool = True) -> tuple[Gate, list[str]]:
    sent: list[str] = []

    def wish(size: int) -> bool:
        sent.append(f"wish {size}")
        return can

    return Gate(wish), sent
