"""Which layout a pipeline begins with."""

from __future__ import annotations

from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import Layout
from nodes.runtime.part import Context
from nodes.schemes._base import stage_role
from nodes.wire.messages import PartId


def first_layout(context: Context, owner: str) -> Layout:
    """The layout that an owner's training begins with: of the experiment's plan, or the simplest there is."""
    task = context.task
    settings = task.pipeline
    assert settings is not None, "the scheme has settings of a pipeline"
    nearest = next(p.node for p in task.placement if p.part == PartId(task.id, stage_role(1), owner))
    return layouts.fixed(
        settings.plan, layers=len(LAYERS[task.model]), cut=max(task.cut_of(owner), settings.keep), device=owner,
        nearest=nearest, schedule=settings.schedule, micro=settings.micro, depth=settings.depth, stages=settings.stages,
        labels=settings.labels,
    )  # fmt: skip
