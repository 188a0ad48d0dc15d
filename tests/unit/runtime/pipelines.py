"""Pipelines on a network in memory on which any message may overtake any other."""

from __future__ import annotations

import random
import time

import msgspec
import numpy as np
import torch

from nodes import schemes
from nodes.learn import models, shards
from nodes.learn.datasets import load
from nodes.learn.digest import weights_digest
from nodes.learn.pacing import Pacer
from nodes.learn.shards import Batches
from nodes.learn.stage import Sgd, Stage
from nodes.policies.layers import LAYERS
from nodes.policies.samples import FORMS
from nodes.policies.stage_times import operations
from nodes.runtime.host import Host
from nodes.schemes._base import Members
from nodes.wire import codec
from nodes.wire.control import Progress, TaskDone
from nodes.wire.messages import Open, PartId
from nodes.wire.task import Pipeline, Task
from tests.unit.learn.toys import in_shape

EDGES = ("ea", "eb", "ec")


def write_data(directory, owners, samples=24, side=8, model="cnn"):
    """A shard of noise with a little of the class in it for each owner, and a test set for the cloud."""
    data, shape = {}, in_shape(model, side)
    for number, name in enumerate((*owners, "cloud")):
        draw = np.random.default_rng(number)
        y = (np.arange(samples) * 7 + number) % 10
        x = draw.integers(0, 128, (samples, *shape)) + 12 * y.reshape(-1, *(1 for _ in shape))
        path = directory / f"{name}-{'x'.join(map(str, shape))}-{samples}-{models.takes_tokens(model)}.safetensors"
        if not path.exists():
            norms = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
            if len(shape) != 3:
                x = x.astype(np.int16 if models.takes_tokens(model) else np.float32)
                norms = ((128.0,) * shape[0], (64.0,) * shape[0])
            else:
                x = x.astype(np.uint8)
            shards.write(path, x, y.astype(np.int64), 10, *norms)
        data[name] = str(path)
    return data


def write_set(directory, owners, name, samples=32):
    """Shards of a data set that is built in."""
    found = load(name, None, samples * len(owners), 40)
    data = {}
    parts = {owner: slice(samples * i, samples * (i + 1)) for i, owner in enumerate(owners)}
    for node, part in [*parts.items(), ("cloud", None)]:
        x, y = (found.test_x, found.test_y) if part is None else (found.train_x[part], found.train_y[part])
        path = directory / f"{name}-{node}.safetensors"
        shards.write(path, x, y, found.classes, found.mean, found.std)
        data[node] = str(path)
    return data


def make_task(directory, scheme="edgemove", *, owners=("d1",), model="cnn", batch=8, rounds=2, side=8, samples=24,
              threads=1, cut=2, cuts=None, data="", select=None, **pipeline):
    """A task with ``pipeline`` settings over those of `Pipeline`, on noise or on a data set that is built in."""
    shape, classes = (FORMS[data].shape, FORMS[data].classes) if data else (in_shape(model, side), 10)
    files = write_set(directory, owners, data) if data else write_data(directory, owners, samples, side, model)
    chosen = schemes.get(scheme)
    members = Members(tuple(owners), dict.fromkeys(owners, "ea"), "cloud", EDGES)
    times = dict.fromkeys(operations(LAYERS[model]), 1e-7)
    return Task(
        id="t", scheme=scheme, strategy=chosen.strategies[0], seed=3, model=model, cut=cut, in_shape=shape,
        classes=classes, rounds=rounds, batch=batch, local_epochs=1, lr=0.05, momentum=0.9, weight_decay=1e-3,
        threads=threads, augment=False, owners=tuple(owners), samples=dict.fromkeys(owners, samples),
        placement=tuple(chosen.place("t", members)), reference={}, data=files,
        edges=EDGES, cuts=cuts or {}, pipeline=Pipeline(times=times, **pipeline), select=select,
    )  # fmt: skip


class Network:
    """All nodes of one task. ``shuffle`` draws which message arrives next; without it they arrive as they were sent.

    ``twice`` has a share of the messages arrive twice (but not `Open`, which makes a part afresh). With ``lines``
    messages from one node to another stay in order, as on a connection. ``acts`` are called with the network before
    the so many-th message arrives, ``plan`` when the controller is told this.
    """

    def __init__(self, task, *, shuffle=None, twice=0.0, pacer=Pacer, lines=False, acts=None, plan=None):
        self.acts, self.plan, self.arrived = dict(acts or {}), dict(plan or {}), 0
        self._lines = lines
        self.task = task
        self._random = random.Random(shuffle)
        self.shuffled = shuffle is not None
        self._twice = twice
        self.spans, self.said, self.sent = [], [], []
        self._queue = []
        self.stuck = set()  # nodes that nothing reaches or leaves for now
        chosen = schemes.get(task.scheme)
        self.hosts = {
            name: Host(name, task, pacer(None), _Port(self, name), chosen.make)
            for name in (*task.owners, *EDGES, "cloud")
        }

    def post(self, source, node, envelope, tensors):
        frames = [bytes(f) for f in codec.encode(envelope, tensors)]
        self.sent.append((source, node, envelope.body, {k: v.copy() for k, v in tensors.items()}))
        again = 2 if self._random.random() < self._twice and not isinstance(envelope.body, Open) else 1
        self._queue += [(source, node, frames)] * again

    def run(self):
        """Until nothing is left to do; what the aggregator said of the task."""
        for name in sorted(self.hosts):
            self.hosts[name].begin()
        self.go_on()
        done = [m for m in self.said if isinstance(m, TaskDone)]
        assert len(done) == 1, "the task did not end"
        return done[0]

    def go_on(self):
        """Until nothing is left to do but what is stuck."""
        while able := [i for i, (source, node, _) in enumerate(self._queue) if not {source, node} & self.stuck]:
            for act in self.acts.pop(self.arrived, ()):
                act(self)
            self.arrived += 1
            if self._lines:
                first = {self._queue[i][:2]: i for i in reversed(able)}
                able = sorted(first.values())
            at = able[self._random.randrange(len(able)) if self.shuffled else 0]
            _, node, frames = self._queue.pop(at)
            envelope, tensors = codec.decode(frames)
            self.hosts[node].deliver(envelope, tensors, time.monotonic(), codec.size(frames))

    def driver(self, owner="d1"):
        return self.hosts[owner].parts[PartId("t", "stage0", owner)]

    def notes(self):
        return [s.attrs["text"] for s in self.spans_of("note")]

    def weights(self):
        return self.hosts["cloud"].parts[PartId("t", "aggregator", "")]._weights

    def spans_of(self, kind):
        return [s for s in self.spans if s.kind == kind]


class _Port:
    def __init__(self, net, name):
        self.net, self.name = net, name

    def send(self, node, envelope, tensors):
        self.net.post(self.name, node, envelope, tensors)

    def connect(self, node):
        assert node in self.net.hosts

    def tell(self, message):
        self.net.said.append(message)
        if isinstance(message, Progress):
            for act in self.net.plan.pop((message.device, message.round, message.done), ()):
                act(self.net)

    def wake(self, seconds, act):
        pass

    def catch_up(self):
        pass

    def emit(self, span):
        msgspec.msgpack.encode(span)
        self.net.spans.append(span)


def applied(net, owner, stage):
    """What a stage did for the others, standbys apart: (round, batch, micro-batch) of each kind of work, sorted."""
    own = [s for s in net.spans if s.part == f"stage{stage}:{owner}"]
    return {
        kind: sorted((s.round, s.batch, s.micro) for s in own if s.kind == kind)
        for kind in ("forward", "backward", "tail-step", "update")
    }


def on_one_node(task):
    """Digest of what an only owner comes to on one node, accumulating gradients over the same micro-batches."""
    [owner], micro = task.owners, task.pipeline.micro
    stage = Stage(
        models.build(task.model, task.seed, tuple(task.in_shape), task.classes),
        Sgd(task.lr, task.momentum, task.weight_decay), first=True,
    )  # fmt: skip
    batches = Batches(shards.read(task.data[owner]), task.seed, owner, task.batch)
    for number in range(1, task.rounds + 1):
        stage.load({name: t.clone() for name, t in stage.layers.state_dict().items()})  # a fresh optimizer
        for i in range(len(batches)):
            for x, y in zip(*(torch.chunk(part, micro) for part in batches.get(number, i)), strict=True):
                stage.loss_backward(x, y, 1 / micro)
            stage.step()
    return weights_digest(stage.layers.state_dict())
