"""What training with a cut costs a batch, and what functions take of memory: what a task's owner knows before it runs.

Work is measured (reference times, seconds on one unthrottled core), bytes follow from the model's design.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean

from nodes.platform.builtin import PLAIN_MEMORY, TORCH_MEMORY
from nodes.policies.layers import LAYERS
from nodes.policies.requests import Cut
from nodes.policies.samples import FORMS, taken
from nodes.policies.selection import BLIND
from testbed.experiment import footprint
from testbed.experiment.plan import WorkloadPlan
from testbed.experiment.taskplan import TaskPlan

_LABEL = 8
"""Bytes of a label on its way."""
_HEADER = 400
"""Bytes of a message beside its tensors, about."""
_SUMMED = 400e6
"""Bytes of models that a core reads, checks and adds in a second, about: what aggregation is predicted by."""
_SCORED = {"centroid": 1e-4, "logistic": 3e-4}
_BLINDLY = 2e-6
"""Seconds of a core that scoring a sample takes, about, and choosing it without scores."""


def cuts(task: TaskPlan, references: Mapping[int, Mapping[str, float]]) -> tuple[Cut, ...]:
    """Costs of a batch with each cut that a task allows.

    Args:
        task: The task.
        references: Step times by cut; of any cut they have that of the whole model, too.
    """
    return tuple(_cut(task.work, cut, references) for cut in task.cuts)


def weights(work: WorkloadPlan) -> int:
    """Bytes of the model."""
    return _sums(work)[-1]


def halves(task: TaskPlan) -> dict[int, int]:
    """Bytes of the device's half, by cut."""
    sums = _sums(task.work)
    return {cut: sums[cut] for cut in task.cuts}


def batches(work: WorkloadPlan, samples: Mapping[str, int]) -> dict[str, int]:
    """Batches of a round on all samples, by owner: as `nodes.learn.shards.Batches` deals them out."""
    return {owner: work.local_epochs * max(1, own // min(work.batch, own)) for owner, own in samples.items() if own}


def memories(work: WorkloadPlan, owners: int) -> dict[str, int]:
    """Bytes of an instance of each function that takes more of them for larger models; training says its own."""
    models = footprint.models(work.model, owners + 2, taken(work.data.set, work.model))
    tests = FORMS[work.data.set].test if work.data.test_samples is None else work.data.test_samples
    like = taken(work.data.set, work.model)
    evaluate = footprint.evaluating(work.model, tests, 1, like) - footprint.BASE
    return {
        "aggregate": TORCH_MEMORY + models, "evaluate": TORCH_MEMORY + evaluate,
        "initialise": TORCH_MEMORY + footprint.models(work.model, 2, like),
        "broadcast": PLAIN_MEMORY + 2 * weights(work),
        "select-data": TORCH_MEMORY,
    }  # fmt: skip


def instances(task: TaskPlan) -> dict[str, int]:
    """Bytes of an instance of each function, those of training with the cut that takes most."""
    last = len(LAYERS[task.work.model])
    return {
        **memories(task.work, len(task.owners)),
        "train-device": max(_memory(task.work, 0, cut) for cut in task.cuts),
        "train-edge": max(_memory(task.work, cut, last) for cut in task.cuts),
    }


def aggregate_s(work: WorkloadPlan) -> float:
    """Work of averaging, by participant."""
    return weights(work) / _SUMMED


def evaluate_s(work: WorkloadPlan, reference: Mapping[str, float]) -> float:
    """Work of evaluating a model on the whole test set."""
    tests = FORMS[work.data.set].test if work.data.test_samples is None else work.data.test_samples
    return reference["evaluate"] * tests


def select_s(task: TaskPlan, references: Mapping[int, Mapping[str, float]]) -> float:
    """Work of selecting, by sample; 0 where all are trained on.

    Samples that are told by the device half's activations pass through it, too: on average over the task's cuts.
    """
    work, asked = task.work, task.work.data.select
    if asked is None or asked.share >= 1:
        return 0.0
    if asked.rule in BLIND:
        return _BLINDLY
    passes = [0.0]
    if asked.features == "half":
        passes = [references[cut]["head.forward"] / work.batch if cut in references
                  else next(iter(references.values()))["evaluate"] for cut in task.cuts]  # fmt: skip
    return _SCORED[asked.by] + fmean(passes)


def _sums(work: WorkloadPlan) -> list[int]:
    """Bytes of the weights of the first layers, for each number of them."""
    every = footprint.layers(work.model, taken(work.data.set, work.model))
    return [0, *accumulate(footprint.NUMBER * layer.parameters for layer in every)]


def _cut(work: WorkloadPlan, cut: int, references: Mapping[int, Mapping[str, float]]) -> Cut:
    like = taken(work.data.set, work.model)
    every, sums = footprint.layers(work.model, like), _sums(work)
    if cut == len(LAYERS[work.model]):
        return Cut(
            cut, "device", next(iter(references.values()))["whole.step"], device_weights=sums[-1],
            device_memory=_memory(work, 0, cut), labels_leave=False,
        )  # fmt: skip
    ops, crossing = references[cut], footprint.NUMBER * work.batch * every[cut - 1].output
    return Cut(
        cut, "split", ops["head.forward"] + ops["head.backward"], ops["tail.step"],
        up_bytes=crossing + _LABEL * work.batch + _HEADER, down_bytes=crossing + _HEADER,
        device_weights=sums[cut], edge_weights=sums[-1] - sums[cut],
        device_memory=_memory(work, 0, cut), edge_memory=_memory(work, cut, len(every)),
    )  # fmt: skip


def _memory(work: WorkloadPlan, first: int, last: int) -> int:
    """Bytes of an instance that trains these layers: what a small model takes is in `TORCH_MEMORY`."""
    like = taken(work.data.set, work.model)
    more = footprint.training(work.model, first, last, work.batch, 1, like) - footprint.BASE
    return TORCH_MEMORY + math.ceil(more)
