"""What a pipeline begins with: its layout, and the owner's data."""

from __future__ import annotations

from nodes.errors import RunError
from nodes.learn.shards import Batches
from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.runtime.part import Context
from nodes.schemes._base import stage_role
from nodes.schemes._data import own_batches
from nodes.wire.messages import PartId


def first_layout(context: Context, owner: str) -> PipelineLayout:
    """The layout that an owner's training begins with: chosen before, of the experiment's plan, or the simplest."""
    task = context.task
    settings = task.pipeline
    assert settings is not None, "the scheme has settings of a pipeline"
    if owner in settings.layouts:
        return settings.layouts[owner]
    nearest = next(p.node for p in task.placement if p.part == PartId(task.id, stage_role(1), owner))
    return layouts.fixed(
        settings.plan, layers=len(LAYERS[task.model]), cut=max(task.cut_of(owner), settings.keep), device=owner,
        nearest=nearest, schedule=settings.schedule, micro=settings.micro, depth=settings.depth, stages=settings.stages,
        labels=settings.labels,
    )  # fmt: skip


def own_micro_batches(context: Context, owner: str) -> Batches:
    """The batches of an owner, on its device.

    Raises:
        RunError: This is another node, or batches cannot be divided into equal micro-batches.
    """
    task = context.task
    assert task.pipeline is not None, "the scheme has settings of a pipeline"
    if context.node not in task.data or context.node != owner:
        raise RunError(
            "the last stage is not where its labels stay", wanted=f"it on {owner}", found=f"it on {context.node}"
        )
    batches = own_batches(context, owner)
    if batches.size % task.pipeline.micro:
        raise RunError(
            "a batch cannot be divided into equal micro-batches", wanted=f"a multiple of {task.pipeline.micro}",
            found=f"{batches.size} samples", where=context.node,
        )  # fmt: skip
    return batches
