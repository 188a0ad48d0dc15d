"""The aggregator: federated averaging (McMahan et al., 2017), weights summed in name order of their owners."""

from __future__ import annotations

from pathlib import Path

import torch

from nodes.errors import WireError
from nodes.learn import aggregate, evaluate, models, shards
from nodes.learn.digest import weights_digest
from nodes.runtime.part import Context, Quiet
from nodes.schemes._arrays import to_arrays, to_torch
from nodes.wire.codec import Tensors
from nodes.wire.control import RoundDone, TaskDone
from nodes.wire.messages import Body, Fetch, Model, PartId, Update


class Aggregator(Quiet):
    """Sends the global model, averages what comes back, evaluates it on the test set.

    Args:
        part: Its address. context: The runtime.
    """

    leaf = ""
    """Role of the parts that it exchanges models with."""

    def __init__(self, part: PartId, context: Context) -> None:
        task = context.task
        self.id = part
        self._context = context
        self._leaves = [PartId(task.id, self.leaf, owner) for owner in task.owners]
        self._model = models.build(task.model, task.seed, tuple(task.in_shape), task.classes)
        self._weights = {k: v.clone() for k, v in self._model.state_dict().items()}
        self._updates: dict[str, tuple[Update, dict[str, torch.Tensor]]] = {}
        self._round = 1
        self._done = False
        self._test = shards.read(Path(task.data[context.node]))

    def begin(self) -> None:
        """Send the initial model to all."""
        self._broadcast()

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Collect updates; answer a part that starts its round over."""
        if isinstance(body, Fetch):
            # Who has delivered its round is sent the next model with all others.
            if src.owner not in self._updates and not self._done:
                self._context.send(self.id, src, Model(self._round, body.attempt), to_arrays(self._weights))
        elif isinstance(body, Update):
            if body.round != self._round:
                return  # it came twice: a device that had no answer sent it again
            self._updates[src.owner] = (body, to_torch(tensors))
            if len(self._updates) == len(self._leaves):
                self._close_round()
        else:
            raise WireError(f"{type(body).__name__} for the aggregator")

    def _broadcast(self) -> None:
        arrays = to_arrays(self._weights)
        for leaf in self._leaves:
            self._context.send(self.id, leaf, Model(self._round), arrays)

    def _close_round(self) -> None:
        done, task = self._round, self._context.task
        with self._context.work(self.id, "aggregate", None, round=done):
            self._weights = aggregate.fedavg(
                {owner: weights for owner, (_, weights) in self._updates.items()},
                {owner: float(update.samples) for owner, (update, _) in self._updates.items()},
            )
        self._updates.clear()
        self._done = done == task.rounds
        if not self._done:
            # The next round starts while this one is evaluated.
            self._round += 1
            self._broadcast()
        self._model.load_state_dict(self._weights)
        with self._context.work(self.id, "evaluate", None, round=done):
            found = evaluate.evaluate(self._model, self._test)
        self._context.tell(RoundDone(task.id, done, found.accuracy, found.loss))
        if self._done:
            digest = weights_digest(self._weights)
            self._context.tell(TaskDone(task.id, digest, found.accuracy, found.loss))


class OverTails(Aggregator):
    """Exchanges whole models with the edge halves, which pass the devices' halves on."""

    leaf = "tail"


class OverDevices(Aggregator):
    """Exchanges whole models with the devices."""

    leaf = "whole"
