"""The whole model on a device: local training between two exchanges with the aggregator."""

from __future__ import annotations

from contextlib import AbstractContextManager

from nodes.errors import RunError, WireError
from nodes.events import Span
from nodes.learn import models
from nodes.learn.stage import Sgd, Stage
from nodes.policies.layers import LAYERS
from nodes.policies.stage_times import StageTimes
from nodes.runtime.part import Context, Quiet, Timed
from nodes.schemes._arrays import copies, to_torch
from nodes.schemes._base import AGGREGATOR
from nodes.schemes._data import own_batches, rehearse_selection, select
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress
from nodes.wire.messages import Body, Model, PartId, Update
from nodes.wire.task import Pipeline


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
        self._batches = own_batches(context, part.owner)

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        x, y = self._batches.get(1, 0)
        for _ in range(3):
            self._stage.train_step_tail(x, y)
        rehearse_selection(self._context, self.id.owner, self._batches)

    def begin(self) -> None:
        """Select what is trained on, and connect to the aggregator: it does not connect to devices."""
        select(self._context, self.id, self._batches)
        self._context.connect(self._context.where(self._aggregator)[0])

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Train one round from the global model."""
        if not isinstance(body, Model):
            raise WireError(f"{type(body).__name__} for {self.id}")
        task, batches = self._context.task, len(self._batches)
        self._stage.load(to_torch(tensors))
        loss_sum, begun, ended = 0.0, 0.0, 0.0
        for batch in range(batches):
            loss, timed = self._train(body.round, batch)
            loss_sum += loss
            begun, ended = begun or timed.begin, timed.end
            self._context.tell(Progress(task.id, self.id.owner, body.round, batch + 1, batches))
        self._context.emit(
            Span(
                kind="round", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=body.round, begin=begun, end=ended,
                attrs={"batches": batches, "device": self.id.owner, "attempt": 0},
            )
        )  # fmt: skip
        update = Update(body.round, self._batches.samples, batches, loss_sum)
        self._context.send(self.id, self._aggregator, update, copies(self._stage.layers.state_dict()))

    def _train(self, number: int, batch: int) -> tuple[float, Timed]:
        """Train one batch; its loss, and when that was."""
        x, y = self._batches.get(number, batch)
        with self._context.work(self.id, "step", "whole.step", round=number, batch=batch) as timed:
            loss = self._stage.train_step_tail(x, y)[1]
        return loss, timed


class Accumulating(Whole):
    """The same, in micro-batches whose gradients are accumulated until the batch is complete."""

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        settings = self._settings()
        x, y = (part.chunk(settings.micro)[0] for part in self._batches.get(1, 0))
        for _ in range(3):
            self._stage.loss_backward(x, y, 0.5)
            self._stage.step()
        rehearse_selection(self._context, self.id.owner, self._batches)

    def _settings(self) -> Pipeline:
        settings = self._context.task.pipeline
        if settings is None:
            raise RunError(f"{self._context.task.scheme} without settings of a pipeline", where=self._context.node)
        return settings

    def _train(self, number: int, batch: int) -> tuple[float, Timed]:
        settings, model = self._settings(), self._context.task.model
        times, layers = StageTimes.of(settings.times, LAYERS[model]), len(LAYERS[model])
        pieces = [part.chunk(settings.micro) for part in self._batches.get(number, batch)]
        done, losses = Timed(), 0.0
        for micro, (x, y) in enumerate(zip(*pieces, strict=True)):
            seconds = times.op("whole", 0, layers)
            with self._work("step", seconds, number, batch, micro) as timed:
                losses += self._stage.loss_backward(x, y, 1 / settings.micro)[1] / settings.micro
            done.begin = done.begin or timed.begin
        with self._work("update", times.op("update", 0, layers), number, batch, settings.micro - 1) as timed:
            self._stage.step()
        done.end = timed.end
        return losses, done

    def _work(
        self, kind: str, seconds: float, number: int, batch: int, micro: int
    ) -> AbstractContextManager[Timed]:
        return self._context.work(self.id, kind, None, seconds=seconds, round=number, batch=batch, micro=micro)
