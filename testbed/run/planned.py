"""What is planned for the pipelines of an experiment, with everything that was considered: for ``testbed plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nodes.errors import InputError
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
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
        sequential: The best one for the same micro-batches one at a time.
        split: The best one for unpipelined split training: whole batches, one at a time; None: times are not known.
        why: Why there is no prediction, or no best one.
    """

    staging: Staging
    problem: Problem
    prediction: Prediction | None = None
    best: Prediction | None = None
    sequential: Prediction | None = None
    split: Prediction | None = None
    why: str = ""

    @property
    def speedup(self) -> float | None:
        """How many times as fast as unpipelined split training at its best cut it can be at most."""
        return self._over(self.split)

    @property
    def over_turns(self) -> float | None:
        """The same over its micro-batches one at a time: what overlap alone can gain."""
        return self._over(self.sequential)

    def _over(self, other: Prediction | None) -> float | None:
        return None if self.prediction is None or other is None else speedup_bound(other, self.prediction)

    def as_dict(self) -> dict[str, Any]:
        """Plain data; ``score`` of chains is seconds a micro-batch."""
        parts = {
            "prediction": self.prediction, "best": self.best, "sequential": self.sequential, "split": self.split,
        }  # fmt: skip
        return {
            **self.staging.as_dict(), **{name: None if one is None else one.as_dict() for name, one in parts.items()},
            "speedup_bound": self.speedup, "over_turns_bound": self.over_turns, "why_none": self.why,
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
    """Reference times by layer of this machine, of micro-batches.

    Args:
        plan: Whose layers, and in micro-batches of which size.
        measure: Measure them now, and keep them, where they are not known.

    Raises:
        InputError: They are not known, or cannot be read.
    """
    work = plan.workload
    found = _layer_times(plan, work.micro_size, measure=measure)
    if found is None:
        raise InputError(
            "times by layer are not measured yet on this machine", where=plan.source,
            wanted=f"those of {work.model} in micro-batches of {work.micro_size} samples, threads: {work.threads}",
            remedy="add --measure (some seconds, on an idle machine); a run measures them, too",
        )  # fmt: skip
    return found


def whole_times(plan: Plan, *, measure: bool = False) -> dict[str, float] | None:
    """The same of whole batches, as unpipelined training has them; None where they are not known.

    Raises:
        InputError: They cannot be read.
    """
    return _layer_times(plan, plan.workload.batch, measure=measure)


def _layer_times(plan: Plan, size: int, *, measure: bool) -> dict[str, float] | None:
    work, like = plan.workload, FORMS[plan.workload.data.set]
    known = reference.stored_layers(work.model, size, work.threads, like)
    if known is not None or not measure:
        return known
    from nodes.learn import layer_times as layers  # imports torch

    found = layers.measure(work.model, size, work.threads, like.shape, like.classes, MEASURE_S)
    reference.store(reference.layers_key(work.model, size, work.threads, "", like), found)
    return found


def planned(plan: Plan, times: Mapping[str, float], whole: Mapping[str, float] | None = None) -> dict[str, Planned]:
    """What is planned, by device.

    Args:
        plan: The experiment.
        times: Reference seconds by layer and way for one micro-batch.
        whole: The same for a whole batch, which unpipelined training is planned by; None: it is not.

    Raises:
        InputError: Layers have no times.
    """
    found: dict[str, Planned] = {}
    used: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for device, staging in stagings(plan, times).items():
        own = None if not whole else unpipelined(plan, device, whole, used, there)
        found[device] = _planned(staging, problem_of(plan, device, times, used, there), own)
        occupy(staging, used, there)
    return found


def as_laid(problem: Problem, stages: PipelineLayout) -> Prediction:
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


def unpipelined(
    plan: Plan, device: str, whole: Mapping[str, float], used: Mapping[str, int], there: Mapping[str, int]
) -> Problem:
    """What is to be planned where a device trains split, but not pipelined: whole batches, one at a time.

    Two stages of which one is elsewhere, or a third on the device where labels stay there.

    Raises:
        InputError: A layer has no times.
    """
    stages = 3 if plan.workload.pipeline.labels == "stay" else 2
    pipeline = replace(plan.workload.pipeline, micro=1, schedule="sequential", stages=stages, depth=None)
    split = replace(plan, workload=replace(plan.workload, pipeline=pipeline))
    return replace(problem_of(split, device, whole, used, there), fewest=stages)


def _planned(staging: Staging, problem: Problem, split: Problem | None) -> Planned:
    ways: dict[str, Callable[[], Prediction]] = {
        "prediction": lambda: as_laid(problem, staging.layout),
        "best": lambda: partition(problem, explain=True),
        "sequential": lambda: best_sequential(problem),
    }
    if split is not None:
        ways["split"] = lambda: partition(split)
    parts: dict[str, Prediction] = {}
    why = []
    for name, find in ways.items():
        try:
            parts[name] = find()
        except InputError as error:
            reason = error.wanted if name == "prediction" else error.found
            why.append(f"{error.message}: {reason}" if reason else error.message)
    return Planned(staging, problem, why="; ".join(dict.fromkeys(why)), **parts)
