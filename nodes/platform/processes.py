"""The process of an instance as its agent has it: started, talked to without ever waiting, watched, killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import nodes
from nodes.platform import messages as ms

_CHUNK = 1 << 18
_BURST = 16
"""Chunks that are read of one instance in a row: one that never stops talking holds up nobody else."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOT = str(Path(nodes.__file__).resolve().parent.parent)


class Process(Protocol):
    """What a pool needs of a process; unit tests have one that is none."""

    pid: int

    def fileno(self) -> int:
        """Readable once it has ended."""

    def kill(self) -> None:
        """Kill it, and what it has started; also if it has ended already."""

    def reap(self) -> int | None:
        """Exit code, once it has ended; a signal's number is negative. It is no more of use after that."""

    def memory(self) -> int:
        """Bytes that it has resident; 0 if it is gone."""


Launch = Callable[[socket.socket, Path], Process]
"""Starts a process that talks over this end of a socket pair and works in this directory."""


class Child:
    """A real process.

    Raises:
        OSError: It has no descriptor to be watched by. It is killed.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        try:
            self._fd = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.wait()
            raise

    def fileno(self) -> int:
        """See `Process.fileno`."""
        return self._fd

    def kill(self) -> None:
        """See `Process.kill`."""
        if self._process.returncode is None:  # until it is reaped, its number is nobody else's
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int | None:
        """See `Process.reap`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return self._process.poll()

    def memory(self) -> int:
        """See `Process.memory`: shared libraries are counted, in each process that has them."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0


def launch(connection: socket.socket, directory: Path) -> Process:
    """Start an instance. To be called by a thread that lives as long as instances may: they die with it.

    What a function writes without saying where lands in ``directory``, and goes with the instance. What it prints goes
    to where this process' errors go.

    Raises:
        OSError: There is no process, or no descriptor, to be had.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROAMBED_")}
    environment |= {"PYTHONPATH": _ROOT, "OMP_NUM_THREADS": "1", "TMPDIR": str(directory), "HOME": str(directory)}
    fd = connection.fileno()
    process = subprocess.Popen(
        [sys.executable, "-m", "nodes.platform", str(fd), str(os.getpid())],
        stdin=subprocess.DEVNULL, stdout=2, cwd=directory, env=environment, pass_fds=(fd,), process_group=0,
    )  # fmt: skip
    return Child(process)


class Wire:
    """The agent's end of the socket pair: what cannot be sent now waits here, never the caller."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._reader = ms.Reader()
        self._out: deque[memoryview] = deque()
        self.closed = False

    def fileno(self) -> int:
        """To be polled."""
        return self._socket.fileno()

    @property
    def waiting(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._out)

    def send(self, message: ms.ToInstance, frames: ms.Frames = ()) -> None:
        """Send, or keep to be sent by `flush` (WireError: it is too large)."""
        self._out.extend(memoryview(piece).cast("B") for piece in ms.encode(message, frames))
        self.flush()

    def flush(self) -> None:
        """Send what goes; that nobody is there any more is found out by reading."""
        while self._out:
            try:
                sent = self._socket.send(self._out[0])
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                return
            if sent < len(self._out[0]):
                self._out[0] = self._out[0][sent:]
            else:
                self._out.popleft()

    def receive(self) -> list[tuple[ms.Message, list[memoryview]]]:
        """What has come, of very much a first part (WireError: not from an instance of ours); `closed` at the end."""
        found: list[tuple[ms.Message, list[memoryview]]] = []
        for _ in range(_BURST):
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            found += self._reader.feed(data)
        return found

    def close(self) -> None:
        """Close it; what was not sent is for nobody."""
        self._out.clear()
        self._socket.close()


def now() -> float:
    """CLOCK_MONOTONIC, which the process of an instance has, too."""
    return time.monotonic()
