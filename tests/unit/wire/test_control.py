"""What controller and nodes say to each other about pipelines, there and back again."""

from __future__ import annotations

import math

from nodes.policies.decisions import Decision
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
from nodes.wire import control as ctl
from nodes.wire.task import Pipeline
from tests.unit.runtime.pipelines import make_task


def test_a_task_comes_as_it_was_sent(tmp_path) -> None:
    decisions = (
        Decision("plan", "change", "it repays", 3.5, (2, 1, 0), "d1", Layout((0, 2, 5), ("d1", "ea")), (4, 1),
                 {"gain_s": 2.0, "next": math.inf}),
        Decision("probe", "wait", "probing is off", 4.0),
    )  # fmt: skip
    task = make_task(
        tmp_path, decisions=decisions, memory={"d1": 1 << 20}, every=2.5,
        probing="every", adapt="reactive", layouts={"d1": PipelineLayout((0, 2, 5), ("d1", "ea"), (4, 1))},
    )  # fmt: skip
    assert ctl.to_node(ctl.encode(ctl.StartTask(task))) == ctl.StartTask(task)


def test_none_to_do_again_is_not_the_same_as_no_decisions(tmp_path) -> None:
    for decisions in ((), None):
        task = make_task(tmp_path, decisions=decisions)
        found = ctl.to_node(ctl.encode(ctl.StartTask(task)))
        assert isinstance(found, ctl.StartTask)
        assert found.task.pipeline is not None
        assert found.task.pipeline.decisions == decisions


def test_what_nobody_asked_for_does_not_happen() -> None:
    bare = Pipeline()
    assert (bare.probing, bare.adapt, bare.decisions) == ("off", "static", None)


def test_a_forecast_may_know_when() -> None:
    for seconds in (None, 0.0, 4.5):
        assert ctl.to_node(ctl.encode(ctl.Forecast("t", "ea", seconds))) == ctl.Forecast("t", "ea", seconds)
