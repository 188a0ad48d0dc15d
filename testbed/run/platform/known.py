"""What a run has found out about its tasks before they come: their data on the nodes, and how long their steps take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nodes.policies.layers import LAYERS
from testbed.errors import InputError
from testbed.experiment.cuts import CUTS
from testbed.experiment.plan import Plan
from testbed.experiment.taskplan import TaskPlan
from testbed.run import data
from testbed.run.data import Prepared, Split

References = dict[int, dict[str, float]]
"""Step times, s by operation, by cut."""


@dataclass(frozen=True)
class Known:
    """One entry of ``tasks``, as `testbed.run.assignment` needs it.

    Attributes:
        plan: The experiment with this task as its workload and its owners as its devices.
        task: The entry. prepared: Its data. references: Step times.
    """

    plan: Plan
    task: TaskPlan
    prepared: Prepared
    references: References
    layer_times: dict[str, float] = field(default_factory=dict)


def view(plan: Plan, task: TaskPlan) -> Plan:
    """The experiment with one task as its workload, and nobody but its owners on devices."""
    nodes = tuple(node for node in plan.nodes if node.kind != "device" or node.name in task.owners)
    return replace(plan, workload=task.work, nodes=nodes)


def split(plan: Plan) -> dict[str, Split]:
    """Read every task's data and divide it among its owners; makes nothing.

    Raises:
        InputError: Data is missing or damaged, or too small; the error names the task.
    """
    found = {}
    for task in plan.tasks:
        try:
            found[task.name] = data.split(view(plan, task))
        except InputError as error:
            error.message = f"task {task.name!r}: {error.message}"
            raise
    return found


def write(plan: Plan, splits: Mapping[str, Split], directory: Path) -> dict[str, Prepared]:
    """Write the shards of tasks: samples to their owners, the test sets to whoever may evaluate.

    Args:
        plan: With the tasks.
        splits: Data by task.
        directory: The run's own.
    """
    testers = [node.name for node in plan.nodes if node.kind in ("edge", "cloud")]
    return {
        name: data.write(found, directory, name=f"task-{name}", testers=testers) for name, found in splits.items()
    }


def measured_at(task: TaskPlan) -> list[int]:
    """Cuts at which a task's steps have to be known; those of the whole model are measured with any."""
    layers = len(LAYERS[task.work.model])
    return [cut for cut in task.cuts if cut < layers] or [CUTS[task.work.model]]
