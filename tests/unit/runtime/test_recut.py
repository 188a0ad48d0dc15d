"""Cuts of a pipeline that change between two batches, and rounds that begin again with another layout."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.wire.messages import Open, PartId, Update
from nodes.wire.pipeline_messages import Layers, Refused, Until
from tests.unit.runtime.pipelines import EDGES, Network, applied, make_task
from tests.unit.runtime.test_moving_stages import steer

DEVICE = "d1"


@st.composite
def drawn(draw: st.DrawFn, model: str, labels: str) -> PipelineLayout:
    """One to four stages anywhere, with depths that do not grow."""
    layers = len(LAYERS[model])
    stages = draw(st.sampled_from([1, 3, 4] if labels == "stay" else [1, 2, 3, 4]))
    if stages == 1:
        return layouts.alone(DEVICE, layers)
    cuts = draw(st.lists(st.integers(1, layers - 1), min_size=stages - 1, max_size=stages - 1, unique=True))
    first = draw(st.integers(0, min(cuts)))
    bounds = (0, *sorted({first, *sorted(cuts)[1:]}), layers)
    nodes = [DEVICE, *draw(st.lists(st.sampled_from(EDGES), min_size=stages - 1, max_size=stages - 1))]
    if labels == "stay":
        nodes[-1] = DEVICE
    depths = sorted(draw(st.lists(st.integers(1, 6), min_size=stages, max_size=stages)), reverse=True)
    return PipelineLayout(bounds, tuple(nodes), tuple(depths))


def cuts(layout):
    """Ask the driver for other cuts."""
    return lambda net: net.driver().relay(layout)


def check_once(net, attempts=None, batches=3):
    """Each micro-batch went through each layer once, forward and backward, and each layer was updated once a batch.

    ``attempts``: by round the one that counts, where it is not the only one.
    """
    micro, model = net.task.pipeline.micro, net.task.model
    segments = {}  # stage, round and attempt: (first batch, end, layers)
    for s in net.spans_of("pipeline"):
        if s.attrs["attempt"] == (attempts or {}).get(s.round, 0):
            first = s.attrs["first"]
            rows = segments.setdefault(s.round, [])
            rows.append((first, first + s.attrs["batches"], tuple(s.attrs["layers"])))
    for number in range(1, net.task.rounds + 1):
        for batch in range(batches):
            held = [layers for first, end, layers in segments[number] if first <= batch < end]
            assert sorted(n for a, b in held for n in range(a, b)) == list(range(len(LAYERS[model])))
    if attempts is None:
        work = [applied(net, DEVICE, stage) for stage in range(4)]
        every = [(r, b, m) for r in range(1, net.task.rounds + 1) for b in range(batches) for m in range(micro)]
        assert sorted(x for done in work for x in done["tail-step"]) == every
        for done in work:
            assert len(set(done["forward"] + done["tail-step"])) == len(done["forward"] + done["tail-step"])
            assert set(done["backward"]) <= set(done["forward"])
            assert len(set(done["backward"])) == len(done["backward"])
            assert len(set(done["update"])) == len(done["update"])


def losses(net):
    """By round, what all stages together summed up."""
    found = {}
    for _, _, body, _ in net.sent:
        if isinstance(body, Update):
            found[body.round, body.attempt] = found.get((body.round, body.attempt), 0.0) + body.loss_sum
    return found


@given(data=st.data(), model=st.sampled_from(["cnn", "vgg5"]), micro=st.sampled_from([1, 2, 4]),
       schedule=st.sampled_from(["sync", "sequential"]), labels=st.sampled_from(["leave", "stay"]),
       seed=st.none() | st.integers(0, 99), lines=st.booleans(), twice=st.sampled_from([0.0, 0.0, 0.3]))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_cuts_that_change_change_no_bit(data, model, micro, schedule, labels, seed, lines, twice) -> None:
    """At any moment, several times, with and without stages that move meanwhile."""
    first = data.draw(drawn(model, labels))
    moments = data.draw(st.lists(st.tuples(st.integers(1, 90), drawn(model, labels)), min_size=1, max_size=4))
    others = data.draw(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 3), st.sampled_from(EDGES), st.booleans()),
                                max_size=4))  # fmt: skip
    acts = {}
    for at, layout in moments:
        acts.setdefault(at, []).append(cuts(layout))
    for at, stage, node, go in others:
        acts.setdefault(at, []).append(steer(stage, node, go))
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": micro, "schedule": schedule, "labels": labels, "layouts": {DEVICE: first}}
        task = make_task(Path(scratch), **made)
        straight = Network(task)
        stayed = straight.run().weights_sha256
        net = Network(task, shuffle=seed, lines=lines, twice=twice, acts=acts)
        assert net.run().weights_sha256 == stayed
        check_once(net)
        if not twice:
            assert losses(net) == pytest.approx(losses(straight))


@given(data=st.data(), model=st.sampled_from(["cnn", "vgg5"]), micro=st.sampled_from([2, 4]),
       place=st.tuples(st.integers(1, 2), st.integers(1, 3)), seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
       )  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_1f1b_with_other_cuts_from_a_batch_on_hangs_on_no_timing(data, model, micro, place, seeds) -> None:
    first, second = data.draw(drawn(model, "leave")), data.draw(drawn(model, "leave"))
    with tempfile.TemporaryDirectory() as scratch:
        task = make_task(Path(scratch), model=model, micro=micro, schedule="1f1b", layouts={DEVICE: first})
        found, asked = {}, set()  # weights by the place where cuts changed: a move under way puts that off

        def change(net):
            asked.add(net.driver().place_in_training)
            net.driver().relay(second)

        for seed in (None, *seeds):
            moves = {seed or 7: [steer(1, "ec")]}
            net = Network(task, shuffle=seed, twice=0.2 if seed else 0.0, plan={(DEVICE, *place): [change]}, acts=moves)
            weights = net.run().weights_sha256
            place_then = {(body.round, body.batch) for *_, body, _ in net.sent if isinstance(body, Until)}
            opened = {(b.round, b.first) for *_, b, _ in net.sent if isinstance(b, Open) and b.layout == second}
            found.setdefault((*sorted(place_then), *sorted(opened)), set()).add(weights)
            check_once(net)
            assert max(s.attrs["staleness_most"] for s in net.spans_of("pipeline")) <= 6
        assert {len(weights) for weights in found.values()} == {1}
        assert len(asked) == 1


def test_where_the_change_is(tmp_path) -> None:
    """From the first batch on that has not begun; layers that stay on their stage's node do not cross a link."""
    task = make_task(tmp_path, micro=2, rounds=1, samples=40, schedule="sync", plan=(("device", 2), ("ea", None)))
    other = PipelineLayout((0, 1, 3, 5), ("d1", "ea", "eb"), (2, 1, 1))
    net = Network(task, plan={("d1", 1, 2): [cuts(other)]})
    net.run()
    [until] = {body for *_, body, _ in net.sent if isinstance(body, Until)}
    assert (until.segment, until.batch) == (1, 2)
    names = LAYERS["cnn"]
    ways = {(source, node, body.layers) for source, node, body, _ in net.sent if isinstance(body, Layers)}
    assert ways == {("d1", "ea", names[1:2]), ("ea", "eb", names[3:])}
    kept = [(s.attrs["stage"], s.attrs["first"], s.attrs["batches"], tuple(s.attrs["layers"]))
            for s in net.spans_of("pipeline")]  # fmt: skip
    assert sorted(kept) == [
        (0, 0, 2, (0, 2)), (0, 2, 3, (0, 1)), (1, 0, 2, (2, 5)), (1, 2, 3, (1, 3)), (2, 2, 3, (3, 5))
    ]  # fmt: skip
    [span] = net.spans_of("relay")
    assert span.attrs["from"] == "d1 0-2, ea 2-5"
    assert span.attrs["to"] == "d1 0-1, ea 1-3, eb 3-5"
    handed = [tensors for *_, body, tensors in net.sent if isinstance(body, Layers)]
    assert span.bytes == sum(t.nbytes for tensors in handed for t in tensors.values())
    assert span.attrs["stall_s"] >= 0


def test_momentum_goes_along(tmp_path) -> None:
    """The test of bits could not fail if momentum were nothing."""
    task = make_task(tmp_path, micro=2, rounds=1, plan=(("device", 2), ("ea", None)))
    net = Network(task, plan={("d1", 1, 1): [cuts(PipelineLayout((0, 1, 5), ("d1", "eb"), (2, 1)))]})
    net.run()
    sent = [tensors for *_, body, tensors in net.sent if isinstance(body, Layers)]
    assert any(name.startswith("momentum/") and tensor.any() for tensors in sent for name, tensor in tensors.items())


def test_a_stage_that_moved_goes_back_by_a_change_of_the_layout(tmp_path) -> None:
    """The other stages have the layers that they had, and all that belongs to them."""
    task = make_task(tmp_path, model="vgg5", micro=2, schedule="sync", plan=(("device", 2), ("ea", 2), ("eb", None)))
    stayed = Network(task).run().weights_sha256
    first = PipelineLayout((0, 2, 4, 7), ("d1", "ea", "eb"), (2, 1, 1))
    net = Network(task, acts={6: [steer(1, "ec")]}, plan={("d1", 1, 1): [cuts(first)]})
    assert net.run().weights_sha256 == stayed
    assert len(net.spans_of("relocate")) == len(net.spans_of("relay")) == 1


def test_after_the_last_batch_the_next_round_opens_with_the_layout(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, schedule="sync", plan=(("device", 2), ("ea", None)))
    stayed = Network(task).run().weights_sha256
    other = PipelineLayout((0, 1, 5), ("d1", "eb"), (2, 1))
    net = Network(task, plan={("d1", 1, 3): [cuts(other)]}, shuffle=1)
    assert net.run().weights_sha256 == stayed
    assert not [body for *_, body, _ in net.sent if isinstance(body, Until)]
    assert [(s.round, tuple(s.attrs["layers"]), s.node) for s in net.spans_of("pipeline") if s.attrs["stage"] == 1] == [
        (1, (2, 5), "ea"), (2, (1, 5), "eb")
    ]  # fmt: skip
    assert PartId("t", "stage1", "d1") not in net.hosts["ea"].parts


def test_layers_that_are_not_those_that_were_sent_are_refused(tmp_path) -> None:
    """The round begins again then: nobody has trained with them."""
    task = make_task(tmp_path, micro=2, schedule="sync", plan=(("device", 2), ("ea", None)))
    stayed = Network(task).run().weights_sha256

    class Spoiling(Network):
        spoilt = False

        def post(self, source, node, envelope, tensors):
            if isinstance(envelope.body, Layers) and tensors and not self.spoilt:
                self.spoilt = True
                tensors = {name: t.copy() for name, t in tensors.items()}
                tensors[min(tensors)].reshape(-1).view("uint8")[0] ^= 1
            super().post(source, node, envelope, tensors)

    net = Spoiling(task, plan={("d1", 1, 1): [cuts(PipelineLayout((0, 1, 5), ("d1", "eb"), (2, 1)))]})
    assert net.run().weights_sha256 == stayed
    assert [body.stage for *_, body, _ in net.sent if isinstance(body, Refused)]
    assert any("begins again" in text for text in net.notes())
    check_once(net, attempts={1: 1})


@given(data=st.data(), model=st.sampled_from(["cnn", "vgg5"]), labels=st.sampled_from(["leave", "stay"]),
       schedule=st.sampled_from(["sync", "1f1b"]), seed=st.integers(0, 99), lines=st.booleans(),
       twice=st.sampled_from([0.0, 0.3]))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_round_that_begins_again(data, model, labels, schedule, seed, lines, twice) -> None:
    """At any moment, also while stages move or cuts change; the attempts before count for nothing."""
    every = [data.draw(drawn(model, labels)) for _ in range(3)]
    at = data.draw(st.lists(st.integers(1, 90), min_size=2, max_size=3, unique=True))
    acts = {moment: [lambda net, to=to: net.driver().reopen(to, "for a test")]
            for moment, to in zip(at, every[1:], strict=False)}  # fmt: skip
    for moment in at:
        before = data.draw(st.integers(max(1, moment - 6), moment))
        other = data.draw(st.sampled_from([steer(1, "ec"), steer(2, "eb"), cuts(every[2])]))
        acts[before] = [other, *acts.get(before, [])]
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": 2, "schedule": schedule, "labels": labels, "layouts": {DEVICE: every[0]}}
        task = make_task(Path(scratch), **made)
        net = Network(task, shuffle=seed, lines=lines, twice=twice, acts=acts)
        done = net.run()
        if schedule == "sync":
            assert done.weights_sha256 == Network(task).run().weights_sha256
        rounds = sorted(net.spans_of("round"), key=lambda s: s.attrs["attempt"])
        attempts = {s.round: s.attrs["attempt"] for s in rounds}
        check_once(net, attempts=attempts)


def test_reopening_tells_what_it_cost(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, schedule="sync", plan=(("device", 2), ("ea", None)))
    alone = layouts.alone("d1", 5)
    net = Network(task, plan={("d1", 1, 2): [lambda net: net.driver().reopen(alone, "ea is gone")]})
    net.run()
    [span] = net.spans_of("reopen")
    assert (span.attrs["why"], span.attrs["batches"], span.attrs["to"]) == ("ea is gone", 2, "d1 0-5")
    assert net.driver().layout == alone
    assert not any(isinstance(body, Open) and body.layout == alone for *_, body, _ in net.sent)


def test_a_layout_of_another_model_or_device_is_refused(tmp_path) -> None:
    net = Network(make_task(tmp_path, labels="stay", stages=3, micro=2, rounds=1))
    net.run()
    for wrong, text in [
        (PipelineLayout((0, 2, 4), ("d1", "ea"), (2, 1)), "do not make up the model"),
        (PipelineLayout((0, 2, 5), ("ea", "eb"), (2, 1)), "another device"),
        (PipelineLayout((0, 2, 5), ("d1", "eb"), (2, 1)), "labels that would leave"),
    ]:
        for ask in (net.driver().relay, lambda layout: net.driver().reopen(layout, "")):
            with pytest.raises(InputError, match=text):
                ask(wrong)


def test_what_has_begun_is_known(tmp_path) -> None:
    task = make_task(tmp_path, micro=2, schedule="sync", rounds=2)
    seen = []
    look = [lambda net: seen.append(net.driver().place_in_training)]
    net = Network(task, plan={("d1", r, b): look for r in (1, 2) for b in (1, 2, 3)})
    assert net.driver().place_in_training == (1, 0)
    net.run()
    assert seen == [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]
