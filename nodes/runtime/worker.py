"""The worker: one I/O thread that owns all sockets, one compute thread that owns all parts (`nodes.runtime.compute`).

The I/O thread decodes what arrives and queues it; the compute thread takes items in order of arrival, those that
somebody waits for idly (training state, notices) first. What the compute thread sends goes through an outbox.
"""

from __future__ import annotations

import heapq
import itertools
import math
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

from nodes.errors import RoambedError, WireError
from nodes.events import Span
from nodes.runtime.compute import Compute
from nodes.runtime.transport import TaskOver
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.codec import Tensors
from nodes.wire.lines import Lines
from nodes.wire.messages import Adopt, DropStandby, Envelope, Holds, Open, Query, State, StateTaken
from nodes.wire.pipeline_messages import Fill, Ping

_URGENT = (State, DropStandby, StateTaken, Open, Query, Holds, Adopt, Ping, Fill)
"""What one is to drop comes before what is to take its place, as it was sent."""


class Worker:
    """One node's runtime; `run` returns the process' exit code."""

    def __init__(self, file: ctl.NodeFile) -> None:
        self._file = file
        self._lines = Lines(file)
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._outbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._notices: queue.SimpleQueue[ctl.Notice] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []  # the compute thread's own
        self._compute = Compute(file, self)

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
        self.post(lambda: self._lines.channel.send(node, frames))

    def connect(self, node: str) -> None:
        """Connect to a node and greet it (`Transport`)."""
        self.post(lambda: self._lines.greet([node]))

    def forget(self, node: str) -> None:
        """Keep no more messages for a node that has died."""
        self.post(lambda: self._lines.channel.forget(node))

    def tell(self, message: ctl.FromNode) -> None:
        """Say something to the controller, after the events before it (`Transport`)."""

        def say() -> None:
            self._lines.flush()
            self._lines.tell(message)

        self.post(say)

    def emit(self, span: Span) -> None:
        """Record an event (`Transport`)."""
        self.post(lambda: self._lines.emit(span))

    def wake(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something after so many seconds of the experiment, on the compute thread (`Transport`)."""
        at = time.monotonic() + seconds * self._file.dilation
        heapq.heappush(self._timers, (at, next(self._order), act))

    def catch_up(self) -> None:
        """Pass on notices that have come meanwhile (`Transport`)."""
        if self._ending.is_set():
            raise TaskOver
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
        self._lines.tell(ctl.Hello(os.getpid()))
        thread = threading.Thread(target=self._work, name="compute", daemon=True)
        thread.start()
        self._job(self._compute.warm_up)
        self._lines.serve(self, self._wake)
        self._lines.close()
        return 0

    def told(self, message: ctl.ToNode, frame: bytes) -> None:
        """See `nodes.wire.lines.Owner.told`."""
        match message:
            case ctl.Configure():
                self._lines.channel.know(message.peers)
                if self._file.kind != "device":  # devices connect where they are
                    self._lines.greet(self._lines.fixed(message.peers))
            case ctl.Notice():
                self._notices.put(message)
                self._job(self.catch_up, urgent=True)
            case ctl.StopTask():
                self._ending.set()
                self._job(partial(self._end, message), urgent=True)
            case _:
                self._job(partial(self._compute.control, message))

    def accept(self, sender: str, frames: list[memoryview]) -> None:
        """See `nodes.wire.lines.Owner.accept`."""
        received = time.monotonic()
        try:
            envelope, tensors = codec.decode(frames)
            if envelope.node != sender and not envelope.hops:
                raise WireError(f"{sender} sent a message in the name of {envelope.node}")
        except WireError as error:
            self._lines.fail(str(error))
            return
        size = codec.size(frames)
        self._job(
            lambda: self._compute.deliver(envelope, tensors, received, size),
            urgent=isinstance(envelope.body, _URGENT),
        )

    def wait_s(self) -> float:
        """See `nodes.wire.lines.Owner.wait_s`: whatever there is to do wakes it."""
        return math.inf

    def step(self) -> None:
        """See `nodes.wire.lines.Owner.step`: what the compute thread wants sent."""
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
                self._lines.fail(str(error))

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
            except TaskOver:
                pass
            except RoambedError as error:
                self.fail(str(error))
            except Exception as error:  # a defect of ours: say where, and let the controller end the run
                place = traceback.extract_tb(error.__traceback__)[-1]
                self.fail(f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")

    def _end(self, message: ctl.StopTask) -> None:
        while not self._notices.empty():  # they are of the task that ends
            self._notices.get()
        self._ending.clear()
        self._compute.control(message)

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
