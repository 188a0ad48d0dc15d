"""Where parts live, as one node knows it, and messages on their way there: sent, forwarded, and counted on arrival."""

from __future__ import annotations

from collections.abc import Callable

from nodes.errors import WireError
from nodes.events import Span
from nodes.runtime.part import payload
from nodes.runtime.transport import Transport
from nodes.wire.codec import Tensors
from nodes.wire.messages import (
    Activations,
    Body,
    Envelope,
    Gradients,
    Model,
    Moved,
    Partial,
    PartId,
    State,
    Update,
)
from nodes.wire.pipeline_messages import Layers
from nodes.wire.task import Task

MAX_HOPS = 16
_TRANSFERS = (Activations, Gradients, Layers, Model, Update, Partial, State)


class Routes:
    """The placement of a task's parts, and the way there.

    Attributes:
        carried: Bytes of messages to and from other nodes so far.
    """

    def __init__(self, node: str, task: Task, transport: Transport, clock: Callable[[], float]) -> None:
        self._node, self._task, self._transport, self._clock = node, task, transport, clock
        self._where: dict[PartId, tuple[str, int]] = {p.part: (p.node, 0) for p in task.placement}
        self.carried = 0

    def where(self, part: PartId) -> tuple[str, int]:
        """Node that a part lives on and the version of that placement (WireError if there is no such part)."""
        if part not in self._where:
            raise WireError(f"no placement for {part}", where=self._node)
        return self._where[part]

    def put(self, part: PartId, node: str, version: int) -> None:
        """Write down where a part lives."""
        self._where[part] = (node, version)

    def learn(self, part: PartId, node: str, version: int) -> None:
        """Hear where a part lives; what is no newer than what is known is not believed."""
        if part in self._where and version > self._where[part][1]:
            self._where[part] = (node, version)

    def send(self, src: PartId, dst: PartId, body: Body, tensors: Tensors, node: str | None = None) -> None:
        """Send to a part, wherever it lives, or to ``node``."""
        to = node or self.where(dst)[0]
        envelope = Envelope(
            src=src, dst=dst, node=self._node, body=body, version=self.where(src)[1], sent=self._clock(),
            pair=self._task.pair,
        )  # fmt: skip
        if to != self._node:
            self.carried += payload(tensors)
        self._transport.send(to, envelope, tensors)

    def forward(self, envelope: Envelope, tensors: Tensors) -> bool:
        """Send a message on to where its part has gone, and tell the sender; whether it is known to be elsewhere."""
        node, version = self.where(envelope.dst)
        if node == self._node or envelope.hops >= MAX_HOPS:
            return False
        hopped = Envelope(
            src=envelope.src, dst=envelope.dst, node=envelope.node, body=envelope.body,
            version=envelope.version, hops=envelope.hops + 1, sent=envelope.sent, pair=envelope.pair,
        )  # fmt: skip
        self._transport.send(node, hopped, tensors)
        redirect = Moved(part=envelope.dst, node=node, version=version)
        back = Envelope(src=envelope.dst, dst=envelope.src, node=self._node, body=redirect, pair=envelope.pair)
        self._transport.send(envelope.node, back, {})
        return True

    def arrived(self, envelope: Envelope, received: float, size: int) -> None:
        """Count what came from another node; an event, if it is training data."""
        if envelope.node == self._node:
            return
        self.carried += size
        body = envelope.body
        if not isinstance(body, _TRANSFERS):
            return
        work = getattr(body, "work", None)
        self._transport.emit(
            Span(
                kind="transfer" if isinstance(body, State) else "send",
                node=envelope.node, peer=self._node, scheme=self._task.scheme, task=self._task.id,
                part=str(envelope.src), begin=envelope.sent, end=received, bytes=size,
                round=work.round if work else getattr(body, "round", 0), batch=work.batch if work else -1,
                micro=work.micro if work else 0,
                attrs={"message": _name(body), "tensors": _tensors(envelope)},
            )
        )  # fmt: skip


def _name(body: Body) -> str:
    """What a message is called in events."""
    if isinstance(body, State) and body.standby:
        return "standby"
    if isinstance(body, Activations | Gradients) and body.replay:
        return "replay"
    return type(body).__name__.lower()


def _tensors(envelope: Envelope) -> str:
    """Which tensors a message has, for events: their names, or of a model's weights and states those of its layers."""
    names = [info.name for info in envelope.tensors]
    if not isinstance(envelope.body, Activations | Gradients):
        names = list(dict.fromkeys(name.partition(".")[0] + ".*" * ("." in name) for name in names))
    return ",".join(names)
