"""What parts' hosts need of the network and the controller; the worker has it with sockets, unit tests in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nodes.events import Span
from nodes.wire.codec import Tensors
from nodes.wire.control import FromNode
from nodes.wire.messages import Envelope


class TaskOver(BaseException):
    """The task is to end at once: leaves whatever a part is doing. No part may catch it by mistake."""


class Transport(Protocol):
    """A node's way to others and to the controller."""

    def send(self, node: str, envelope: Envelope, tensors: Tensors) -> None:
        """Hand a message to the network."""

    def connect(self, node: str) -> None:
        """Begin connecting to a node."""

    def tell(self, message: FromNode) -> None:
        """Say something to the controller."""

    def emit(self, span: Span) -> None:
        """Record an event."""

    def wake(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done after a while, on the compute thread."""

    def catch_up(self) -> None:
        """Let notices through that came while the compute thread was at work (they call `Host.notice`).

        Raises:
            TaskOver: The task is to end at once.
        """
