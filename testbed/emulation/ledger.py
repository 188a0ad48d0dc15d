"""The ledger: what a run makes on this machine, written down before it is made.

Each run has a directory ``/run/roambed/<run-id>/`` with

    lock          held with flock by the run's controller for its whole life, so that kill -9 frees it
    ledger.jsonl  one entry a line, appended before (processes: right after) the thing exists
    bed.json      who is who while the bed stands (see ``record``)

This module covers writing and reading it; the directories themselves are in ``rundirs``. What is done with the entries
of a dead run is in ``clean``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

from testbed.emulation import rundirs
from testbed.emulation.process import Process
from testbed.errors import EmulationError, EnvironmentProblem, InputError

Kind = Literal["container", "netns", "process", "directory", "file"]

SOCKET_PATH_MAX = 106  # sun_path holds 107 bytes and a terminating zero


@dataclass(frozen=True)
class Entry:
    """One thing that a run makes.

    Attributes:
        kind: What it is. name: Container name, namespace name or path; for a process what it is for.
        pid: Process id. start: Its start time in clock ticks, which with the pid names it for good.
        exe: The program it runs.
        settled: Its making is over, well or not. One that is not may still appear after its controller was
            killed: the engine finishes what it has begun.
    """

    kind: Kind
    name: str
    pid: int = 0
    start: int = 0
    exe: str = ""
    settled: bool = False

    def process(self) -> Process:
        """The process that this entry stands for."""
        return Process(self.pid, self.start, self.exe)


class Ledger:
    """One run's ledger. ``create`` and ``take_over`` hold the lock; ``open`` only reads."""

    def __init__(self, run_id: str, directory: Path, lock: int | None = None) -> None:
        self.run_id = run_id
        self.directory = directory
        self._lock = lock

    @classmethod
    def create(cls, run_id: str) -> Ledger:
        """Make the run's directory and hold its lock.

        Raises:
            InputError: The id is not one, or a run of that id exists.
            EnvironmentProblem: The directory cannot be made (no root?).
        """
        directory = rundirs.root() / rundirs.check_run_id(run_id)
        staging = rundirs.staging(run_id)
        try:
            rundirs.root().mkdir(mode=0o755, parents=True, exist_ok=True)
            staging.mkdir(mode=0o755)
        except OSError as error:
            raise EnvironmentProblem(
                "cannot make the directory of a run",
                found=f"{error.strerror}: {error.filename}",
                remedy="run as root (sudo), or point ROAMBED_RUN_DIR at a writable directory",
            ) from error
        # The directory appears under its name only once it is locked: `clean` never sees it unlocked.
        lock = os.open(staging / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            os.rename(staging, directory)
        except OSError as error:
            os.close(lock)
            shutil.rmtree(staging)
            raise InputError(
                f"a run of the name {run_id} exists",
                found=str(directory),
                remedy=f"choose another name, or: testbed down {run_id}, testbed clean {run_id}",
            ) from error
        ledger = cls(run_id, directory, lock)
        ledger.add_process("controller", os.getpid())
        return ledger

    @classmethod
    def open(cls, run_id: str) -> Ledger:
        """Read the ledger of a run that exists.

        Raises:
            InputError: There is no such run.
        """
        directory = rundirs.root() / rundirs.check_run_id(run_id)
        if not (directory / "lock").exists():
            known = ", ".join(run.run_id for run in rundirs.runs()) or "none"
            raise InputError(f"no run {run_id} stands", found=f"runs that stand: {known}", remedy="testbed ls")
        return cls(run_id, directory)

    @property
    def holding(self) -> bool:
        """Whether this object holds the run's lock."""
        return self._lock is not None

    def alive(self) -> bool:
        """Whether a controller holds the lock."""
        return self._lock is not None or rundirs.held(self.directory)

    @contextmanager
    def take_over(self) -> Iterator[bool]:
        """Hold the lock of a dead run while it is cleaned; gives False if someone alive holds it."""
        if self._lock is not None:
            yield True
            return
        try:
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            yield False
            return
        try:
            yield rundirs.try_lock(lock, fcntl.LOCK_EX)
        finally:
            os.close(lock)

    def add(self, kind: Kind, name: str) -> None:
        """Write down a thing that is about to be made."""
        self._append(Entry(kind, name))

    @contextmanager
    def making(self, kind: Kind, name: str) -> Iterator[None]:
        """Write down a thing that somebody else makes for us, and when that is over."""
        self._append(Entry(kind, name))
        try:
            yield
        finally:
            self._append(Entry(kind, name, settled=True))

    def unsettled(self) -> tuple[set[tuple[Kind, str]], float]:
        """What may still be in the making, and when the last of it was begun (seconds since the epoch)."""
        waiting: set[tuple[Kind, str]] = {
            (entry.kind, entry.name)
            for entry in self.entries()
            if entry.kind in ("container", "netns") and not entry.settled
        }
        try:
            return waiting, (self.directory / "ledger.jsonl").stat().st_mtime
        except FileNotFoundError:
            return set(), 0.0

    def add_process(self, name: str, pid: int) -> None:
        """Write down a process that was just started (nothing is written if it has ended already)."""
        process = Process.of(pid)
        if process is not None:
            self._append(Entry("process", name, process.pid, process.start, process.exe))

    def entries(self) -> list[Entry]:
        """What was written so far; a last line torn by a crash is left out."""
        found: list[Entry] = []
        try:
            text = (self.directory / "ledger.jsonl").read_text()
        except FileNotFoundError:
            return []
        for line in text.splitlines():
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError):
                continue
            if entry.settled:
                begun = replace(entry, settled=False)
                found = [entry if other == begun else other for other in found]
            else:
                found.append(entry)
        return found

    def socket_path(self, name: str) -> Path:
        """Path for a Unix socket in the run's directory.

        Raises:
            EmulationError: It would be longer than a socket's path may be.
        """
        path = self.directory / name
        if len(os.fsencode(path)) > SOCKET_PATH_MAX:
            raise EmulationError(
                "the path of a socket is too long",
                wanted=f"at most {SOCKET_PATH_MAX} bytes",
                found=str(path),
                remedy="choose a shorter run or node name, or a shorter ROAMBED_RUN_DIR",
            )
        return path

    def release(self) -> None:
        """Let go of the lock and keep the directory: from now on the run counts as dead."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def finish(self) -> None:
        """Remove the run's directory and let go of the lock: all that was made is gone."""
        rundirs.remove_directory(self.directory)
        self.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def _append(self, entry: Entry) -> None:
        line = json.dumps({key: value for key, value in asdict(entry).items() if value}) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        out = os.open(self.directory / "ledger.jsonl", flags, 0o644)
        try:
            os.write(out, line.encode())
        finally:
            os.close(out)
