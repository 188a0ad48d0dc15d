"""What all of the orchestrator works with: its books, and its hands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nodes.platform.asking import Asking
from nodes.platform.calls import Calls
from nodes.platform.holdings import Holdings
from nodes.platform.registry import Registry
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings
from nodes.wire.platform_messages import InvokeOn, KeepBlobs


class Actions(Protocol):
    """What the orchestrator has done, by the unit's agent that it lives in."""

    def number(self) -> int:
        """A number for an invocation, or for a pair of them, that no other one has had on this bed."""

    def invoke(self, unit: str, call: InvokeOn) -> None:
        """Have a unit run a function."""

    def cancel(self, unit: str, call: int) -> None:
        """Tell a unit that nobody wants an invocation any more."""

    def keep(self, unit: str, message: KeepBlobs) -> None:
        """Tell a unit what to keep, and what not."""

    def gone(self, unit: str, other: str) -> None:
        """Tell a unit that waits for blobs that another one counts as lost."""

    def say(self, message: ctl.FromNode) -> None:
        """Tell the controller."""


@dataclass(frozen=True)
class Books:
    """Books and hands; ``clock`` gives seconds of the experiment."""

    settings: PlatformSettings
    registry: Registry
    calls: Calls
    holdings: Holdings
    asking: Asking
    act: Actions
    clock: Callable[[], float]
