"""Hosts parts on one node: delivers messages, moves parts exactly once, keeps track of where parts live.

No sockets and no threads here: the worker feeds it from its compute thread, unit tests from a list. A move goes
``capture -> State -> StateTaken -> release``: the source keeps the part, and holds back what comes for it, until
the destination has verified the state's digest; then it forwards what it held and leaves a redirect behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from nodes.errors import RoambedError, WireError
from nodes.events import Span
from nodes.learn.pacing import Pacer
from nodes.runtime.part import Part, Snapshot, Timed, payload
from nodes.wire.codec import Tensors
from nodes.wire.control import FromNode, Task
from nodes.wire.messages import (
    Activations,
    Body,
    Close,
    Envelope,
    Gradients,
    Model,
    Moved,
    Open,
    PartId,
    State,
    StateRefused,
    StateTaken,
    Update,
)

MAX_HOPS = 4
_TRANSFERS = (Activations, Gradients, Model, Update, State)


class Transport(Protocol):
    """What the host needs of the network and the controller; unit tests have one in memory."""

    def send(self, node: str, envelope: Envelope, tensors: Tensors) -> None:
        """Hand a message to the network."""

    def connect(self, node: str) -> None:
        """Begin connecting to a node."""

    def tell(self, message: FromNode) -> None:
        """Say something to the controller."""

    def emit(self, span: Span) -> None:
        """Record an event."""

    def catch_up(self) -> None:
        """Let notices through that came while the compute thread was at work (they call `Host.notice`)."""


class Host:
    """The parts of one task on one node; it is the `Context` of its parts.

    Args:
        node: This node. task: The task. pacer: Keeps steps to the node's speed.
        transport: Network and controller. make: Builds a part of this task, given its address.
    """

    def __init__(
        self,
        node: str,
        task: Task,
        pacer: Pacer,
        transport: Transport,
        make: Callable[[PartId, Host], Part],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.node = node
        self.task = task
        self._pacer = pacer
        self._transport = transport
        self._make = make
        self._clock = clock
        self._where: dict[PartId, tuple[str, int]] = {p.part: (p.node, 0) for p in task.placement}
        self._leaving: dict[PartId, tuple[str, int, str]] = {}  # part -> (to, version, digest)
        self._held: dict[PartId, list[tuple[Envelope, Tensors]]] = {}
        self.parts: dict[PartId, Part] = {}
        for placed in task.placement:
            if placed.node == node:
                self.parts[placed.part] = make(placed.part, self)

    # --- what parts use ---------------------------------------------------------------------------------

    def send(
        self, src: PartId, dst: PartId, body: Body, tensors: Tensors | None = None, *, node: str | None = None
    ) -> None:
        """See `Context.send`."""
        to = node or self.where(dst)[0]
        envelope = Envelope(
            src=src, dst=dst, node=self.node, body=body, version=self.where(src)[1], sent=self._clock()
        )
        self._transport.send(to, envelope, tensors or {})

    def where(self, part: PartId) -> tuple[str, int]:
        """See `Context.where`."""
        if part not in self._where:
            raise WireError(f"no placement for {part}", where=self.node)
        return self._where[part]

    def place(self, part: PartId, node: str) -> int:
        """See `Context.place`."""
        version = self.where(part)[1] + 1
        self._where[part] = (node, version)
        return version

    def now(self) -> float:
        """See `Context.now`."""
        return self._clock()

    def connect(self, node: str) -> None:
        """See `Context.connect`."""
        self._transport.connect(node)

    def tell(self, message: FromNode) -> None:
        """See `Context.tell`."""
        self._transport.tell(message)

    def emit(self, span: Span) -> None:
        """See `Context.emit`."""
        self._transport.emit(span)

    @contextmanager
    def work(self, part: PartId, kind: str, op: str | None, **labels: Any) -> Iterator[Timed]:
        """See `Context.work`."""
        timed = Timed()
        if op is None:
            timed.begin, cpu = self._clock(), time.thread_time()
            yield timed
            timed.end, timed.cpu_s = self._clock(), time.thread_time() - cpu
        else:
            with self._pacer.step(self.task.reference[op]) as step:
                yield timed
            timed.begin, timed.end, timed.cpu_s, timed.late = step.begin, step.end, step.cpu_s, step.late
        # A device that hears of a handover during a paced step acts on it with this batch, not the next.
        self._transport.catch_up()
        self.emit(
            Span(
                kind=kind, node=self.node, scheme=self.task.scheme, task=self.task.id, part=str(part),
                begin=timed.begin, end=timed.end, cpu_s=timed.cpu_s, late=timed.late, **labels,
            )
        )  # fmt: skip
        self.tell_windows()

    def tell_windows(self, *, last: bool = False) -> None:
        """Record how well paced steps kept their time, for each window that is over (with ``last``: for all)."""
        for window in self._pacer.windows(last=last):
            self.emit(
                Span(
                    kind="speed", node=self.node, scheme=self.task.scheme, task=self.task.id,
                    begin=window.begin, end=window.end,
                    attrs={
                        "steps": window.steps, "late": window.late,
                        "asked_s": window.asked_s, "took_s": window.took_s,
                    },
                )
            )  # fmt: skip

    def move(self, part: PartId, to: str) -> None:
        """See `Context.move`."""
        if to == self.node or part in self._leaving:
            return
        begin = self._clock()
        snapshot = self.parts[part].capture()
        version = self.where(part)[1] + 1
        self._leaving[part] = (to, version, snapshot.digest)
        self._span("capture", part, begin, payload(snapshot.tensors), to)
        envelope = Envelope(
            src=part, dst=part, node=self.node, version=version, sent=self._clock(),
            body=State(digest=snapshot.digest, meta=snapshot.meta, captured=begin),
        )  # fmt: skip
        self._transport.send(to, envelope, snapshot.tensors)

    def rehearse(self, movable: tuple[str, ...] = ()) -> None:
        """Let every part do its work once, and parts of these roles that may yet come here."""
        for part in sorted(self.parts):
            self.parts[part].rehearse()
        for role in movable:
            self._make(PartId(self.task.id, role, self.task.owners[0]), self).rehearse()

    # --- what the worker feeds in -----------------------------------------------------------------------

    def begin(self) -> None:
        """Let every part that acts first begin."""
        for part in sorted(self.parts):
            self.parts[part].begin()

    def notice(self, edge: str, done: bool) -> None:
        """Pass a modem's notice to the parts of this node."""
        for part in sorted(self.parts):
            self.parts[part].notice(edge, done)

    def deliver(self, envelope: Envelope, tensors: Tensors, received: float, size: int) -> None:
        """Take one message from the network."""
        body, dst = envelope.body, envelope.dst
        if isinstance(body, _TRANSFERS):
            self._transferred(envelope, received, size)
        if isinstance(body, Moved):
            self._learn(body.part, body.node, body.version)
            return
        if isinstance(body, State):
            self._arrive(envelope, body, tensors)
            return
        if isinstance(body, StateTaken | StateRefused):
            self._settle(dst, body)
            return
        if isinstance(body, Open):
            self._open(dst, body.version)
        elif isinstance(body, Close):
            self._learn(dst, body.node, body.version)
            self.parts.pop(dst, None)
            return
        self._learn(envelope.src, envelope.node, envelope.version)
        if dst in self._leaving or (dst not in self.parts and self.where(dst)[0] == self.node):
            self._held.setdefault(dst, []).append((envelope, tensors))
        elif dst in self.parts:
            self.parts[dst].receive(envelope.src, body, tensors)
        else:
            self._forward(envelope, tensors)

    # --- moving -----------------------------------------------------------------------------------------

    def _arrive(self, envelope: Envelope, body: State, tensors: Tensors) -> None:
        part = envelope.dst
        begin = self._clock()
        try:
            made = self._make(part, self)
            made.restore(Snapshot(tensors, body.meta, body.digest))
        except (RoambedError, KeyError, ValueError, RuntimeError) as error:
            self._answer(envelope, StateRefused(reason=f"{type(error).__name__}: {error}"))
            return
        self.parts[part] = made
        self._where[part] = (self.node, envelope.version)
        self._span("restore", part, begin, payload(tensors), envelope.node)
        # What is owed to the device goes first: it is waiting for it.
        made.resume()
        self._answer(envelope, StateTaken(digest=body.digest))
        self._drain(part)

    def _answer(self, envelope: Envelope, body: Body) -> None:
        answer = Envelope(
            src=envelope.dst, dst=envelope.dst, node=self.node, body=body,
            version=envelope.version, sent=self._clock(),
        )  # fmt: skip
        self._transport.send(envelope.node, answer, {})

    def _settle(self, part: PartId, body: StateTaken | StateRefused) -> None:
        leaving = self._leaving.pop(part, None)
        if leaving is None:
            return
        to, version, digest = leaving
        if isinstance(body, StateTaken) and body.digest == digest:
            self.parts.pop(part)
            self._where[part] = (to, version)
        else:
            reason = body.reason if isinstance(body, StateRefused) else "it confirmed another state"
            self._note(f"{to} refused the state of {part} ({reason}); it stays on {self.node}")
            self.parts[part].resume()
        self._drain(part)

    def _open(self, part: PartId, version: int) -> None:
        if part not in self.parts:
            self.parts[part] = self._make(part, self)
        self._where[part] = (self.node, version)

    def _drain(self, part: PartId) -> None:
        for envelope, tensors in self._held.pop(part, []):
            if part in self.parts:
                self.parts[part].receive(envelope.src, envelope.body, tensors)
            else:
                self._forward(envelope, tensors)

    def _forward(self, envelope: Envelope, tensors: Tensors) -> None:
        node, version = self.where(envelope.dst)
        if node == self.node or envelope.hops >= MAX_HOPS:
            raise WireError(f"{envelope.dst} is nowhere to be found", where=self.node, found=f"last seen on {node}")
        hopped = Envelope(
            src=envelope.src, dst=envelope.dst, node=envelope.node, body=envelope.body,
            version=envelope.version, hops=envelope.hops + 1, sent=envelope.sent,
        )  # fmt: skip
        self._transport.send(node, hopped, tensors)
        redirect = Moved(part=envelope.dst, node=node, version=version)
        self._transport.send(
            envelope.node, Envelope(src=envelope.dst, dst=envelope.src, node=self.node, body=redirect), {}
        )

    def _learn(self, part: PartId, node: str, version: int) -> None:
        if part in self._where and version > self._where[part][1]:
            self._where[part] = (node, version)

    # --- events -----------------------------------------------------------------------------------------

    def _transferred(self, envelope: Envelope, received: float, size: int) -> None:
        body = envelope.body
        work = getattr(body, "work", None)
        self.emit(
            Span(
                kind="transfer" if isinstance(body, State) else "send",
                node=envelope.node, peer=self.node, scheme=self.task.scheme, task=self.task.id,
                part=str(envelope.src), begin=envelope.sent, end=received, bytes=size,
                round=work.round if work else getattr(body, "round", 0), batch=work.batch if work else -1,
                attrs={"message": type(body).__name__.lower()},
            )
        )  # fmt: skip

    def _span(self, kind: str, part: PartId, begin: float, size: int, peer: str) -> None:
        self.emit(
            Span(
                kind=kind, node=self.node, scheme=self.task.scheme, task=self.task.id, part=str(part),
                begin=begin, end=self._clock(), bytes=size, peer=peer, attrs={"device": part.owner},
            )
        )  # fmt: skip

    def _note(self, text: str) -> None:
        now = self._clock()
        self.emit(
            Span(kind="note", node=self.node, scheme=self.task.scheme, begin=now, end=now, attrs={"text": text})
        )
