"""The whole model on a device: local training between two exchanges with the aggregator."""

from __future__ import annotations

from pathlib import Path

from nodes.errors import WireError
from nodes.events import Span
from nodes.learn import models, shards
from nodes.learn.shards import Batches
from nodes.learn.stage import Sgd, Stage
from nodes.runtime.part import Context, Quiet
from nodes.schemes._arrays import copies, to_torch
from nodes.schemes._base import AGGREGATOR
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress
from nodes.wire.messages import Body, Model, PartId, Update


class Whole(Quiet):
    """Trains the whole model on its own data for one round at a time."""

    def __init__(self, part: PartId, context: Context) -> None:
        task = context.task
        self.id = part
        self._context = context
        self._aggregator = PartId(task.id, AGGREGATOR, "")
        self._stage = Stage(
            models.build(task.model, None, tuple(task.in_shape), task.classes),
            Sgd(task.lr, task.momentum, task.weight_decay), first=True,
        )  # fmt: skip
        self._batches = Batches(
            shards.read(Path(task.data[context.node])), seed=task.seed, owner=part.owner,
            batch=task.batch, epochs=task.local_epochs, augment=task.augment,
        )  # fmt: skip

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        x, y = self._batches.get(1, 0)
        for _ in range(3):
            self._stage.train_step_tail(x, y)

    def begin(self) -> None:
        """Connect to the aggregator: it does not connect to devices."""
        self._context.connect(self._context.where(self._aggregator)[0])

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Train one round from the global model."""
        if not isinstance(body, Model):
            raise WireError(f"{type(body).__name__} for {self.id}")
        task, batches = self._context.task, len(self._batches)
        self._stage.load(to_torch(tensors))
        loss_sum, begun, ended = 0.0, 0.0, 0.0
        for batch in range(batches):
            x, y = self._batches.get(body.round, batch)
            with self._context.work(self.id, "step", "whole.step", round=body.round, batch=batch) as timed:
                loss_sum += self._stage.train_step_tail(x, y)[1]
            begun, ended = begun or timed.begin, timed.end
            self._context.tell(Progress(task.id, self.id.owner, body.round, batch + 1, batches))
        self._context.emit(
            Span(
                kind="round", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=body.round, begin=begun, end=ended,
                attrs={"batches": batches, "device": self.id.owner, "attempt": 0},
            )
        )  # fmt: skip
        update = Update(body.round, len(self._batches.shard), batches, loss_sum)
        self._context.send(self.id, self._aggregator, update, copies(self._stage.layers.state_dict()))
