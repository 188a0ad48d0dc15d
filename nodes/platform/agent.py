"""A unit's agent: what a container of the serverless platform runs in the place of a worker.

One thread, which is never made to wait, has all sockets: the controller's, those of the emulated network, and those of
its instances (`nodes.platform.instances.Pool`). It never imports torch: what needs that runs in an instance. On one
unit, the cloud's, it has the orchestrator, too (`nodes.platform.seat`).
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import zmq

from nodes.errors import RoambedError, WireError
from nodes.events import Span
from nodes.platform.blobs import Blobs
from nodes.platform.instances import Pool
from nodes.platform.measuring import Measuring
from nodes.platform.messages import Frames
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.seat import Make, Order, Seat
from nodes.platform.serving import Calls
from nodes.platform.standing import Standing
from nodes.platform.store import Store
from nodes.platform.streaming import Parts, header
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.channel import Channel
from nodes.wire.codec import Tensors
from nodes.wire.keys import KeyPair
from nodes.wire.messages import Envelope, Hello, PartId
from nodes.wire.platform_messages import (
    Blob,
    CallEnded,
    CancelCall,
    InvokeOn,
    KeepBlobs,
    NoBlob,
    PlatformBody,
    UnitLost,
    UnitState,
    WantBlob,
)

_FLUSH_S = 0.2
_NOBODY = PartId("", "", "")
_FROM_INSTANCES = ctl.Events | ctl.Progress | ctl.Measured | ctl.SpeedReady | ctl.SpeedChecked
"""What functions may say to the controller by themselves."""
EXIT_ORPHAN = 75


class Agent:
    """One unit; `run` returns the process' exit code.

    Args:
        file: What the node was born with; it has ``platform``.
        listen: Address to listen at; ``*``: all.
        make: Makes the orchestrator, where the unit has it; None: the real one.
    """

    def __init__(self, file: ctl.NodeFile, *, listen: str = "*", make: Make | None = None) -> None:
        assert file.platform is not None
        settings, dilation = file.platform, file.dilation
        self._file = file
        self._orchestrator = settings.orchestrator
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keys = KeyPair(file.public_key, file.secret_key)
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._control.linger = 1_000
        self._control.set(zmq.ROUTING_ID, file.name.encode())
        keys.apply(self._control, server_key=file.control_key)
        self._control.connect(file.control)
        self._channel = Channel(self._context, file.name, file.kind, keys, file.data_port, dilation, listen)
        self._inbox: deque[tuple[PlatformBody, Tensors]] = deque()  # of this unit for itself
        self._spans: list[Span] = []
        self._stop = self._configured = False
        store = Store(Path(settings.store), settings.store_bytes)
        self._pool = Pool(
            store, settings.memory, keep_alive=settings.keep_alive, dilation=dilation, speed=file.speed,
            forward=lambda *what: self._parts.forward(*what), say=self._said,
        )  # fmt: skip
        self._parts = Parts(file.name, self._pool, self._pass, note=self._note, dilation=dilation)
        self._blobs = Blobs(
            file.name, store, self._post, emit=self._emit, note=self._note, dilation=dilation
        )
        self._standing = Standing(file, self._pool, lambda state: self._post(self._orchestrator, state))
        self._calls = Calls(
            file.name, self._pool, self._parts, self._blobs,
            known={"node": file.name, "dilation": dilation},
            tell=lambda ended: self._post(self._orchestrator, ended),
            emit=self._emit, started=self._standing.started, note=self._note, dilation=dilation,
        )  # fmt: skip
        self._measuring = Measuring(self._pool, file.speed, self._fail, self._learn)
        self._wanted: Counter[str] = Counter()  # instances that the controller waits for
        self._seat: Seat | None = None
        if file.name == self._orchestrator:
            self._seat = Seat(self._order, self._tell, make=make, dilation=dilation)

    def run(self) -> int:
        """Serve until told to exit or until the controller is gone."""
        self._tell(ctl.Hello(os.getpid()))
        versions = {name: importlib.metadata.version(name) for name in ("torch", "msgspec")}
        self._tell(ctl.Ready({"python": platform.python_version(), "zmq": zmq.zmq_version(), **versions}))
        heard = beat = flushed = time.monotonic()
        polled: dict[zmq.Socket[bytes], str] = {}
        poller = zmq.Poller()
        while not self._stop:
            sockets = self._channel.sockets()
            if sockets.keys() != polled.keys():
                poller, polled = zmq.Poller(), dict(sockets)
                for readable in (*sockets, self._control, self._pool.fileno()):
                    poller.register(readable, zmq.POLLIN)
            ready = dict(poller.poll(self._wait_ms()))
            now = time.monotonic()
            if self._control in ready:
                heard = now
                self._try(self._from_controller)
            for socket, role in polled.items():
                if socket in ready:
                    self._from_network(socket, role)
            self._step()
            if now - flushed >= _FLUSH_S:
                flushed = now
                self._flush()
            if now - beat >= ctl.BEAT_S:
                beat = now
                self._tell(ctl.Beat())
            if now - heard > ctl.ORPHAN_S and not self._control.poll(0):
                self._orphaned()
        self._pool.close()
        self._flush()
        self._channel.close()
        self._control.close()
        self._context.term()
        return 0

    def _orphaned(self) -> None:
        """End at once: nobody is left to tell anything. Instances die with this process."""
        os._exit(EXIT_ORPHAN)

    def _wait_ms(self) -> int:
        if self._inbox:
            return 0
        standing = self._standing.due() if self._configured else None  # before that it is told to nobody
        dues = [self._pool.due(), self._blobs.due(), standing, self._seat.due() if self._seat else None]
        least = min([_FLUSH_S, *(due for due in dues if due is not None)])
        return int(least * 1000) + (0 < least < _FLUSH_S)  # rounded up: what is not due yet is not looked after

    def _step(self) -> None:
        """Do all that is due; what this unit says to itself comes in between, so that nobody is called in a call."""
        for step in (self._pool.step, self._blobs.step, self._parts.step, *([self._seat.step] if self._seat else [])):
            self._try(step)
            while self._inbox:
                self._try(partial(self._hear, self._file.name, *self._inbox.popleft(), 0))
        if self._configured:
            self._try(self._standing.step)

    def _try(self, act: Callable[[], None]) -> None:
        """Do something; an error of one message or invocation does not end the unit."""
        try:
            act()
        except WireError as error:
            self._note(str(error))
        except RoambedError as error:
            self._fail(str(error))
        except Exception as error:  # a defect of ours: say where, and let the controller end the run
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._fail(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")

    # --- the controller ---------------------------------------------------------------------------------

    def _from_controller(self) -> None:
        while True:
            try:
                frame = self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = ctl.to_node(frame)
            except msgspec.MsgspecError as error:
                self._fail(f"control message does not parse: {error}")
                continue
            self._try(partial(self._told, message, frame))

    def _told(self, message: ctl.ToNode, frame: bytes) -> None:
        match message:
            case ctl.Beat():
                pass
            case ctl.Exit():
                self._stop = True
            case ctl.Configure():
                self._configure(message.peers)
            case ctl.Measure() | ctl.PrepareSpeed() | ctl.CheckSpeed():
                self._measuring.order(message)
            case ctl.Notice():
                self._standing.hear(message)
                self._parts.tell_all(frame, self._file.name)
            case ctl.Radio():
                self._standing.hear(message)
            case ctl.Battery():
                self._standing.hear(message)
                self._calls.halt("the battery is at its reserve" if self._standing.spent else "")
            case ctl.Forecast():
                self._parts.tell_all(frame, self._file.name)
            case ctl.Spoil():
                self._parts.tell_all(frame)
            case ctl.Died():
                self._channel.forget(message.node)
                self._blobs.lost(message.node)
                if self._seat:
                    self._seat.lost(message.node)
            case ctl.Afresh():
                self._afresh(message.provisioned)
            case ctl.Platform() | ctl.Submit() | ctl.CancelJob() if self._seat is None:
                self._fail(f"{type(message).__name__} for a unit that has no orchestrator; {self._orchestrator} has it")
            case ctl.Platform() if self._seat:
                self._seat.begin(message.settings)
            case ctl.Submit() | ctl.CancelJob() if self._seat:
                self._seat.told(message)
            case _:
                self._fail(f"{type(message).__name__} for a unit of the serverless platform, which has no use for it")

    def _configure(self, peers: list[ctl.Peer]) -> None:
        """Connect to all that does not move: any unit may be asked for a blob by one that cannot connect to it."""
        self._channel.know(peers)
        self._configured = True
        for peer in peers:
            if peer.name != self._file.name and peer.kind in ("edge", "cloud") and self._channel.connect(peer.name):
                envelope = Envelope(src=_NOBODY, dst=_NOBODY, node=self._file.name, body=Hello())
                self._channel.send(peer.name, codec.encode(envelope))

    def _afresh(self, provisioned: Mapping[str, tuple[int, int]]) -> None:
        """Be as at the start: nothing that earlier tasks have left makes the next ones cheaper, or is in their way."""
        if self._seat:
            self._seat.afresh()
        self._calls.cancel_all()
        self._calls.halt("")
        self._wanted = Counter({name: count for name, (count, _) in provisioned.items()})
        self._pool.drain(self._wanted)
        self._parts.afresh()
        self._blobs.clear()
        self._standing.afresh()
        for name in (self._wanted - self._pool.warm_functions()).elements():
            self._pool.submit(Invocation(name, memory=provisioned[name][1], idle=True), self._provisioned)
        self._say_fresh()

    def _provisioned(self, outcome: Outcome) -> None:
        self._learn(outcome)
        if not outcome.ok:
            self._fail(f"an instance that was to be provisioned: {outcome.reason}")
        self._say_fresh()

    def _say_fresh(self) -> None:
        if self._wanted and not self._wanted - self._pool.warm_functions():
            self._wanted = Counter()
            self._control.send(ctl.encode(ctl.Fresh()))

    def _learn(self, outcome: Outcome) -> None:
        """Know from now on how long a cold start takes here."""
        if outcome.cold and outcome.start_s:
            self._standing.started(outcome.invocation.function, outcome.alone_s / self._file.dilation)

    def _said(self, invocation: Invocation, frame: bytes) -> None:
        """An instance says something to the controller."""
        try:
            message = ctl.from_node(frame)
        except msgspec.MsgspecError as error:
            self._note(f"function {invocation.function} says what does not parse: {error}")
            return
        if isinstance(message, _FROM_INSTANCES):
            self._control.send(frame)
        else:
            self._note(f"function {invocation.function} said {type(message).__name__}: that is not for it to say")

    def _tell(self, message: ctl.FromNode) -> None:
        self._control.send(ctl.encode(message))

    def _fail(self, reason: str) -> None:
        self._tell(ctl.Failed(reason))

    def _note(self, text: str) -> None:
        now = time.monotonic()
        self._spans.append(Span(kind="note", node=self._file.name, begin=now, end=now, attrs={"text": text}))

    def _emit(self, span: Span) -> None:
        self._spans.append(span)

    def _flush(self) -> None:
        if self._spans:
            self._tell(ctl.Events(self._spans))
            self._spans = []

    # --- the network ------------------------------------------------------------------------------------

    def _from_network(self, socket: zmq.Socket[bytes], role: str) -> None:
        if role == "gate":
            self._channel.gate.serve()
        elif role == "monitor":
            for peer, at in self._channel.disconnects(socket):
                self._spans.append(Span(kind="disconnect", node=self._file.name, peer=peer, begin=at, end=at))
        else:
            for sender, frames in self._channel.receive(socket):
                self._try(partial(self._accept, sender, frames))

    def _accept(self, sender: str, frames: list[memoryview]) -> None:
        envelope = header(frames)
        if isinstance(envelope.body, PlatformBody):
            envelope, tensors = codec.decode(frames)
            if envelope.node != sender:
                raise WireError(f"{sender} sent a message in the name of {envelope.node}")
            self._hear(sender, envelope.body, tensors, codec.size(frames))
        elif not isinstance(envelope.body, Hello):
            self._parts.arrive(sender, frames, envelope)

    def _hear(self, sender: str, body: object, tensors: Tensors, size: int) -> None:
        """Take what a unit says to this one, as far as it is for it to say."""
        match body:
            case InvokeOn() if sender == self._orchestrator:
                self._calls.invoke(body)
            case CancelCall() if sender == self._orchestrator:
                self._calls.cancel(body.call)
            case KeepBlobs() if sender == self._orchestrator:
                self._blobs.keep(body)
            case UnitLost() if sender == self._orchestrator:
                self._blobs.lost(body.name)
            case CallEnded() if self._seat:
                self._seat.hear(sender, body)
            case UnitState(name=name) if self._seat and name == sender:
                self._seat.hear(sender, body)
            case WantBlob() | Blob() | NoBlob():
                self._blobs.hear(sender, body, tensors, size)
            case _:
                self._note(f"{sender} sent {type(body).__name__}, which is not for it to say: dropped")

    def _post(self, unit: str, body: PlatformBody, tensors: Tensors | None = None) -> None:
        """Say something to a unit (WireError: it cannot be sent)."""
        if unit == self._file.name:
            self._inbox.append((body, tensors or {}))
            return
        envelope = Envelope(src=_NOBODY, dst=_NOBODY, node=self._file.name, body=body, sent=time.monotonic())
        self._channel.send(unit, codec.encode(envelope, tensors))

    def _pass(self, unit: str, frames: Frames) -> None:
        """Pass on what a part of an instance sends; what cannot be sent is asked for again, or given up, by parts."""
        try:
            self._channel.send(unit, frames)
        except WireError as error:
            self._note(str(error))

    def _order(self, unit: str, order: Order) -> str:
        """`_post` for the orchestrator: why it could not be sent, or nothing."""
        try:
            self._post(unit, order)
        except WireError as error:
            return str(error)
        return ""
