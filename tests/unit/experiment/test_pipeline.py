"""Settings of a pipeline: what the plan makes of them, and what is refused, with its place and a remedy."""

# ruff: noqa: E501  (a table of one fault a line reads better)

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError as NodesInputError
from nodes.policies.layouts import PipelineLayout, bounds, fixed, pieces, require
from testbed.cli.show import pipeline
from testbed.errors import InputError
from testbed.experiment import load_plan

WORK = "  scheme: [splitfed, fedfly]"
CUT = "  cut: 4\n"
HERE = "  scheme: edgemove\n  pipeline: {%s}"


def test_defaults(write) -> None:
    plan = load_plan(write((WORK, "  scheme: edgemove")))
    asked = plan.workload.pipeline
    assert (asked.micro, asked.schedule, asked.depth, asked.stages, asked.keep) == (4, "1f1b", None, 2, 1)
    assert (asked.labels, asked.plan, asked.compress) == ("leave", (), "none")
    assert (asked.profile, asked.probing, asked.every) == ("approximate", "adaptive", 0.0)
    assert (asked.budget, asked.adapt) == (0.02, "proactive")
    assert plan.layouts()["dev-1"] == PipelineLayout((0, 4, 7), ("dev-1", "edge-north"), (4, 1))
    assert plan.layouts()["lone"].nodes == ("lone", "edge-south")
    assert plan.workload.micro_size == 4
    lines = pipeline(plan)
    assert lines[0] == "batches of 16 in 4 micro-batches of 4, 1f1b"
    assert lines[1] == "dev-1: conv1 to pool2 on dev-1 (4 under way), conv3 to fc2 on edge-north"


def test_without_a_pipeline_there_is_none(write) -> None:
    plan = load_plan(write())
    assert not plan.workload.pipelined
    assert plan.layouts() == {}
    assert pipeline(plan) == []


def test_a_plan_that_is_given(write) -> None:
    text = "micro: 8, depth: 5, labels: stay, plan: [{node: device, layers: 2}, {node: edge-south, layers: 1}, {node: nearest}, {node: device, layers: 1}]"
    plan = load_plan(write((WORK, HERE % text), (CUT, "")))
    layout = plan.layouts()["dev-2"]
    assert layout.nodes == ("dev-2", "edge-south", "edge-north", "dev-2")
    assert layout.bounds == (0, 2, 3, 6, 7)
    assert layout.depths == (5, 3, 2, 1)
    assert pipeline(plan)[2].endswith("fc2 on dev-2; labels stay")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("probing: off, probe_budget: 0", ("approximate", "off", 0.0, 0.0, "proactive")),
        ("probing: {every: 500ms}, profile: full", ("full", "every", 0.5, 0.02, "proactive")),
        ("probing: adaptive, probe_budget: 100%, adapt: static", ("approximate", "adaptive", 0.0, 1.0, "static")),
        ("probe_budget: 0.005, adapt: reactive", ("approximate", "adaptive", 0.0, 0.005, "reactive")),
    ],
)
def test_probes_and_changes_as_asked(write, text, found) -> None:
    asked = load_plan(write((WORK, HERE % text))).workload.pipeline
    assert (asked.profile, asked.probing, asked.every, asked.budget, asked.adapt) == found


def test_what_may_change_is_said(write) -> None:
    for text, said in (
        ("micro: 4", "probes adaptive, at most 2% of time and bytes; adapts proactive"),
        ("probing: {every: 500ms}, probe_budget: 0.5%", "probes every 500ms, at most 0.5% of time and bytes"),
        ("probing: off, adapt: static", "probes off; adapts static"),
    ):
        assert said in pipeline(load_plan(write((WORK, HERE % text))))[-1]
    assert not any("probes" in line for line in pipeline(load_plan(write((WORK, "  scheme: local")))))
    again = replace(load_plan(write((WORK, "  scheme: edgemove"))), decisions=())
    assert "does again" in pipeline(again)[-1]


def test_an_interval_can_be_set_from_the_command_line(write) -> None:
    file = write((WORK, "  scheme: edgemove"))
    assert load_plan(file, ["workload.pipeline.probing.every=3s"]).workload.pipeline.every == 3.0
    assert load_plan(file, ["workload.pipeline.probing=off"]).workload.pipeline.probing == "off"


def test_devices_may_have_cuts_of_their_own(write) -> None:
    plan = load_plan(write((WORK, "  scheme: edgemove"), ("profile: pi4,", "profile: pi4, cut: 2,")))
    assert plan.layouts()["lone"].bounds == (0, 2, 7)


def test_what_is_kept_comes_before_the_default_cut(write) -> None:
    plan = load_plan(write((WORK, HERE % "keep: 5"), (CUT, "")))
    assert plan.layouts()["dev-1"].bounds == (0, 5, 7)
    assert load_plan(write((WORK, HERE % "keep: 0"), ("cut: 4", "cut: 0"))).layouts()["lone"].bounds == (0, 0, 7)


def test_rendered_as_asked(write, tmp_path) -> None:
    plan = load_plan(write((WORK, HERE % "schedule: sync, micro: 2"), (CUT, "")))
    again = tmp_path / "again.yaml"
    again.write_text(plan.rendered)
    assert load_plan(again).workload.pipeline == plan.workload.pipeline


NEAR = "{node: nearest}"
PLAN = "plan: [%s]"
# What the pipeline says, the key at whose line the fault is (all are on line 19), what the message and remedy say.
BAD = {
    "micro that does not divide": ("micro: 5", "cannot be divided evenly", "micro to 4, or workload.batch to 20"),
    "micro above the batch": ("micro: 32", "more micro-batches than samples", "micro to 16, or workload.batch to 32"),
    "no micro-batch": ("micro: 0", "pipeline.micro: the value must be greater", None),
    "half a micro-batch": ("micro: 1.5", "pipeline.micro", None),
    "no depth": ("depth: 0", "this is no depth", "leave it out"),
    "a word as depth": ("depth: deep", "this is no depth", None),
    "a depth of another schedule": ("schedule: sync, depth: 3", "a depth has nothing to act on", "take depth out"),
    "a schedule that is none": ("schedule: 1b1f", "unknown choice", "1f1b"),
    "one stage": ("stages: 1", "pipeline.stages: the value must be greater", None),
    "five stages": ("stages: 5", "pipeline.stages: the value must be less", None),
    "keep beyond the model": ("keep: 7", "cannot be kept on the device", "keep to 6 or less"),
    "keep with labels": ("keep: 6, labels: stay, stages: 3", "cannot be kept on the device", "keep to 5 or less"),
    "keep beyond the cut": ("keep: 5", "fewer layers on the device than are to be kept", "keep to 4"),
    "labels in two stages": ("labels: stay", "take a third stage", "stages to 3"),
    "a budget below nothing": ("probe_budget: -2%", "the fraction is negative", "take the minus sign away"),
    "a budget of more than all": ("probe_budget: 120%", "the fraction is more than the whole", "at most 100%"),
    "a budget without its sign": ("probe_budget: 2", "more than the whole", "write 2% if you mean per cent"),
    "a budget that is a word": ("probe_budget: little", "this is not a fraction", None),
    "probes without end": ("probing: {every: 0s}", "every: probes would follow each other", "off for no probes"),
    "probes without a unit": ("probing: {every: 10}", "every: a duration needs a unit", "write for example 10ms"),
    "probes before each other": ("probing: {every: -1s}", "every: the duration is negative", None),
    "an interval without itself": ("probing: every", "this is no way of probing", "say how often: {every: 10s}"),
    "an interval misspelt": ("probing: {evry: 10s}", "this is no way of probing", "did you mean 'every'?"),
    "an interval of two": ("probing: {every: 1s, off: yes}", "this is no way of probing", None),
    "a way of probing misspelt": ("probing: adaptiv", "this is no way of probing", "did you mean 'adaptive'?"),
    "probing that is false": ("probing: false", "this is no way of probing", "write off"),
    "no probing in other words": ("probing: none", "this is no way of probing", "write off"),
    "probing that is a list": ("probing: [off]", "this is no way of probing", None),
    "a budget of no probes": ("probing: off, probe_budget: 2%", "probe_budget has nothing to act on", "take probe_budget out"),
    "a profile of no probes": ("profile: full, probing: off", "profile has nothing to act on", "take profile out"),
    "a way to adapt misspelt": ("adapt: proactiv", "unknown choice", "did you mean 'proactive'?"),
    "a profile that is none": ("profile: exact", "unknown choice", "write one of approximate, full"),
    "a key of probes misspelt": ("probe_bugdet: 2%", "unknown key 'probe_bugdet'", "'probe_budget'"),
    "a compression that is none": ("compress: zip", "unknown choice", None),
    "a key that is none": ("mirco: 4", "unknown key 'mirco' in workload.pipeline", "'micro'"),
    "a plan that is a word": ("plan: best", "unknown plan 'best'", "write a list"),
    "a plan without stages": ("plan: []", "a plan without stages", "leave it out"),
    "a node that is none": (PLAN % "{node: device, layers: 2}, {node: edge-nroth}", "no edge server 'edge-nroth'", "'edge-north'"),
    "a stage without a node": (PLAN % "{layers: 2}, {node: nearest}", "'node' is missing", None),
    "a stage of half a layer": (PLAN % "{node: device, layers: 1.5}, {node: nearest}", "layers", None),
    "a plan of one": (PLAN % "{node: device}", "a pipeline of 1 stage", "scheme: local"),
    "a plan of five": (PLAN % ("{node: device, layers: 1}, " + "{node: nearest, layers: 1}, " * 3 + NEAR), "of 5 stages", None),
    "a plan that begins elsewhere": (PLAN % "{node: edge-north, layers: 2}, {node: nearest}", "where the data is", "layers: 0"),
    "a device in the middle": (PLAN % "{node: device, layers: 2}, {node: device, layers: 2}, {node: nearest}", "in the middle", "nearest"),
    "a device at the end": (PLAN % "{node: device, layers: 2}, {node: device}", "labels leave it", "labels to stay"),
    "labels without a device": ("labels: stay, " + PLAN % "{node: device, layers: 2}, {node: nearest}", "labels stay on the device", "end the plan"),
    "too many layers": (PLAN % "{node: device, layers: 4}, {node: nearest, layers: 4}", "do not make up the model", "7 layers (conv1"),
    "too few layers": (PLAN % "{node: device, layers: 2}, {node: nearest, layers: 4}", "do not make up the model", "leave out"),
    "a stage without layers": (PLAN % "{node: device, layers: 7}, {node: nearest}", "do not make up the model", None),
    "two stages left open": (PLAN % "{node: device}, {node: nearest}", "more than one stage's layers open", None),
    "a plan that keeps too few": ("keep: 3, " + PLAN % "{node: device, layers: 2}, {node: nearest}", "than are to be kept", "keep to 2"),
    "a plan with too many stages": ("stages: 2, " + PLAN % "{node: device, layers: 2}, {node: nearest, layers: 1}, {node: edge-south}", "more stages than there may be", "take stages out"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_refused_in_their_place(write, name) -> None:
    text, message, remedy = BAD[name]
    cut = () if name == "keep beyond the cut" else ((CUT, ""),)
    path = write((WORK, HERE % text), *cut)
    with pytest.raises(InputError, match=r"\w") as caught:
        load_plan(path)
    error = caught.value
    assert message in str(error)
    assert error.where is not None
    assert error.where.split(":")[-1] in ("19", "21"), error.where
    assert remedy is None or remedy in str(error)


@pytest.mark.parametrize(
    ("work", "cut", "message"),
    [
        ("  scheme: fedfly\n  pipeline: {micro: 4}", "", "a pipeline has nothing to act on"),
        ("  scheme: edgemove\n  strategy: migrate", "", "strategy 'migrate' has nothing to act on"),
        ("  scheme: [edgemove, fedfly]\n  aggregation: hierarchical", "", "deal with the cloud alone"),
        (HERE % (PLAN % "{node: device, layers: 2}, {node: nearest}"), "  cut: 2\n", "a cut has nothing to act on"),
        (HERE % "labels: stay, stages: 3", "  cut: 6\n", "no layer for the edge server"),
        ("  scheme: local", "  cut: 9\n", "lies outside the model"),
        ("  scheme: local\n  batch: 6", "", "cannot be divided evenly"),
    ],
)
def test_settings_that_do_not_go_together(write, work, cut, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_plan(write((WORK, work), (CUT, cut)))
    assert caught.value.where is not None


def test_fewer_layers_than_stages_cannot_be_asked_for(write) -> None:
    """The smallest model has five layers, and there are four stages at most; a plan of more layers is refused."""
    text = PLAN % "{node: device, layers: 4}, {node: nearest, layers: 1}, {node: edge-south, layers: 1}"
    with pytest.raises(InputError, match="do not make up the model"):
        load_plan(write((WORK, HERE % text), (CUT, ""), ("model: vgg5", "model: cnn")))


def test_a_node_without_memory_for_its_stages(write) -> None:
    """440 samples under way on the device; its edge server has one micro-batch at a time."""
    big = HERE % "micro: 4" + "\n  batch: 440\n  data: {train: 1437}"
    small = "profiles: {tiny-device: {memory: 400MiB}}\nworkload:"
    with pytest.raises(InputError, match="too little memory") as caught:
        load_plan(write((WORK, big), ("workload:", small)))
    assert "1 stage of vgg5 in micro-batches of 110" in str(caught.value)
    sequential = big.replace("micro: 4", "micro: 4, schedule: sequential")
    assert load_plan(write((WORK, sequential), ("workload:", small))).workload.micro_size == 110
    whole = big.replace("edgemove", "local").replace("micro: 4", "micro: 2")
    with pytest.raises(InputError, match="micro-batches of 220"):
        load_plan(write((WORK, whole), ("workload:", small)))


# --- layouts themselves -----------------------------------------------------------------------------------


@given(st.integers(3, 20), st.integers(0, 20), st.integers(1, 9), st.sampled_from(["leave", "stay"]), st.integers(2, 4))
def test_the_simplest_layout_is_one_or_is_refused(layers, cut, micro, labels, stages) -> None:
    made = {"device": "d", "nearest": "e", "schedule": "1f1b", "micro": micro, "depth": None, "stages": stages}
    try:
        found = fixed((), layers=layers, cut=cut, labels=labels, **made)
    except NodesInputError:
        assert cut >= layers or (labels == "stay" and (stages < 3 or cut + 2 > layers))
        return
    require(found, layers)
    assert found.bounds[1] == cut
    assert found.nodes == (("d", "e") if labels == "leave" else ("d", "e", "d"))
    assert found.describe().startswith(f"d 0-{cut}, e {cut}-")


def test_what_is_no_layout() -> None:
    assert pieces("leave", 2, 5, 2) == (("device", 2), ("nearest", None))
    assert bounds((("device", None), ("nearest", 2)), 5) == (0, 3, 5)
    for bad in (
        PipelineLayout((0, 2, 5), ("d",), (1,)), PipelineLayout((0, 2, 4), ("d", "e"), (1, 1)),
        PipelineLayout((0, 5, 5), ("d", "e"), (1, 1)), PipelineLayout((0, 2, 5), ("d", "e"), (1, 2)),
        PipelineLayout((0, 5), ("d",), (1,)),
    ):  # fmt: skip
        with pytest.raises(NodesInputError):
            require(bad, 5)


KILLS = ("workload:", "faults: [{kill: edge-north, at: 1s}, {kill: edge-south, at: 2s}]\nworkload:")


def test_all_edge_servers_may_be_killed_where_devices_can_train_alone(write) -> None:
    plan = load_plan(write((WORK, "  scheme: edgemove"), KILLS))
    assert [fault.target for fault in plan.faults] == ["edge-north", "edge-south"]
    for schemes in ("fedfly", "[edgemove, fedfly]"):
        with pytest.raises(InputError, match="every edge server is killed"):
            load_plan(write((WORK, f"  scheme: {schemes}"), KILLS))
