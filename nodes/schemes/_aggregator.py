"""The aggregator: federated averaging (McMahan et al., 2017), weighted by samples, summed in order of names.

Who is late is waited for, unless the task says how long (`Task.drop_s`): then a round that is older closes with what
has come, one update at least. An update that comes after its round has closed counts for nothing. Who is known to have
died is not waited for; what it had delivered counts.
"""

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
from nodes.wire.messages import Awaiting, Body, Fetch, Model, PartId, Update


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
        self._owners = set(task.owners)
        self._model = models.build(task.model, task.seed, tuple(task.in_shape), task.classes)
        self._weights = {k: v.clone() for k, v in self._model.state_dict().items()}
        self._came: dict[str, tuple[int, dict[str, torch.Tensor]]] = {}  # samples and model, by a name to sort by
        self._delivered: set[str] = set()  # owners whose training is in them
        self._overdue = False
        self._behind: set[str] = set()     # owners that a round was closed without
        self._dead: set[str] = set()
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
            if src.owner not in self._delivered and not self._done:
                self._context.send(self.id, src, Model(self._round, body.attempt), to_arrays(self._weights))
        elif isinstance(body, Update):
            if body.round == self._round and not self._done:
                self._take(src.owner, {src.owner}, body.samples, tensors)
            else:
                self._too_late(src)  # or it came twice: a device that had no answer sent it again
        else:
            raise WireError(f"{type(body).__name__} for the aggregator")

    def awake(self, token: int) -> None:
        """The time of a round is over: go on with those that came."""
        if token == self._round and not self._done:
            self._overdue = True
            self._go_on()

    def lost(self, node: str) -> None:
        """A node has died: its model is not waited for, and none is sent to it."""
        self._dead.add(node)
        if not self._done:
            self._go_on()

    def _take(self, name: str, owners: set[str], samples: int, tensors: Tensors) -> None:
        self._came[name] = (samples, to_torch(tensors))
        self._delivered |= owners
        self._go_on()

    def _go_on(self) -> None:
        """Close the round if nobody else is waited for."""
        if self._delivered and self._enough(self._delivered):
            self._close_round()

    def _enough(self, owners: set[str]) -> bool:
        """Whether these owners are all that the round under way waits for."""
        return self._overdue or owners >= self._owners - self._dead

    def _too_late(self, src: PartId) -> None:
        """An update of a round that has closed."""

    def _leaves(self) -> list[PartId]:
        """Who is sent the model of a round."""
        return [PartId(self.id.task, self.leaf, owner) for owner in sorted(self._owners - self._dead)]

    def _broadcast(self) -> None:
        arrays = to_arrays(self._weights)
        for leaf in self._leaves():
            self._send_model(leaf, arrays)
        if self._context.task.drop_s is not None:
            self._context.wake(self.id, self._context.task.drop_s, self._round)

    def _send_model(self, leaf: PartId, arrays: Tensors) -> None:
        self._context.send(self.id, leaf, Model(self._round), arrays)

    def _close_round(self) -> None:
        done, task = self._round, self._context.task
        with self._context.work(self.id, "aggregate", None, round=done):
            self._weights = aggregate.fedavg(
                {name: weights for name, (_, weights) in self._came.items()},
                {name: float(samples) for name, (samples, _) in self._came.items()},
            )
        missing = self._owners - self._delivered
        self._behind |= missing
        self._came.clear()
        self._delivered.clear()
        self._overdue = False
        self._done = done == task.rounds
        if not self._done:
            # The next round starts while this one is evaluated.
            self._round += 1
            self._broadcast()
        self._model.load_state_dict(self._weights)
        with self._context.work(self.id, "evaluate", None, round=done):
            found = evaluate.evaluate(self._model, self._test)
        self._context.tell(RoundDone(task.id, done, found.accuracy, found.loss, tuple(sorted(missing))))
        if self._done:
            digest = weights_digest(self._weights)
            self._context.tell(TaskDone(task.id, digest, found.accuracy, found.loss))


class OverTails(Aggregator):
    """Exchanges whole models with the edge halves, which pass the devices' halves on.

    The model of a new round ends the old one for a device that was late: both of its halves take it up.

    A model that was on its way to an edge server when that died is lost, although another copy of the edge half may go
    on. So who still waits for it is sent it again, where the edge half is now; once for each place that it has been at.
    """

    leaf = "tail"

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._sent: dict[PartId, tuple[str, int]] = {}  # placement that the round's model was sent to

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Collect updates; answer a part that starts its round over, or that may have missed a model."""
        if isinstance(body, Awaiting):
            if body.round < self._round:
                self._missed(src)
        else:
            super().receive(src, body, tensors)

    def _too_late(self, src: PartId) -> None:
        self._missed(src)

    def _missed(self, tail: PartId) -> None:
        """An edge half is still in an earlier round: the model of this one is on its way there, or was lost."""
        if tail.owner not in self._delivered and not self._done and self._sent.get(tail) != self._context.where(tail):
            self._send_model(tail, to_arrays(self._weights))

    def _send_model(self, leaf: PartId, arrays: Tensors) -> None:
        self._sent[leaf] = self._context.where(leaf)
        super()._send_model(leaf, arrays)


class OverDevices(Aggregator):
    """Exchanges whole models with the devices.

    A device that was late is still training: it gets the model of the round under way when it has delivered.
    """

    leaf = "whole"

    def _leaves(self) -> list[PartId]:
        return [leaf for leaf in super()._leaves() if leaf.owner not in self._behind]

    def _too_late(self, src: PartId) -> None:
        if src.owner in self._behind and not self._done:
            self._behind.discard(src.owner)
            self._context.send(self.id, src, Model(self._round), to_arrays(self._weights))
