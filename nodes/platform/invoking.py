"""What units are told to run: the invocations of one task's round, as messages."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nodes.platform.states import BROADCAST, INITIALISE, Leg, Round
from nodes.policies.layers import LAYERS
from nodes.policies.requests import AGGREGATE, EVALUATE, SELECT, TRAIN_DEVICE, TRAIN_EDGE
from nodes.schemes._base import AGGREGATOR
from nodes.wire.jobs import Job
from nodes.wire.parts import PartId
from nodes.wire.platform_messages import InvokeOn
from nodes.wire.task import Placed, Task

LIMIT, LIMIT_S = 4.0, 60.0
"""An owner's round is given so many times what it is predicted to take, and so many seconds of the experiment more:
whoever waits in vain for the other half ends by that. A user's function is given what it declares, see `limit`."""
WHOLE = "fedavg"
"""Scheme whose parts train a whole model on its device, where a scheme of halves is placed so."""


def layers_of(job: Job, leg: Leg, device: bool) -> tuple[str, ...]:
    """Layers that one side of an owner's model has; all of them: the whole model."""
    assert leg.cut is not None
    every = LAYERS[job.task.model]
    if leg.cut.place == "device":
        return every
    return every[: leg.cut.index] if device else every[leg.cut.index :]


def is_whole(job: Job, layers: tuple[str, ...]) -> bool:
    """Whether these are all layers of a task's model."""
    return layers == LAYERS[job.task.model]


def parts_of(job: Job, leg: Leg) -> dict[str, str]:
    """Roles of a leg's parts, and the units that they are placed on."""
    assert leg.cut is not None
    if leg.cut.place == "device":
        return {"whole": leg.owner}
    return {"head": leg.owner, "tail": leg.server}


def task_of(job: Job, round: Round, leg: Leg) -> Task:
    """The task as an owner's parts are told of it: with this round's cut and placement."""
    assert leg.cut is not None
    task, name = job.task, job.name
    rows = [Placed(PartId(name, AGGREGATOR, ""), round.aggregator)]
    rows += [Placed(PartId(name, role, leg.owner), unit) for role, unit in parts_of(job, leg).items()]
    whole = leg.cut.place == "device"
    return msgspec.structs.replace(
        task, placement=tuple(rows), cuts={**task.cuts, leg.owner: leg.cut.index}, select=None, pair=leg.pair,
        scheme=WHOLE if whole else task.scheme, strategy="none" if whole else task.strategy,
        edges=tuple(sorted({*task.edges, *([leg.server] if leg.server else [])})),
    )  # fmt: skip


def limit(job: Job, leg: Leg, function: str) -> float:
    """Seconds of the experiment that one half of an owner's round may take.

    A user's function takes as long as it declares, whatever is predicted. A built-in half does not end before that.
    """
    if function in job.limits:
        return job.limits[function]
    halves = (TRAIN_DEVICE, TRAIN_EDGE) if leg.server else (TRAIN_DEVICE,)
    return max([LIMIT * leg.seconds + LIMIT_S, *(job.limits[half] for half in halves if half in job.limits)])


def initialise(job: Job) -> InvokeOn:
    """A task's first model."""
    task = msgspec.structs.replace(job.task, select=None)
    return InvokeOn(call=0, function=INITIALISE, source=_file(job, INITIALISE), values={"task": task})


def select(job: Job, leg: Leg) -> InvokeOn:
    """The samples that an owner trains on."""
    assert leg.cut is not None
    task = msgspec.structs.replace(job.task, select=job.select, cuts={**job.task.cuts, leg.owner: leg.cut.index})
    values = {"task": task, "node": leg.owner, "owner": leg.owner}
    return InvokeOn(call=0, function=SELECT, source=_file(job, SELECT), values=values)


def broadcast(job: Job, digest: str, source: str, layers: Iterable[str], *, gently: bool = False) -> InvokeOn:
    """Some layers of a model, or a copy of all of it; ``gently``: nobody waits for that."""
    return InvokeOn(call=0, function=BROADCAST, source=_file(job, BROADCAST), inputs={"weights": digest},
                    where={digest: source}, values={"layers": list(layers)}, gently=gently)  # fmt: skip


def train(
    job: Job, round: Round, leg: Leg, unit: str, digest: str, source: str, keep: str = "", *, device: bool
) -> InvokeOn:  # fmt: skip
    """One half of an owner's round on a unit, or all of it.

    Args:
        job: The task.
        round: Under way.
        leg: Of the owner, placed.
        unit: Where it is run; of an edge half also where it is to move to.
        digest: Of the weights.
        source: Who has them.
        keep: Digest of the samples to train on.
        device: Which half.
    """
    function = TRAIN_DEVICE if device else TRAIN_EDGE
    roles = [role for role in parts_of(job, leg) if (role != "tail") == device]
    inputs: dict[str, str | dict[str, str]] = {"weights": digest}
    if keep and device:
        inputs["keep"] = keep
    return InvokeOn(
        call=0, function=function, source=_file(job, function), inputs=inputs, where={digest: source},
        values={"task": task_of(job, round, leg), "node": unit, "owner": leg.owner, "round": round.number},
        time_limit=limit(job, leg, function), parts=tuple(PartId(job.name, role, leg.owner) for role in roles),
    )  # fmt: skip


def aggregate(job: Job, models: dict[str, str], samples: dict[str, float], where: dict[str, str]) -> InvokeOn:
    """The average of models by owner."""
    return InvokeOn(call=0, function=AGGREGATE, source=_file(job, AGGREGATE), inputs={"models": models},
                    values={"samples": samples}, where=where)  # fmt: skip


def evaluate(job: Job, digest: str, source: str, unit: str) -> InvokeOn:
    """How good a model is."""
    task = msgspec.structs.replace(job.task, select=None)
    return InvokeOn(call=0, function=EVALUATE, source=_file(job, EVALUATE), inputs={"weights": digest},
                    values={"task": task, "node": unit}, where={digest: source})  # fmt: skip


def _file(job: Job, function: str) -> str:
    return job.sources.get(function, "")
