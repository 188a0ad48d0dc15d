"""What a part is and what it may do: the boundary between schemes and the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from nodes.events import Span
from nodes.policies.selection import Indices
from nodes.wire.codec import Tensors
from nodes.wire.control import FromNode
from nodes.wire.messages import Activations, Body, Gradients, PartId
from nodes.wire.task import Task


@dataclass
class Timed:
    """A stretch of work: begun, ended, CPU time, and whether it ended after its deadline."""

    begin: float = 0.0
    end: float = 0.0
    cpu_s: float = 0.0
    late: bool = False


@dataclass(frozen=True)
class Arrival:
    """When a message was received, as the I/O thread has it (s of CLOCK_MONOTONIC), and the bytes of its frames."""

    at: float
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """A part's whole training state: what cannot be derived from the task, as tensors and plain values.

    ``digest`` covers both, and `Part.restore` checks it.
    """

    tensors: Tensors
    meta: dict[str, Any]
    digest: str


class Context(Protocol):
    """The runtime, as a part sees it. A part has no sockets, threads or clocks of its own.

    ``dilation`` is the real seconds that a second of the experiment takes (`now` has real ones, `wake` those of the
    experiment). ``kept`` has the samples of an owner whose data is here that are trained on, once they were selected.
    """

    node: str
    task: Task
    dilation: float
    kept: dict[str, Indices]

    def send(
        self, src: PartId, dst: PartId, body: Body, tensors: Tensors | None = None, *, node: str | None = None
    ) -> None:
        """Send to a part, wherever it lives (or to ``node``, where it is about to live)."""

    def where(self, part: PartId) -> tuple[str, int]:
        """Node that a part lives on and the version of that placement."""

    def place(self, part: PartId, node: str) -> int:
        """Decide that a part lives on ``node`` from now on; returns the new version."""

    def learn(self, part: PartId, node: str, version: int) -> None:
        """Hear where a part lives since this placement version; older ones, and a part at work here, stay as known."""

    def retire(self, part: PartId, node: str, version: int) -> None:
        """Give a hosted part up: it lives on ``node`` since this version, made afresh there, and is not needed here."""

    def arrived(self, part: PartId) -> tuple[float, int, bool]:
        """When the move that brought a hosted part here began (CLOCK_MONOTONIC), and bytes of its state; or zeros.

        And whether it came ahead of its device.
        """

    def now(self) -> float:
        """CLOCK_MONOTONIC, for events."""

    def arrival(self) -> Arrival:
        """When the message that is being received came to this node, which may have been long before its turn."""

    def busy(self) -> Mapping[str, float]:
        """Seconds of work (`work`) on this node so far, by the owners of its parts."""

    def carried(self) -> int:
        """Bytes of messages to and from other nodes so far."""

    def needs(self) -> Mapping[str, int]:
        """Bytes that parts on this node say they need (`Part.need`), by owner; standbys too."""

    def connect(self, node: str) -> None:
        """Have a connection ready before it is needed."""

    def work(
        self, part: PartId, kind: str, op: str | None, *, seconds: float | None = None, own: bool = False, **labels: Any
    ) -> AbstractContextManager[Timed]:
        """Do work as an event of ``kind``; paced to the reference time of ``op``, or to ``seconds``, when one is given.

        Both are what the work takes at speed 1; with ``own`` that is the CPU time that it takes here and now.
        """

    def move(self, part: PartId, to: str, *, ahead: bool = False) -> None:
        """Move a hosted part, with its training state, to another node (`Part.resume` runs there).

        ``ahead``: of its device, which will be near that node.
        """

    def standby(self, part: PartId) -> str:
        """Node that holds a standby of a hosted part, empty if none does."""

    def stand_by(self, part: PartId, to: str) -> None:
        """Keep a standby of a hosted part on another node, from its present state on (empty: no more)."""

    def replay(self, part: PartId, body: Activations | Gradients, tensors: Tensors) -> None:
        """Give a hosted part's standby, if it has one, what the part is about to apply."""

    def wake(self, part: PartId, seconds: float, token: int) -> None:
        """Have `Part.awake` called with this token after so many seconds of the experiment."""

    def note(self, text: str) -> None:
        """Record what a person should read."""

    def emit(self, span: Span) -> None:
        """Record an event."""

    def tell(self, message: FromNode) -> None:
        """Say something to the controller."""


class Part(Protocol):
    """A piece of a task. All its methods run on the node's one compute thread."""

    id: PartId

    def rehearse(self) -> None:
        """Do the part's work once on nothing, before the task starts: first times are slow. State may be spoilt."""

    def begin(self) -> None:
        """The task starts (only parts that act first do anything)."""

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A message for this part."""

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """A handover to the site of this edge server comes, or is done (devices only).

        ``in_s`` is in how many seconds of the experiment, where that is known.
        """

    def forecast(self, edge: str, in_s: float | None = None) -> None:
        """The device will probably be at this edge server next; empty: it stays (devices only).

        ``in_s`` is in how many seconds of the experiment, where that is known.
        """

    def lost(self, node: str) -> None:
        """A node has died, and the task goes on without it. Parts that it owned are dropped, not told."""

    def awake(self, token: int) -> None:
        """The time that `Context.wake` was asked for is over."""

    def need(self) -> int:
        """Bytes of memory for its training, where nodes have so much and no more for that."""

    def position(self) -> tuple[int, int, int, bool]:
        """Round, attempt, first batch not applied, and whether the round's weights were passed on."""

    def stood_by(self, node: str) -> None:
        """The standby that was asked for stands on this node: it has the state, and does what comes after it."""

    def capture(self, *, copy: bool = False) -> Snapshot:
        """The state to move; without ``copy`` the part does nothing more until it is dropped or resumed."""

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was captured (RunError or WireError if it is not what its digest says)."""

    def resume(self) -> None:
        """Go on from where `capture` was called: send what is owed."""


class Quiet:
    """A part's reactions to what most parts do not care about; a base class for parts."""

    id: PartId

    def rehearse(self) -> None:
        """Nothing is slow the first time."""

    def begin(self) -> None:
        """Wait for a message."""

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """Stay."""

    def forecast(self, edge: str, in_s: float | None = None) -> None:
        """Do nothing ahead."""

    def lost(self, node: str) -> None:
        """Find out by oneself, when no answer comes."""

    def awake(self, token: int) -> None:
        """Nothing was waited for."""

    def need(self) -> int:
        """Nothing worth counting."""
        return 0

    def position(self) -> tuple[int, int, int, bool]:
        """Nowhere in particular."""
        return 0, 0, 0, False

    def stood_by(self, node: str) -> None:
        """Know it from how long moves take."""

    def capture(self, *, copy: bool = False) -> Snapshot:
        """Refuse: not every part can move."""
        raise NotImplementedError(f"{self.id} does not move")

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse: not every part can move."""
        raise NotImplementedError(f"{self.id} does not move")

    def resume(self) -> None:
        """Owe nothing."""


def payload(tensors: Mapping[str, Any]) -> int:
    """Bytes of all tensors."""
    return sum(int(t.nbytes) for t in tensors.values())
