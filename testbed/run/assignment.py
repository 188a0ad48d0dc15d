"""What the nodes are told of a task before it begins: everything of the experiment that concerns its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from nodes import schemes
from nodes.schemes import Members, Scheme
from nodes.wire.task import Pipeline, Placed, Task
from testbed.errors import RunError
from testbed.experiment.plan import Plan
from testbed.run.data import Prepared
from testbed.run.patience import patience
from testbed.run.small import Way
from testbed.run.staging import memory, stagings


class Known(Protocol):
    """What is known of an experiment when a task is assigned; a `testbed.run.session.Session` is."""

    @property
    def plan(self) -> Plan:
        """The experiment."""

    @property
    def references(self) -> Mapping[int, Mapping[str, float]]:
        """Step times, s by operation, by cut."""

    @property
    def layer_times(self) -> dict[str, float]:
        """Times by layer, s; empty without a pipeline."""


def task(session: Known, scheme: Scheme, prepared: Prepared, reference: dict[str, float], way: Way) -> Task:
    """The task that one scheme of a session's workload is.

    Args:
        session: Limited and calibrated.
        scheme: How it trains.
        prepared: The data.
        reference: Step times, s by operation.
        way: What it trains on.

    Raises:
        RunError: A device has no edge server where it starts, and the scheme needs one.
    """
    plan, work, name = session.plan, session.plan.workload, scheme.name
    devices = tuple(sorted(n.name for n in plan.nodes if n.kind == "device"))
    sites = {n.name: n.site or "" for n in plan.nodes if n.kind == "device"}
    edge_of = {d: plan.site(sites[d]).edge or "" for d in devices}
    stranded = [d for d in devices if not edge_of[d]] if scheme.split else []
    if stranded:
        raise RunError(
            f"{name} needs an edge server where a device starts",
            found=f"none at the site of {', '.join(stranded)}",
            remedy="give the site an edge server, or use a scheme without one (fedavg)",
        )
    cloud = next(n.name for n in plan.nodes if n.kind == "cloud")
    edges = tuple(sorted(n.name for n in plan.nodes if n.kind == "edge"))
    hierarchical = work.hierarchical and scheme.split
    collectors = schemes.place_collectors(name, edges) if hierarchical else []
    placement = (*scheme.place(name, Members(devices, edge_of, cloud, edges)), *collectors)
    return placed(session, scheme, prepared, reference, way, name, placement)


def placed(
    session: Known, scheme: Scheme, prepared: Prepared, reference: dict[str, float], way: Way, name: str,
    placement: tuple[Placed, ...],
) -> Task:  # fmt: skip
    """The same where it is known which node has which of its parts: a task by that name."""
    plan, work, references = session.plan, session.plan.workload, session.references
    devices = tuple(sorted(n.name for n in plan.nodes if n.kind == "device"))
    edges = tuple(sorted(n.name for n in plan.nodes if n.kind == "edge"))
    strategy = work.strategy if work.strategy in scheme.strategies else scheme.strategies[0]
    return Task(
        id=name, scheme=scheme.name, strategy=strategy, seed=plan.seed, model=work.model,
        cut=work.cut, in_shape=prepared.in_shape, classes=prepared.classes, rounds=work.rounds, batch=work.batch,
        local_epochs=work.local_epochs, lr=work.lr, momentum=work.momentum, weight_decay=work.weight_decay,
        threads=work.threads, augment=work.data.set == "cifar10", owners=devices,
        samples=dict(prepared.samples),
        placement=placement, reference=reference, data=dict(prepared.paths), options=dict(work.options),
        edges=edges, drop_s=work.drop, hierarchical=work.hierarchical and scheme.split,
        cuts=dict(work.cuts), references={k: dict(ops) for k, ops in references.items() if k != work.cut},
        patience=patience(plan, [reference, *references.values()], session.layer_times if scheme.pipelined else None),
        pipeline=_pipeline(session, scheme), select=way.told(),
    )  # fmt: skip


def _pipeline(session: Known, scheme: Scheme) -> Pipeline | None:
    if not scheme.pipelined:
        return None
    plan, asked = session.plan, vars(session.plan.workload.pipeline)
    if not scheme.split:  # all is on the device, and stays there
        return Pipeline(**asked | {"probing": "off", "adapt": "static"}, times=session.layer_times)
    chosen = stagings(plan, session.layer_times)
    return Pipeline(
        **asked, times=session.layer_times, layouts={device: one.layout for device, one in chosen.items()},
        memory=memory(plan), decisions=plan.decisions,
        problems={device: one.problem for device, one in chosen.items() if one.problem is not None},
        chosen=tuple(device for device, one in chosen.items() if one.prediction is not None),
    )  # fmt: skip
