"""A scenario as a problem that policies can be held against each other on before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from nodes.platform.registry import guarded
from nodes.policies.energy import MARGIN
from nodes.policies.requests import (
    AGGREGATE,
    EVALUATE,
    SELECT,
    TRAIN_DEVICE,
    TRAIN_EDGE,
    Owner,
    Problem,
    Request,
    Weights,
)
from nodes.policies.units import Battery, Path, Power, Unit
from testbed.experiment.plan import Plan
from testbed.experiment.taskplan import TaskPlan
from testbed.run import data
from testbed.run.platform import costs, settings
from testbed.run.platform.known import view

Times = Mapping[str, Mapping[int, Mapping[str, float]]]
_LAYERS_MS: Mapping[str, tuple[float, ...]] = {
    "vgg5": (4.6, 3.1, 6.3, 1.6, 3.1, 1.7, 0.2),
    "cnn": (1.1, 1.6, 1.8, 0.6, 0.4),
    "transformer": (0.2, 1.5, 1.4, 1.4, 0.1, 0.1),  # in batches of 8
    "cnn1d": (0.7, 0.5, 1.3, 0.5, 1.2, 0.1, 0.2),
}
"""Milliseconds of a batch of 16 there and back by layer, as they were measured on a machine like ours."""
COLD_S = 2.0
_FORWARD, _EVALUATE = 0.45, 0.02
"""Share of a layer's time that goes forward; what evaluating a sample takes of a batch's."""


def _times(layers: tuple[float, ...]) -> dict[int, dict[str, float]]:
    """Step times by cut, s, as a run measures them."""
    found = {}
    for cut in range(1, len(layers)):
        head, whole = sum(layers[:cut]) / 1000, sum(layers) / 1000
        found[cut] = {"head.forward": _FORWARD * head, "head.backward": (1 - _FORWARD) * head,
                      "tail.step": whole - head, "whole.step": whole, "evaluate": _EVALUATE * whole}  # fmt: skip
    return found


TIMES: Times = {model: _times(layers) for model, layers in _LAYERS_MS.items()}
_ALL = frozenset({SELECT, TRAIN_DEVICE, TRAIN_EDGE, AGGREGATE, EVALUATE})


def problem(plan: Plan, times: Times = TIMES, *, warm: bool = True) -> Problem:
    """One round of all tasks of a plan at the same time.

    Args:
        plan: With tasks.
        times: Step times.
        warm: Whether functions are warm and models where they are to be, as after a first round.
    """
    told = settings.platform(plan)
    units = {}
    for node in plan.nodes:
        own = settings.unit(plan, node)
        per_second, per_gb = told.prices[node.name]
        units[node.name] = Unit(
            node.name, node.kind, node.speed, own.memory, per_second, per_gb, told.powers.get(node.name),  # type: ignore[arg-type]
            _admitted(node.battery, told.powers.get(node.name)), _ALL if warm else frozenset(), COLD_S,
            told.sites.get(node.name, ""),
        )  # fmt: skip
    paths = {(a, b): Path(rate, rtt + 2 * told.message_s) for a, b, rate, rtt in told.paths}
    requests = tuple(_request(plan, task, times, settings.orchestrator(plan)) for task in plan.tasks)
    return Problem(units, paths, requests, Weights(*told.weights), told.shared)


def _admitted(battery: Battery | None, power: Power | None) -> Battery | None:
    """With what is taken off for work to be admitted: until it is let go, and a margin."""
    if battery is None:
        return None
    above = guarded(battery, power)
    return above.with_spare(above.spare_j / (1 + MARGIN))


def _request(plan: Plan, task: TaskPlan, times: Times, cloud: str) -> Request:
    work = task.work
    split = data.split(view(plan, task))
    samples = {name: len(own) for name, own in split.owned.items()}
    reference = times[work.model]
    memory = costs.memories(work, len(task.owners))
    select = work.data.select
    return Request(
        task.name, tuple(Owner(name, batches, samples[name]) for name, batches in costs.batches(work, samples).items()),
        costs.cuts(task, reference), cloud, costs.weights(work), least=task.least, absent=task.absent,
        share=1.0 if select is None else select.share, select_s=costs.select_s(task, reference),
        select_memory=memory["select-data"] if select is not None else 0,
        aggregate_s=costs.aggregate_s(work), aggregate_memory=memory["aggregate"],
        evaluate_s=costs.evaluate_s(work, next(iter(reference.values()))), evaluate_memory=memory["evaluate"],
    )  # fmt: skip
