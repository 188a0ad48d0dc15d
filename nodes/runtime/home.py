"""The host that parts are on, as what moves them sees it, and what is said from there about one of them."""

from __future__ import annotations

from typing import Protocol

from nodes.events import Span
from nodes.runtime.part import Part
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Envelope, PartId
from nodes.wire.task import Task


class Home(Protocol):
    """What moving needs of the host that parts are on."""

    node: str
    task: Task
    parts: dict[PartId, Part]

    def post(self, to: str, envelope: Envelope, tensors: Tensors) -> None:
        """Hand a message to the network."""

    def where(self, part: PartId) -> tuple[str, int]:
        """Node and placement version of a part."""

    def put(self, part: PartId, node: str, version: int) -> None:
        """Write down where a part lives."""

    def make(self, part: PartId) -> Part:
        """Build a part."""

    def deliver_held(self, part: PartId, messages: list[tuple[Envelope, Tensors]]) -> None:
        """Deliver, or forward, what was held back for a part."""

    def now(self) -> float:
        """CLOCK_MONOTONIC."""

    def emit(self, span: Span) -> None:
        """Record an event."""

    def note(self, text: str) -> None:
        """Record what a person should read."""


def send(
    home: Home, to: str, part: PartId, body: Body, tensors: Tensors | None = None, *,
    version: int | None = None, to_part: PartId | None = None,
) -> None:  # fmt: skip
    """Send a message about a part to another node.

    Args:
        home: Where it is sent from.
        to: The node.
        part: Whose matter it is.
        body: What is said.
        tensors: What goes along.
        version: Of the part's placement; None: the one that is known here.
        to_part: Whom it is for; None: the part itself, there.
    """
    known = home.where(part)[1] if version is None else version
    envelope = Envelope(
        src=part, dst=to_part or part, node=home.node, body=body, version=known, sent=home.now(), pair=home.task.pair
    )
    home.post(to, envelope, tensors or {})


def record(home: Home, kind: str, part: PartId, begin: float, size: int, peer: str, **attrs: str) -> None:
    """Record an event of a part that ends now: ``size`` in bytes, ``peer`` the other node."""
    home.emit(
        Span(
            kind=kind, node=home.node, scheme=home.task.scheme, task=home.task.id, part=str(part),
            begin=begin, end=home.now(), bytes=size, peer=peer, attrs={"device": part.owner, **attrs},
        )
    )  # fmt: skip
