"""Devices select what they train on, under every scheme: as if they had no other samples, and tell nobody which."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from nodes.learn import keyed, models, scoring, shards
from nodes.policies import selection
from nodes.wire.control import Progress
from nodes.wire.messages import PartId, Update
from nodes.wire.task import Select
from testbed.run import microbatches
from tests.unit.runtime.memory import Net
from tests.unit.runtime.pipelines import Network, make_task

HARD = Select("hard", 0.5)
WAYS = [
    HARD, Select("easy", 0.4, "logistic"), Select("mixed", 0.6, features="half"), Select("balanced", 0.5),
    Select("random", 0.5),
]  # fmt: skip


def kept_by(task, owner):
    """What an owner should keep, worked out apart from it; ``task`` has its samples and the selection."""
    shard, asked, scores = shards.read(Path(task.data[owner])), task.select, None
    if asked.rule not in selection.BLIND:
        half = None
        if asked.features == "half":
            whole = models.build(task.model, task.seed, tuple(task.in_shape), task.classes)
            half, _ = models.cut(whole, task.cut_of(owner))
        scores = scoring.score(shard, asked.by, half)
    key = keyed.key(task.seed, owner, "select")
    return selection.keep(scores, shard.y.numpy(), shard.classes, asked.rule, asked.share, key, task.batch)


def narrowed(task, directory):
    """The task on shards that hold the kept samples and no others, with nothing to select."""
    data = dict(task.data)
    for owner in task.owners:
        shard, kept = shards.read(Path(task.data[owner])), kept_by(task, owner)
        path = directory / f"{owner}-kept.safetensors"
        x, y = shard.x.numpy()[kept], shard.y.numpy()[kept]
        shards.write(path, x, y, shard.classes, shard.mean, shard.std)
        data[owner] = str(path)
    return msgspec.structs.replace(task, data=data, select=None)


def told(net):
    return {s.attrs["device"]: s for s in net.spans if s.kind == "select"}


@pytest.mark.parametrize("select", WAYS, ids=str)
def test_a_selection_trains_as_if_there_were_no_other_samples(tmp_path, select):
    net = Net(tmp_path, "fedfly", {("d1", 1, 1): "eb"}, select=select)
    found, task = net.run(), net.hosts["d1"].task
    alone = Net(tmp_path, "fedfly", {("d1", 1, 1): "eb"})
    for host in alone.hosts.values():
        host.task = narrowed(task, tmp_path)
        host.__init__(host.node, host.task, host._work._pacer, host._transport, host._make)
    assert alone.run().weights_sha256 == found.weights_sha256
    assert not told(alone)
    for owner, span in told(net).items():
        assert net.hosts[owner].kept[owner].tolist() == kept_by(task, owner).tolist()
        assert span.attrs["kept"] == len(kept_by(task, owner)) < span.attrs["samples"] == 80


@pytest.mark.parametrize("scheme", ["fedavg", "splitfed", "fedfly"])
def test_counts_are_all_that_is_told_and_all_that_counts(tmp_path, scheme):
    net = Net(tmp_path, scheme, select=HARD, rounds=1)
    sizes = []
    for host in net.hosts.values():
        send = host.send
        host.send = lambda src, dst, body, *rest, send=send, **more: (
            sizes.append(body.samples) if isinstance(body, Update) else None, send(src, dst, body, *rest, **more)
        )  # fmt: skip
    net.run()
    assert set(sizes) == {40}  # of 80: what models are weighed by
    assert {(m.done, m.batches) for m in net.said if isinstance(m, Progress)} == {(1, 2), (2, 2)}  # not 5
    assert [s.attrs["batches"] for s in net.spans if s.kind == "round"] == [2, 2]
    spans = told(net)
    assert sorted(spans) == ["d1", "d2"]
    for owner, span in spans.items():
        assert span.node == owner
        assert set(span.attrs) == {
            "device", "rule", "share", "by", "features", "samples", "kept", "by_class"
        }  # fmt: skip
        assert sum(span.attrs["by_class"]) == span.attrs["kept"] == 40
        first = min(s.begin for s in net.spans if s.node == owner and s.kind in ("forward", "step"))
        assert span.end <= first


PIPELINES = {
    "local": {"scheme": "local"},
    "labels leave": {"stages": 2},
    "labels stay": {
        "labels": "stay", "stages": 3, "plan": (("device", 2), ("nearest", 2), ("device", None)),
    },
    "no layers on the device": {"cut": 0, "keep": 0, "plan": (("device", 0), ("nearest", None))},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(PIPELINES))
def test_pipelines_select_once_and_every_micro_batch_is_applied_once(tmp_path, kind):
    task = make_task(tmp_path, samples=48, micro=4, owners=("d1", "d2"), select=HARD, **PIPELINES[kind])
    net = Network(task)
    digest = net.run().weights_sha256
    assert Network(narrowed(task, tmp_path)).run().weights_sha256 == digest
    assert Network(msgspec.structs.replace(task, select=None)).run().weights_sha256 != digest
    assert sorted(s.attrs["device"] for s in net.spans_of("select")) == ["d1", "d2"]
    assert {s.attrs["batches"] for s in net.spans_of("round")} == {3}  # 24 of 48, in batches of 8
    if kind != "local":
        applied = microbatches.ledger(net.spans, [])
        assert applied
        assert not microbatches.wrong(applied)


def test_the_stage_that_labels_stay_with_has_the_same_samples(tmp_path):
    task = make_task(tmp_path, samples=48, micro=4, select=HARD, **PIPELINES["labels stay"])
    net = Network(task)
    net.run()
    first, last = (net.hosts["d1"].parts[PartId("t", f"stage{stage}", "d1")]._data for stage in (0, 2))
    assert first is not last
    for i in range(len(first)):
        assert first.labels(1, i).tolist() == last.labels(1, i).tolist()


def test_what_was_kept_is_not_selected_again(tmp_path):
    """Who hosts a part for one round at a time hands in what the owner keeps."""
    net = Net(tmp_path, "fedavg", select=HARD)
    for owner in ("d1", "d2"):
        net.hosts[owner].kept[owner] = np.arange(40)
    net.run()
    assert not told(net)


def test_a_share_of_less_than_a_batch_keeps_a_batch(tmp_path):
    net = Net(tmp_path, "fedavg", select=Select("easy", 0.01))
    net.run()
    assert {span.attrs["kept"] for span in told(net).values()} == {16}


def test_all_of_it_is_all_of_it(tmp_path):
    every = Net(tmp_path, "splitfed").run().weights_sha256
    assert Net(tmp_path, "splitfed", select=Select("hard", 1.0)).run().weights_sha256 == every


def test_rehearsals_spoil_nothing(tmp_path):
    plain = Net(tmp_path, "fedavg", select=HARD).run().weights_sha256
    net = Net(tmp_path, "fedavg", select=HARD)
    for owner in ("d1", "d2"):
        net.hosts[owner].rehearse()
    assert net.run().weights_sha256 == plain
