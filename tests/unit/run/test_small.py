"""Which trainings a selection of data comes to, and what the summary says of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nodes import schemes
from nodes.events import Span
from nodes.wire.task import Select
from testbed.experiment.plan import SelectPlan
from testbed.report.pipelines import Pipelined
from testbed.report.records import SchemeRecord
from testbed.run import assignment
from testbed.run.data import Prepared
from testbed.run.small import section, uncontrolled, ways
from testbed.run.taken import moves_stages_of
from tests import support

HARD = SelectPlan("hard", 0.3, "logistic", "half")


def plan_of(select):
    plan = support.loop_plan()
    return replace(plan, workload=replace(plan.workload, data=replace(plan.workload.data, select=select)))


def told(device, begin, end, kept=30, cpu=0.1):
    attrs = {"device": device, "samples": 100, "kept": kept, "by_class": [kept, 0]}
    return Span(kind="select", node=device, begin=begin, end=end, cpu_s=cpu, attrs=attrs)


def test_each_scheme_is_followed_by_its_control():
    found = ways(plan_of(HARD), ("splitfed", "fedfly"))
    assert [(one.scheme, one.name, one.of) for one in found] == [
        ("splitfed", "splitfed", None), ("splitfed", "splitfed-random", "splitfed"),
        ("fedfly", "fedfly", None), ("fedfly", "fedfly-random", "fedfly"),
    ]  # fmt: skip
    assert [one.told() for one in found[:2]] == [
        Select("hard", 0.3, "logistic", "half"), Select("random", 0.3, "logistic", "half")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("select", "why"),
    [
        (replace(HARD, control=False), "control: no"),
        (replace(HARD, share=1.0), "all samples are kept"),
        (replace(HARD, rule="random"), "it is random itself"),
    ],
)
def test_where_there_is_no_control_it_is_said_why(select, why):
    assert [one.name for one in ways(plan_of(select), ("fedavg",))] == ["fedavg"]
    assert why in uncontrolled(select)
    assert why in section(ways(plan_of(select), ("fedavg",))[0], [], {})["no_control"]


def test_a_scheme_and_its_control_are_two_tasks():
    plan = plan_of(HARD)
    session = SimpleNamespace(plan=replace(plan, workload=replace(plan.workload, hierarchical=True)), references={})
    tasks = [
        assignment.task(session, schemes.get(way.scheme), Prepared({}, {}, (1, 8, 8), 10), {"tail.step": 0.01}, way)
        for way in ways(plan, ("splitfed",))
    ]
    assert [(task.id, task.scheme, task.select.rule) for task in tasks] == [
        ("splitfed", "splitfed", "hard"), ("splitfed-random", "splitfed", "random")
    ]  # fmt: skip
    for task in tasks:  # no part hears what is on its way to the other task's
        assert {placed.part.task for placed in task.placement} == {task.id}


def test_without_a_selection_nothing_changes():
    [only] = ways(plan_of(None), ("fedavg",))
    assert (only.name, only.select, only.told()) == ("fedavg", None, None)


def test_the_summary_has_counts_and_cost_by_device():
    ours, control = ways(plan_of(HARD), ("fedfly",))
    spans = [told("dev-2", 1.0, 1.5), told("dev-1", 1.0, 2.0, kept=20), Span(kind="step", node="dev-1", begin=2, end=3)]
    rounds = {"dev-1": [{"compute_s": 30.0}, {"compute_s": 20.0}]}
    found = section(ours, spans, rounds)
    assert (found["rule"], found["share"], found["by"], found["features"]) == ("hard", 0.3, "logistic", "half")
    assert (found["control"], found["control_of"], found["no_control"]) == ("fedfly-random", None, None)
    assert (found["samples"], found["kept"], found["time_s"]) == (200, 50, pytest.approx(1.5))
    assert list(found["devices"]) == ["dev-1", "dev-2"]
    assert found["devices"]["dev-1"]["of_compute"] == pytest.approx(0.02)
    assert found["devices"]["dev-2"]["of_compute"] is None
    assert found["devices"]["dev-1"]["by_class"] == [20, 0]
    other = section(control, spans, rounds)
    assert (other["rule"], other["control_of"], other["control"]) == ("random", "fedfly", None)
    assert "by" not in other


@pytest.mark.parametrize(("name", "plans"), [("edgemove", True), ("edgemove-random", False), ("local", False)])
def test_plans_are_held_against_what_the_rule_took_and_not_the_control(name, plans):
    pipe = Pipelined(SchemeRecord(name), "dev-1", (), ())
    assert moves_stages_of(pipe) == plans
