"""Standbys: copies of parts on other nodes, kept in step by applying the same batches. How one takes over: `moving`."""

from __future__ import annotations

from nodes.runtime.home import Home, record, send
from nodes.runtime.part import Part, payload
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Body, DropStandby, Envelope, Gradients, PartId, State, StateTaken


class StandbyKeeper:
    """The standbys that one node's parts have elsewhere, and those of other nodes' parts that are here.

    Attributes:
        here: Standbys of other nodes' parts.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.here: dict[PartId, Part] = {}
        self._places: dict[PartId, str] = {}   # where our parts have theirs
        self._digests: dict[PartId, str] = {}  # of the state that one was sent last

    def of(self, part: PartId) -> str:
        """Node that holds a standby of a part of this node; empty if none does."""
        return self._places.get(part, "")

    def make(self, part: PartId, to: str) -> None:
        """Have a standby of a part made on another node, of its present state."""
        begin = self._home.now()
        snapshot = self._home.parts[part].capture(copy=True)
        self._places[part] = to
        self._digests[part] = snapshot.digest
        record(self._home, "standby", part, begin, payload(snapshot.tensors), to)
        body = State(digest=snapshot.digest, meta=snapshot.meta, captured=begin, standby=True)
        send(self._home, to, part, body, snapshot.tensors)

    def end(self, part: PartId, keep: str = "") -> str:
        """Keep the standby of a part in step no more, and have it dropped unless it is on the node ``keep``.

        Returns:
            The node that it is on, empty if there was none.
        """
        place = self._places.pop(part, "")
        if place and place != keep:
            send(self._home, place, part, DropStandby())
        return place

    def replay(self, part: PartId, body: Activations | Gradients, tensors: Tensors) -> None:
        """Give a part's standby what the part is about to apply."""
        to = self._places.get(part)
        if to and isinstance(body, Gradients):
            send(self._home, to, part, Gradients(body.work, body.loss, body.attempt, replay=True), tensors)
        elif to:
            send(self._home, to, part, Activations(body.work, body.attempt, replay=True), tensors)

    def applied(self, envelope: Envelope, tensors: Tensors) -> None:
        """Have a standby apply the batch that its original applied; without one there is nothing to do."""
        copy = self.here.get(envelope.dst)
        if copy is not None:
            copy.receive(envelope.src, envelope.body, tensors)

    def confirmed(self, part: PartId, node: str, body: Body) -> None:
        """Another node has answered for a standby: if it has the state that was sent last, the part is told."""
        stands = isinstance(body, StateTaken) and body.digest == self._digests.get(part)
        if stands and self._places.get(part) == node:
            self._home.parts[part].stood_by(node)

    def lost(self, node: str) -> None:
        """A node has died: standbys of its parts are of no use, and those on it are gone."""
        for part in [part for part in self.here if part.owner == node]:
            del self.here[part]
        for part in [part for part, place in self._places.items() if node in (part.owner, place)]:
            del self._places[part]
