"""Averaging in two tiers: each edge server averages its devices, the cloud averages the edge servers.

As in hierarchical federated averaging (Liu et al., 2020) with one edge round a cloud round: one model of each edge
server crosses the way to the cloud, whatever the number of its devices. Both means are weighted by samples and in order
of names, so that the result is the flat mean but for rounding: the mean of an edge server is rounded once more.

A tail hands its device's model to the `Collector` of the edge server that it is on when it has finished, which reports
it to the cloud. When all have been reported (or the round's time is over) the cloud asks each collector for the mean of
those that it holds. A device whose edge server dies before that begins its round again elsewhere, is reported from
there, and the collectors are asked anew. If the device has died as well, its model is lost, and nobody waits for it.
"""

from __future__ import annotations

from collections import defaultdict

import torch

from nodes.errors import WireError
from nodes.learn import aggregate
from nodes.runtime.part import Context, Quiet
from nodes.schemes._aggregator import OverTails
from nodes.schemes._arrays import to_arrays, to_torch
from nodes.schemes._base import AGGREGATOR, COLLECTOR
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Collect, Fetch, Moved, Partial, PartId, Reported, Update


def aggregator(part: PartId, context: Context) -> OverTails:
    """The aggregator of a split scheme: over edge servers where the task asks for it."""
    return OverEdges(part, context) if context.task.hierarchical else OverTails(part, context)


class Collector(Quiet):
    """An edge server's own aggregator; addressed by the edge server's name, and stays on it."""

    def __init__(self, part: PartId, context: Context) -> None:
        self.id = part
        self._context = context
        self._aggregator = PartId(part.task, AGGREGATOR, "")
        self._round = 0
        self._held: dict[str, tuple[int, dict[str, torch.Tensor]]] = {}  # samples and model by owner, of that round

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A device's model at the end of its round, or the cloud's wish for the mean of some."""
        match body:
            case Update():
                self._hold(src.owner, body, tensors)
            case Collect():
                self._collect(body)
            case _:
                raise WireError(f"{type(body).__name__} for {self.id}")

    def _hold(self, owner: str, body: Update, tensors: Tensors) -> None:
        if body.round < self._round:
            return
        if body.round > self._round:
            self._round = body.round
            self._held.clear()
        self._held[owner] = (body.samples, to_torch(tensors))
        # The model itself does not get to the cloud, so this is how that learns where the device's edge half is.
        tail = PartId(self.id.task, "tail", owner)
        node, version = self._context.where(tail)
        self._context.send(self.id, self._aggregator, Moved(tail, node, version))
        self._context.send(self.id, self._aggregator, Reported(body.round, owner))

    def _collect(self, body: Collect) -> None:
        if body.round != self._round or not set(body.owners) <= self._held.keys():
            return  # the cloud has been told of others since
        chosen = {owner: self._held[owner] for owner in body.owners}
        with self._context.work(self.id, "aggregate", None, round=body.round):
            mean = aggregate.fedavg(
                {owner: weights for owner, (_, weights) in chosen.items()},
                {owner: float(samples) for owner, (samples, _) in chosen.items()},
            )
        samples = sum(samples for samples, _ in chosen.values())
        self._context.send(self.id, self._aggregator, Partial(body.round, body.owners, samples), to_arrays(mean))


class OverEdges(OverTails):
    """Sends models to the tails, and averages the means of the edge servers."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._reported: dict[str, list[str]] = {}      # owner -> edge servers that hold its model, the last one counts
        self._asked: dict[str, tuple[str, ...]] = {}   # edge server -> owners that it was asked for

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Collect reports, then means; a part that starts its round over is to be reported anew."""
        match body:
            case Reported() if body.round == self._round and not self._done:
                if body.owner not in self._delivered and src.owner not in self._dead:
                    held = self._reported.setdefault(body.owner, [])
                    held[:] = [edge for edge in held if edge != src.owner] + [src.owner]
                    self._go_on()
            case Partial() if body.round == self._round and not self._done:
                owners = set(body.owners)
                if not owners & self._delivered:
                    self._take(f"{src.owner}/{min(owners)}", owners, body.samples, tensors)
            case Reported() | Partial():
                pass  # of a round that is over
            case Fetch():
                for edge in self._reported.pop(src.owner, []):
                    self._asked.pop(edge, None)
                super().receive(src, body, tensors)
            case _:
                super().receive(src, body, tensors)

    def lost(self, node: str) -> None:
        """A node has died; models that it held for the cloud are gone with it."""
        left = {owner: [edge for edge in held if edge != node] for owner, held in self._reported.items()}
        self._reported = {owner: held for owner, held in left.items() if held}
        self._asked.pop(node, None)
        super().lost(node)

    def _go_on(self) -> None:
        here = self._delivered | self._reported.keys()
        if not here or not self._enough(here):
            return
        if here == self._delivered:
            self._close_round()
            return
        groups: dict[str, list[str]] = defaultdict(list)
        for owner in sorted(here - self._delivered):
            groups[self._reported[owner][-1]].append(owner)
        for edge, owners in sorted(groups.items()):
            if self._asked.get(edge) != tuple(owners):
                self._asked[edge] = tuple(owners)
                collector = PartId(self.id.task, COLLECTOR, edge)
                self._context.send(self.id, collector, Collect(self._round, tuple(owners)))

    def _broadcast(self) -> None:
        self._reported.clear()
        self._asked.clear()
        super()._broadcast()
