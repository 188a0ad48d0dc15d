"""From the model to the plan of tasks and platform: when tasks come, what each may be cut at, who has data for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from nodes.policies.randomness import generator
from testbed.experiment import taskview
from testbed.experiment.check_data import data_directory
from testbed.experiment.check_tasks import copies, functions_file, replaced
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.plan import WorkloadPlan
from testbed.experiment.tasking import Task
from testbed.experiment.taskplan import PlatformPlan, TaskPlan


def tasks(
    spec: Spec, document: Document, workload: Callable[[Spec, Document], WorkloadPlan]
) -> tuple[TaskPlan, ...]:
    """The entries of ``tasks``, in the order of the file.

    Args:
        spec: A checked model.
        document: Where it is from.
        workload: Plans the workload of a model.
    """
    found = []
    for name, task in spec.tasks.items():
        made, within = taskview.view(spec, document, name)
        found.append(TaskPlan(
            name=name, work=workload(made, within), cuts=tuple(sorted(taskview.cuts(task))),
            owners=taskview.owners(spec, task), comes=tuple(_comes(spec, name, task)), target=task.target,
            deadline=task.deadline, labels_stay=task.privacy.labels == "stay", least=task.least, absent=task.absent,
        ))  # fmt: skip
    return tuple(found)


def platform(spec: Spec, document: Document) -> PlatformPlan:
    """How the platform runs them."""
    asked, file = spec.platform, functions_file(spec, document)
    weights = (asked.weights.time, asked.weights.energy, asked.weights.price)
    return PlatformPlan(
        asked.policy, weights, asked.keep_alive, asked.queue, asked.retries, None if file is None else str(file),
        {} if file is None else replaced(file), asked.linger, asked.provisioned,
    )  # fmt: skip


def paths(spec: Spec, document: Document) -> dict[Steps, Path]:
    """Files and directories that tasks and platform name, absolute, by where the file has them."""
    found: dict[Steps, Path] = {}
    for name in spec.tasks:
        made, within = taskview.view(spec, document, name)
        directory = data_directory(made, within)
        if directory is not None:
            found["tasks", name, "data", "dir"] = directory
    file = functions_file(spec, document)
    if file is not None:
        found["platform", "functions"] = file
    return found


def _comes(spec: Spec, name: str, task: Task) -> Iterator[tuple[str, float]]:
    """Names and moments, in order of time."""
    called = copies(name, task)
    if task.arrivals is None:
        yield from sorted(zip(called, [0.0] if task.at is None else task.at, strict=True), key=lambda one: one[1])
        return
    seed = spec.seed if task.arrivals.seed is None else task.arrivals.seed
    draw = generator(seed, "arrivals", name)
    gaps = draw.exponential(1 / task.arrivals.poisson, len(called))
    yield from zip(called, itertools.accumulate(float(gap) for gap in gaps), strict=True)
