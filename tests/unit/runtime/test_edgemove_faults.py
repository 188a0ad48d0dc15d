"""Servers of a pipeline that die, fall silent or refuse: the task ends, and every micro-batch of it is applied once."""

from __future__ import annotations

import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.stage_times import operations
from nodes.schemes._admission import stage_need
from nodes.wire.messages import Fetch, PartId, Update
from nodes.wire.pipeline_messages import Delivered
from nodes.wire.task import Pipeline
from testbed.run.microbatches import ledger, section, wrong
from tests.unit.runtime.pipelines import write_data
from tests.unit.runtime.simulated import EDGES, PATIENCE, World

TIMES = dict.fromkeys(operations(LAYERS["cnn"]), 1e-7)
TWO = (("device", 2), ("nearest", None))
THREE = (("device", 1), ("ea", 2), ("eb", None))
FOUR = (("device", 1), ("ea", 1), ("eb", 1), ("ec", None))
U_SHAPE = (("device", 1), ("ea", 2), ("eb", 1), ("device", 1))
BATCHES = 5
SIDE, BATCH = 8, 4


def make(
    directory, *, plan=THREE, schedule="sync", labels="leave", micro=2, when=None, devices=("d1", "d2"),
    scheme="edgemove", memory=None, **more,
) -> World:  # fmt: skip
    pipeline = Pipeline(
        micro=micro, schedule=schedule, plan=plan, labels=labels, times=TIMES, stages=4, memory=memory or {}
    )
    data = write_data(directory, devices, samples=BATCHES * BATCH, side=SIDE)
    return World(
        directory, scheme=scheme, strategy="relay", plan=when, pipeline=pipeline, data=data, devices=devices,
        in_shape=(3, SIDE, SIDE), batch=BATCH, **more,
    )  # fmt: skip


@cache
def alone(devices: tuple[str, ...]) -> str:
    """Weights of a run in which nobody needs a server."""
    with tempfile.TemporaryDirectory() as scratch:
        return make(Path(scratch), scheme="local", devices=devices).run().weights_sha256


def check(world: World, *, exact: bool = True) -> list:
    """The task has ended well: what its ledger says."""
    rows = ledger(world.spans, world.dead)
    assert wrong(rows) == []
    assert section(rows)["exact"]
    assert {(row.device, row.round) for row in rows} == {(d, r) for d in world.devices for r in (1, 2)}
    assert all((row.batches, row.micro) == (BATCHES, 2) for row in rows)
    assert not any(row.unseen for row in rows)
    if exact:
        assert world.done.weights_sha256 == alone(world.devices)
    return rows


def death(node: str, told: float | None = 0.05):
    """A node dies, and that is told after a while, if at all."""

    def act(world: World) -> None:
        world.kill(node)
        if told is not None:
            world.at(told, lambda w: w.tell_died(node))

    return act


def reopens(world: World, device: str = "d1") -> list[str]:
    return [s.attrs["to"] for s in world.spans if s.kind == "reopen" and s.attrs["device"] == device]


def nodes_of(world: World, number: int, device: str = "d1") -> dict[int, str]:
    """Who did the work of each stage in the attempt of a round that counted."""
    [attempt] = [row.attempt for row in ledger(world.spans) if (row.device, row.round) == (device, number)]
    return {
        s.attrs["stage"]: s.node for s in world.spans
        if s.kind == "update" and s.part.endswith(f":{device}") and (s.round, s.attrs["attempt"]) == (number, attempt)
    }  # fmt: skip


def test_nothing_happens(tmp_path) -> None:
    world = make(tmp_path)
    world.run()
    assert all(row.attempt == 0 for row in check(world))
    assert world.now < 60


@pytest.mark.parametrize("told", [0.05, None], ids=["told", "found out"])
@pytest.mark.parametrize(
    ("plan", "labels", "dies", "then"),
    [
        (TWO, "leave", ["ea"], {1: "eb"}),
        (THREE, "leave", ["eb"], {1: "ea", 2: "ec"}),
        (FOUR, "leave", ["eb"], {1: "ea", 2: "ec"}),
        (THREE, "leave", ["ea", "eb"], {1: "ec"}),
        (THREE, "leave", ["ea", "eb", "ec"], {}),
        (U_SHAPE, "stay", ["eb"], {1: "ea", 2: "ec", 3: "d1"}),
        (U_SHAPE, "stay", ["eb", "ec"], {1: "ea", 2: "d1"}),
        (U_SHAPE, "stay", ["ea", "eb", "ec"], {}),
    ],
)
def test_servers_die_in_the_middle_of_a_round(tmp_path, told, plan, labels, dies, then) -> None:
    world = make(tmp_path, plan=plan, labels=labels, when={("d1", 1, 2): [death(node, told) for node in dies]})
    world.run()
    check(world)
    assert nodes_of(world, 2) == {0: "d1"} | then
    assert world.now < 60 if told else 120


def test_training_goes_on_at_once_when_a_death_is_told(tmp_path) -> None:
    world = make(tmp_path, when={("d1", 1, 2): [death("eb", 0.4)]})
    world.run()
    [span] = [s for s in world.spans if s.kind == "reopen" and s.attrs["device"] == "d1"]
    assert span.attrs["why"] == "eb died"
    assert span.end - span.begin < 0.2
    assert span.attrs["from"] != span.attrs["to"]


def test_a_silent_server_is_found_out_within_two_seconds_of_patience(tmp_path) -> None:
    def silent(world: World) -> None:
        world.fell = world.now
        for other in (*world.hosts.keys() - {"eb"},):
            world.cut("eb", other)

    world = make(tmp_path, when={("d1", 1, 2): [silent]})
    world.run()
    check(world)
    [span] = [s for s in world.spans if s.kind == "reopen" and s.attrs["device"] == "d1"]
    assert span.begin - world.fell < PATIENCE * (1 + 2 / 3) + 0.5
    assert nodes_of(world, 1) == {0: "d1", 1: "ea", 2: "ec"}


def test_out_of_coverage_a_device_waits(tmp_path) -> None:
    world = make(tmp_path, when={("d1", 1, 2): [lambda w: w.lose("d1"), lambda w: w.at(200.0, lambda w: w.find("d1"))]})
    world.run()
    assert all(row.attempt == 0 for row in check(world))
    assert not reopens(world)


def test_servers_that_cannot_reach_each_other(tmp_path) -> None:
    """All answer the device, and nothing goes on: in the end one of them is enough."""
    world = make(tmp_path, when={("d1", 1, 2): [lambda w: w.cut("ea", "eb")]}, devices=("d1",))
    world.run(limit=900)
    check(world)
    assert nodes_of(world, 2) == {0: "d1", 1: "ea"} | ({2: "ec"} if nodes_of(world, 2).get(2) else {})


def test_a_message_that_is_lost_has_the_round_begin_again(tmp_path) -> None:
    def lose(world: World) -> None:
        world._events = [e for e in world._events if not (e[2] == "message" and "ea" in e[3][:2])]

    world = make(tmp_path, when={("d1", 1, 2): [lambda w: w.at(0.005, lose)]})
    world.run(limit=300)
    check(world)
    assert len(reopens(world)) == 1
    assert nodes_of(world, 1) == {0: "d1", 1: "ea", 2: "eb"}


@pytest.mark.parametrize("after", [0.0, 0.004, 0.012, 0.021, 0.05])
@pytest.mark.parametrize("who", ["ea", "eb"])
@pytest.mark.parametrize("told", [0.0, None])
def test_a_death_around_the_end_of_a_round(tmp_path, after, who, told) -> None:
    """Pieces of the model are on their way to the aggregator, or there, or the round has closed."""
    world = make(tmp_path, when={("d1", 1, BATCHES): [lambda w: w.at(after, death(who, told))]})
    world.run()
    check(world)
    assert who not in nodes_of(world, 2).values()


@pytest.mark.parametrize("after", [0.0, 0.005, 0.015, 0.025, 0.035])
def test_a_death_while_weights_are_fetched(tmp_path, after) -> None:
    world = make(tmp_path)
    world.at(after, death("eb"))
    world.run()
    check(world)
    assert "eb" not in nodes_of(world, 1).values()


@pytest.mark.parametrize("apart", [0.0, 0.02, 0.06, 0.1, 0.5])
def test_a_death_while_a_round_is_opened_again(tmp_path, apart) -> None:
    world = make(tmp_path, when={("d1", 1, 2): [death("eb"), lambda w: w.at(apart, death("ec"))]})
    world.run()
    check(world)
    assert nodes_of(world, 2) == {0: "d1", 1: "ea"}


def test_all_owners_go_around_a_server_that_dies(tmp_path) -> None:
    world = make(tmp_path, when={("d2", 1, 3): [death("ea")]})
    world.run()
    check(world)
    for device in ("d1", "d2"):
        assert len(reopens(world, device)) == 1
        assert nodes_of(world, 2, device) == {0: device, 1: "ec", 2: "eb"}


def test_a_server_that_nobody_uses_may_die_unnoticed(tmp_path) -> None:
    world = make(tmp_path, when={("d1", 1, 2): [death("ec")], ("d1", 1, 3): [death("eb")]})
    world.run()
    check(world)
    assert nodes_of(world, 2) == {0: "d1", 1: "ea"}  # and nobody tries what is dead
    assert len(reopens(world)) == 1


def test_a_device_that_is_late_and_loses_its_server(tmp_path) -> None:
    """The round closes without it; it takes part in the next one, elsewhere."""
    acts = [lambda w: w.lose("d1"), lambda w: w.at(1.0, death("eb")), lambda w: w.at(2.5, lambda w: w.find("d1"))]
    world = make(tmp_path, drop_s=2.0, when={("d1", 1, 2): acts})
    world.run()
    rows = ledger(world.spans, world.dead)
    assert wrong(rows) == []
    assert {(row.device, row.round) for row in rows} == {("d2", 1), ("d1", 2), ("d2", 2)}


# --- while stages move ----------------------------------------------------------------------------------


def driver(world: World, device: str = "d1"):
    return world.hosts[device].parts[PartId("t", "stage0", device)]


@pytest.mark.parametrize("after", [0.0, 0.011, 0.015, 0.021, 0.031])
@pytest.mark.parametrize("who", ["ea", "eb", "ec"])
@pytest.mark.parametrize("told", [0.02, None])
def test_a_death_while_a_stage_moves(tmp_path, after, who, told) -> None:
    plan = {("d1", 1, 2): [lambda w: driver(w).relocate(2, "ec", go=True), lambda w: w.at(after, death(who, told))]}
    world = make(tmp_path, when=plan)
    world.run()
    check(world)


@pytest.mark.parametrize("after", [0.0, 0.011, 0.021, 0.031, 0.041])
@pytest.mark.parametrize("who", ["ea", "eb", "ec"])
@pytest.mark.parametrize("told", [0.02, None])
def test_a_death_while_cuts_change(tmp_path, after, who, told) -> None:
    to = PipelineLayout((0, 2, 4, 5), ("d1", "ea", "ec"), (2, 2, 1))
    plan = {("d1", 1, 2): [lambda w: driver(w).relay(to), lambda w: w.at(after, death(who, told))]}
    world = make(tmp_path, when=plan)
    world.run()
    check(world)
    assert who not in nodes_of(world, 2).values()


@pytest.mark.parametrize("who", ["ea", "eb", "ec"])
def test_the_server_of_a_standby_dies_or_that_of_its_original(tmp_path, who) -> None:
    plan = {("d1", 1, 1): [lambda w: driver(w).relocate(2, "ec", go=False)], ("d1", 1, 3): [death(who)]}
    world = make(tmp_path, when=plan)
    world.run()
    check(world)
    assert bool(reopens(world)) == (who != "ec")


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refuse", "then"),
    [(["eb"], {1: "ea", 2: "ec"}), (["eb", "ec"], {1: "ea"}), (["ea", "eb", "ec"], {})],
)
def test_a_server_without_the_memory_refuses(tmp_path, refuse, then) -> None:
    world = make(tmp_path, memory=dict.fromkeys(refuse, 1000))
    world.run()
    check(world)
    assert nodes_of(world, 1) == {0: "d1"} | then
    assert all("MiB" in s.attrs["why"] for s in world.spans if s.kind == "reopen")


def test_a_server_with_room_for_one_owners_stage_refuses_the_others(tmp_path) -> None:
    world = make(tmp_path, plan=TWO)
    task = world.hosts["ea"].task
    need = stage_need(task, PipelineLayout((0, 2, 5), ("d1", "ea"), (2, 1)), 1)
    world = make(tmp_path, plan=TWO, memory=dict.fromkeys(EDGES, int(1.5 * need)))
    world.run()
    check(world)
    assert {nodes_of(world, 1, device)[1] for device in world.devices} == {"ea", "eb"}


def test_a_stage_does_not_move_to_where_it_has_no_room(tmp_path) -> None:
    act = {("d1", 1, 2): [lambda w: driver(w).relocate(2, "ec", go=True)]}
    world = make(tmp_path, when=act, memory={"ec": 1000})
    world.run()
    assert all(row.attempt == 0 for row in check(world))
    assert nodes_of(world, 2) == {0: "d1", 1: "ea", 2: "eb"}
    assert any("no room" in s.attrs["text"] for s in world.spans if s.kind == "note")


# --- anything, at any moment ----------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn, labels: str) -> tuple[tuple[str, int], ...]:
    layers = len(LAYERS["cnn"])
    stages = draw(st.integers(3 if labels == "stay" else 2, 4))
    cuts = draw(st.lists(st.integers(2, layers - 1), min_size=stages - 2, max_size=stages - 2, unique=True))
    bounds = [0, draw(st.integers(0, 1)), *sorted(cuts), layers]
    nodes = ["device", *draw(st.lists(st.sampled_from(["nearest", *EDGES]), min_size=stages - 1, max_size=stages - 1))]
    if labels == "stay":
        nodes[-1] = "device"
    return tuple((node, b - a) for node, (a, b) in zip(nodes, pairwise(bounds), strict=True))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_server_dies_at_any_moment(data) -> None:
    """The task ends, every micro-batch counts once, and the weights of sync are those of one node."""
    labels = data.draw(st.sampled_from(["leave", "stay"]))
    schedule = data.draw(st.sampled_from(["sync", "sequential", "1f1b"]))
    victims = data.draw(st.lists(st.sampled_from(EDGES), min_size=1, max_size=3, unique=True))
    moments = [data.draw(st.floats(0.0, 0.8)) for _ in victims]
    told = [data.draw(st.sampled_from([0.0, 0.05, 0.3, None])) for _ in victims]
    slow = data.draw(st.sampled_from([0.01, 0.05]))
    pairs = [frozenset(pair) for pair in (("ea", "eb"), ("ea", "ec"), ("eb", "ec"))]
    with tempfile.TemporaryDirectory() as scratch:
        world = make(
            Path(scratch), plan=data.draw(plans(labels)), labels=labels, schedule=schedule,
            latency=dict.fromkeys(pairs, slow),
        )  # fmt: skip
        for victim, moment, when in zip(victims, moments, told, strict=True):
            world.at(moment, death(victim, when))
        world.run()
        check(world, exact=schedule != "1f1b")


# --- the aggregator -------------------------------------------------------------------------------------


def test_the_aggregator_takes_all_of_a_model_from_one_attempt(tmp_path) -> None:
    world = make(tmp_path, devices=("d1",))
    heard = []
    cloud = world.hosts["cloud"]
    cloud.send = lambda src, dst, body, tensors=None, node=None: heard.append((dst.role, body))
    aggregator = cloud.parts[PartId("t", "aggregator", "")]
    arrays = {name: tensor.numpy() for name, tensor in aggregator._weights.items()}
    names = sorted(arrays)
    mine, other = PartId("t", "stage0", "d1"), PartId("t", "stage1", "d1")
    first, second = ({name: arrays[name] for name in half} for half in (names[:3], names[3:]))

    def update(src, tensors, attempt, samples=0):
        aggregator.receive(src, Update(1, samples, BATCHES, 0.0, attempt), tensors)

    update(mine, first, 0, samples=80)
    aggregator.receive(other, Fetch(1, 1, ("conv1",)), {})  # a second attempt begins
    update(other, second, 0)                                # what comes of the first is too late
    assert "d1" not in aggregator._counted
    update(other, second, 1)
    assert not any(isinstance(body, Delivered) for _, body in heard)
    update(mine, first, 1, samples=80)
    assert ("stage0", Delivered(1, 1)) in heard
    assert [s.attrs for s in world.spans if s.kind == "delivered"] == [{"device": "d1", "attempt": 1}]


def test_who_begins_again_what_has_been_delivered_is_told(tmp_path) -> None:
    world = make(tmp_path)
    sent = []
    host = world.hosts["cloud"]
    send = host.send

    def told(src, dst, body, tensors=None, *, node=None) -> None:
        sent.append(body)
        send(src, dst, body, tensors, node=node)

    host.send = told

    def again(w: World) -> None:
        if not any(isinstance(body, Delivered) for body in sent):
            w.at(0.001, again)
        else:
            driver(w).reopen(driver(w).layout, "to see")

    world.plan["d1", 1, BATCHES].append(again)
    world.run()
    rows = check(world)
    assert [row.attempt for row in rows if row.device == "d1"] == [0, 0]
