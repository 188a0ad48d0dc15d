"""Standbys of a pipeline's stages: what the driver thinks there is, is what stages keep."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.decisions import Decision
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
from nodes.schemes._standbys import Standbys
from nodes.schemes._steering import Helm
from nodes.wire.messages import PartId
from tests.unit.runtime.test_steering import task_of

HOMES = st.dictionaries(st.integers(1, 3), st.sampled_from(["ea", "eb", "ec"]))


class Stages:
    """What stages do as they are told: who moves needs no standby any more."""

    def __init__(self):
        self.kept, self.moved = {}, []

    def __call__(self, stage, node, *, go, behind=None):
        if go or not node:
            self.kept.pop(stage, None)
        else:
            self.kept[stage] = node
        if go:
            self.moved.append((stage, node))


@given(st.lists(st.tuples(st.booleans(), HOMES)))
def test_no_standby_is_kept_that_nobody_thinks_of(steps) -> None:
    stages = Stages()
    standbys = Standbys(stages)
    for go, homes in steps:
        (standbys.go if go else standbys.want)(homes)
        assert stages.kept == ({} if go else homes)
        assert bool(standbys) == bool(stages.kept)
        assert not go or stages.moved[len(stages.moved) - len(homes) :] == list(homes.items())


@given(HOMES, HOMES)
def test_they_are_ready_when_all_have_the_state(homes, others) -> None:
    standbys = Standbys(Stages())
    standbys.want(homes)
    for stage, node in {**others, **homes}.items():
        assert not standbys.ready or not homes.keys() - {s for s, _ in standbys._standing.items()}
        standbys.stands(stage, node)
    assert standbys.ready == bool(homes)
    standbys.anew()
    assert not standbys.ready


@pytest.fixture
def asked():
    """What the driver was asked for."""
    return []


@pytest.fixture
def helm(tmp_path, asked):
    driver = SimpleNamespace(
        layout=None, place_in_training=(1, 0),
        relocate=lambda stage, node, *, go, behind=None: asked.append((stage, node, go)),
    )  # fmt: skip
    task = task_of(tmp_path, probing="off")
    context = SimpleNamespace(task=task, node="d1", dilation=1.0, now=lambda: 100.0, emit=lambda span: None)
    helm = Helm(context, PartId("t", "stage0", "d1"), driver, 10)
    helm.begin()
    return helm


def test_a_standby_that_was_prepared_for_another_layout_goes_when_a_move_ended_elsewhere(helm, asked) -> None:
    now = helm.layout(1, None)
    helm.forecast("eb", 0.5)
    assert asked == [(1, "eb", False)]
    helm.settled(now)
    assert asked[1:] == []
    helm.settled(PipelineLayout(now.bounds, ("d1", "cloud"), now.depths))
    assert asked[1:] == [(1, "", False)]


def test_a_standby_goes_when_other_cuts_are_decided_on_ahead(helm, asked) -> None:
    now = helm.layout(1, None)
    helm.forecast("eb", 0.5)
    other = Layout((0, now.bounds[1] + 1, now.bounds[-1]), ("d1", "eb"))
    ahead = Decision("plan", "prepare", "", 1.0, (1, 0, 0), "d1", other)
    helm._steering = SimpleNamespace(plan=lambda *args, **more: ahead, foretold=lambda edge, at: None)
    helm.forecast("eb", 0.4)
    assert asked == [(1, "eb", False), (1, "", False)]
