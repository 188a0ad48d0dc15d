"""A device's own data: its batches, and which of its samples are trained on (`workload.data.select`).

Selection is done on the device, once a task, before its first round: whatever part there begins first has its samples
scored. How many are kept follows from the share, so the number of batches is known before. What leaves the device are
counts: an event of kind ``select``. It is paced to its own CPU time over the node's speed, as it has no reference time.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from nodes.learn import blocks, keyed, models, scoring, shards
from nodes.learn.shards import Batches, Shard
from nodes.policies import selection
from nodes.policies.selection import Indices
from nodes.runtime.part import Context
from nodes.wire.messages import PartId
from nodes.wire.task import Select, Task

_REHEARSED = 64
"""Samples that a rehearsal scores."""


def own_batches(context: Context, owner: str) -> Batches:
    """The batches of an owner, whose data is here; until its samples are selected any so many of them."""
    task = context.task
    batches = Batches(
        shards.read(Path(task.data[context.node])), seed=task.seed, owner=owner,
        batch=task.batch, epochs=task.local_epochs, augment=task.augment,
    )  # fmt: skip
    if task.select is not None:
        number = selection.size(len(batches.shard), task.select.share, task.batch)
        batches.keep(context.kept.get(owner, np.arange(number)))
    return batches


def rehearse_selection(context: Context, owner: str, batches: Batches) -> None:
    """Score a few samples: the first ones of a process are slow."""
    asked, shard = context.task.select, batches.shard
    if asked is not None:
        part = slice(0, _REHEARSED)
        few = Shard(shard.x[part], shard.y[part], shard.classes, shard.mean, shard.std)
        selected(context.task, owner, asked, few)


def select(context: Context, part: PartId, batches: Batches) -> None:
    """Select what an owner trains on, if that was asked for and is not done, and tell how much it is of each class."""
    asked, shard = context.task.select, batches.shard
    if asked is None:
        return
    if part.owner not in context.kept:
        attrs: dict[str, Any] = {
            "device": part.owner, "rule": asked.rule, "share": asked.share, "by": asked.by, "features": asked.features,
            "samples": len(shard),
        }  # fmt: skip
        with context.work(part, "select", None, own=True, attrs=attrs):
            kept = selected(context.task, part.owner, asked, shard)
            attrs |= {"kept": len(kept), "by_class": selection.by_class(shard.y.numpy()[kept], shard.classes)}
        context.kept[part.owner] = kept
    batches.keep(context.kept[part.owner])


def selected(task: Task, owner: str, asked: Select, shard: Shard, work: scoring.Work = nullcontext) -> Indices:
    """Indices of the samples that an owner is to train on; ``work`` is entered for each piece of the work."""
    scores, half = None, None
    if asked.rule not in selection.BLIND:
        if asked.features == "half":
            with work():
                half = _half(task, owner)
        scores = scoring.score(shard, asked.by, half, work)
    key = keyed.key(task.seed, owner, "select")
    with work():
        return selection.keep(scores, shard.y.numpy(), shard.classes, asked.rule, asked.share, key, task.batch)


def _half(task: Task, owner: str) -> nn.Module:
    """The device half with the weights that training begins with."""
    half = models.layers(task.model, 0, task.cut_of(owner), tuple(task.in_shape), task.classes)
    named: OrderedDict[str, nn.Module] = OrderedDict(half.named_children())
    for name, layer in named.items():
        blocks.initialise(layer, keyed.torch_generator(task.seed, "", f"init/{name}"))
    return half
