"""A world in which devices probe servers, over links of known rates and delays."""

from __future__ import annotations

import msgspec
import numpy as np

from nodes.policies.layers import LAYERS
from nodes.policies.stage_times import operations
from nodes.runtime.part import Quiet
from nodes.schemes._prober import Prober
from nodes.schemes._probes import Probes
from nodes.wire.messages import Activations, PartId, Work
from tests.unit.runtime.links import Links
from tests.unit.runtime.pipelines import EDGES, make_task

UP, DOWN, DELAY = 20e6, 40e6, 0.005
LAYER_S = 2e-3
MODEL = "cnn"


class Driver(Quiet):
    """What holds probes in these tests."""

    def __init__(self, part, context):
        self.id, self.context = part, context
        self.probes = Probes(context, part, context.task.pipeline)
        self.found, self.lost_ones, self.took = [], [], []

    def rehearse(self):
        self.probes.device.measure()

    def receive(self, src, body, tensors):
        found = self.probes.take(src, body)
        if found is not None:
            self.found.append((src.owner, found))
            self.took.append((self.probes.said, self.probes.took))

    def awake(self, token):
        lost = self.probes.expired(token)
        if lost is not None:
            self.lost_ones.append((self.context.now(), lost))


class Worker(Quiet):
    """A stage of somebody on an edge server: it has so much memory, and works when told."""

    def __init__(self, part, context):
        self.id, self.context, self.bytes = part, context, 0

    def receive(self, src, body, tensors):
        pass

    def need(self):
        return self.bytes

    def work(self, seconds):
        with self.context.work(self.id, "forward", None, seconds=seconds):
            pass


def world(tmp_path, *, owners=("d1",), up=UP, down=DOWN, profile="approximate", memory=None, delay=DELAY, **kw):
    task = make_task(tmp_path, owners=owners, model=MODEL)
    times = dict.fromkeys(operations(LAYERS[MODEL]), LAYER_S)
    settings = msgspec.structs.replace(
        task.pipeline, times=times, probing="adaptive", profile=profile, memory=memory or {}
    )
    task = msgspec.structs.replace(task, pipeline=settings)

    def make(part, context):
        if part.role == "prober":
            return Prober(part, context)
        return Driver(part, context) if part.role == "stage0" else Worker(part, context)

    net = Links(task, (*owners, *EDGES, "cloud"), make, up=dict.fromkeys(owners, up), down=dict.fromkeys(owners, down),
                delay=delay, **kw)  # fmt: skip
    for name in net.hosts:
        net.hosts[name].rehearse()
    for clock in net.clocks.values():
        clock.time = 100.0
    for name in net.hosts:
        net.hosts[name].begin()
    net.spans.clear()
    net.sent.clear()
    return net


def driver(net, name="d1"):
    return net.hosts[name].parts[PartId("t", "stage0", name)]


def probe(net, server="ea", name="d1"):
    """Probe a server; what that found."""
    one = driver(net, name)
    net.push(name, net.clocks[name].time, lambda: one.probes.start(server))
    net.run()
    assert one.found
    assert one.found[-1][0] == server
    return one.found[-1][1]


def stage(net, server, owner, number=1):
    """Somebody's stage on a server, as if it had been opened there."""
    host, part = net.hosts[server], PartId("t", f"stage{number}", owner)
    return host.parts.setdefault(part, Worker(part, host))


def send(net, to, size, index=0):
    """The driver hands so many bytes of activations to the network."""
    part = PartId("t", "stage1", "d1")
    body = Activations(Work(1, 0, index, 1))
    net.hosts["d1"].send(driver(net).id, part, body, {"x": np.zeros(size, np.uint8)}, node=to)
