"""Pipelines that steer themselves, on links of known rates and servers of known speeds, by a clock of their own."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import msgspec
import pytest

from nodes import schemes
from nodes.learn.digest import weights_digest
from nodes.policies.decisions import Decision
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.offers import LinkOffer, NodeOffer
from nodes.policies.partition import partition
from nodes.policies.plans import Problem
from nodes.policies.stage_times import operations
from nodes.schemes._admission import bytes_of
from nodes.wire.messages import PartId
from tests.unit.runtime.links import Links
from tests.unit.runtime.pipelines import EDGES, make_task

RATE = 20e6
"""bit/s of the access, and of the network between servers."""
DELAY, FAR = 0.005, 0.2
"""One way, s; and to the server of another site, across a network that is long."""
LAYER_S = 4e-3
DEVICE, SERVER = 0.2, 1.0
MODEL = "cnn"


class World(Links):
    """A device that is at one site or another: servers of other sites are far."""

    def __init__(self, task, *, speeds=None, up=RATE):
        every = {"d1": DEVICE, **dict.fromkeys(EDGES, SERVER), "cloud": 1.0} | (speeds or {})
        super().__init__(
            task, ("d1", *EDGES, "cloud"), schemes.get(task.scheme).make, speeds=every, up={"d1": up},
            down={"d1": RATE}, delay=DELAY,
        )  # fmt: skip
        self.near = "ea"
        for name in self.hosts:
            self.hosts[name].rehearse()
        for clock in self.clocks.values():
            clock.time = 100.0

    def post(self, source, to, frames):
        far = "d1" in (source, to) and ({source, to} - {"d1"}) & set(EDGES) and self.near not in (source, to)
        self.delay = FAR if far else DELAY
        super().post(source, to, frames)

    def train(self):
        for name in self.hosts:
            self.push(name, 100.0, self.hosts[name].begin)
        self.run()
        return weights_digest(self.hosts["cloud"].parts[PartId("t", "aggregator", "")]._weights)

    def hand_over(self, to, at, *, told=0.3, foretold=None):
        """At ``at`` s of the training."""
        host = self.hosts["d1"]
        if foretold is not None:
            self.push("d1", 100 + at - foretold, lambda: host.forecast(to, foretold))
        self.push("d1", 100 + at - (told or 0.3), lambda: host.notice(to, False, told))

        def move():
            self.near = to
            host.notice(to, True)

        self.push("d1", 100 + at, move)

    def layout(self):
        return self.hosts["d1"].parts[PartId("t", "stage0", "d1")].layout

    def decisions(self):
        return tuple(Decision.from_dict(s.attrs) for s in self.spans_of("decision"))


def task_of(tmp_path, *, adapt="proactive", probing="adaptive", chosen=True, decisions=None, rounds=3, samples=160,
            budget=0.02, servers=("ea", "eb"), **pipeline):  # fmt: skip
    task = make_task(tmp_path, model=MODEL, rounds=rounds, samples=samples, **pipeline)
    times = dict.fromkeys(operations(LAYERS[MODEL]), LAYER_S)
    with_times = msgspec.structs.replace(task.pipeline, times=times)
    profile = bytes_of(msgspec.structs.replace(task, pipeline=with_times))
    slow = LAYER_S / DEVICE
    layers = tuple(replace(one, forward=slow, backward=slow, update=slow) for one in profile.layers)
    own = replace(profile, layers=layers, loss=slow)
    offers = {
        name: NodeOffer(name, RATE, RATE, 2 * (DELAY if name == "ea" else FAR), ratio=DEVICE / SERVER)
        for name in servers
    }  # fmt: skip
    links = tuple(LinkOffer(a, b, RATE, 2 * (FAR - DELAY)) for a, b in permutations(servers, 2))
    settings = task.pipeline
    problem = Problem(
        "d1", own, tuple(offers.values()), links, settings.micro, settings.schedule, settings.stages, 2,
        settings.keep, settings.labels, depth=settings.depth,
    )  # fmt: skip
    best = partition(problem)
    first = PipelineLayout(best.layout.bounds, best.layout.nodes, best.depths)
    pipeline = msgspec.structs.replace(
        with_times, layouts={"d1": first}, adapt=adapt, probing=probing, budget=budget, problems={"d1": problem},
        chosen=("d1",) if chosen else (), decisions=decisions,
    )  # fmt: skip
    return msgspec.structs.replace(task, pipeline=pipeline, edges=tuple(servers))


def lasted(world):
    """Seconds of the training."""
    return max(s.end for s in world.spans_of("backward")) - 100


@pytest.fixture
def still(tmp_path):
    """What the training comes to when nothing changes."""
    world = World(task_of(tmp_path, adapt="static", probing="off"))
    return world.train()


def test_a_handover_that_is_foretold_is_followed_without_a_weight_changing(tmp_path, still):
    world = World(task_of(tmp_path, probing="off"))
    world.hand_over("eb", 5.0, foretold=3.0)
    assert world.train() == still
    assert [d.act for d in world.decisions() if d.position != (1, 0, 0)] == ["prepare", "change"]
    assert world.layout().nodes == ("d1", "eb")
    [moved] = world.spans_of("relocate")
    assert (moved.attrs["from"], moved.attrs["to"], moved.bytes) == ("ea", "eb", 0)


def test_by_the_notice_alone_it_is_followed_too(tmp_path, still):
    world = World(task_of(tmp_path, probing="off"))
    world.hand_over("eb", 5.0)
    assert world.train() == still
    assert world.layout().nodes == ("d1", "eb")


def test_a_prediction_that_was_wrong_costs_a_standby_and_nothing_else(tmp_path, still):
    world = World(task_of(tmp_path, probing="off"))
    host = world.hosts["d1"]
    world.push("d1", 102.0, lambda: host.forecast("eb", 0.5))
    world.push("d1", 106.0, lambda: host.forecast(""))
    assert world.train() == still
    assert [d.act for d in world.decisions() if d.position != (1, 0, 0)] == ["prepare"]
    assert world.layout().nodes == ("d1", "ea")
    assert not world.spans_of("relocate")


def test_reactive_follows_afterwards_by_a_copy(tmp_path, still):
    world = World(task_of(tmp_path, adapt="reactive", probing="off"))
    world.hand_over("eb", 5.0, foretold=3.0)
    assert world.train() == still
    [changed] = world.decisions()
    assert (changed.act, changed.now > 5.0) == ("change", True)
    [moved] = world.spans_of("relocate")
    assert moved.bytes > 0
    assert world.layout().nodes == ("d1", "eb")


def test_static_stays_across_the_backhaul(tmp_path, still):
    world = World(task_of(tmp_path, adapt="static", probing="off"))
    world.hand_over("eb", 5.0, foretold=3.0)
    assert world.train() == still
    assert world.layout().nodes == ("d1", "ea")
    assert not world.decisions()


def test_to_act_ahead_is_faster_than_afterwards_and_that_than_never(tmp_path):
    took, stalls = {}, {}
    for kind in ("proactive", "reactive", "static"):
        world = World(task_of(tmp_path, adapt=kind, probing="off"))
        world.hand_over("eb", 5.0, foretold=3.0)
        world.train()
        took[kind], stalls[kind] = lasted(world), [s.attrs["stall_s"] for s in world.spans_of("relocate")]
    assert took["proactive"] <= took["reactive"] < took["static"], took
    assert stalls["proactive"] <= stalls["reactive"], stalls


def test_the_budget_of_probes_is_kept_in_a_whole_run(tmp_path):
    for budget in (0.0, 0.02, 0.2):
        world = World(task_of(tmp_path, budget=budget, rounds=6))
        world.hand_over("eb", 5.0, foretold=3.0)
        world.train()
        probed = world.spans_of("probed")
        assert sum(s.attrs["took_s"] for s in probed) <= budget * lasted(world) + 1e-9
        assert sum(s.bytes for s in probed) <= budget * world.hosts["d1"].carried() + 1e-9
        assert bool(probed) == (budget > 0.1), budget


@pytest.mark.parametrize("schedule", ["1f1b", "sync"])
def test_a_run_that_is_given_the_decisions_of_another_one_ends_with_its_weights(tmp_path, schedule):
    """A server slows down: cuts change, which 1f1b's weights hang on."""
    world = World(task_of(tmp_path, budget=1.0, schedule=schedule, servers=("ea",), rounds=3))
    world.push("ea", 104.0, lambda: setattr(world.pacers["ea"], "speed", 0.05))
    digest = world.train()
    assert world.spans_of("relay"), [d for d in world.decisions() if d.act != "put off"]
    made = world.decisions()
    again = World(task_of(tmp_path, schedule=schedule, servers=("ea",), rounds=3, decisions=made), up=5e6)
    assert again.train() == digest
    assert not again.spans_of("probed")
    assert again.layout() == world.layout()


def test_without_anything_known_the_pipeline_is_not_steered(tmp_path):
    task = task_of(tmp_path)
    task = msgspec.structs.replace(task, pipeline=msgspec.structs.replace(task.pipeline, problems={}))
    world = World(task)
    world.hand_over("eb", 5.0, foretold=3.0)
    world.train()
    assert not world.decisions()
    assert world.layout().nodes == ("d1", "ea")
