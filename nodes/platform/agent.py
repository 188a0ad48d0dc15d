"""A unit's agent: what a container of the serverless platform runs in the place of a worker.

One thread, which is never made to wait, has all sockets: the controller's, those of the emulated network, and those of
its instances (`nodes.platform.instances.Pool`). It never imports torch: what needs that runs in an instance. On one
unit, the cloud's, it has the orchestrator, too (`nodes.platform.seat`).
"""

from __future__ import annotations

import importlib.metadata
import math
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
from nodes.wire.codec import Tensors
from nodes.wire.lines import NOBODY, Lines, end_at_once
from nodes.wire.messages import Envelope, Hello
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

_FROM_INSTANCES = ctl.Events | ctl.Progress | ctl.Measured | ctl.SpeedReady | ctl.SpeedChecked
"""What functions may say to the controller by themselves."""


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
        self._lines = Lines(file, listen=listen, orphaned=self._orphaned)
        self._inbox: deque[tuple[PlatformBody, Tensors]] = deque()  # of this unit for itself
        self._configured = False
        store = Store(Path(settings.store), settings.store_bytes)
        self._pool = Pool(
            store, settings.memory, keep_alive=settings.keep_alive, dilation=dilation, speed=file.speed,
            forward=lambda *what: self._parts.forward(*what), say=self._said,
        )  # fmt: skip
        self._parts = Parts(file.name, self._pool, self._pass, note=self._note, dilation=dilation)
        self._blobs = Blobs(
            file.name, store, self._post, emit=self._lines.emit, note=self._note, dilation=dilation
        )
        self._standing = Standing(file, self._pool, lambda state: self._post(self._orchestrator, state))
        self._calls = Calls(
            file.name, self._pool, self._parts, self._blobs,
            known={"node": file.name, "dilation": dilation},
            tell=lambda ended: self._post(self._orchestrator, ended),
            emit=self._lines.emit, started=self._standing.started, note=self._note, dilation=dilation,
        )  # fmt: skip
        self._measuring = Measuring(self._pool, file.speed, self._lines.fail, self._learn)
        self._wanted: Counter[str] = Counter()  # instances that the controller waits for
        self._seat: Seat | None = None
        if file.name == self._orchestrator:
            self._seat = Seat(self._order, self._lines.tell, make=make, dilation=dilation)

    def run(self) -> int:
        """Serve until told to exit or until the controller is gone."""
        self._lines.tell(ctl.Hello(os.getpid()))
        versions = {name: importlib.metadata.version(name) for name in ("torch", "msgspec")}
        self._lines.tell(ctl.Ready({"python": platform.python_version(), "zmq": zmq.zmq_version(), **versions}))
        self._lines.serve(self, self._pool.fileno())
        self._pool.close()
        self._lines.close()
        return 0

    def _orphaned(self) -> None:
        """The controller is gone. Instances die with this process."""
        end_at_once()

    def wait_s(self) -> float:
        """See `nodes.wire.lines.Owner.wait_s`."""
        if self._inbox:
            return 0.0
        standing = self._standing.due() if self._configured else None  # before that it is told to nobody
        dues = [self._pool.due(), self._blobs.due(), standing, self._seat.due() if self._seat else None]
        return min((due for due in dues if due is not None), default=math.inf)

    def step(self) -> None:
        """See `nodes.wire.lines.Owner.step`.

        What this unit says to itself comes in between, so that nobody is called in a call.
        """
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
            self._lines.fail(str(error))
        except Exception as error:  # a defect of ours: say where, and let the controller end the run
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._lines.fail(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")

    # --- the controller ---------------------------------------------------------------------------------

    def told(self, message: ctl.ToNode, frame: bytes) -> None:
        """See `nodes.wire.lines.Owner.told`."""
        self._try(partial(self._told, message, frame))

    def _told(self, message: ctl.ToNode, frame: bytes) -> None:
        match message:
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
                self._lines.channel.forget(message.node)
                self._blobs.lost(message.node)
                if self._seat:
                    self._seat.lost(message.node)
            case ctl.Afresh():
                self._afresh(message.provisioned)
            case ctl.Platform() | ctl.Submit() | ctl.CancelJob() if self._seat is None:
                self._refuse(message, f"that has no orchestrator; {self._orchestrator} has it")
            case ctl.Platform() if self._seat:
                self._seat.begin(message.settings)
            case ctl.Submit() | ctl.CancelJob() if self._seat:
                self._seat.told(message)
            case _:
                self._refuse(message, "of the serverless platform, which has no use for it")

    def _refuse(self, message: ctl.ToNode, why: str) -> None:
        self._lines.fail(f"{type(message).__name__} for a unit {why}")

    def _configure(self, peers: list[ctl.Peer]) -> None:
        """Connect to all that does not move: any unit may be asked for a blob by one that cannot connect to it."""
        self._lines.channel.know(peers)
        self._configured = True
        self._lines.greet(self._lines.fixed(peers))

    def _afresh(self, provisioned: Mapping[str, tuple[int, int]]) -> None:
        """Be as at the start: nothing that earlier tasks have left makes the next ones cheaper, or is in their way."""
        if self._seat:
            self._seat.afresh()
        self._calls.cancel_all()
        self._calls.halt("")
        self._wanted = Counter({name: count for name, (count, _) in provisioned.items()})
        self._pool.hold(bool(self._wanted))  # the first ones would be gone before the last ones are ready
        self._pool.drain(provisioned)
        self._parts.afresh()
        self._blobs.clear()
        self._standing.afresh()
        for name in (self._wanted - self._pool.warm_functions()).elements():
            self._pool.submit(Invocation(name, memory=provisioned[name][1], idle=True), self._provisioned)
        self._say_fresh()

    def _provisioned(self, outcome: Outcome) -> None:
        self._learn(outcome)
        if not outcome.ok:
            self._lines.fail(f"an instance that was to be provisioned: {outcome.reason}")
        self._say_fresh()

    def _say_fresh(self) -> None:
        if self._wanted and not self._wanted - self._pool.warm_functions():
            self._wanted = Counter()
            self._pool.hold(False)
            self._lines.tell(ctl.Fresh())

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
            self._lines.pass_on(frame)
        else:
            self._note(f"function {invocation.function} said {type(message).__name__}: that is not for it to say")

    def _note(self, text: str) -> None:
        now = time.monotonic()
        self._lines.emit(Span(kind="note", node=self._file.name, begin=now, end=now, attrs={"text": text}))

    # --- the network ------------------------------------------------------------------------------------

    def accept(self, sender: str, frames: list[memoryview]) -> None:
        """See `nodes.wire.lines.Owner.accept`."""
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
        envelope = Envelope(src=NOBODY, dst=NOBODY, node=self._file.name, body=body, sent=time.monotonic())
        self._lines.channel.send(unit, codec.encode(envelope, tensors))

    def _pass(self, unit: str, frames: Frames) -> None:
        """Pass on what a part of an instance sends; what cannot be sent is asked for again, or given up, by parts."""
        try:
            self._lines.channel.send(unit, frames)
        except WireError as error:
            self._note(str(error))

    def _order(self, unit: str, order: Order) -> str:
        """`_post` for the orchestrator: why it could not be sent, or nothing."""
        try:
            self._post(unit, order)
        except WireError as error:
            return str(error)
        return ""
