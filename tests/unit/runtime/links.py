"""Nodes with one serial compute thread each, on links with rates, delays and queues, by a clock of its own.

A node's link carries one message after the other each way, whatever the other end. What arrives waits for the compute
thread, whose paced work takes time. An idle link has saved up ``burst_s`` of its rate.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict

from nodes.learn.pacing import Pacer
from nodes.runtime.host import Host
from nodes.wire import codec


class Ticking:
    """A node's own time: that of the world, or ahead of it while it works."""

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def cpu(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


class Links:
    """All nodes of a task. ``up`` and ``down`` are bit/s by device; ``delay`` one way in s."""

    def __init__(self, task, nodes, make, *, speeds=None, up=None, down=None, delay=0.005, burst_s=0.0):
        self.task, self.delay, self.burst_s = task, delay, burst_s
        self.rates = {(name, "out"): rate for name, rate in (up or {}).items()}
        self.rates |= {(name, "in"): rate for name, rate in (down or {}).items()}
        self.spans, self.sent = [], []
        self.silent = set()  # nodes that nothing reaches
        self._free = defaultdict(lambda: -1e9)
        self._events, self._order = [], itertools.count()
        self.clocks = {name: Ticking() for name in nodes}
        speeds = speeds or {}
        self.pacers = {name: Pacer(speeds.get(name, 1.0), self.clocks[name]) for name in nodes}
        self.hosts = {
            name: Host(name, task, self.pacers[name], _Port(self, name), make, clock=self.clocks[name].now)
            for name in nodes
        }

    def post(self, source, to, frames):
        at, size = self.clocks[source].time, codec.size(frames)
        for way in ((source, "out"), (to, "in")):
            if rate := self.rates.get(way):
                begin = max(self._free[way], at - self.burst_s)
                self._free[way] = begin + 8 * size / rate
                at = max(at, self._free[way])
        self.push(to, at + self.delay, lambda: self._arrive(to, frames, at + self.delay))

    def push(self, node, at, act):
        """Have a node do something, not before ``at`` and when it has time."""
        heapq.heappush(self._events, (at, next(self._order), node, act))

    def run(self, until=1e9):
        while self._events and self._events[0][0] <= until:
            at, order, node, act = heapq.heappop(self._events)
            clock = self.clocks[node]
            if clock.time > at:  # at work still
                heapq.heappush(self._events, (clock.time, order, node, act))
                continue
            clock.time = at
            act()

    def _arrive(self, to, frames, at):
        envelope, tensors = codec.decode(frames)
        if to in self.silent:
            return
        self.hosts[to].deliver(envelope, tensors, at, codec.size(frames))

    def spans_of(self, kind):
        return [s for s in self.spans if s.kind == kind]


class _Port:
    def __init__(self, net, name):
        self.net, self.name = net, name

    def send(self, node, envelope, tensors):
        self.net.sent.append((self.net.clocks[self.name].time, self.name, node, envelope.body))
        self.net.post(self.name, node, [bytes(f) for f in codec.encode(envelope, tensors)])

    def connect(self, node):
        assert node in self.net.hosts

    def tell(self, message):
        pass

    def wake(self, seconds, act):
        self.net.push(self.name, self.net.clocks[self.name].time + seconds, act)

    def catch_up(self):
        pass

    def emit(self, span):
        self.net.spans.append(span)
