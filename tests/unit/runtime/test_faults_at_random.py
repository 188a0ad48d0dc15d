"""Moves, forecasts, deaths and cuts in any order: the task ends, and with the weights of a run without them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from nodes.wire.control import RoundDone
from nodes.wire.messages import PartId
from tests.unit.runtime.simulated import World

DEVICES, EDGES = ("d1", "d2"), ("ea", "eb", "ec")
PAIRS = [("ea", "eb"), ("ea", "ec"), ("eb", "ec"), *((d, e) for d in DEVICES for e in EDGES)]
device, edge, pair = st.sampled_from(DEVICES), st.sampled_from(EDGES), st.sampled_from(PAIRS)


@cache
def still() -> str:
    with tempfile.TemporaryDirectory() as scratch:
        return World(Path(scratch)).run().weights_sha256


@cache
def still_weights():
    with tempfile.TemporaryDirectory() as scratch:
        world = World(Path(scratch))
        world.run()
        return weights(world)


def weights(world):
    return world.hosts["cloud"].parts[PartId("t", "aggregator", "")]._weights


class Faults(RuleBasedStateMachine):
    @initialize(strategy=st.sampled_from(["migrate", "shadow", "restart", "relay", "carry"]),
                slow=st.sampled_from([0.01, 0.2, 2.5]))  # fmt: skip
    def begin(self, strategy, slow):
        self.scratch = tempfile.TemporaryDirectory()
        latency = {frozenset(pair): slow for pair in PAIRS[:3]}
        self.world = World(Path(self.scratch.name), strategy=strategy, latency=latency)
        self.world.begin()

    @rule(events=st.integers(1, 40))
    def time_passes(self, events):
        for _ in range(events):
            self.world.step()

    @rule(device=device, edge=edge, done=st.booleans())
    def a_handover(self, device, edge, done):
        self.world.notice(device, edge, done)

    @rule(device=device, edge=st.sampled_from(["", *EDGES]))
    def a_forecast(self, device, edge):
        self.world.forecast(device, edge)

    @precondition(lambda self: len(self.world.dead) < 2)
    @rule(edge=edge)
    def a_death(self, edge):
        self.world.kill(edge)

    @rule(pair=pair)
    def a_cut(self, pair):
        self.world.cut(*pair)

    @rule(pair=pair)
    def a_repair(self, pair):
        self.world.heal(*pair)

    @rule(device=device)
    def out_of_reach(self, device):
        self.world.lose(device)

    @rule(device=device)
    def back_in_reach(self, device):
        self.world.find(device)

    def teardown(self):
        if not hasattr(self, "world"):
            return
        for pair in list(self.world.cuts):
            self.world.heal(*pair)
        with self.scratch:
            assert self.world.finish().weights_sha256 == still()


class Averaging(Faults):
    """The same in tiers, and with rounds that go on without the late: they end, and with the same mean if all came.

    Who dies is told to the others. With a limit to waiting that may be a device.
    """

    @initialize(strategy=st.sampled_from(["migrate", "shadow", "restart", "carry"]), hierarchical=st.booleans(),
                drop=st.sampled_from([None, 0.8, 5.0]))  # fmt: skip
    def begin(self, strategy, hierarchical, drop):
        self.scratch = tempfile.TemporaryDirectory()
        self.world = World(Path(self.scratch.name), strategy=strategy, hierarchical=hierarchical, drop_s=drop)
        self.world.begin()
        self.drop = drop

    @precondition(lambda self: len(self.world.dead & set(EDGES)) < 2)
    @rule(edge=edge, after=st.sampled_from([0.0, 0.5]))
    def a_death(self, edge, after):
        self.bury(edge, after)

    @precondition(lambda self: self.drop is not None and not self.world.dead & set(DEVICES))
    @rule(device=device, after=st.sampled_from([0.0, 0.5]))
    def a_lost_device(self, device, after):
        self.bury(device, after)

    def bury(self, node, after):
        self.world.kill(node)
        self.world.at(after, lambda world: world.tell_died(node))

    def teardown(self):
        if not hasattr(self, "world"):
            return
        for pair in list(self.world.cuts):
            self.world.heal(*pair)
        with self.scratch:
            self.world.finish()
        if not any(m.missing for m in self.world.said if isinstance(m, RoundDone)):
            for name, tensor in still_weights().items():
                torch.testing.assert_close(weights(self.world)[name], tensor, rtol=1e-4, atol=1e-6)


TestFaults = Faults.TestCase
TestFaults.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAveraging = Averaging.TestCase
TestAveraging.settings = settings(TestFaults.settings, max_examples=40)
