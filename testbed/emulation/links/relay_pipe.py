"""The process of the relay, or another of ours that is spoken to like it: started, asked line by line, ended."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from testbed.errors import EmulationError

_PATIENCE = 10.0  # s for an answer; a command takes well under a millisecond


class RelayPipe:
    """A relay that runs.

    Args:
        program: The relay to run.
        name: What it is called in errors.
        loss: What is lost when it ends.

    Attributes:
        greeting: What the relay said of itself when it was ready.
    """

    def __init__(self, program: Path, name: str = "the relay", loss: str = "all links with it") -> None:
        self._name, self._loss = name, loss
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the relay
        self._received = b""
        self._guard = threading.Lock()
        # In a session of its own, so that Ctrl-C in a terminal leaves it to us when it ends.
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
            start_new_session=True,
        )
        status, words = "", ""
        try:
            status, words = self._answer("start")
        finally:
            if status != "ready":
                self.close()
        if status != "ready":
            raise EmulationError(f"{name} cannot start", found=words, remedy="run as root (sudo)")
        self.greeting = dict(word.split("=", 1) for word in words.split())

    @property
    def pid(self) -> int:
        """Of the relay's process."""
        return self._process.pid

    def ask(self, link: str, *words: str) -> str:
        """Send a command; what the relay answered after ``ok``.

        Args:
            link: Which link it is about, for errors.
            words: The command.

        Raises:
            EmulationError: The relay refused, or has ended.
        """
        with self._guard:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write((" ".join(words) + "\n").encode())
            except BrokenPipeError:
                raise self._ended(link) from None
            status, answer = self._answer(link)
        if status != "ok":
            raise EmulationError(f"{self._name} refused to {words[0]} a link", found=answer, where=link)
        return answer

    def check(self) -> None:
        """Raise EmulationError if the process has ended by itself."""
        if self._process.poll() is not None:
            raise self._ended("all links")

    def close(self) -> None:
        """End the relay and with it every link."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()

    def _answer(self, where: str) -> tuple[str, str]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + _PATIENCE
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._received:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise EmulationError(f"{self._name} does not answer", where=where)
            data = self._process.stdout.read(1 << 16)
            if not data:
                raise self._ended(where)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        status, _, rest = line.decode(errors="replace").partition(" ")
        return status, rest

    def _ended(self, where: str) -> EmulationError:
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()[-500:]
        try:
            code = str(self._process.wait(1))
        except subprocess.TimeoutExpired:
            code = "unknown"
        found = f"exit code {code} {said}".strip()
        return EmulationError(f"{self._name} has ended, and {self._loss}", found=found, where=where)


@contextmanager
def handed_over(data: bytes) -> Iterator[str]:
    """A path at which another process of ours reads these bytes, in memory and without a name, for as long as this."""
    with open(os.memfd_create("roambed-relay"), "wb", buffering=0) as file:
        sent = 0
        while sent < len(data):
            sent += file.write(data[sent:])
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
