"""The two halves of a split model: `Head` on a device, `Tail` on an edge server (one tail per device).

The order of a batch: the head's forward pass, activations and labels up, the tail's forward, loss, backward and
step, gradients down, the head's backward and step. SplitFed (Thapa et al., 2022) in the variant with one edge half
per device; the point at which a tail may move is FedFly's (Ullah et al., 2022): after its step and before the
gradients return, so that no batch is lost or repeated.

At the start of a round both halves take the global weights and a fresh optimizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nodes.errors import RunError, WireError
from nodes.events import Span
from nodes.learn import models, shards
from nodes.learn.shards import Batches
from nodes.learn.stage import Sgd, Stage
from nodes.learn.state import TrainingState, capture
from nodes.runtime.part import Context, Quiet, Snapshot
from nodes.schemes._arrays import copies, to_arrays, to_torch
from nodes.schemes._base import AGGREGATOR
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress, Task
from nodes.wire.messages import (
    Activations,
    Body,
    Close,
    Fetch,
    Gradients,
    Model,
    Open,
    PartId,
    Update,
    Work,
)

_REHEARSALS = 3


def _stage(task: Task, half: str) -> Stage:
    # Without initial weights: those of the round are loaded, or those of a state that has moved.
    whole = models.build(task.model, None, tuple(task.in_shape), task.classes)
    head, tail = models.cut(whole, task.cut)
    sgd = Sgd(task.lr, task.momentum, task.weight_decay)
    return Stage(head, sgd, first=True) if half == "head" else Stage(tail, sgd)


class Head(Quiet):
    """The device's half: drives the round batch by batch."""

    def __init__(self, part: PartId, context: Context) -> None:
        task = context.task
        self.id = part
        self._context = context
        self._tail = PartId(task.id, "tail", part.owner)
        self._stage = _stage(task, "head")
        self._batches = Batches(
            shards.read(Path(task.data[context.node])), seed=task.seed, owner=part.owner,
            batch=task.batch, epochs=task.local_epochs, augment=task.augment,
        )  # fmt: skip
        self._start: dict[str, torch.Tensor] = {}
        self._round = 0
        self._attempt = 0
        self._batch = 0
        self._begun = 0.0
        self._sent = 0.0
        self._move_to = ""

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        x, _ = self._batches.get(1, 0)
        for _ in range(_REHEARSALS):
            self._stage.backward(self._stage.forward(x))
            self._stage.step()

    def begin(self) -> None:
        """Connect to where the tail is: devices connect, edge servers do not connect to them."""
        self._context.connect(self._context.where(self._tail)[0])

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """The model of a round, or the gradients of the batch under way."""
        if isinstance(body, Model):
            if body.round < self._round or body.attempt != self._attempt * (body.round == self._round):
                return  # of a round or attempt that is over
            if tensors:
                self._start = to_torch(tensors)
            self._begin_round(body.round, body.attempt)
        elif isinstance(body, Gradients):
            if body.attempt != self._attempt or body.work != self._work():
                return  # of an attempt that was given up
            self._apply(body, tensors)
        else:
            raise WireError(f"{type(body).__name__} for {self.id}")

    def notice(self, edge: str, done: bool) -> None:
        """A handover comes: connect ahead of it, and act on it at the next batch."""
        if done or self._strategy() == "relay":
            return
        self._context.connect(edge)
        self._move_to = edge

    def _strategy(self) -> str:
        return self._context.task.strategy

    def _work(self) -> Work:
        return Work(self._round, self._batch)

    def _begin_round(self, number: int, attempt: int) -> None:
        self._round, self._attempt, self._batch = number, attempt, 0
        self._stage.load(self._start)
        self._begun = 0.0
        self._forward()

    def _forward(self) -> None:
        if self._batch == len(self._batches):
            self._finish_round()  # what is complete is not thrown away: a move takes effect afterwards
            return
        if self._target() and self._strategy() == "restart":
            self._restart()
            return
        x, y = self._batches.get(self._round, self._batch)
        with self._context.work(self.id, "forward", "head.forward", **self._labels()) as timed:
            activations = self._stage.forward(x)
        self._begun = self._begun or timed.begin
        self._sent = timed.end
        arrays = to_arrays({"x": activations, "y": y})
        body = Activations(self._work(), self._attempt, move_to=self._migrate_to())
        self._context.send(self.id, self._tail, body, arrays)

    def _migrate_to(self) -> str:
        """Where the tail is asked to move with its state, if that is what happens on a move."""
        return self._target() if self._strategy() == "migrate" else ""

    def _target(self) -> str:
        """Edge server that the tail should move to, empty if it is where it should be."""
        if self._move_to and self._context.where(self._tail)[0] == self._move_to:
            self._move_to = ""
        return self._move_to

    def _apply(self, body: Gradients, tensors: Tensors) -> None:
        with self._context.work(self.id, "backward", "head.backward", **self._labels()) as timed:
            self._stage.backward(torch.from_numpy(tensors["g"]))
            self._stage.step()
        self._span("wait", self._sent, timed.begin, bytes=int(tensors["g"].nbytes), batch=self._batch)
        self._batch += 1
        if self._batch == len(self._batches):
            self._span(
                "round", self._begun, timed.end,
                attrs={"batches": self._batch, "device": self.id.owner, "attempt": self._attempt},
            )  # fmt: skip
        self._context.tell(
            Progress(
                self._context.task.id, self.id.owner, self._round, self._batch, len(self._batches), self._attempt
            )
        )
        self._forward()

    def _finish_round(self) -> None:
        update = Update(
            self._round, len(self._batches.shard), self._batch, 0.0, self._attempt, move_to=self._migrate_to()
        )
        weights = self._stage.layers.state_dict()
        self._context.send(self.id, self._tail, update, copies(weights))

    def _restart(self) -> None:
        """Give the round up and begin it again with a new tail on the new edge server."""
        old = self._context.where(self._tail)[0]
        self._attempt += 1
        version = self._context.place(self._tail, self._move_to)
        new, self._move_to = self._move_to, ""
        now = self._context.now()
        self._span("restart", self._begun or now, now, batch=self._batch, peer=new, attrs={"from": old, "to": new})
        self._context.send(self.id, self._tail, Close(new, version), node=old)
        self._context.send(self.id, self._tail, Open(self._round, self._attempt, version))

    def _labels(self) -> dict[str, Any]:
        return {"round": self._round, "batch": self._batch}

    def _span(self, kind: str, begin: float, end: float, **more: Any) -> None:
        task = self._context.task
        self._context.emit(
            Span(
                kind=kind, node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=begin, end=end, **more,
            )
        )  # fmt: skip


class Tail(Quiet):
    """The edge server's half: computes the loss and sends the gradients back; the part that moves."""

    def __init__(self, part: PartId, context: Context) -> None:
        self.id = part
        self._context = context
        self._head = PartId(part.task, "head", part.owner)
        self._aggregator = PartId(part.task, AGGREGATOR, "")
        self._stage = _stage(context.task, "tail")
        self._round = 0
        self._attempt = 0
        self._applied = -1           # last batch of the round that was applied
        self._loss_sum = 0.0
        self._owed: tuple[Gradients, torch.Tensor] | None = None

    def rehearse(self) -> None:
        """A few steps on nothing, and a state captured and restored."""
        task = self._context.task
        shape = models.shapes(task.model, tuple(task.in_shape), task.classes)[task.cut]
        labels = torch.zeros(task.batch, dtype=torch.int64)
        for _ in range(_REHEARSALS):
            gradient, loss = self._stage.train_step_tail(torch.zeros(task.batch, *shape), labels)
            assert gradient is not None
            self._owed = (Gradients(Work(0, 0), loss), gradient)
            self.restore(self.capture())
        self._owed, self._applied = None, -1

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """The model of a round, a batch, the head's weights at the end, or the order to start over."""
        match body:
            case Model():
                self._begin_round(body, to_torch(tensors))
            case Activations():
                self._train(body, to_torch(tensors))
            case Update():
                self._finish_round(body, to_torch(tensors))
            case Open():
                self._attempt = body.attempt
                self._context.send(self.id, self._aggregator, Fetch(body.round, body.attempt))
            case _:
                raise WireError(f"{type(body).__name__} for {self.id}")

    def _begin_round(self, body: Model, weights: dict[str, torch.Tensor]) -> None:
        self._round, self._attempt, self._applied, self._loss_sum = body.round, body.attempt, -1, 0.0
        self._owed = None
        own = self._stage.layers.state_dict().keys()
        self._stage.load({k: v for k, v in weights.items() if k in own})
        # On a restart the head goes back to the copy it kept: nothing is shipped twice.
        rest = {} if body.attempt else {k: v for k, v in weights.items() if k not in own}
        self._context.send(self.id, self._head, Model(body.round, body.attempt), to_arrays(rest))

    def _train(self, body: Activations, tensors: dict[str, torch.Tensor]) -> None:
        if (body.work.round, body.attempt) != (self._round, self._attempt):
            return  # of a round or attempt that is over
        if body.work.batch != self._applied + 1:
            raise WireError(
                f"batch {body.work.batch} of round {self._round} out of turn for {self.id}",
                wanted=f"batch {self._applied + 1}", where=self._context.node,
            )  # fmt: skip
        labels = {"round": body.work.round, "batch": body.work.batch}
        with self._context.work(self.id, "tail-step", "tail.step", **labels):
            gradient, loss = self._stage.train_step_tail(tensors["x"], tensors["y"])
        self._applied = body.work.batch
        self._loss_sum += loss
        assert gradient is not None, "a tail always has a head before it"
        self._owed = (Gradients(body.work, loss, self._attempt), gradient)
        if body.move_to and body.move_to != self._context.node:
            self._context.move(self.id, body.move_to)
        else:
            self.resume()

    def _finish_round(self, body: Update, head: dict[str, torch.Tensor]) -> None:
        if (body.round, body.attempt) != (self._round, self._attempt):
            return
        weights = self._stage.layers.state_dict() | head
        update = Update(body.round, body.samples, body.batches, self._loss_sum, body.attempt)
        self._context.send(self.id, self._aggregator, update, copies(weights))
        if body.move_to and body.move_to != self._context.node:
            self._owed = None
            self._context.move(self.id, body.move_to)

    def capture(self) -> Snapshot:
        """Weights, optimizer, position, loss and the gradients that are owed."""
        state = capture(
            self._stage, copy=False, pending=self._owed[1] if self._owed else None,
            round=self._round, next_batch=self._applied + 1, loss_sum=self._loss_sum,
            extra={"attempt": self._attempt, "owed_loss": self._owed[0].loss if self._owed else 0.0},
        )  # fmt: skip
        meta, tensors = state.to_frames()
        return Snapshot(to_arrays(dict(tensors)), meta, state.digest())

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was captured."""
        state = TrainingState.from_frames(snapshot.meta, snapshot.tensors)
        if state.digest() != snapshot.digest:
            raise RunError("the state that arrived is not the one that was sent: its digest differs")
        state.restore(self._stage)
        self._round, self._applied, self._loss_sum = state.round, state.next_batch - 1, state.loss_sum
        self._attempt = int(state.extra["attempt"])
        if state.pending is not None:
            work = Work(self._round, self._applied)
            self._owed = (Gradients(work, float(state.extra["owed_loss"]), self._attempt), state.pending)

    def resume(self) -> None:
        """Send the gradients that are owed."""
        if self._owed is not None:
            body, gradient = self._owed
            self._context.send(self.id, self._head, body, to_arrays({"g": gradient}))
