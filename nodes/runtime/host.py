"""Hosts parts on one node: delivers messages, keeps track of where parts live, has them moved (`moving`).

No sockets and no threads here: the worker feeds it from its compute thread, unit tests from a list.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from nodes.errors import WireError
from nodes.events import Span
from nodes.learn.pacing import Pacer
from nodes.policies.selection import Indices
from nodes.runtime.moving import MOVING, Mover
from nodes.runtime.part import Arrival, Part, Timed, payload
from nodes.wire.codec import Tensors
from nodes.wire.control import FromNode, Task
from nodes.wire.messages import (
    Activations,
    Body,
    Close,
    Envelope,
    Gradients,
    Layers,
    Model,
    Moved,
    Open,
    Partial,
    PartId,
    State,
    Update,
)

MAX_HOPS = 16
_TRANSFERS = (Activations, Gradients, Layers, Model, Update, Partial, State)


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

    def wake(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done after a while, on the compute thread."""

    def catch_up(self) -> None:
        """Let notices through that came while the compute thread was at work (they call `Host.notice`)."""


class Host:
    """The parts of one task on one node; it is the `Context` of its parts.

    Args:
        node: This node. task: The task. pacer: Keeps steps to the node's speed.
        transport: Network and controller. make: Builds a part of this task, given its address.
        dilation: Real seconds that a second of the experiment takes.
    """

    def __init__(
        self,
        node: str,
        task: Task,
        pacer: Pacer,
        transport: Transport,
        make: Callable[[PartId, Host], Part],
        clock: Callable[[], float] = time.monotonic,
        dilation: float = 1.0,
    ) -> None:
        self.node = node
        self.task = task
        self.dilation = dilation
        self._pacer = pacer
        self._transport = transport
        self._make = make
        self._clock = clock
        self._where: dict[PartId, tuple[str, int]] = {p.part: (p.node, 0) for p in task.placement}
        self._mover = Mover(self)
        self._early: dict[PartId, list[tuple[Envelope, Tensors]]] = {}  # layers for parts that are not open yet
        self._dead: set[str] = set()  # nodes that the task goes on without
        self._arrival = Arrival(0.0, 0)  # of the message at hand
        self._busy: dict[str, float] = {}  # by owner
        self._carried = 0
        self._rehearsing = False
        self.kept: dict[str, Indices] = {}
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
        if to != self.node:
            self._carried += payload(tensors or {})
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

    def learn(self, part: PartId, node: str, version: int) -> None:
        """See `Context.learn`."""
        self._learn(part, node, version)

    def retire(self, part: PartId, node: str, version: int) -> None:
        """See `Context.retire`."""
        self._mover.gone(part)
        self.parts.pop(part, None)
        self._learn(part, node, version)

    def arrived(self, part: PartId) -> tuple[float, int]:
        """See `Context.arrived`."""
        return self._mover.arrived(part)

    def now(self) -> float:
        """See `Context.now`."""
        return self._clock()

    def arrival(self) -> Arrival:
        """See `Context.arrival`."""
        return self._arrival

    def busy(self) -> Mapping[str, float]:
        """See `Context.busy`."""
        return dict(self._busy)

    def carried(self) -> int:
        """See `Context.carried`."""
        return self._carried

    def needs(self) -> Mapping[str, int]:
        """See `Context.needs`."""
        found: Counter[str] = Counter()
        for id_, part in (*self.parts.items(), *self._mover.copies()):
            found[id_.owner] += part.need()
        return found

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
    def work(
        self, part: PartId, kind: str, op: str | None, *, seconds: float | None = None, own: bool = False, **labels: Any
    ) -> Iterator[Timed]:
        """See `Context.work`."""
        timed = Timed()
        if op is not None:
            seconds = self.task.reference_of(part.owner)[op]
        if seconds is None and not own:
            timed.begin, cpu = self._clock(), time.thread_time()
            yield timed
            timed.end, timed.cpu_s = self._clock(), time.thread_time() - cpu
        else:
            with self._pacer.step(seconds) as step:
                yield timed
            timed.begin, timed.end, timed.cpu_s, timed.late = step.begin, step.end, step.cpu_s, step.late
        self._busy[part.owner] = self._busy.get(part.owner, 0.0) + timed.end - timed.begin
        # A device that hears of a handover during a paced step acts on it with this batch, not the next.
        self._transport.catch_up()
        self.emit(
            Span(
                kind=kind, node=self.node, scheme=self.task.scheme, task=self.task.id, part=str(part),
                begin=timed.begin, end=timed.end, cpu_s=timed.cpu_s, late=timed.late, **labels,
            )
        )  # fmt: skip
        if not self._rehearsing:
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
        self._mover.move(part, to)

    def standby(self, part: PartId) -> str:
        """See `Context.standby`."""
        return self._mover.standby(part)

    def stand_by(self, part: PartId, to: str) -> None:
        """See `Context.stand_by`."""
        self._mover.stand_by(part, to)

    def replay(self, part: PartId, body: Activations | Gradients, tensors: Tensors) -> None:
        """See `Context.replay`."""
        self._mover.replay(part, body, tensors)

    def wake(self, part: PartId, seconds: float, token: int) -> None:
        """See `Context.wake`."""
        self._transport.wake(seconds, lambda: self._awake(part, token))

    def close(self) -> None:
        """The task is over: timers that still run have nothing to wake."""
        self.parts.clear()

    def _awake(self, part: PartId, token: int) -> None:
        if part in self.parts:
            self.parts[part].awake(token)

    def note(self, text: str) -> None:
        """See `Context.note`."""
        now = self._clock()
        self.emit(
            Span(kind="note", node=self.node, scheme=self.task.scheme, begin=now, end=now, attrs={"text": text})
        )

    # --- what moving needs ------------------------------------------------------------------------------

    def post(self, to: str, envelope: Envelope, tensors: Tensors) -> None:
        """See `moving.Home.post`."""
        self._transport.send(to, envelope, tensors)

    def put(self, part: PartId, node: str, version: int) -> None:
        """See `moving.Home.put`."""
        self._where[part] = (node, version)

    def make(self, part: PartId) -> Part:
        """See `moving.Home.make`."""
        return self._make(part, self)

    def deliver_held(self, part: PartId, messages: list[tuple[Envelope, Tensors]]) -> None:
        """See `moving.Home.deliver_held`."""
        for envelope, tensors in messages:
            if part in self.parts:
                self.parts[part].receive(envelope.src, envelope.body, tensors)
            else:
                self._forward(envelope, tensors)

    def rehearse(self, movable: tuple[str, ...] = ()) -> None:
        """Let every part do its work once, and parts of these roles that may yet come here.

        Paced steps of it are not counted: all nodes do this at once, and the first times are slow.
        """
        self._rehearsing = True
        for part in sorted(self.parts):
            self.parts[part].rehearse()
        owners = {self.task.cut_of(owner): owner for owner in reversed(self.task.owners)}  # one of each cut
        for role in movable:
            for owner in sorted(owners.values()):
                self._make(PartId(self.task.id, role, owner), self).rehearse()
        self._pacer.forget()
        self._rehearsing = False

    # --- what the worker feeds in -----------------------------------------------------------------------

    def begin(self) -> None:
        """Let every part that acts first begin."""
        for part in sorted(self.parts):
            self.parts[part].begin()

    def notice(self, edge: str, done: bool) -> None:
        """Pass a modem's notice to the parts of this node."""
        for part in sorted(self.parts):
            self.parts[part].notice(edge, done)

    def forecast(self, edge: str, in_s: float | None = None) -> None:
        """Pass on which edge server a device will probably be at next (empty: where it is), and when."""
        for part in sorted(self.parts):
            self.parts[part].forecast(edge, in_s)

    def lost(self, node: str) -> None:
        """A node has died: drop its parts and standbys that are here, and tell all other parts."""
        self._dead.add(node)
        self._mover.lost(node)
        for part in sorted(self.parts):
            if part.owner == node:
                del self.parts[part]
            elif part in self.parts:  # another one may have had it go
                self.parts[part].lost(node)

    def spoil(self) -> None:
        """Flip a bit of a copy of training state, as failing memory would."""
        self._mover.spoil()

    def deliver(self, envelope: Envelope, tensors: Tensors, received: float, size: int) -> None:
        """Take one message from the network."""
        body, dst = envelope.body, envelope.dst
        self._arrival = Arrival(received, size)
        self._carried += size if envelope.node != self.node else 0
        if isinstance(body, _TRANSFERS) and envelope.node != self.node:
            self._transferred(envelope, received, size)
        if dst.owner in self._dead:
            return  # nobody has a use for it
        if isinstance(body, MOVING):
            self._mover.take(envelope, tensors)
            return
        if isinstance(body, Activations | Gradients) and body.replay:
            self._mover.applied(envelope, tensors)
            return
        if isinstance(body, Moved):
            self._learn(body.part, body.node, body.version)
            return
        if isinstance(body, Open):
            if body.version < self.where(dst)[1]:
                return  # its head has decided otherwise since
            self._mover.gone(dst)
            self.parts[dst] = self._make(dst, self)
            self._where[dst] = (self.node, body.version)
            self._learn(envelope.src, envelope.node, envelope.version)
            self.parts[dst].receive(envelope.src, body, tensors)
            self.deliver_held(dst, self._early.pop(dst, []))
            return
        elif isinstance(body, Close):
            if body.version >= self.where(dst)[1]:
                self.retire(dst, body.node, body.version)
            return
        self._learn(envelope.src, envelope.node, envelope.version)
        if isinstance(body, Layers) and body.version >= self.where(dst)[1] + self._at_work(dst):
            self._early.setdefault(dst, []).append((envelope, tensors))  # whom they are for is yet to be opened
        elif self._mover.leaving(dst) or (dst not in self.parts and self.where(dst)[0] == self.node):
            self._mover.hold(envelope, tensors)
        elif dst in self.parts:
            self.parts[dst].receive(envelope.src, body, tensors)
        else:
            self._forward(envelope, tensors)

    def _forward(self, envelope: Envelope, tensors: Tensors) -> None:
        node, version = self.where(envelope.dst)
        if node == self.node or envelope.hops >= MAX_HOPS:
            # Whoever waits for an answer will ask where the part is.
            self.note(f"{type(envelope.body).__name__} for {envelope.dst} dropped: last seen on {node}")
            return
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
        if part in self._where and version > self._where[part][1] and not self._at_work(part):
            self._where[part] = (node, version)

    def _at_work(self, part: PartId) -> bool:
        """Whether a part is here and has begun something: until it is told to go, it is nowhere else."""
        return part in self.parts and self.parts[part].position()[0] > 0

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
