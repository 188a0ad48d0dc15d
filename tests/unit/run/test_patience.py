"""How long a device waits for its first answer: longer where steps are slow and edge servers shared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.emulation.links.shape import Schedule, Step
from testbed.experiment import footprint
from testbed.run.patience import LEAST_S, patience
from tests import support


def test_patience_covers_a_step_of_every_device_on_the_slowest_edge_server():
    plan = support.loop_plan(devices=4)
    quick, slow = {"tail.step": 0.01}, {"tail.step": 0.8}
    assert patience(plan, [quick]) == LEAST_S
    way = patience(plan, [slow]) - 2 * 4 * 0.8 / 0.2
    assert 0 < way < 1
    nodes = [replace(node, speed=0.1) if node.name == "edge-south" else node for node in plan.nodes]
    assert patience(replace(plan, nodes=tuple(nodes)), [slow]) == pytest.approx(2 * 4 * 0.8 / 0.1 + way)


def test_an_answer_may_be_long_on_a_slow_link_also_on_one_that_is_so_only_at_times():
    plan, quick = support.loop_plan(devices=4), [{"tail.step": 0.01}]
    slow = [replace(link, ab=replace(link.ab, rate=1e6)) if link.kind == "access" else link for link in plan.links]
    found = patience(replace(plan, links=tuple(slow)), quick)
    assert found > 3 * LEAST_S
    at_times = Schedule("t", (Step(0.0, rate=20e6), Step(5.0, rate=0.0), Step(9.0, rate=1e6)), length=20.0)
    traced = [replace(link, ab_trace=at_times) if link.kind == "access" else link for link in plan.links]
    assert patience(replace(plan, links=tuple(traced)), quick) == pytest.approx(found)


def test_a_pipeline_may_have_all_layers_on_one_stage_and_a_whole_batch_on_its_way():
    plan = support.loop_plan(devices=4)
    layers = {"forward.conv1": 0.1, "backward.conv1": 0.2, "update.conv1": 0.05}
    work = 2 * 4 * (plan.workload.pipeline.micro * 0.35) / 0.2
    found = patience(plan, [{"tail.step": 0.01}], layers)
    rate = min(shape.rate for link in plan.links if link.kind == "access" for shape in (link.ab, link.ba))
    most = max(layer.output for layer in footprint.layers(plan.workload.model))
    assert found == pytest.approx(work + 2 * 32 * plan.workload.batch * most / rate)
    slow = [replace(link, ab=replace(link.ab, rate=rate / 4)) for link in plan.links]
    assert patience(replace(plan, links=tuple(slow)), [{"tail.step": 0.01}], layers) - work > 3.9 * (found - work)
