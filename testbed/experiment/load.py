"""Loading an experiment: the file, overrides, form, meaning, plan. Every fault is an `InputError` with its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.experiment import (
    check_motion,
    check_moves,
    check_network,
    check_pipeline,
    check_tasks,
    check_training,
    faults,
    likeness,
    planner,
    site_table,
    taskview,
)
from testbed.experiment.document import Document, read
from testbed.experiment.model import Spec
from testbed.experiment.overrides import apply
from testbed.experiment.plan import Plan
from testbed.experiment.problems import raise_all
from testbed.experiment.validation import validate


@dataclass(frozen=True)
class Loaded:
    """An experiment that is in order, and the file that it came from.

    Attributes:
        spec: What the file says. document: Where it says it.
    """

    spec: Spec
    document: Document


def load(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Read and check an experiment file, and the table of sites and the link traces that it names.

    A trace of movement is read later, by `plan`.

    Args:
        path: The YAML file.
        overrides: Changes to it, each ``a.b.c=value`` (what ``--set`` takes).

    Raises:
        InputError: The file or an override cannot be used. `InputProblems` if there are several faults.
    """
    document = read(path)
    for override in overrides:
        apply(document, override)
    site_table.expand(document)
    likeness.expand(document)
    spec = validate(document)
    tasks = check_tasks.check(spec, document)
    spec = taskview.settled(spec, document)
    raise_all([
        *tasks,
        *check_tasks.coming(spec, document),
        *check_network.check(spec, document),
        *check_training.check(spec, document),
        *check_moves.check(spec, document),
        *check_pipeline.check(spec, document),
        *check_motion.check(spec, document),
        *faults.check(spec.faults, faults.Resolver(spec, document)),
    ])  # fmt: skip
    return Loaded(spec, document)


def plan(experiment: Loaded) -> Plan:
    """The plan of a loaded experiment.

    Raises:
        InputError: Its trace cannot be used.
    """
    return planner.build(experiment.spec, experiment.document)


def load_plan(
    path: str | Path,
    overrides: Sequence[str] = (),
    schemes: Sequence[str] | None = None,
    no_moves: bool = False,
) -> Plan:
    """Load an experiment and plan it.

    Args:
        path: The YAML file.
        overrides: Changes to it, each ``a.b.c=value``.
        schemes: Run these instead of the file's (``--scheme``).
        no_moves: Keep every device where it starts (``--no-moves``).

    Raises:
        InputError: The file, an override or the trace cannot be used.
    """
    changes = list(overrides)
    if schemes:
        changes.append(f"workload.scheme={json.dumps(list(schemes))}")
    if no_moves:
        changes.append("mobility.enabled=false")
    return plan(load(path, changes))
