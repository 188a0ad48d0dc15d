"""What is planned for the pipelines of an experiment, with everything that was considered: for ``testbed plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nodes.errors import InputError
from nodes.policies.layout import Layout
from nodes.policies.layouts import Layout as Stages
from nodes.policies.partition import best_sequential, partition
from nodes.policies.plans import Plan as Prediction
from nodes.policies.plans import Problem, batch_seconds, predict, speedup_bound
from nodes.policies.samples import FORMS
from nodes.policies.simulate import staleness
from testbed.experiment.plan import Plan
from testbed.run import reference
from testbed.run.again import moves_stages
from testbed.run.freespeed import MEASURE_S
from testbed.run.staging import Staging, occupy, problem_of, stagings


@dataclass(frozen=True)
class Planned:
    """What is planned for one device.

    Attributes:
        staging: The layout that training begins with.
        problem: What was to be planned.
        prediction: What that layout is predicted to take with its depths; None: it cannot be.
        best: The best layout, and all chains that were considered; None: there is none.
        sequential: The best one without a pipeline.
        why: Why there is no prediction, or no best one.
    """

    staging: Staging
    problem: Problem
    prediction: Prediction | None = None
    best: Prediction | None = None
    sequential: Prediction | None = None
    why: str = ""

    @property
    def speedup(self) -> float | None:
        """How many times as fast as the best layout without a pipeline it can be at most."""
        if self.prediction is None or self.sequential is None:
            return None
        return speedup_bound(self.sequential, self.prediction)

    def as_dict(self) -> dict[str, Any]:
        """Plain data; ``score`` of chains is seconds a micro-batch."""
        parts = {"prediction": self.prediction, "best": self.best, "sequential": self.sequential}
        return {
            **self.staging.as_dict(), **{name: None if one is None else one.as_dict() for name, one in parts.items()},
            "speedup_bound": self.speedup, "why_none": self.why,
        }  # fmt: skip


def require_stages(plan: Plan) -> None:
    """Refuse an experiment in which nothing is to be planned (InputError)."""
    plan.require_training()
    if not any(map(moves_stages, plan.workload.schemes)):
        raise InputError(
            f"there is nothing to plan: {' and '.join(plan.workload.schemes)} has no stages to place",
            wanted="scheme: edgemove", where=plan.source,
            remedy="add it to workload.scheme, or write --scheme edgemove",
        )  # fmt: skip


def layer_times(plan: Plan, *, measure: bool = False) -> dict[str, float]:
    """Reference times by layer of this machine.

    Args:
        plan: Whose layers, and in micro-batches of which size.
        measure: Measure them now, and keep them, where they are not known.

    Raises:
        InputError: They are not known, or cannot be read.
    """
    work, like = plan.workload, FORMS[plan.workload.data.set]
    known = reference.stored_layers(work.model, work.micro_size, work.threads, like)
    if known is not None:
        return known
    if not measure:
        raise InputError(
            "times by layer are not measured yet on this machine", where=plan.source,
            wanted=f"those of {work.model} in micro-batches of {work.micro_size} samples, threads: {work.threads}",
            remedy="add --measure (some seconds, on an idle machine); a run measures them, too",
        )  # fmt: skip
    from nodes.learn import layer_times as layers  # imports torch

    found = layers.measure(work.model, work.micro_size, work.threads, like.shape, like.classes, MEASURE_S)
    reference.store(reference.layers_key(work.model, work.micro_size, work.threads, "", like), found)
    return found


def planned(plan: Plan, times: Mapping[str, float]) -> dict[str, Planned]:
    """What is planned, by device.

    Raises:
        InputError: Layers have no times.
    """
    found: dict[str, Planned] = {}
    used: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for device, staging in stagings(plan, times).items():
        found[device] = _planned(staging, problem_of(plan, device, times, used, there))
        occupy(staging, used, there)
    return found


def as_laid(problem: Problem, stages: Stages) -> Prediction:
    """What a layout is predicted to take with its own depths.

    Raises:
        InputError: It cannot be, and why.
    """
    found = predict(problem, Layout(stages.bounds, stages.nodes))
    seconds = batch_seconds(found.chain, problem.schedule, problem.micro, stages.depths)
    old = staleness(stages.depths[0], problem.micro) if problem.schedule == "1f1b" and stages.stages > 1 else 0
    return replace(
        found, depths=stages.depths, staleness=old, batch_s=found.batch_s | {problem.schedule: seconds}
    )  # fmt: skip


def _planned(staging: Staging, problem: Problem) -> Planned:
    ways: dict[str, Callable[[], Prediction]] = {
        "prediction": lambda: as_laid(problem, staging.layout),
        "best": lambda: partition(problem, explain=True),
        "sequential": lambda: best_sequential(problem),
    }
    parts: dict[str, Prediction] = {}
    why = []
    for name, find in ways.items():
        try:
            parts[name] = find()
        except InputError as error:
            reason = error.wanted if name == "prediction" else error.found
            why.append(f"{error.message}: {reason}" if reason else error.message)
    return Planned(staging, problem, why="; ".join(dict.fromkeys(why)), **parts)
