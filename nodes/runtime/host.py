"""Hosts parts on one node: delivers messages, knows where parts live (`routes`), paces work (`work`), moves (`moving`).

No sockets and no threads here: the worker feeds it from its compute thread, unit tests from a list.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from nodes.events import Span
from nodes.learn.pacing import Pacer
from nodes.policies.selection import Indices
from nodes.runtime.moving import MOVING, Mover
from nodes.runtime.part import Arrival, Part, Timed
from nodes.runtime.routes import Routes
from nodes.runtime.standbys import StandbyKeeper
from nodes.runtime.transport import Transport
from nodes.runtime.work import PacedWork
from nodes.wire.codec import Tensors
from nodes.wire.control import FromNode
from nodes.wire.messages import Activations, Body, Close, Envelope, Gradients, Moved, Open, PartId
from nodes.wire.pipeline_messages import Layers
from nodes.wire.task import Task


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
        self._transport = transport
        self._make = make
        self._clock = clock
        self._routes = Routes(node, task, transport, clock)
        self._work = PacedWork(node, task, pacer, transport, clock)
        self._standbys = StandbyKeeper(self)
        self._mover = Mover(self, self._standbys)
        self._early: dict[PartId, list[tuple[Envelope, Tensors]]] = {}  # layers for parts that are not open yet
        self._dead: set[str] = set()  # nodes that the task goes on without
        self._arrival = Arrival(0.0, 0)  # of the message at hand
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
        self._routes.send(src, dst, body, tensors or {}, node)

    def where(self, part: PartId) -> tuple[str, int]:
        """See `Context.where`."""
        return self._routes.where(part)

    def place(self, part: PartId, node: str) -> int:
        """See `Context.place`."""
        version = self.where(part)[1] + 1
        self._routes.put(part, node, version)
        return version

    def learn(self, part: PartId, node: str, version: int) -> None:
        """See `Context.learn`."""
        self._learn(part, node, version)

    def retire(self, part: PartId, node: str, version: int) -> None:
        """See `Context.retire`."""
        self._mover.gone(part)
        self.parts.pop(part, None)
        self._learn(part, node, version)

    def arrived(self, part: PartId) -> tuple[float, int, bool]:
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
        return dict(self._work.busy)

    def carried(self) -> int:
        """See `Context.carried`."""
        return self._routes.carried

    def needs(self) -> Mapping[str, int]:
        """See `Context.needs`."""
        found: Counter[str] = Counter()
        for id_, part in (*self.parts.items(), *self._standbys.here.items()):
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

    def work(
        self, part: PartId, kind: str, op: str | None, *, seconds: float | None = None, own: bool = False, **labels: Any
    ) -> AbstractContextManager[Timed]:
        """See `Context.work`."""
        return self._work.step(part, kind, op, seconds, own=own, **labels)

    def tell_windows(self, *, last: bool = False) -> None:
        """See `PacedWork.tell_windows`."""
        self._work.tell_windows(last=last)

    def move(self, part: PartId, to: str, *, ahead: bool = False) -> None:
        """See `Context.move`."""
        self._mover.move(part, to, ahead=ahead)

    def standby(self, part: PartId) -> str:
        """See `Context.standby`."""
        return self._standbys.of(part)

    def stand_by(self, part: PartId, to: str) -> None:
        """See `Context.stand_by`."""
        self._mover.stand_by(part, to)

    def replay(self, part: PartId, body: Activations | Gradients, tensors: Tensors) -> None:
        """See `Context.replay`."""
        self._standbys.replay(part, body, tensors)

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
        """See `home.Home.post`."""
        self._transport.send(to, envelope, tensors)

    def put(self, part: PartId, node: str, version: int) -> None:
        """See `home.Home.put`."""
        self._routes.put(part, node, version)

    def make(self, part: PartId) -> Part:
        """See `home.Home.make`."""
        return self._make(part, self)

    def deliver_held(self, part: PartId, messages: list[tuple[Envelope, Tensors]]) -> None:
        """See `home.Home.deliver_held`."""
        for envelope, tensors in messages:
            if part in self.parts:
                self.parts[part].receive(envelope.src, envelope.body, tensors)
            else:
                self._forward(envelope, tensors)

    def rehearse(self, movable: tuple[str, ...] = ()) -> None:
        """Let every part do its work once, and parts of these roles that may yet come here.

        Paced steps of it are not counted: all nodes do this at once, and the first times are slow.
        """
        with self._work.rehearsal():
            for part in sorted(self.parts):
                self.parts[part].rehearse()
            owners = {self.task.cut_of(owner): owner for owner in reversed(self.task.owners)}  # one of each cut
            for role in movable:
                for owner in sorted(owners.values()):
                    self._make(PartId(self.task.id, role, owner), self).rehearse()

    # --- what the worker feeds in -----------------------------------------------------------------------

    def begin(self) -> None:
        """Let every part that acts first begin."""
        for part in sorted(self.parts):
            self.parts[part].begin()

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """Pass a modem's notice to the parts of this node, and what it carries to the edge server that it is at now."""
        if done:
            self._mover.arrive(edge)
        for part in sorted(self.parts):
            self.parts[part].notice(edge, done, in_s)

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
        self._routes.arrived(envelope, received, size)
        if dst.owner in self._dead:
            return  # nobody has a use for it
        if isinstance(body, MOVING):
            self._mover.take(envelope, tensors)
            return
        if isinstance(body, Activations | Gradients) and body.replay:
            self._standbys.applied(envelope, tensors)
            return
        if isinstance(body, Moved):
            self._learn(body.part, body.node, body.version)
            return
        if isinstance(body, Open):
            if body.version < self.where(dst)[1]:
                return  # its head has decided otherwise since
            self._mover.gone(dst)
            self.parts[dst] = self._make(dst, self)
            self._routes.put(dst, self.node, body.version)
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
        elif self._mover.leaving(dst) or (dst not in self.parts and (_early(body) or self.where(dst)[0] == self.node)):
            self._mover.hold(envelope, tensors)
        elif dst in self.parts:
            self.parts[dst].receive(envelope.src, body, tensors)
        else:
            self._forward(envelope, tensors)

    def _forward(self, envelope: Envelope, tensors: Tensors) -> None:
        if not self._routes.forward(envelope, tensors):
            # Whoever waits for an answer will ask where the part is.
            seen = self.where(envelope.dst)[0]
            self.note(f"{type(envelope.body).__name__} for {envelope.dst} dropped: last seen on {seen}")

    def _learn(self, part: PartId, node: str, version: int) -> None:
        if not self._at_work(part):
            self._routes.learn(part, node, version)

    def _at_work(self, part: PartId) -> bool:
        """Whether a part is here and has begun something: until it is told to go, it is nowhere else."""
        return part in self.parts and self.parts[part].position()[0] > 0


def _early(body: Body) -> bool:
    """Whether a message is for a part that is on its way to the node that it was sent to."""
    return isinstance(body, Activations) and body.early
