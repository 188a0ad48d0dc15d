"""The edge server's half of a split model: computes the loss and sends the gradients back; the part that moves."""

from __future__ import annotations

from typing import Any

import torch

from nodes.errors import RunError, WireError
from nodes.learn import models
from nodes.learn.state import TrainingState, capture
from nodes.runtime.part import Context, Quiet, Snapshot
from nodes.schemes._arrays import copies, to_arrays, to_torch
from nodes.schemes._base import AGGREGATOR, COLLECTOR
from nodes.schemes._halves import REHEARSALS, stage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Awaiting, Body, Fetch, Gradients, Model, Open, PartId, Update, Work


class Tail(Quiet):
    """The edge server's half: computes the loss and sends the gradients back; the part that moves."""

    def __init__(self, part: PartId, context: Context) -> None:
        self.id = part
        self._context = context
        self._head = PartId(part.task, "head", part.owner)
        self._aggregator = PartId(part.task, AGGREGATOR, "")
        self._stage = stage(context.task, "tail", part.owner)
        self._round = 0
        self._attempt = 0
        self._applied = -1           # last batch of the round that was applied
        self._loss_sum = 0.0
        self._owed: tuple[Gradients, torch.Tensor] | None = None
        self._finished: Update | None = None
        self._opened = -1            # round whose start the head holds already
        self._begun = (0, 0)         # round and attempt whose model has come

    def rehearse(self) -> None:
        """A few steps on nothing, and a state captured and restored."""
        task = self._context.task
        shape = models.shapes(task.model, tuple(task.in_shape), task.classes)[task.cut_of(self.id.owner)]
        labels = torch.zeros(task.batch, dtype=torch.int64)
        for _ in range(REHEARSALS):
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
                self._batch(body, tensors)
            case Update():
                self._finish_round(body, to_torch(tensors))
            case Open():
                self._round, self._attempt, self._opened = body.round, body.attempt, body.round
                self._context.send(self.id, self._aggregator, Fetch(body.round, body.attempt))
            case Awaiting():
                self._context.send(self.id, self._aggregator, body)
            case _:
                raise WireError(f"{type(body).__name__} for {self.id}")

    def position(self) -> tuple[int, int, int, bool]:
        """Round, attempt, first batch not applied, and whether the round's weights were passed on."""
        return self._round, self._attempt, self._applied + 1, self._finished is not None

    def _begin_round(self, body: Model, weights: dict[str, torch.Tensor]) -> None:
        if (body.round, body.attempt) < (self._round, self._attempt) and body.round <= self._round:
            return  # of a round or attempt that is over
        if (body.round, body.attempt) == self._begun:
            return  # it came twice
        self._begun = (body.round, body.attempt)
        known = bool(body.attempt) and body.round == self._opened
        self._round, self._attempt, self._applied, self._loss_sum = body.round, body.attempt, -1, 0.0
        self._owed = self._finished = None
        own = self._stage.layers.state_dict().keys()
        self._stage.load({k: v for k, v in weights.items() if k in own})
        # On a restart the head goes back to the copy it kept: nothing is shipped twice.
        rest = {} if known else {k: v for k, v in weights.items() if k not in own}
        self._context.send(self.id, self._head, Model(body.round, body.attempt), to_arrays(rest))
        if self._context.standby(self.id):
            self._context.stand_by(self.id, self._context.standby(self.id))

    def _batch(self, body: Activations, tensors: Tensors) -> None:
        if (body.work.round, body.attempt) != (self._round, self._attempt):
            return  # of a round or attempt that is over
        if body.work.batch == self._applied and not body.replay:
            self.resume()  # it came twice: what was lost is the answer
            return
        if body.work.batch != self._applied + 1:
            self._context.note(f"batch {body.work.batch} of round {self._round} out of turn for {self.id}")
            return
        if body.replay:
            self._train(body, to_torch(tensors), "replay-step")
            return
        standby = self._context.standby(self.id)
        if standby and standby in (body.standby, body.move_to):
            self._context.replay(self.id, body, tensors)  # now, so that both compute at the same time
        self._train(body, to_torch(tensors), "tail-step")
        if body.move_to and body.move_to != self._context.node:
            self._context.move(self.id, body.move_to)
            return
        self.resume()
        if body.standby != self._context.standby(self.id):
            self._context.stand_by(self.id, body.standby)

    def _train(self, body: Activations, tensors: dict[str, torch.Tensor], kind: str) -> None:
        labels: dict[str, Any] = {"round": body.work.round, "batch": body.work.batch}
        with self._context.work(self.id, kind, "tail.step", **labels):
            gradient, loss = self._stage.train_step_tail(tensors["x"], tensors["y"])
        self._applied = body.work.batch
        self._loss_sum += loss
        assert gradient is not None, "a tail always has a head before it"
        self._owed = (Gradients(body.work, loss, self._attempt), gradient)

    def _finish_round(self, body: Update, head: dict[str, torch.Tensor]) -> None:
        if (body.round, body.attempt) != (self._round, self._attempt):
            return
        if body.batches != self._applied + 1:
            # Of a head that trained with another tail, which is gone: the halves would not belong together.
            self._context.note(f"end of round {body.round} after {body.batches} batches out of turn for {self.id}")
            return
        weights = self._stage.layers.state_dict() | head
        self._finished = Update(body.round, body.samples, body.batches, self._loss_sum, body.attempt)
        self._context.send(self.id, self._averager(), self._finished, copies(weights))
        if body.move_to and body.move_to != self._context.node:
            self._context.move(self.id, body.move_to)

    def _averager(self) -> PartId:
        """Who averages this device's model: the cloud, or first the edge server where the tail is now."""
        hierarchical = self._context.task.hierarchical
        return PartId(self.id.task, COLLECTOR, self._context.node) if hierarchical else self._aggregator

    def capture(self, *, copy: bool = False) -> Snapshot:
        """Weights, optimizer, position, loss and the gradients that are owed."""
        state = capture(
            self._stage, copy=copy, pending=self._owed[1] if self._owed else None,
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
        self._begun = (self._round, self._attempt)
        if state.pending is not None:
            work = Work(self._round, self._applied)
            self._owed = (Gradients(work, float(state.extra["owed_loss"]), self._attempt), state.pending)

    def resume(self) -> None:
        """Send the gradients that are owed."""
        if self._owed is not None:
            body, gradient = self._owed
            self._context.send(self.id, self._head, body, to_arrays({"g": gradient}))
