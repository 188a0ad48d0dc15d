"""A network in memory: several hosts in one process, messages encoded and delivered in order, no containers."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import numpy as np

from nodes import schemes
from nodes.events import Span
from nodes.learn import partition, shards
from nodes.learn.datasets import load
from nodes.learn.pacing import Pacer
from nodes.policies.samples import FORMS
from nodes.runtime.host import Host
from nodes.schemes._base import Members
from nodes.wire import codec
from nodes.wire.control import Progress, TaskDone
from nodes.wire.messages import State
from nodes.wire.task import Task


class Net:
    """All nodes of one task. ``moves`` maps (device, round, batches done) to an edge server."""

    def __init__(self, directory: Path, scheme: str, moves=None, *, devices=("d1", "d2"), strategy="", rounds=2,
                 damage=None, momentum=0.9, late_notices=False, cuts=None, model="cnn", cut=2, data="digits",
                 select=None):
        self.late_notices = late_notices
        self.moves = dict(moves or {})
        self.queue = deque()
        self.spans: list[Span] = []
        self.said = []
        self.damage = damage
        chosen = schemes.get(scheme)
        members = Members(tuple(devices), dict.fromkeys(devices, "ea"), "cloud")
        form, data = FORMS[data], self._data(directory, devices, data)
        task = Task(
            id="t", scheme=scheme, strategy=strategy or chosen.strategies[0], seed=3, model=model, cut=cut,
            in_shape=form.shape, classes=form.classes, rounds=rounds, batch=16, local_epochs=1, lr=0.05,
            momentum=momentum, weight_decay=0.0, threads=1, augment=False, owners=tuple(devices), samples={},
            placement=tuple(chosen.place("t", members)),
            reference={"head.forward": 1e-6, "head.backward": 1e-6, "tail.step": 1e-6, "whole.step": 1e-6},
            data=data, edges=("ea", "eb"), cuts=cuts or {}, select=select,
        )
        self.hosts = {}
        for name in (*devices, "ea", "eb", "cloud"):
            self.hosts[name] = Host(name, task, Pacer(None), _Port(self, name), chosen.make)

    @staticmethod
    def _data(directory, devices, name="digits"):
        found = load(name, None, 160, 40)
        parts = partition.equal(found.train_y, devices, 3)
        data = {}
        for name, indices in [*parts.items(), ("cloud", None)]:
            x, y = (found.train_x[indices], found.train_y[indices]) if indices is not None else (
                found.test_x, found.test_y)
            path = directory / f"{name}.safetensors"
            shards.write(path, x, y, found.classes, found.mean, found.std)
            data[name] = str(path)
        return data

    def run(self):
        for name in sorted(self.hosts):
            self.hosts[name].begin()
        while self.queue:
            to, frames = self.queue.popleft()
            envelope, tensors = codec.decode(frames)
            self.hosts[to].deliver(envelope, tensors, time.monotonic(), codec.size(frames))
        done = [m for m in self.said if isinstance(m, TaskDone)]
        assert len(done) == 1, "the task did not end"
        return done[0]


class _Port:
    def __init__(self, net, name):
        self.net, self.name = net, name
        self.waiting = []

    def send(self, node, envelope, tensors):
        if self.net.damage and isinstance(envelope.body, State):
            tensors = {k: np.array(v) for k, v in tensors.items()}
            self.net.damage(tensors)
        self.net.queue.append((node, [bytes(f) for f in codec.encode(envelope, tensors)]))

    def connect(self, node):
        assert node in self.net.hosts

    def tell(self, message):
        self.net.said.append(message)
        if isinstance(message, Progress):
            edge = self.net.moves.pop((message.device, message.round, message.done), None)
            if edge and self.net.late_notices:
                self.waiting.append(edge)  # heard in the middle of the next batch's work
            elif edge:
                self.net.hosts[message.device].notice(edge, False)

    def wake(self, seconds, act):
        pass  # here every answer comes

    def catch_up(self):
        while self.waiting:
            self.net.hosts[self.name].notice(self.waiting.pop(0), False)

    def emit(self, span):
        self.net.spans.append(span)
