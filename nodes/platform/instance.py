"""An instance: the process that one function runs in, one invocation at a time, on one thread.

It imports what its function needs, says that it is ready, and then does as it is told: takes inputs from the unit's
store, runs the function, writes outputs for the store. It keeps nothing between two invocations, ends when its agent
does, and is killed rather than asked to stop: there is nothing that it could leave behind.
It is started as ``python -m nodes.platform`` (`nodes.platform.__main__`).
"""

from __future__ import annotations

import select
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nodes.errors import RoambedError, WireError
from nodes.learn.pacing import WINDOW_S, Pacer
from nodes.platform import messages as ms
from nodes.platform import outcomes, store
from nodes.platform.checking import check_given, check_names, check_returned
from nodes.platform.functions import Function
from nodes.platform.library import find, line_of
from nodes.platform.turns import Turns
from nodes.wire.codec import Tensors

_CHUNK = 1 << 18
_BLOCK = 1 << 22


class Gone(BaseException):
    """The agent is gone. No function may catch it by mistake."""


class Link:
    """The instance's end of the socket pair. Sending waits until the agent has taken it, which it always does soon."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = ms.Reader()
        self._come: deque[tuple[ms.Message, list[memoryview]]] = deque()

    def send(self, message: ms.FromInstance, frames: ms.Frames = ()) -> None:
        """Send a message, whole."""
        try:
            for piece in ms.encode(message, frames):
                self._socket.sendall(piece)
        except OSError:
            raise Gone from None

    def next(self, seconds: float | None = None) -> tuple[ms.Message, list[memoryview]] | None:
        """The next message with its frames; None if there is none for so long (None: however long)."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self._come:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            if not select.select([self._socket], [], [], left)[0]:
                return None
            try:
                data = self._socket.recv(_CHUNK)
            except OSError:
                raise Gone from None
            if not data:
                raise Gone
            self._come.extend(self._reader.feed(data))
        return self._come.popleft()


class Stream:
    """What a function that streams is given as ``stream``: messages to and from other units, by way of its agent."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def send(self, node: str, frames: ms.Frames) -> None:
        """Hand frames of `nodes.wire.codec` to the network, for a part on that node."""
        self._link.send(ms.Passed(node, tuple(len(frame) for frame in frames)), frames)

    def say(self, frame: bytes) -> None:
        """Say something to the controller: an encoded message of `nodes.wire.control`."""
        self._link.send(ms.Said(frame))

    def receive(self, seconds: float | None) -> list[memoryview] | bytes | None:
        """What came: frames from another part, or one control message; None if nothing did for so long."""
        got = self._link.next(seconds)
        if got is None:
            return None
        message, frames = got
        if isinstance(message, ms.Passed):
            return frames
        if isinstance(message, ms.Said):
            return message.frame
        raise WireError(f"{type(message).__name__} while a function runs")


class Instance:
    """One function, and what is needed to run it."""

    def __init__(self, link: Link, start: ms.Start, made: Function) -> None:
        self._link = link
        self._store = Path(start.store)
        self._staging = Path(start.staging)
        self._function = made
        self._speed, self._window_s = start.speed, WINDOW_S * start.dilation
        self._turns = Turns(self._store) if made.paced and start.speed is not None else None

    def answer(self, invoke: ms.Invoke) -> ms.Result | ms.Failed:
        """Run the function once."""
        begun = time.process_time()
        _forget_peak()
        made, work_cpu = self._function, 0.0
        outputs: dict[str, str] = {}
        kind = outcomes.GIVEN
        try:
            check_names(made, invoke.inputs, invoke.values)
            tensors, read = self._inputs(invoke.inputs, invoke.seals)
            named = check_given(made, tensors, invoke.values)
            more: dict[str, Any] = {"stream": Stream(self._link)} if made.streams else {}
            if made.paced:
                more["pacer"] = Pacer(self._speed, window_s=self._window_s, turns=self._turns)
            kind = outcomes.RAISED
            begin, cpu = time.monotonic(), time.process_time()
            try:
                returned = made.call(**named, **more)
            finally:
                end, work_cpu = time.monotonic(), time.process_time() - cpu
            kind = outcomes.RETURNED
            arrays, values = check_returned(made, returned, named)
            kind, written = outcomes.NO_ROOM, 0
            for name, group in arrays.items():
                outputs[name] = store.stage(self._staging, group)
                written += sum(int(a.nbytes) for a in group.values())
        except store.DamagedError as error:
            return ms.Failed(invoke.id, outcomes.DAMAGED, str(error), work_cpu, error.digest)
        except RoambedError as error:
            store.reject(self._staging, outputs.values())
            reason = f"function {made.name}: {error}" if kind == outcomes.RAISED else str(error)
            return ms.Failed(invoke.id, kind, reason, work_cpu)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            return ms.Failed(invoke.id, kind, _reason(made, error), work_cpu)
        return ms.Result(
            invoke.id, outputs, values, begin, end, work_cpu, time.process_time() - begun - work_cpu, read, written,
            peak_memory(),
        )  # fmt: skip

    def _inputs(
        self, digests: ms.Digests, seals: Mapping[str, store.Seal]
    ) -> tuple[dict[str, Tensors | dict[str, Tensors]], int]:
        tensors: dict[str, Tensors | dict[str, Tensors]] = {}
        size = 0

        def read(digest: str) -> Tensors:
            nonlocal size
            arrays = store.read(self._store, digest, seals.get(digest))
            size += sum(int(a.nbytes) for a in arrays.values())
            return arrays

        for name, given in digests.items():
            if isinstance(given, str):
                tensors[name] = read(given)
            else:
                tensors[name] = {of: read(digest) for of, digest in given.items()}
        return tensors, size


def _reason(made: Function, error: BaseException) -> str:
    """What a function raised, as a person reads it: with the line of its own file, where there is one."""
    path = made.where.rpartition(":")[0]
    line = line_of(error, path)
    place = f"{path}:{line}" if line else made.where
    if isinstance(error, MemoryError):
        return f"{place}: function {made.name} ran out of memory"
    last = traceback.extract_tb(error.__traceback__)[-1]
    deeper = "" if last.filename == path else f" (from {last.filename}:{last.lineno})"
    return f"{place}: function {made.name} raised\n  found:  {type(error).__name__}: {error}{deeper}"


def peak_memory() -> int:
    """Most bytes resident since `_forget_peak`, or since the process began where the kernel does not forget."""
    return _status("VmHWM")


def _status(field: str) -> int:
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(field.encode()):
                return int(line.split()[1]) << 10
    return 0


def _touch(size: int) -> None:
    """Have so many bytes from the kernel; the allocator keeps them, where it is told to (`testbed.run.birth`)."""
    blocks = [bytearray(b"\1") * _BLOCK for _ in range(size // _BLOCK)]
    del blocks


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "wb") as file:
            file.write(b"5")
    except OSError:
        pass  # then a later, smaller invocation is told the peak of an earlier one


def serve(link: Link, first: float) -> None:
    """Be an instance until the agent is gone (`Gone`).

    Args:
        link: To the agent.
        first: CLOCK_MONOTONIC at the first line of the process.
    """
    got = link.next()
    if got is None or not isinstance(got[0], ms.Start):
        raise WireError("an instance that is not told what it is for")
    start = got[0]
    try:
        made = find(start.function, start.source)
        made.prepare()
    except RoambedError as error:
        link.send(ms.Failed(0, outcomes.NO_START, str(error), time.process_time()))
        return
    except (Exception, SystemExit) as error:
        reason = f"function {start.function} does not start: {type(error).__name__}: {error}"
        link.send(ms.Failed(0, outcomes.NO_START, reason, time.process_time()))
        return
    instance = Instance(link, start, made)
    took, cpu = time.monotonic() - first, time.process_time()
    if made.torch:
        _touch(start.touch)
    link.send(ms.Ready(made.interface, first - start.spawned, took, cpu, _status("VmRSS")))
    while True:
        _serve_one(link, instance.answer)


def _serve_one(link: Link, answer: Callable[[ms.Invoke], Any]) -> None:
    got = link.next()
    if got is not None and isinstance(got[0], ms.Invoke):
        try:
            link.send(answer(got[0]))
        except WireError as error:  # plain values that are too large
            link.send(ms.Failed(got[0].id, outcomes.RETURNED, str(error)))
    # What is still passed on to a function that has ended is for nobody.
