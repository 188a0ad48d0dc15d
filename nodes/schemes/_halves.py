"""What both halves of a split model are made of."""

from __future__ import annotations

from nodes.learn import models
from nodes.learn.stage import Sgd, Stage
from nodes.wire.task import Task

REHEARSALS = 3
"""Steps on nothing before the task begins: the first ones of a process are slow."""


def stage(task: Task, half: str, owner: str) -> Stage:
    """One half of an owner's model, as a stage; owners may have cuts of their own.

    Without initial weights: those of the round are loaded, or those of a state that has moved.
    """
    whole = models.build(task.model, None, tuple(task.in_shape), task.classes)
    head, tail = models.cut(whole, task.cut_of(owner))
    sgd = Sgd(task.lr, task.momentum, task.weight_decay)
    return Stage(head, sgd, first=True) if half == "head" else Stage(tail, sgd)
