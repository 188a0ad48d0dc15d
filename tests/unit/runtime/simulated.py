"""A network in memory with a clock of its own, on which nodes die and links are cut: no sleeping, no containers.

Time passes only from event to event. Messages of one pair of nodes stay in order; those sent over a link that is cut
wait until it is whole again, as TCP has them wait. A node that dies takes along what was on its way to and from it.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import defaultdict
from pathlib import Path

from nodes import schemes
from nodes.events import Span
from nodes.learn.pacing import Pacer
from nodes.runtime.host import Host
from nodes.schemes._base import Members
from nodes.wire import codec
from nodes.wire.control import Progress, RoundDone, TaskDone
from nodes.wire.task import Task
from tests.unit.runtime.memory import Net

LATENCY = 0.01
STEP = 0.02
PATIENCE = 1.0
EDGES = ("ea", "eb", "ec")


class World:
    """All nodes of one task: devices, edge servers ``ea eb ec``, the cloud.

    ``plan`` holds (device, round, batches done) -> actions, each called with the world when the device says so.
    """

    def __init__(self, directory: Path, *, strategy="migrate", devices=("d1", "d2"), rounds=2, plan=None,
                 latency=None, momentum=0.9, scheme="fedfly", homes=None, data=None,
                 in_shape=(3, 32, 32), batch=16, **settings):
        self.devices = devices
        self.plan = defaultdict(list, {key: list(acts) for key, acts in (plan or {}).items()})
        self.now = 0.0
        self.latency = latency or {}
        self.spans: list[Span] = []
        self.said = []
        self.dead: set[str] = set()
        self.cuts: set[frozenset[str]] = set()
        self._events = []
        self._order = itertools.count()
        self._lines = defaultdict(float)  # pair -> when the last message arrives
        self._stuck = defaultdict(list)
        self._busy = defaultdict(float)
        chosen = schemes.get(scheme)
        members = Members(tuple(devices), dict.fromkeys(devices, "ea") | (homes or {}), "cloud", EDGES)
        placement = chosen.place("t", members)
        if settings.get("hierarchical"):
            placement += schemes.place_collectors("t", EDGES)
        task = Task(
            id="t", scheme=scheme, strategy=strategy, seed=3, model="cnn", cut=2, in_shape=in_shape, classes=10,
            rounds=rounds, batch=batch, local_epochs=1, lr=0.05, momentum=momentum, weight_decay=0.0, threads=1,
            augment=False, owners=tuple(devices), samples={}, placement=tuple(placement),
            reference={"head.forward": 1e-6, "head.backward": 1e-6, "tail.step": 1e-6, "whole.step": 1e-6}, edges=EDGES,
            patience=PATIENCE, data=data or Net._data(directory, devices), **settings,
        )
        self.hosts = {
            name: Host(name, task, Pacer(None), Port(self, name), chosen.make, clock=lambda: self.now)
            for name in (*devices, "ea", "eb", "ec", "cloud")
        }

    # --- what happens to the world ----------------------------------------------------------------------

    def kill(self, node):
        self.dead.add(node)
        self._events = [e for e in self._events if not (e[2] == "message" and node in e[3][:2])]
        heapq.heapify(self._events)

    def tell_died(self, node):
        """What the controller says to all when it has seen that a node is dead."""
        for name, host in self.hosts.items():
            if name not in self.dead:
                host.lost(node)

    def cut(self, a, b):
        self.cuts.add(frozenset((a, b)))

    def heal(self, a, b):
        pair = frozenset((a, b))
        self.cuts.discard(pair)
        for source, to, frames in self._stuck.pop(pair, []):
            self.post(source, to, frames)

    def lose(self, device, *edges):
        for edge in edges or ("ea", "eb", "ec", "cloud"):
            self.cut(device, edge)

    def find(self, device):
        for edge in ("ea", "eb", "ec", "cloud"):
            self.heal(device, edge)

    def notice(self, device, edge, done=False):
        self.hosts[device].notice(edge, done)

    def forecast(self, device, edge):
        self.hosts[device].forecast(edge)

    def at(self, after, act):
        self._push(self.now + after, "act", act)

    # --- running ----------------------------------------------------------------------------------------

    def post(self, source, to, frames):
        if source in self.dead or to in self.dead:
            return
        pair = frozenset((source, to))
        if pair in self.cuts:
            self._stuck[pair].append((source, to, frames))
            return
        due = max(self.now + self.latency.get(pair, LATENCY), self._lines[source, to])
        self._lines[source, to] = due
        self._push(due, "message", (source, to, frames))

    def _push(self, at, kind, what):
        heapq.heappush(self._events, (at, next(self._order), kind, what))

    def begin(self):
        for name in sorted(self.hosts):
            self.hosts[name].begin()

    def step(self):
        """The next event; False if there is none, or the task is done."""
        if not self._events or self.done:
            return False
        self.now, _, kind, what = heapq.heappop(self._events)
        if kind == "message":
            self._arrive(*what)
        elif kind == "wake":
            node, act = what
            if node not in self.dead:
                act()
        else:
            what(self)
        return True

    def _arrive(self, source, to, frames):
        pair = frozenset((source, to))
        if pair in self.cuts:
            self._stuck[pair].append((source, to, frames))
            return
        envelope, tensors = codec.decode(frames)
        self.hosts[to].deliver(envelope, tensors, time.monotonic(), codec.size(frames))

    @property
    def done(self):
        return next((m for m in self.said if isinstance(m, TaskDone)), None)

    def run(self, limit=600.0):
        """Until the task is done; returns what the aggregator said of it."""
        self.begin()
        return self.finish(limit)

    def finish(self, limit=600.0):
        """Go on until the task is done."""
        end = self.now + limit
        while self.now < end and self.step():
            pass
        notes = [s.attrs["text"] for s in self.spans if s.kind == "note"]
        assert self.done, f"the task did not end by {self.now:.1f} s: {notes[-5:]}"
        return self.done


class Port:
    def __init__(self, world, name):
        self.world, self.name = world, name

    def send(self, node, envelope, tensors):
        self.world.post(self.name, node, [bytes(f) for f in codec.encode(envelope, tensors)])

    def connect(self, node):
        assert node in self.world.hosts

    def tell(self, message):
        self.world.said.append(message)
        key = None
        if isinstance(message, Progress):
            key = (message.device, message.round, message.done)
        elif isinstance(message, RoundDone):
            key = ("cloud", message.round)
        for act in self.world.plan.pop(key, []):
            act(self.world)

    def wake(self, seconds, act):
        self.world._push(self.world.now + seconds, "wake", (self.name, act))

    def catch_up(self):
        pass

    def emit(self, span):
        self.world.spans.append(span)
