"""Keeps a topology standing after ``testbed up`` has returned: a process of its own that holds the session.

``python -m testbed.run.keeper RUN_ID FILE PLAN_OPTIONS`` brings the topology up, says on stdout how that went (one
JSON object a line), and then waits until it is told to end (SIGTERM, by ``testbed down``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from testbed.errors import EmulationError, RoambedError
from testbed.experiment import load_plan
from testbed.run.live import Live
from testbed.run.record import new_run_id, plain_calibration
from testbed.run.session import Session

_CHECK_S = 1.0


def spawn(file: Path, overrides: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Start a keeper and wait until its topology stands; returns what it said last.

    Raises:
        RoambedError: It could not bring the topology up; nothing is left of it.
    """
    plan = load_plan(file, list(overrides))  # what is wrong with the file is said here, at once
    run_id = new_run_id(plan.name)
    command = [sys.executable, "-m", "testbed.run.keeper", run_id, str(file.resolve()), *overrides]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    for line in child.stdout:
        said: dict[str, Any] = json.loads(line)
        match said.pop("kind"):
            case "say":
                say(said["text"])
            case "up":
                return said
            case "error":
                child.wait()
                error = RoambedError(**said["error"])
                error.exit_code = said["exit_code"]
                raise error
    raise EmulationError(
        "the process that keeps the topology ended without a word",
        found=child.stderr.read()[-2000:].strip() or f"exit code {child.wait()}",
        remedy=f"testbed clean {run_id}",
    )


class _Pipe(Live):
    """Progress as JSON lines on stdout, for the process that waits."""

    def __init__(self) -> None:
        super().__init__(console=Console(quiet=True))
        self._open = True

    def say(self, text: str) -> None:
        self.put({"kind": "say", "text": text})

    def put(self, content: dict[str, Any]) -> None:
        """Write one object; once the reader has gone there is nobody to tell."""
        if self._open:
            print(json.dumps(content, default=str), flush=True)  # noqa: T201

    def shut(self) -> None:
        """Let the reader go: from now on nothing is written anywhere."""
        self._open = False
        null = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        os.close(null)


def main(arguments: Sequence[str]) -> int:
    """Keep one topology."""
    run_id, file, *overrides = arguments
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pipe = _Pipe()
    try:
        session = Session(load_plan(Path(file), overrides), run_id, pipe)
        session.up()
        session.limit(standing=True)
        session.bed.play(time.monotonic())
    except RoambedError as error:
        parts = {name: getattr(error, name) for name in ("message", "wanted", "found", "where", "remedy")}
        pipe.put({"kind": "error", "error": parts, "exit_code": error.exit_code})
        return error.exit_code
    try:
        (session.directory / "calibration.json").write_text(json.dumps(plain_calibration(session.calibration)))
        problems = [p for c in session.calibration for p in c.problems]
        pipe.put({"kind": "up", "run": run_id, "nodes": len(session.plan.nodes), "problems": problems})
        pipe.shut()
        while not stop.wait(_CHECK_S):
            # A node that died is seen by `testbed ls`; the others go on standing.
            while not session.control.inbox.empty():
                session.control.inbox.get()
    finally:
        session.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
