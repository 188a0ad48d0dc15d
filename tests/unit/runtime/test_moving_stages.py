"""Whole stages of a pipeline that move while it runs: not a bit of the weights hangs on that."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import RunError
from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.wire.messages import Gradients, PartId, State
from nodes.wire.pipeline_messages import Settled, Steer
from tests.unit.runtime.pipelines import EDGES, Network, applied, make_task
from tests.unit.runtime.test_edgemove import plans

THREE = (("device", 1), ("ea", 2), ("eb", None))


def steer(stage, node, go=True):
    """Ask the driver for a move, of a stage that there is by then and that may move."""

    def act(net):
        driver = net.driver()
        layout = driver.layout
        if layout and stage < layout.stages and not (layout.last(stage) and driver._settings.labels == "stay"):
            driver.relocate(stage, node, go=go)

    return act


def moves(most):
    """Moments (of messages that arrive) and what is asked for then."""
    where = st.sampled_from([*EDGES, "d1"])
    one = st.tuples(st.integers(1, most), st.integers(1, 3), where, st.booleans())
    return st.lists(one, min_size=1, max_size=8)


def acting(asked):
    acts = {}
    for at, stage, node, go in asked:
        acts.setdefault(at, []).append(steer(stage, node, go))
    return acts


def check_ledger(net, batches=3):
    """Each micro-batch was applied once on each stage, by whichever node."""
    micro = net.task.pipeline.micro
    stages = net.driver().layout.stages
    every = [(r, b, m) for r in range(1, net.task.rounds + 1) for b in range(batches) for m in range(micro)]
    for stage in range(stages):
        done, last = applied(net, "d1", stage), stage == stages - 1
        first, end = net.driver().layout.layers(stage)
        assert done["forward"] == ([] if last else every)
        assert done["backward"] == ([] if last or first == end else every)
        assert done["tail-step"] == (every if last else [])
        assert done["update"] == [(r, b, m) for r, b, m in every if m == micro - 1]


@given(data=st.data(), model=st.sampled_from(["cnn", "vgg5"]), micro=st.sampled_from([1, 2, 4]),
       schedule=st.sampled_from(["sync", "1f1b", "sequential"]), depth=st.none() | st.integers(1, 9),
       labels=st.sampled_from(["leave", "stay"]), asked=moves(90), seed=st.none() | st.integers(0, 99),
       lines=st.booleans(), twice=st.sampled_from([0.0, 0.0, 0.3]), compress=st.sampled_from(["none", "none", "int8"]),
       )  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_moves_change_no_bit(
    data, model, micro, schedule, depth, labels, asked, seed, lines, twice, compress
) -> None:
    plan = data.draw(plans(model, labels))
    if compress != "none":  # stages on one node are sent nothing packed: those that move would lose other digits
        plan = (("device", 1), ("nearest", None))
        asked = [(at, 1, node, go) for at, _, node, go in asked if node != "d1"]
        labels = "leave"
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": micro, "schedule": schedule, "depth": depth, "labels": labels}
        task = make_task(Path(scratch), plan=plan, compress=compress, **made)
        stayed = Network(task).run().weights_sha256
        net = Network(task, shuffle=seed, lines=lines, twice=twice, acts=acting(asked))
        assert net.run().weights_sha256 == stayed
        check_ledger(net)
        assert not net.driver().changing
        layout = net.driver().layout
        for stage, node in enumerate(layout.nodes):
            homes = [
                name for name, host in net.hosts.items()
                if host.parts.get(PartId("t", f"stage{stage}", "d1"), net.driver()).position()[0]
                and PartId("t", f"stage{stage}", "d1") in host.parts
            ]
            assert homes == [node]


def test_a_stage_that_has_left_the_device_moves_on_before_the_device_knows(tmp_path) -> None:
    plan = (("device", 0), ("nearest", 1), ("nearest", 1), ("nearest", 3))
    task = make_task(tmp_path, plan=plan, micro=1, schedule="sync")
    net = Network(task, acts=acting([(1, 3, "d1", True), (1, 3, "ea", True), (1, 3, "eb", True)]))
    net.run()
    assert not net.driver().changing
    assert net.driver().layout.nodes[3] == "eb"


@pytest.mark.parametrize("model", sorted(LAYERS.keys() - {"cnn", "vgg5"}))
@given(asked=moves(35), seed=st.integers(0, 99), schedule=st.sampled_from(["1f1b", "sync"]))
@settings(max_examples=2, deadline=None)
def test_moves_of_large_models_change_no_bit(model, asked, seed, schedule) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": 2, "batch": 4, "samples": 12, "side": 16, "schedule": schedule, "rounds": 1}
        task = make_task(Path(scratch), plan=THREE, **made)
        stayed = Network(task).run().weights_sha256
        net = Network(task, shuffle=seed, lines=True, acts=acting(asked))
        assert net.run().weights_sha256 == stayed
        check_ledger(net)


@pytest.mark.parametrize("schedule", ["sync", "1f1b"])
@pytest.mark.parametrize("at", range(6, 60, 3))
def test_a_standby_that_is_in_step_takes_over(tmp_path, schedule, at) -> None:
    """In the middle of batches, with micro-batches under way; no state is sent at the move itself."""
    task = make_task(tmp_path, model="vgg5", micro=4, schedule=schedule, plan=THREE)
    stayed = Network(task).run().weights_sha256
    net = Network(task, lines=True, shuffle=at, acts={3: [steer(1, "ec", go=False)], at + 3: [steer(1, "ec")]})
    assert net.run().weights_sha256 == stayed
    check_ledger(net)
    captures = [s for s in net.spans_of("capture") if s.part == "stage1:d1"]
    assert {s.node for s in net.spans_of("replay-step")} <= {"ec"}
    [span] = net.spans_of("relocate")
    assert (span.attrs["stage"], span.attrs["from"], span.attrs["to"]) == (1, "ea", "ec")
    # Only where the round's weights were on their way it was not in step: those are not sent to two.
    if any("in step" in text or "no standby" in text for text in net.notes()):
        assert span.bytes > 0
    else:
        assert [s.attrs["by"] for s in captures] == ["standby"]
        assert span.bytes == 0
        assert all(s.bytes == 0 for s in captures)


def test_standbys_take_over_mostly(tmp_path) -> None:
    """So that the test above tests something: no digest differs except while weights are fetched."""
    task = make_task(tmp_path, model="vgg5", micro=4, plan=THREE)
    took, under_way = 0, 0
    for at in range(8, 100, 8):
        net = Network(task, lines=True, shuffle=at, acts={3: [steer(1, "ec", go=False)], at: [steer(1, "ec")]})
        net.run()
        took += not net.notes()
        under_way += any(s.kind == "replay-step" and s.batch >= 0 for s in net.spans)
    assert took >= 9
    assert under_way >= 9


@pytest.mark.parametrize("at", range(7, 80, 9))
def test_micro_batches_under_way_travel(tmp_path, at) -> None:
    """A copied state has the inputs and the old weights of what waits for its gradients."""
    task = make_task(tmp_path, model="vgg5", micro=4, schedule="1f1b", plan=(("device", 1), ("ea", 2), ("eb", None)),
                     depth=9)  # fmt: skip
    stayed = Network(task).run().weights_sha256
    net = Network(task, acts={at: [steer(1, "ec")], at + 20: [steer(1, "ea")]})
    assert net.run().weights_sha256 == stayed
    states = [tensors for *_, body, tensors in net.sent if isinstance(body, State)]
    assert len(states) == 2
    if 9 < at < 40:
        assert any(name.startswith("inputs/") for tensors in states for name in tensors)


@given(first=st.integers(4, 40), gap=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_spoiled_standby_is_found_out(first, gap, seed) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        task = make_task(Path(scratch), model="vgg5", micro=2, plan=THREE, rounds=1)
        stayed = Network(task).run().weights_sha256
        acts = {first: [steer(1, "ec", go=False)], first + gap: [lambda net: net.hosts["ec"].spoil(), steer(1, "ec")]}
        net = Network(task, shuffle=seed, lines=True, acts=acts)
        assert net.run().weights_sha256 == stayed
        check_ledger(net)


def test_a_state_that_no_node_can_use_stays_where_it_is(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, plan=THREE)
    stayed = Network(task).run().weights_sha256
    net = Network(task, acts={20: [lambda net: net.hosts["ec"].spoil(), steer(1, "ec")]})
    assert net.run().weights_sha256 == stayed
    assert any("refused the state" in text for text in net.notes())
    [span] = net.spans_of("relocate")
    assert span.attrs["to"] == "ea"
    assert net.driver().layout.nodes == ("d1", "ea", "eb")


def test_a_move_there_and_back_while_the_first_is_under_way(tmp_path) -> None:
    task = make_task(tmp_path, micro=4, plan=THREE, model="vgg5")
    stayed = Network(task).run().weights_sha256
    asked = [steer(1, node) for node in ("ec", "ea", "eb", "ec", "ea")]
    for at in (5, 13, 29, 44, 46, 48, 50, 52):
        net = Network(task, shuffle=at, acts={at: [*asked, steer(2, "ea"), steer(2, "eb")]})
        assert net.run().weights_sha256 == stayed
        check_ledger(net)
        found = [(s.attrs["stage"], s.attrs["to"]) for s in net.spans_of("relocate")]
        assert [to for stage, to in found if stage == 1] == ["ec", "ea", "eb", "ec", "ea"]
        assert [to for stage, to in found if stage == 2] == ["ea", "eb"]


def test_moves_of_several_owners(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, owners=("d1", "d2"), rounds=3)
    stayed = Network(task).run().weights_sha256
    asked = [("d1", 1, 2, "eb"), ("d1", 2, 1, "ec"), ("d2", 1, 3, "ec"), ("d2", 3, 1, "eb")]
    plan = {
        (device, number, done): [lambda net, device=device, node=node: net.driver(device).relocate(1, node, go=True)]
        for device, number, done, node in asked
    }
    for seed in range(4):
        net = Network(task, shuffle=seed, plan=plan)
        assert net.run().weights_sha256 == stayed
        assert len(net.spans_of("relocate")) == 4


def test_gradients_go_to_standbys_too(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, plan=THREE)
    net = Network(task, lines=True, acts={6: [steer(1, "ec", go=False)]})
    net.run()
    replays = [(node, body) for _, node, body, _ in net.sent if isinstance(body, Gradients) and body.replay]
    assert replays
    assert {node for node, _ in replays} == {"ec"}
    assert {s.attrs["message"] for s in net.spans_of("send") if s.peer == "ec"} == {"replay"}


def test_a_standby_that_is_not_wanted_any_more(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, plan=THREE)
    net = Network(task, lines=True, acts={6: [steer(1, "ec", go=False)], 20: [steer(1, "", go=False)]})
    net.run()
    assert not net.hosts["ec"]._standbys.here
    assert not net.driver().changing


def test_what_stays_on_the_device_does_not_move(tmp_path) -> None:
    net = Network(make_task(tmp_path, micro=2, labels="stay", stages=3, rounds=1))
    net.run()
    for stage, node in ((0, "ea"), (2, "ea"), (1, "")):
        with pytest.raises(RunError, match="cannot move"):
            net.driver().relocate(stage, node, go=True)


def test_an_order_to_move_that_came_twice_is_followed_once(tmp_path) -> None:
    """The second one comes when the stage is back."""
    task = make_task(tmp_path, micro=2, plan=THREE)
    stayed = Network(task).run().weights_sha256

    def again(net):
        [body] = [body for _, _, body, _ in net.sent if isinstance(body, Steer)][:1]
        part = PartId("t", "stage1", "d1")
        net.hosts["d1"].send(PartId("t", "stage0", "d1"), part, body)

    net = Network(task, acts={10: [steer(1, "ec")], 20: [steer(1, "ea")], 34: [again]})
    assert net.run().weights_sha256 == stayed
    assert len(net.spans_of("relocate")) == 2
    assert sum(isinstance(body, Settled) for *_, body, _ in net.sent) == 2


@pytest.mark.parametrize("micro", [1, 4])
@pytest.mark.parametrize("model", ["cnn", "vgg5"])
@pytest.mark.parametrize("labels", ["leave", "stay"])
def test_one_stage_is_local_training(tmp_path, micro, model, labels) -> None:
    made = {"model": model, "micro": micro, "rounds": 2, "owners": ("d1", "d2")}
    alone = Network(make_task(tmp_path, "local", **made)).run().weights_sha256
    for schedule in ("sync", "1f1b", "sequential"):
        one = {owner: layouts.alone(owner, len(LAYERS[model])) for owner in ("d1", "d2")}
        net = Network(make_task(tmp_path, schedule=schedule, labels=labels, layouts=one, **made))
        assert net.run().weights_sha256 == alone
        assert not [body for _, node, body, _ in net.sent if node in EDGES]
