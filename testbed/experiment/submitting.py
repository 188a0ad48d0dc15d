"""Tasks from a file of their own, for a run that stands: checked and planned as if the run's file had had them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from testbed.errors import InputError
from testbed.experiment import check_tasks, likeness, planner, taskplanner, taskview
from testbed.experiment.document import Document, read
from testbed.experiment.plan import Plan
from testbed.experiment.problems import raise_all
from testbed.experiment.taskplan import TaskPlan
from testbed.experiment.validation import validate

KEY = "tasks"


def tasks_of(path: Path, plan: Plan) -> tuple[TaskPlan, ...]:
    """The tasks of a file, for the nodes of a run. They may be ``like`` those of the run.

    Args:
        path: A YAML file that has ``tasks`` and nothing else.
        plan: The run's.

    Raises:
        InputError: They cannot be submitted; the error says where and why.
    """
    own = read(path)
    others = [key for key in own.data if key != KEY]
    if others or not isinstance(own.data.get(KEY), dict):
        raise own.problem(
            (others[0],) if others else (), "this is no file of tasks", wanted="tasks: {more: {model: cnn}}, alone",
            found=", ".join(own.data), remedy="the nodes are those of the run: write tasks into a file of their own",
        )  # fmt: skip
    run: dict[str, Any] = yaml.safe_load(plan.rendered)
    known = {name: task for name, task in (run.get(KEY) or {}).items() if name not in own.data[KEY]}
    document = Document(own.path, {**run, KEY: {**known, **own.data[KEY]}}, own.places)
    likeness.expand(document)
    document.data[KEY] = {name: task for name, task in document.data[KEY].items() if name in own.data[KEY]}
    try:
        spec = validate(document)
    except InputError as error:
        error.where = error.where or str(path)
        raise
    raise_all(check_tasks.check(spec, document))
    return taskplanner.tasks(taskview.settled(spec, document), document, planner.workload)
