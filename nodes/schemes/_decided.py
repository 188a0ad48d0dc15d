"""Decisions about a pipeline's layout, for those who carry them out: what they come to, and events of them."""

from __future__ import annotations

import math
from dataclasses import replace

from nodes.events import Span
from nodes.policies import layouts, order
from nodes.policies.decisions import Decision
from nodes.policies.layers import LAYERS
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
from nodes.runtime.part import Context
from nodes.wire.messages import PartId
from nodes.wire.task import Pipeline

TOLD = ("prepare", "change", "probe", "put off")
"""Decisions that are written down; to wait and to keep are none."""


def full(decision: Decision, asked: Pipeline, model: str) -> PipelineLayout:
    """A decision's layout with depths: a depth that is asked for, or that the schedule has, is not up to it.

    Raises:
        InputError: It is no layout of this model.
    """
    assert decision.layout is not None
    count = len(decision.layout.nodes)
    own = asked.schedule == "1f1b" and asked.depth is None and len(decision.depths) == count
    depths = decision.depths if own else order.depths(asked.schedule, count, asked.micro, asked.depth)
    layout = PipelineLayout(decision.layout.bounds, decision.layout.nodes, depths)
    layouts.require(layout, len(LAYERS[model]))
    return layout


def differing(here: PipelineLayout, there: Layout) -> dict[int, str]:
    """Nodes of the stages that are elsewhere in another layout of the same cuts."""
    pairs = zip(here.nodes, there.nodes, strict=True)
    return {stage: b for stage, (a, b) in enumerate(pairs) if a != b}


def write_down(decision: Decision, context: Context, driver: PartId) -> None:
    """Write a decision down, if it is one to do something."""
    if decision.act not in TOLD:
        return
    finite = {name: value for name, value in decision.figures.items() if math.isfinite(value)}
    now, task = context.now(), context.task
    context.emit(
        Span(
            kind="decision", node=context.node, scheme=task.scheme, task=task.id, part=str(driver),
            round=decision.position[0], batch=decision.position[1], begin=now, end=now,
            attrs=replace(decision, figures=finite).as_dict(),
        )
    )  # fmt: skip
