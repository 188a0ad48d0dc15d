"""Stages that are chosen before the training, on networks where the choice is plain."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.stage_times import operations
from testbed.cli.show import pipeline
from testbed.experiment import load_plan
from testbed.run.staging import PAYLOAD, UNMEASURED, backhaul, memory, problem_of, profile_of, stagings

TEXT = """
name: staged
seed: 1
sites:
  north: {edge: {profile: near}}
  south: {edge: {profile: far}}
cloud: {}
devices:
  dev: {profile: device, at: north}
profiles:
  device: {speed: %(device)s, memory: 512MiB}
  near: {speed: %(near)s, memory: 512MiB}
  far: {speed: %(far)s, memory: 512MiB}
links:
  access: {rate: {up: %(access)s, down: %(access)s}, delay: 4ms}
  north -- south: {rate: 100Mbit, delay: 2ms}
  north -- cloud: {rate: 100Mbit, delay: 5ms}
workload:
  scheme: edgemove
  model: vgg5
  batch: 16
  pipeline: {micro: 4%(more)s}
"""
NAMES = LAYERS["vgg5"]
TIMES = dict.fromkeys(operations(NAMES), 0.01)  # every layer takes as long as any other
LAST = len(NAMES) - 1


@pytest.fixture
def plan_of(tmp_path):
    def make(text=TEXT, **changes):
        path = tmp_path / "staged.yaml"
        path.write_text(text % ({"device": 0.1, "near": 1, "far": 1, "access": "100Mbit", "more": ""} | changes))
        return load_plan(path)

    return make


def test_a_slow_device_keeps_as_little_as_it_may(plan_of) -> None:
    for keep in (1, 3):
        [found] = stagings(plan_of(more=f", keep: {keep}"), TIMES).values()
        assert (found.layout.bounds, found.layout.nodes) == ((0, keep, LAST + 1), ("dev", "edge-north"))
        assert found.prediction.bottleneck == "dev"
        assert found.over_turns > 1
        assert found.why == ""


def test_a_slow_link_is_crossed_where_the_least_has_to(plan_of) -> None:
    """Behind the last but one layer: 512 numbers a sample at most, against 32768 in front."""
    profile = profile_of(plan_of(), TIMES)
    least = min(range(1, LAST + 1), key=lambda cut: profile.crossing(cut))
    [found] = stagings(plan_of(device=1, access="100kbit"), TIMES).values()
    assert found.layout.bounds == (0, least, LAST + 1)
    assert found.prediction.bottleneck in ("dev up", "dev down")


def test_another_server_where_the_near_one_is_slow(plan_of) -> None:
    [found] = stagings(plan_of(near=0.05), TIMES).values()
    assert found.layout.nodes == ("dev", "edge-south")
    [found] = stagings(plan_of(device=0.3, near=0.3, far=0.3, access="1000Mbit", more=", stages: 3"), TIMES).values()
    assert found.layout.nodes == ("dev", "edge-north", "edge-south")


def test_devices_share_servers(plan_of) -> None:
    plan = plan_of(TEXT.replace("at: north}", "at: north, count: 2}"))
    found = stagings(plan, TIMES)
    assert [one.layout.nodes[1] for one in found.values()] == ["edge-north", "edge-south"]
    assert stagings(plan, dict(reversed(TIMES.items()))) == found
    assert json.loads(json.dumps(found["dev-1"].as_dict()))["nodes"] == ["dev-1", "edge-north"]


def test_what_is_known_of_links_and_memory(plan_of) -> None:
    plan = plan_of(access="20Mbit")
    problem = problem_of(plan, "dev", TIMES, {"edge-south": 1 << 20}, {"edge-south": 1})
    near, far = problem.servers
    assert near.up == near.down == pytest.approx(20e6 * PAYLOAD)
    assert far.up == pytest.approx(20e6 * PAYLOAD)
    assert (near.ratio, far.ratio) == pytest.approx((0.1, 0.2))
    assert near.memory - far.memory == 1 << 20
    assert near.memory < (512 - 236) << 20
    assert far.rtt - near.rtt == pytest.approx(0.004)
    assert near.rtt >= 0.008
    assert {(link.a, link.b): link.rate for link in problem.links} == pytest.approx(
        {("edge-north", "edge-south"): 100e6 * PAYLOAD, ("edge-south", "edge-north"): 100e6 * PAYLOAD}
    )
    assert problem.profile.layers[0].forward == pytest.approx(0.1)  # 0.01 s at a tenth of a core
    assert problem.fewest == 2


def test_what_an_operator_knows_of_its_own_network_and_nodes(plan_of) -> None:
    plan = plan_of(TEXT.replace("north -- south: {rate: 100Mbit, delay: 2ms}",
                                "north -- south: {rate: {up: 100Mbit, down: 30Mbit}, delay: 2ms}"))  # fmt: skip
    ways = {(a, b): (rate, rtt) for a, b, rate, rtt in backhaul(plan)}
    assert {way: rate for way, (rate, _) in ways.items()} == pytest.approx(
        {("edge-north", "edge-south"): 100e6 * PAYLOAD, ("edge-south", "edge-north"): 30e6 * PAYLOAD}
    )
    assert all(rtt == pytest.approx(0.004, abs=5e-3) and rtt >= 0.004 for _, rtt in ways.values())
    has = memory(plan)
    assert has.keys() == {"dev", "edge-north", "edge-south"}
    assert has["dev"] < has["edge-north"] == has["edge-south"] < (512 - 236) << 20  # a device has samples as well
    problem = problem_of(plan, "dev", TIMES, {}, {})
    assert problem.memory == has["dev"]
    assert {one.name: one.memory for one in problem.servers} == {e: has[e] for e in ("edge-north", "edge-south")}


@pytest.mark.parametrize(("schedule", "depths"), [("sync", (4, 1)), ("sequential", (1, 1)), ("1f1b, depth: 3", (3, 1))])
def test_depths_that_are_not_up_to_the_choice(plan_of, schedule, depths) -> None:
    [found] = stagings(plan_of(more=f", schedule: {schedule}"), TIMES).values()
    assert found.prediction is not None
    assert found.layout.depths == depths


def test_labels_that_stay(plan_of) -> None:
    [found] = stagings(plan_of(more=", labels: stay, stages: 3"), TIMES).values()
    assert found.layout.nodes == ("dev", "edge-north", "dev")
    assert found.layout.bounds == (0, 1, LAST, LAST + 1)


def test_the_simple_plan_where_nothing_can_be_chosen(plan_of) -> None:
    plan = plan_of()
    small = replace(
        plan, nodes=tuple(replace(n, memory=236 << 20) if n.kind == "edge" else n for n in plan.nodes)
    )
    given = ", plan: [{node: device, layers: 2}, {node: edge-south}]"
    cut = plan_of(TEXT.replace("  batch:", "  cut: 2\n  batch:"))
    for found, times, why in (
        (plan, None, UNMEASURED), (plan, {}, UNMEASURED), (small, TIMES, "no plan for vgg5 on dev"),
        (plan, {"loss": 1.0}, "without reference times"), (cut, TIMES, "the file has a cut"),
    ):  # fmt: skip
        [one] = stagings(found, times).values()
        assert why in one.why
        assert one.prediction is None
        assert one.layout == found.layouts()["dev"]
        assert f"the simple plan, not a chosen one: {one.why}" in pipeline(found, times)[2]
    [one] = stagings(plan_of(more=given), TIMES).values()
    assert (one.layout.bounds, one.layout.nodes, one.why) == ((0, 2, LAST + 1), ("dev", "edge-south"), "")


def test_what_validate_says(plan_of) -> None:
    plan = plan_of()
    [found] = stagings(plan, TIMES).values()
    assert isinstance(found.layout, PipelineLayout)
    lines = pipeline(plan, TIMES)
    assert lines[1].startswith("dev: conv1 on dev (")
    assert lines[2] == (
        f"  chosen: {found.prediction.seconds:.3g} s a batch predicted, dev the slowest; at most "
        f"{found.over_turns:.2f} times as fast as one micro-batch at a time"
    )
