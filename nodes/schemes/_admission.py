"""What stages take of a node's memory, and whether one more fits: the same count for probes, plans and stages.

Memory is the share of its limit that the operator has for stages (``Pipeline.memory``). A stage takes what
`nodes.policies.costs` says of its layers and depth, from bytes that were counted on a pass through each layer.
"""

from __future__ import annotations

from nodes.learn.layer_work import layer_bytes
from nodes.policies.costs import World, in_flight
from nodes.policies.layouts import PipelineLayout
from nodes.policies.profile import ModelProfile
from nodes.runtime.part import Context
from nodes.wire.task import Task

MIB = 1 << 20


def bytes_of(task: Task) -> ModelProfile:
    """The model's bytes by layer for a micro-batch, all times 0."""
    assert task.pipeline is not None, "the scheme has settings of a pipeline"
    return layer_bytes(task.model, task.batch // task.pipeline.micro, tuple(task.in_shape), task.classes)


def stage_need(task: Task, layout: PipelineLayout, stage: int) -> int:
    """Bytes that a stage of a layout takes."""
    assert task.pipeline is not None, "the scheme has settings of a pipeline"
    settings, profile = task.pipeline, bytes_of(task)
    held = in_flight(settings.schedule, layout.last(stage), settings.micro, layout.depths[stage])
    return World(layout.nodes[0], profile).need(*layout.layers(stage), held, settings.schedule)


def limit(task: Task, node: str) -> int | None:
    """Bytes that a node has for stages; None: nobody has said, so there is no limit."""
    return task.pipeline.memory.get(node) if task.pipeline else None


def left(context: Context, owner: str = "", reserve: int = 0) -> int | None:
    """Bytes that this node has left for stages; None: there is no limit.

    Args:
        context: Of a part on it.
        owner: Stages of this owner are not counted: they are the ones that would be replaced.
        reserve: Bytes that are not offered to anybody.
    """
    most = limit(context.task, context.node)
    if most is None:
        return None
    return max(0, most - reserve - sum(need for name, need in context.needs().items() if name != owner))


def refusal(context: Context, layout: PipelineLayout, stage: int, owner: str) -> str | None:
    """Why this node cannot take a stage of a layout; None if it can. For whoever is asked to open one.

    Stages of the same owner that are here already do not count, as they make way; the other ones of the layout do.
    """
    has = left(context, owner)
    if has is None:
        return None
    here = [s for s, node in enumerate(layout.nodes) if node == context.node]
    needs = sum(stage_need(context.task, layout, s) for s in {*here, stage})
    return None if needs <= has else f"needs {needs / MIB:.0f} MiB, has {has / MIB:.0f} MiB"
