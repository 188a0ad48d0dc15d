"""The worker: one I/O thread that owns all sockets, one compute thread that owns all parts (`nodes.runtime.compute`).

The I/O thread decodes what arrives and queues it; the compute thread takes items in order of arrival, those that
somebody waits for idly (training state, notices) first. What the compute thread sends goes through an outbox.
"""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial

import msgspec
import zmq

from nodes.errors import RoambedError, WireError
from nodes.events import Span
from nodes.runtime.compute import Compute
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.channel import Channel
from nodes.wire.codec import Tensors
from nodes.wire.keys import KeyPair
from nodes.wire.messages import Adopt, Envelope, Hello, Holds, Open, PartId, Query, State, StateTaken
from nodes.wire.pipeline_messages import Fill, Ping

_FLUSH_S = 0.2
_URGENT = (State, StateTaken, Open, Query, Holds, Adopt, Ping, Fill)
EXIT_ORPHAN = 75


class Worker:
    """One node's runtime; `run` returns the process' exit code."""

    def __init__(self, file: ctl.NodeFile) -> None:
        self._file = file
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._keys = KeyPair(file.public_key, file.secret_key)
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._control.linger = 1_000
        self._control.set(zmq.ROUTING_ID, file.name.encode())
        self._keys.apply(self._control, server_key=file.control_key)
        self._control.connect(file.control)
        self._channel = Channel(self._context, file.name, file.kind, self._keys, file.data_port, file.dilation)
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._outbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._notices: queue.SimpleQueue[ctl.Notice] = queue.SimpleQueue()
        self._spans: list[Span] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []  # the compute thread's own
        self._compute = Compute(file, self)
        self._stop = False

    # --- what the compute thread may call ---------------------------------------------------------------

    def post(self, action: Callable[[], None]) -> None:
        """Have the I/O thread do something with its sockets."""
        self._outbox.put(action)
        os.eventfd_write(self._wake, 1)

    def send(self, node: str, envelope: Envelope, tensors: Tensors) -> None:
        """Hand a message to the network, or to this node's own parts (`Transport`)."""
        if node == self._file.name:
            self._job(lambda: self._compute.deliver(envelope, tensors, time.monotonic(), 0))
            return
        frames = codec.encode(envelope, tensors)
        self.post(lambda: self._channel.send(node, frames))

    def connect(self, node: str) -> None:
        """Connect to a node and greet it (`Transport`)."""
        self.post(lambda: self._greet(node))

    def forget(self, node: str) -> None:
        """Keep no more messages for a node that has died."""
        self.post(lambda: self._channel.forget(node))

    def tell(self, message: ctl.FromNode) -> None:
        """Say something to the controller, after the events before it (`Transport`)."""

        def say() -> None:
            self._flush()
            self._tell(message)

        self.post(say)

    def emit(self, span: Span) -> None:
        """Record an event (`Transport`)."""
        self.post(lambda: self._spans.append(span))

    def wake(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds of the experiment, on the compute thread (`Transport`)."""
        at = time.monotonic() + seconds * self._file.dilation
        heapq.heappush(self._timers, (at, next(self._order), act))

    def catch_up(self) -> None:
        """Pass on notices that have come meanwhile (`Transport`)."""
        while True:
            try:
                notice = self._notices.get_nowait()
            except queue.Empty:
                return
            self._compute.control(notice)

    def fail(self, reason: str) -> None:
        """Report that this node cannot go on."""
        self.tell(ctl.Failed(reason))

    # --- the I/O thread ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to exit or until the controller is gone."""
        self._tell(ctl.Hello(os.getpid()))
        thread = threading.Thread(target=self._work, name="compute", daemon=True)
        thread.start()
        self._job(self._compute.warm_up)
        heard = beat = flushed = time.monotonic()
        polled: dict[zmq.Socket[bytes], str] = {}
        poller = zmq.Poller()
        while not self._stop:
            sockets = self._channel.sockets()
            if sockets.keys() != polled.keys():
                poller, polled = zmq.Poller(), dict(sockets)
                for socket in (*sockets, self._control):
                    poller.register(socket, zmq.POLLIN)
                poller.register(self._wake, zmq.POLLIN)
            ready = dict(poller.poll(int(_FLUSH_S * 1000)))
            now = time.monotonic()
            if self._control in ready:
                heard = now
                self._from_controller()
            for socket, role in polled.items():
                if socket in ready:
                    self._from_network(socket, role)
            self._empty_outbox()
            if now - flushed >= _FLUSH_S:
                flushed = now
                self._flush()
            if now - beat >= ctl.BEAT_S:
                beat = now
                self._tell(ctl.Beat())
            if now - heard > ctl.ORPHAN_S and not self._control.poll(0):
                # Asked once more: this thread may have stood still itself (torch's import holds the interpreter).
                # Nobody is left to tell anything, and sockets would wait for peers that are ending too.
                os._exit(EXIT_ORPHAN)
        self._flush()
        self._channel.close()
        self._control.close()
        self._context.term()
        return 0

    def _from_controller(self) -> None:
        while True:
            try:
                frame = self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = ctl.to_node(frame)
            except msgspec.MsgspecError as error:
                self._tell(ctl.Failed(f"control message does not parse: {error}"))
                continue
            match message:
                case ctl.Beat():
                    pass
                case ctl.Exit():
                    self._stop = True
                case ctl.Configure():
                    self._configure(message.peers)
                case ctl.Notice():
                    self._notices.put(message)
                    self._job(self.catch_up, urgent=True)
                case _:
                    self._job(partial(self._compute.control, message))

    def _configure(self, peers: list[ctl.Peer]) -> None:
        self._channel.know(peers)
        if self._file.kind != "device":
            # The fixed part of the network connects at once; devices connect where they are.
            for peer in peers:
                if peer.name != self._file.name and peer.kind in ("edge", "cloud"):
                    self._greet(peer.name)

    def _greet(self, node: str) -> None:
        if self._channel.connect(node):
            nobody = PartId("", "", "")
            frames = codec.encode(Envelope(src=nobody, dst=nobody, node=self._file.name, body=Hello()))
            self._channel.send(node, frames)

    def _from_network(self, socket: zmq.Socket[bytes], role: str) -> None:
        if role == "gate":
            self._channel.gate.serve()
        elif role == "monitor":
            for peer, at in self._channel.disconnects(socket):
                self._spans.append(
                    Span(kind="disconnect", node=self._file.name, peer=peer, begin=at, end=at)
                )
        else:
            for sender, frames in self._channel.receive(socket):
                self._accept(sender, frames)

    def _accept(self, sender: str, frames: list[memoryview]) -> None:
        received = time.monotonic()
        try:
            envelope, tensors = codec.decode(frames)
            if envelope.node != sender and not envelope.hops:
                raise WireError(f"{sender} sent a message in the name of {envelope.node}")
        except WireError as error:
            self._tell(ctl.Failed(str(error)))
            return
        size = codec.size(frames)
        self._job(
            lambda: self._compute.deliver(envelope, tensors, received, size),
            urgent=isinstance(envelope.body, _URGENT),
        )

    def _empty_outbox(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        while True:
            try:
                action = self._outbox.get_nowait()
            except queue.Empty:
                return
            try:
                action()
            except WireError as error:
                self._tell(ctl.Failed(str(error)))

    def _tell(self, message: ctl.FromNode) -> None:
        self._control.send(ctl.encode(message))

    def _flush(self) -> None:
        if self._spans:
            self._tell(ctl.Events(self._spans))
            self._spans = []

    # --- the compute thread -----------------------------------------------------------------------------

    def _job(self, job: Callable[[], None], *, urgent: bool = False) -> None:
        self._jobs.put((0 if urgent else 1, next(self._order), job))

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            try:
                job()
            except RoambedError as error:
                self.fail(str(error))
            except Exception as error:  # a defect of ours: say where, and let the controller end the run
                place = traceback.extract_tb(error.__traceback__)[-1]
                self.fail(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")

    def _next(self) -> Callable[[], None] | None:
        """The next thing to do: what has come in first, a timer only when nothing is waiting."""
        while True:
            left = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            try:
                return self._jobs.get(timeout=left)[2]
            except queue.Empty:
                return heapq.heappop(self._timers)[2]


def load(path: str) -> ctl.NodeFile:
    """Read the file that a node is born with."""
    with open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=ctl.NodeFile)


def main() -> int:
    """Run the worker of this container, or its agent where it is a unit of the serverless platform."""
    # Docker's stop and our own: end at once, there is nothing to save.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    file = load(os.environ["ROAMBED_NODE_FILE"])
    if file.platform is not None:
        from nodes.platform.agent import Agent

        try:
            return Agent(file).run()
        except RoambedError as error:  # settings that cannot be
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    return Worker(file).run()
