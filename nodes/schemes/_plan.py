"""What a pipeline begins with: its layout, the policies that steer it, and the owner's data."""

from __future__ import annotations

from nodes.errors import RunError
from nodes.learn.shards import Batches
from nodes.policies import layouts
from nodes.policies.adapting import AdaptPolicy
from nodes.policies.layers import LAYERS
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
from nodes.policies.probing import ProbePolicy
from nodes.policies.steering import Steering, seconds_at_least
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
    return layouts.fixed(
        settings.plan, layers=len(LAYERS[task.model]), cut=max(task.cut_of(owner), settings.keep), device=owner,
        nearest=_nearest(context, owner), schedule=settings.schedule, micro=settings.micro, depth=settings.depth,
        stages=settings.stages, labels=settings.labels,
    )  # fmt: skip


def first_policies(context: Context, owner: str, batches: int, *, probing: bool) -> Steering:
    """The policies that steer an owner's pipeline of known costs, as the experiment sets them, at time 0.

    Args:
        context: The runtime.
        owner: Whose pipeline.
        batches: Of a round.
        probing: Whether there is who probes, if the experiment wants that.
    """
    task = context.task
    settings = task.pipeline
    assert settings is not None, "the scheme has settings of a pipeline"
    base, layout = settings.problems[owner], first_layout(context, owner)
    kind = settings.probing if probing else "off"
    least = settings.every if kind == "every" else ProbePolicy.least
    return Steering(
        base, _nearest(context, owner), Layout(layout.bounds, layout.nodes), 0.0,
        ProbePolicy(kind, least, max(least, ProbePolicy.most), budget=settings.budget), AdaptPolicy(settings.adapt),
        seconds_at_least(base, task.rounds * batches),
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


def _nearest(context: Context, owner: str) -> str:
    """The edge server of the site where an owner is at the start."""
    second = PartId(context.task.id, stage_role(1), owner)
    return next(placed.node for placed in context.task.placement if placed.part == second)
