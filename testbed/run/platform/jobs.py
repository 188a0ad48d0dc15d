"""Tasks as they are submitted to the orchestrator: everything that is known of one, as plain data."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

import msgspec

from nodes import schemes
from nodes.policies.requests import TRAIN_DEVICE, TRAIN_EDGE, Cut
from nodes.wire.jobs import Job
from testbed.experiment.taskplan import OwnFunction
from testbed.run import assignment
from testbed.run.platform import costs
from testbed.run.platform.known import Known, measured_at
from testbed.run.small import Way


def job(known: Known, name: str, sources: Mapping[str, str] | None = None) -> Job:
    """One task.

    Args:
        known: What is known of its entry.
        name: It may be a copy of that.
        sources: Users' functions: file inside the containers, by the name of the built-in one that it replaces.
    """
    task, work, prepared = known.task, known.task.work, known.prepared
    scheme = schemes.get(work.schemes[0])
    reference = known.references[measured_at(task)[0]]
    way = Way(scheme.name, scheme.name, work.data.select)
    told = assignment.placed(known, scheme, prepared, reference, way, name, ())
    select = told.select if work.data.select is not None and work.data.select.share < 1 else None
    samples = {owner: prepared.samples[owner] for owner in task.owners}
    own = {function: known.plan.platform.replaced[function] for function in sources or {}}
    return Job(
        name=name, task=msgspec.structs.replace(told, select=select), cuts=_cuts(known, own),
        layers=costs.halves(task), weights=costs.weights(work), batches=costs.batches(work, samples), samples=samples,
        least=task.least, absent=task.absent, raw_stays=True, labels_stay=task.labels_stay,
        share=1.0 if select is None else select.share, select=select, select_s=costs.select_s(task, known.references),
        aggregate_s=costs.aggregate_s(work), evaluate_s=costs.evaluate_s(work, reference),
        memories=costs.memories(work, len(task.owners)) | {function: one.memory for function, one in own.items()},
        limits={function: one.time_limit for function, one in own.items()}, deadline_s=task.deadline,
        target=task.target, sources=dict(sources or {}),
    )  # fmt: skip


def _cuts(known: Known, own: Mapping[str, OwnFunction]) -> tuple[Cut, ...]:
    """A task's cuts; an instance of a user's own half takes what that declares."""
    device, edge = own.get(TRAIN_DEVICE), own.get(TRAIN_EDGE)
    return tuple(
        replace(
            cut, device_memory=device.memory if device and cut.device_memory else cut.device_memory,
            edge_memory=edge.memory if edge and cut.edge_memory else cut.edge_memory,
        ) for cut in costs.cuts(known.task, known.references)
    )  # fmt: skip


def named(name: str, taken: Container[str]) -> str:
    """A name for one more copy of a task that was asked for: its own, or numbered."""
    if name not in taken:
        return name
    count = 2
    while f"{name}-{count}" in taken:
        count += 1
    return f"{name}-{count}"
