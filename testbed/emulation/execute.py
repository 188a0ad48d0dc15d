"""Commands in a container, with a deadline that is kept: what runs past it is killed, in the container too."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from testbed.emulation.containers import Engine, engine_errors
from testbed.emulation.process import Process
from testbed.errors import EmulationError, EnvironmentProblem

_STDERR = 2


@dataclass(frozen=True)
class ExecResult:
    """How a command in a container ended.

    Attributes:
        exit_code: None if it ran past its deadline.
        stdout: What it said.
        stderr: The same; its last lines tell of processes that were killed for want of memory.
        timed_out: Whether it ran past its deadline.
        oom_kills: Processes of the node killed for want of memory meanwhile; None if the kernel does not tell.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool = False
    oom_kills: int | None = None


def run(engine: Engine, container: str, argv: Sequence[str], timeout: float | None = None) -> ExecResult:
    """Run a command in a container and collect what it says.

    Args:
        engine: The engine.
        container: Name or id.
        argv: The command.
        timeout: Seconds until it is killed; None waits as long as it takes.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with engine_errors(f"run a command in {container}", where=container):
        made = engine.api.exec_create(container, list(argv))["Id"]
        stream = engine.api.exec_start(made, socket=True)
    try:
        # Over a Unix socket the SDK hands out a file around the socket, over TCP the socket itself.
        raw = cast(socket.socket, getattr(stream, "_sock", stream))
        collected: dict[int, bytearray] = {1: bytearray(), _STDERR: bytearray()}
        timed_out = not _collect(raw, collected, deadline)
    finally:
        # The connection was taken over from the SDK's pool: its response must be closed before the stream.
        response = getattr(stream, "_response", None)
        if response is not None:
            response.close()
        stream.close()
        raw.close()
    if timed_out:
        _kill(engine, made)
    code = None if timed_out else _exit_code(engine, made)
    out, err = (collected[channel].decode(errors="replace") for channel in (1, _STDERR))
    return ExecResult(code, out, err, timed_out)


def interactive(container: str, argv: Sequence[str]) -> int:
    """Run a command in a container on this terminal, or with this process's standard streams.

    Returns:
        Its exit code.
    """
    client = shutil.which("docker")
    if client is None:
        raise EnvironmentProblem("docker, the command, is not installed", remedy="apt install docker.io")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    options = ["--interactive", "--tty"] if terminal else ["--interactive"]
    return subprocess.call([client, "exec", *options, container, *argv])


def _collect(raw: socket.socket, collected: dict[int, bytearray], deadline: float | None) -> bool:
    """Read the multiplexed output to its end; False if the deadline passed before."""
    pending = bytearray()
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        raw.settimeout(left)
        try:
            data = raw.recv(1 << 16)
        except TimeoutError:
            return False
        if not data:
            return True
        pending += data
        while len(pending) >= 8:  # a frame: channel, three zeros, length in network order
            channel, length = struct.unpack_from(">BxxxI", pending)
            if len(pending) < 8 + length:
                break
            collected.get(channel, collected[1]).extend(pending[8 : 8 + length])
            del pending[: 8 + length]


def _exit_code(engine: Engine, made: str) -> int:
    # The stream may end an instant before the engine has noted the exit.
    deadline = time.monotonic() + 5
    while True:
        with engine_errors("ask how a command ended"):
            seen = engine.api.exec_inspect(made)
        if not seen["Running"] and seen["ExitCode"] is not None:
            return int(seen["ExitCode"])
        if time.monotonic() > deadline:
            raise EmulationError("the engine does not say how a command ended", found=str(seen.get("ExitCode")))
        time.sleep(0.01)


def _kill(engine: Engine, made: str) -> None:
    with engine_errors("look for a command to end"):
        pid = int(engine.api.exec_inspect(made)["Pid"] or 0)
    process = Process.of(pid) if pid and os.path.exists(f"/proc/{pid}") else None
    if process is not None:
        process.end()
