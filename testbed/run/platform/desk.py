"""Where a run takes requests from other programs: ``testbed submit``, ``status`` and ``cancel``.

A Unix socket in the run's own directory, which only root reaches. A request is a line of JSON, its answer another one;
who asks for what cannot be has the error as an answer. A thread of its own listens; what has to be decided by whoever
runs the platform is handed over.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.emulation import rundirs
from testbed.emulation.ledger import Ledger
from testbed.errors import EnvironmentProblem, InputError, RoambedError

NAME = "desk"
_MOST = 1 << 20
_READ_S = 5.0
_ANSWER_S = 60.0
_SLICE_S = 0.5

Answer = dict[str, Any]


@dataclass
class Asked:
    """A request that waits for its answer.

    ``content`` is what was asked; ``prepared`` what the desk has got ready for it (see `Desk`).
    """

    content: Mapping[str, Any]
    prepared: Any = None
    _answer: queue.SimpleQueue[Answer] = field(default_factory=queue.SimpleQueue)

    def answer(self, content: Answer) -> None:
        """Answer it."""
        self._answer.put(content)

    def refuse(self, error: RoambedError) -> None:
        """Answer it with an error."""
        self._answer.put(refusal(error))

    def wait(self) -> Answer:
        """The answer; an error if there is none in time."""
        try:
            return self._answer.get(timeout=_ANSWER_S)
        except queue.Empty:
            return refusal(RoambedError("the run does not answer", found=f"nothing for {_ANSWER_S:.0f} s"))


class Desk:
    """Takes requests until it is closed.

    Args:
        path: Of the socket.
        prepare: Called by the desk's thread, with the request, before it is handed over: for what takes long.
    """

    def __init__(self, path: Path, prepare: Callable[[Mapping[str, Any]], Any] = lambda _: None) -> None:
        self.requests: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._prepare = prepare
        self._path = path
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(FileNotFoundError):
            path.unlink()
        self._socket.bind(str(path))
        path.chmod(0o600)
        self._socket.listen(8)
        self._socket.settimeout(_SLICE_S)
        self._thread = threading.Thread(target=self._serve, name=NAME, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more; who still waits is told."""
        self._over.set()
        self._refuse_all()
        self._thread.join(timeout=2 * _READ_S)
        self._socket.close()
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _refuse_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                self.requests.get_nowait().refuse(_run_over())

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                other, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with other, suppress(OSError):  # who does not wait for the answer does not get it
                other.settimeout(_READ_S)
                other.sendall(json.dumps(self._take(other), default=str).encode() + b"\n")

    def _take(self, other: socket.socket) -> Answer:
        try:
            asked = Asked(_decoded(_line(other)))
            asked.prepared = self._prepare(asked.content)
        except RoambedError as error:
            return refusal(error)
        except Exception as error:  # of one request; the run goes on
            return refusal(RoambedError("the request cannot be carried out", found=f"{type(error).__name__}: {error}"))
        self.requests.put(asked)
        if self._over.is_set():  # who closes may have looked before this one was there, and nobody takes it any more
            self._refuse_all()
        return asked.wait()


def _run_over() -> InputError:
    return InputError("the run is over", remedy="start another one")


def refusal(error: RoambedError) -> Answer:
    """An error as an answer."""
    parts = {name: getattr(error, name) for name in ("message", "wanted", "found", "where", "remedy")}
    shown = str(error) if getattr(error, "problems", ()) else ""
    return {"error": parts, "shown": shown, "exit_code": error.exit_code}


def ask(run: str | None, request: Mapping[str, Any], *, patience: float = 2 * _ANSWER_S) -> Answer:
    """Ask a run for something.

    Args:
        run: Its id; None: the only one that takes tasks.
        request: What.
        patience: s to wait for the answer.

    Raises:
        RoambedError: There is no such run, it cannot be reached, or it refuses.
    """
    path = _found(run)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.settimeout(patience)
            other.connect(str(path))
            other.sendall(json.dumps(request).encode() + b"\n")
            answer = _decoded(_line(other))
    except PermissionError:
        raise EnvironmentProblem("tasks are for root to submit", where=str(path), remedy="use sudo") from None
    except OSError as error:
        raise InputError(f"run {path.parent.name} takes no tasks any more", found=str(error),
                         remedy="testbed ls shows the runs that stand") from None  # fmt: skip
    if "error" in answer:
        parts = answer["error"]
        found = RoambedError(answer["shown"] or parts.pop("message"), **({} if answer["shown"] else parts))
        found.exit_code = int(answer["exit_code"])
        raise found
    return answer


def _found(run: str | None) -> Path:
    """The socket of a run."""
    if run is not None:
        directory = Ledger.open(run).directory  # says which runs stand if this one does not
        if not (directory / NAME).exists():
            raise InputError(f"run {run} takes no tasks", wanted="a run of a file with tasks, while they come",
                             remedy="testbed run topologies/serverless.yaml")  # fmt: skip
        return directory / NAME
    standing = [one.directory / NAME for one in rundirs.runs() if one.alive and (one.directory / NAME).exists()]
    if len(standing) != 1:
        raise InputError(
            "several runs take tasks" if standing else "no run takes tasks",
            found=", ".join(path.parent.name for path in standing) or None,
            remedy="name one" if standing else "testbed run topologies/serverless.yaml",
        )  # fmt: skip
    return standing[0]


def _line(other: socket.socket) -> bytes:
    """All up to the end of a line (OSError if the other side ends before)."""
    found = b""
    while not found.endswith(b"\n"):
        part = other.recv(1 << 16)
        if not part:
            raise ConnectionError("the other side ended in the middle")
        found += part
        if len(found) > _MOST:
            raise InputError("a request that is too long", wanted=f"at most {_MOST} bytes")
    return found


def _decoded(line: bytes) -> Answer:
    try:
        content = json.loads(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError("a request that is none", wanted="a line of JSON: an object", found=repr(line[:60]))
    return content
