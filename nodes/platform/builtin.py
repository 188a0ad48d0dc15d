"""Built-in functions that work on whole models: making, averaging, evaluating, passing on. See also `training`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.errors import InputError
from nodes.platform.functions import MIB, Tensors, function
from nodes.wire.codec import Tensors as Arrays
from nodes.wire.task import Task

if TYPE_CHECKING:
    from nodes.learn.pacing import Pacer

TORCH_MEMORY = 400 * MIB
"""What a process with torch in it and a small model has resident at most; larger models need more, by invocation."""
PLAIN_MEMORY = 96 * MIB


@function(
    name="initialise",
    inputs={"task": Task},
    outputs={"weights": Tensors()},
    memory=TORCH_MEMORY, torch=True, time_limit=300.0, imports=("nodes.learn.models", "nodes.schemes._arrays"),
    paced=True,
)  # fmt: skip
def initialise(task: Task, pacer: Pacer) -> dict[str, Any]:
    """The weights that a task begins with: from its seed, as its aggregator makes them."""
    from nodes.learn import models
    from nodes.schemes._arrays import to_arrays

    with pacer.step(None):
        model = models.build(task.model, task.seed, tuple(task.in_shape), task.classes)
        return {"weights": to_arrays(model.state_dict())}


@function(
    name="aggregate",
    inputs={"models": Tensors(many=True), "samples": dict[str, float]},
    outputs={"weights": Tensors()},
    memory=TORCH_MEMORY, torch=True, time_limit=300.0, imports=("nodes.learn.aggregate", "nodes.schemes._arrays"),
    paced=True,
)  # fmt: skip
def aggregate(models: dict[str, Arrays], samples: dict[str, float], pacer: Pacer) -> dict[str, Any]:
    """Federated averaging: models by owner, weighted by samples, summed in the order of names."""
    from nodes.learn.aggregate import fedavg
    from nodes.schemes._arrays import to_arrays, to_torch

    with pacer.step(None):
        average = fedavg({owner: to_torch(model) for owner, model in models.items()}, samples)
        return {"weights": to_arrays(average)}


@function(
    name="evaluate",
    inputs={"weights": Tensors(), "task": Task, "node": str},
    outputs={"accuracy": float, "loss": float, "samples": int},
    memory=TORCH_MEMORY, torch=True, time_limit=3600.0, paced=True,
    imports=("nodes.learn.evaluate", "nodes.learn.models", "nodes.learn.stage", "nodes.schemes._arrays"),
)  # fmt: skip
def evaluate(weights: Arrays, task: Task, node: str, pacer: Pacer) -> dict[str, Any]:
    """How good a model is on the samples that this node has of the task.

    A batch is a step, which others may come between; it is paced to its reference time, or to its CPU time.
    """
    from nodes.learn import models, shards
    from nodes.learn.evaluate import evaluate as measure
    from nodes.learn.stage import copy_into, use_threads
    from nodes.schemes._arrays import to_torch

    shard = shards.read(Path(data_of(task, node)))
    use_threads(task.threads)
    model = models.build(task.model, None, tuple(task.in_shape), task.classes)
    copy_into(model.state_dict(), to_torch(weights), "weights")
    sample_s = task.reference.get("evaluate")
    found = measure(model, shard, work=lambda count: pacer.step(None if sample_s is None else count * sample_s))
    return {"accuracy": found.accuracy, "loss": found.loss, "samples": found.samples}


@function(
    name="broadcast",
    inputs={"weights": Tensors(), "layers": list[str]},
    outputs={"part": Tensors(), "bytes": int},
    memory=PLAIN_MEMORY,
)
def broadcast(weights: Arrays, layers: list[str]) -> dict[str, Any]:
    """Of a model the layers that a unit needs, as a blob: what is sent to it is that and no more."""
    known = {name.partition(".")[0] for name in weights}
    part = {name: array for name, array in weights.items() if name.partition(".")[0] in layers}
    if not part:
        raise InputError(
            "no such layer with weights", wanted="some of " + ", ".join(sorted(known)), found=", ".join(layers)
        )
    return {"part": part, "bytes": sum(int(array.nbytes) for array in part.values())}


def data_of(task: Task, node: str) -> str:
    """File of a task's samples on a node (InputError: it has none)."""
    if node not in task.data:
        raise InputError(
            f"{node} has no samples of task {task.id}", wanted="one of " + ", ".join(sorted(task.data)), found=node
        )
    return task.data[node]
