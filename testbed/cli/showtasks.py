"""Tasks of the serverless platform, in words."""

from __future__ import annotations

from collections.abc import Iterator

from nodes.policies.layers import LAYERS
from nodes.policies.samples import named
from testbed.experiment.plan import Plan
from testbed.experiment.taskplan import TaskPlan
from testbed.experiment.units import format_duration, format_fraction

_SHOWN = 5
"""Arrivals of one entry that are told one by one."""


def platform(plan: Plan) -> list[str]:
    """What comes to the platform, and how it decides; nothing without tasks."""
    if not plan.tasks:
        return []
    asked = plan.platform
    weights = zip(asked.weights, ("a second", "a joule", "a unit of price"), strict=True)
    counts = ", ".join(f"{weight:g} for {what}" for weight, what in weights if weight)
    lines = [f"serverless, decided by {asked.policy}: {counts}; instances kept for {format_duration(asked.keep_alive)}"]
    if asked.functions is not None:
        lines.append(f"own functions in place of {', '.join(asked.replaced)}: {asked.functions}")
    if asked.linger:
        lines.append(f"waits {format_duration(asked.linger)} for more when no task is left")
    return [*lines, *(line for task in plan.tasks for line in _task(task))]


def in_brief(plan: Plan) -> str:
    """All tasks in a few words."""
    number = len(plan.tasks)
    return f"{number} task{'s' * (number > 1)} on the serverless platform ({', '.join(t.name for t in plan.tasks)})"


def _task(task: TaskPlan) -> Iterator[str]:
    work = task.work
    cut = ""
    if task.cuts != (len(LAYERS[work.model]),):
        whole = len(LAYERS[work.model])
        cut = f" cut at {' or '.join('none' if cut == whole else str(cut) for cut in task.cuts)}"
    ends = [f"{work.rounds} rounds of batch {work.batch}"]
    if task.target is not None:
        ends.append(f"or {format_fraction(task.target)} accuracy")
    if task.deadline is not None:
        ends.append(f"within {format_duration(task.deadline)}")
    yield (
        f"task {task.name}: {work.schemes[0]} with {work.model}{cut} on {named(work.data.set)} of "
        f"{', '.join(task.owners)}, {' '.join(ends)}; {_comes(task)}"
    )
    if work.data.select is not None:
        yield f"  on {format_fraction(work.data.select.share)} of the samples ({work.data.select.rule})"
    if task.labels_stay:
        yield "  labels stay on the devices"


def _comes(task: TaskPlan) -> str:
    if not task.comes:
        return f"comes when asked for (testbed submit {task.name})"
    times = [format_duration(round(at, 1)) if at else "the start" for _, at in task.comes[:_SHOWN]]
    more = len(task.comes) - _SHOWN
    return f"comes at {', '.join(times)}" + (f" and {more} times more" if more > 0 else "")
