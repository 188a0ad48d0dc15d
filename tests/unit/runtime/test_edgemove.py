"""Pipelines end to end in one process: exactness, order, labels; without containers."""

from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.learn.pacing import Pacer
from nodes.policies.layers import LAYERS
from nodes.wire.control import Progress, RoundDone, TaskDone
from nodes.wire.messages import Activations, Gradients, Model, Open, PartId, Update
from tests.unit.runtime.pipelines import EDGES, Network, make_task, on_one_node


def run(directory, scheme="edgemove", shuffle=None, twice=0.0, **settings):
    net = Network(make_task(directory, scheme, **settings), shuffle=shuffle, twice=twice)
    return net.run().weights_sha256, net


@st.composite
def plans(draw: st.DrawFn, model: str, labels: str = "leave", keep: int = 0) -> tuple[tuple[str, int], ...]:
    """Two to four stages anywhere, any of them on any edge server."""
    layers = len(LAYERS[model])
    stages = draw(st.integers(3 if labels == "stay" else 2, 4))
    cuts = draw(st.lists(st.integers(1, layers - 1), min_size=stages - 2, max_size=stages - 2, unique=True))
    first = draw(st.integers(keep, min(cuts, default=layers) - 1))
    bounds = [0, first, *sorted(cuts), layers]
    nodes = ["device", *draw(st.lists(st.sampled_from(["nearest", *EDGES]), min_size=stages - 1, max_size=stages - 1))]
    if labels == "stay":
        nodes[-1] = "device"
    return tuple((node, b - a) for node, (a, b) in zip(nodes, pairwise(bounds), strict=True))


def exact(data, model, micro, labels, seed, **made) -> None:
    plan = data.draw(plans(model, labels))
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": micro, "batch": 8, "rounds": 1, **made}
        task = make_task(Path(scratch), **made, schedule="sync", plan=plan, labels=labels)
        assert Network(task, shuffle=seed).run().weights_sha256 == on_one_node(task)


cases = {
    "data": st.data(), "micro": st.sampled_from([1, 2, 4]), "labels": st.sampled_from(["leave", "stay"]),
    "seed": st.integers(0, 99),
}  # fmt: skip


@given(model=st.sampled_from(["cnn", "vgg5"]), **cases)
@settings(max_examples=25, deadline=None)
def test_sync_is_training_on_one_node_to_the_bit(data, model, micro, labels, seed) -> None:
    exact(data, model, micro, labels, seed, samples=24)


@pytest.mark.parametrize("model", sorted(LAYERS.keys() - {"cnn", "vgg5"}))
@given(**cases)
@settings(max_examples=5, deadline=None)
def test_sync_of_a_large_model_is_training_on_one_node_to_the_bit(model, data, micro, labels, seed) -> None:
    exact(data, model, micro, labels, seed, samples=16, side=16)


def test_micro_batches_of_odd_sizes_are_those_of_one_node_to_the_bit(tmp_path) -> None:
    """Two samples of 43 numbers: on one node they begin anywhere in memory, over the network at even addresses."""
    task = make_task(tmp_path, model="mlp", micro=4, schedule="sync", plan=(("device", 0), ("nearest", None)), rounds=1)
    assert Network(task).run().weights_sha256 == on_one_node(task)


@pytest.mark.parametrize("model", ["cnn", "vgg5"])
def test_local_is_training_on_one_node_to_the_bit(tmp_path, model) -> None:
    task = make_task(tmp_path, "local", model=model, micro=4)
    net = Network(task)
    assert net.run().weights_sha256 == on_one_node(task)
    assert Counter(s.kind for s in net.spans) >= Counter(step=2 * 3 * 4, update=2 * 3, round=2)
    done = [(m.round, m.done) for m in net.said if isinstance(m, Progress)]
    assert done == [(r, b) for r in (1, 2) for b in (1, 2, 3)]


@pytest.mark.parametrize(
    ("data", "model"), [("motion", "cnn1d"), ("motion", "mlp"), ("docstrings", "transformer")]
)
def test_motion_and_text_train_as_on_one_node(tmp_path, data, model) -> None:
    """Two owners, stages in all places; raw samples that leave the device too, and words have no gradient."""
    made = {"data": data, "model": model, "owners": ("d1", "d2"), "micro": 2}
    alone = run(tmp_path, "local", **made)[0]
    plans = [(), (("device", 0), ("eb", None)), (("device", 0), ("eb", 1), ("ea", None)),
             (("device", 2), ("eb", 1), ("ea", None))]  # fmt: skip
    for number, plan in enumerate(plans):
        schedule = ("sync", "sequential")[number % 2]
        assert run(tmp_path, schedule=schedule, plan=plan, shuffle=number, **made)[0] == alone
    made |= {"plan": (("device", 0), ("eb", 2), ("ea", None)), "keep": 0}
    for compress in ("none", "int8"):  # depths are 2, 1, 1: with no layers on the device nothing is stale
        found, other = (run(tmp_path, compress=compress, shuffle=s, **made)[0] for s in (None, 4))
        assert found == other
        assert (found == alone) == (compress == "none")
    net = Network(make_task(tmp_path, **made))
    for name, host in net.hosts.items():
        host.rehearse(("stage1",) if name in EDGES else ())


def test_several_devices_are_averaged_as_local_ones_are(tmp_path) -> None:
    made = {"owners": ("d1", "d2", "d3"), "micro": 2, "rounds": 3, "model": "vgg5"}
    alone = run(tmp_path, scheme="local", **made)[0]
    for schedule in ("sync", "sequential"):
        assert run(tmp_path, schedule=schedule, cuts={"d2": 3}, **made, shuffle=5)[0] == alone


@given(data=st.data(), model=st.sampled_from(["cnn", "vgg5"]), micro=st.sampled_from([2, 4]),
       depth=st.none() | st.integers(1, 9), seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)))  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_1f1b_hangs_on_no_timing(data, model, micro, depth, seeds) -> None:
    plan = data.draw(plans(model))
    with tempfile.TemporaryDirectory() as scratch:
        made = {"model": model, "micro": micro, "schedule": "1f1b", "depth": depth, "plan": plan, "rounds": 2}
        straight, net = run(Path(scratch), **made)
        for seed in seeds:
            assert run(Path(scratch), shuffle=seed, twice=0.3, **made)[0] == straight
        most = max(s.attrs["staleness_most"] for s in net.spans_of("pipeline"))
        assert most <= (max(depth or micro, 1) + micro - 2) // micro
        if depth == 1:
            assert straight == run(Path(scratch), **made | {"schedule": "sequential"})[0]


def test_1f1b_is_stale_and_sync_is_not(tmp_path) -> None:
    stale, fresh = (run(tmp_path, micro=2, model="vgg5", schedule=s) for s in ("1f1b", "sync"))
    assert stale[0] != fresh[0]
    found = {s.attrs["stage"]: s.attrs["staleness_most"] for s in stale[1].spans_of("pipeline")}
    assert found == {0: 1, 1: 0}
    assert {s.attrs["staleness_most"] for s in fresh[1].spans_of("pipeline")} == {0}


@pytest.mark.parametrize("plan", [(), (("device", 1), ("eb", 2), ("ea", None)), (("device", 0), ("ec", None))])
@pytest.mark.parametrize("micro", [1, 4])
def test_sequential_is_sync(tmp_path, plan, micro) -> None:
    found = {run(tmp_path, schedule=s, plan=plan, micro=micro, shuffle=1)[0] for s in ("sync", "sequential")}
    assert len(found) == 1


@pytest.mark.parametrize("schedule", ["sync", "1f1b", "sequential"])
@pytest.mark.parametrize("plan", [(), (("device", 2), ("eb", 1), ("ea", 1), ("device", 1))])
def test_labels_that_stay_are_in_no_message(tmp_path, schedule, plan) -> None:
    made = {"schedule": schedule, "micro": 2, "stages": 4, "owners": ("d1", "d2")}
    stayed, net = run(tmp_path, labels="stay", plan=plan, **made)
    assert {a for a, b, body, _ in net.sent if isinstance(body, Activations)} > {"d1", "d2"}
    for _, _, body, tensors in net.sent:
        if isinstance(body, Activations | Gradients):
            assert set(tensors) <= {"x", "g"}
        assert not any(t.dtype.name == "int64" and t.ndim for t in tensors.values())
    if schedule != "1f1b":
        assert stayed == run(tmp_path, **made)[0]


def test_only_the_devices_own_layers_cross_its_link(tmp_path) -> None:
    _, net = run(tmp_path, plan=(("device", 2), ("eb", None)))
    for source, node, body, tensors in net.sent:
        if "d1" in (source, node) and isinstance(body, Model | Update):
            assert {name.partition(".")[0] for name in tensors} <= {"conv1"}
    assert {"eb"} == {node for _, node, body, _ in net.sent if isinstance(body, Open)}  # once, and kept for all rounds
    assert sum(isinstance(body, Open) for *_, body, _ in net.sent) == 1


@given(schedule=st.sampled_from(["sync", "1f1b", "sequential"]), micro=st.sampled_from([1, 2, 4]),
       stages=st.integers(2, 4), seed=st.integers(0, 99))  # fmt: skip
@settings(max_examples=20, deadline=None)
def test_every_micro_batch_is_applied_once(schedule, micro, stages, seed) -> None:
    plan = (*(("device", 1), ("ea", 1), ("eb", 1))[: stages - 1], ("ec", None))
    with tempfile.TemporaryDirectory() as scratch:
        made = {"schedule": schedule, "micro": micro, "plan": plan, "owners": ("d1", "d2")}
        _, net = run(Path(scratch), shuffle=seed, twice=0.5, **made)
    every = [(r, b, m) for r in (1, 2) for b in range(3) for m in range(micro)]
    for owner in ("d1", "d2"):
        for stage in range(stages):
            own = [s for s in net.spans if s.part == f"stage{stage}:{owner}"]
            done = {
                kind: sorted((s.round, s.batch, s.micro) for s in own if s.kind == kind)
                for kind in ("forward", "backward", "tail-step", "update")
            }
            last = stage == stages - 1
            assert done["forward"] == done["backward"] == ([] if last else every)
            assert done["tail-step"] == (every if last else [])
            assert done["update"] == [(r, b, micro - 1) for r in (1, 2) for b in range(3)]
            assert {s.attrs["stage"] for s in net.spans_of("forward") if s.part.startswith(f"stage{stage}:")} <= {stage}


@pytest.mark.parametrize(("compress", "most"), [("fp16", 0.002), ("int8", 0.1)])
def test_compression_makes_messages_smaller_and_tells_what_it_loses(tmp_path, compress, most) -> None:
    exact, plain = run(tmp_path, schedule="sync")
    lossy, net = run(tmp_path, schedule="sync", compress=compress)
    assert lossy != exact
    assert lossy == run(tmp_path, schedule="sync", compress=compress, shuffle=3)[0]
    for s in net.spans_of("pipeline"):
        assert 0 < s.attrs["packing_error"] < most
    assert {s.attrs["packing_error"] for s in plain.spans_of("pipeline")} == {0}

    def size(of):
        return sum(t.nbytes for *_, body, tensors in of.sent if isinstance(body, Activations) for t in [tensors["x"]])

    assert size(plain) == size(net) * (2 if compress == "fp16" else 4)


def test_what_a_round_tells(tmp_path) -> None:
    _, net = run(tmp_path, micro=4, plan=(("device", 1), ("ea", 2), ("eb", None)))
    assert len(net.spans_of("pipeline")) == 2 * 3
    for span in net.spans_of("pipeline"):
        stage = span.attrs["stage"]
        assert span.attrs["layers"] == [[0, 1], [1, 3], [3, 5]][stage]
        assert span.node == ("d1", "ea", "eb")[stage]
        assert span.attrs["depth"] == (4, 2, 1)[stage]
        assert 0 <= span.attrs["bubble"] < 1
        work = [s for s in net.spans if s.part == span.part and s.round == span.round and s.kind != "pipeline"
                and "stage" in s.attrs]  # fmt: skip
        assert span.begin == min(s.begin for s in work)
        assert span.attrs["busy_s"] == pytest.approx(sum(s.end - s.begin for s in work))
    assert [s.attrs["batches"] for s in net.spans_of("round")] == [3, 3]
    assert [(m.round, m.done, m.batches) for m in net.said if isinstance(m, Progress)] == [
        (r, b, 3) for r in (1, 2) for b in (1, 2, 3)
    ]
    sent = {(s.attrs["message"], s.batch, s.micro) for s in net.spans_of("send") if s.attrs["message"] == "gradients"}
    assert sent == {("gradients", b, m) for b in range(3) for m in range(4)}


@pytest.mark.parametrize("seed", range(4))
def test_a_round_that_closes_without_a_late_device(tmp_path, seed) -> None:
    """Its link is lost in the middle of round 1 and whole again in round 2: it takes part in that, from its start."""
    task = msgspec.structs.replace(make_task(tmp_path, owners=("d1", "d2"), micro=2), drop_s=1.0)
    net = Network(task, shuffle=seed)
    aggregator = net.hosts["cloud"].parts[PartId("t", "aggregator", "")]
    net.stuck = {"d2"}
    for name in sorted(net.hosts):
        net.hosts[name].begin()
    net.go_on()
    aggregator.awake(1)
    net.go_on()
    net.stuck, net.shuffled = set(), False  # what waited for the link comes in order
    net.go_on()
    assert [m.missing for m in net.said if isinstance(m, RoundDone)] == [("d2",), ()]
    [done] = [m for m in net.said if isinstance(m, TaskDone)]
    updates = [(s.round, s.batch) for s in net.spans_of("update") if s.part == "stage1:d2" and s.round == 2]
    assert updates == [(2, b) for b in range(3)]
    assert len(done.weights_sha256) == 64


def test_work_is_paced_by_the_sum_of_its_layers(tmp_path) -> None:
    class Recorded(Pacer):
        def step(self, reference_s):
            paced.append(round(reference_s * 1e9))
            return super().step(reference_s)

    names = LAYERS["cnn"]
    ways = (("forward", 1), ("backward", 10), ("update", 100))
    times = {f"{way}.{name}": unit * 1e-9 * 2**i for way, unit in ways for i, name in enumerate(names)} | {"loss": 5e-6}
    for scheme, expected in (
        ("edgemove", {3: 12, 30: 12, 300: 6, 28: 0, 5000 + 11 * 28: 12, 2800: 6}),
        ("local", {5000 + 11 * 31: 12, 3100: 6}),
    ):
        paced: list[int] = []
        task = make_task(tmp_path, scheme, micro=2)
        task = msgspec.structs.replace(task, pipeline=msgspec.structs.replace(task.pipeline, times=times))
        Network(task, pacer=Recorded).run()
        assert Counter(paced) == Counter(expected)


def test_parts_can_be_rehearsed(tmp_path) -> None:
    for made in ({}, {"labels": "stay", "stages": 3}, {"plan": (("device", 0), ("ea", None))}, {"scheme": "local"}):
        net = Network(make_task(tmp_path, **made))
        for name, host in net.hosts.items():
            host.rehearse(("stage1",) if name in EDGES and made.get("scheme") != "local" else ())
        before = Network(make_task(tmp_path, **made)).run().weights_sha256
        assert net.run().weights_sha256 == before
