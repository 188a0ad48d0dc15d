"""Runs cells: one bring-up a bed, a training or more a cell. What goes wrong in a cell is that cell's result."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic

from benchmarks.grid.machine import REPOSITORY
from benchmarks.grid.store import C, R, Store
from testbed import Experiment
from testbed.experiment.dilate import dilated
from testbed.experiment.plan import Plan
from testbed.run import data
from testbed.run.live import Live
from testbed.run.platform import known
from testbed.run.platform import training as platform
from testbed.run.record import RunDirectory, new_run_id
from testbed.run.runner import train

_CODE = ("testbed/emulation", "testbed/experiment", "testbed/run", "nodes", "native")
_ENDINGS = (".py", ".c", ".h")


def code() -> str:
    """A digest of everything that a result depends on, committed or not."""
    digest = hashlib.sha256()
    for room in _CODE:
        for path in sorted((REPOSITORY / room).rglob("*")):
            if path.suffix in _ENDINGS:
                digest.update(str(path.relative_to(REPOSITORY)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Bench(ABC, Generic[C, R]):
    """Measures what is not in the store yet.

    Args:
        store: Results so far, and where new ones go. tell: Told each result.
        data: Directory of standard files that data are taken from; None for what is embedded.
        traces: Directory of traces; None if there is none.
    """

    name: ClassVar[str]

    def __init__(
        self, store: Store[R], tell: Callable[[C, R], None], data: str | None = None, traces: str | None = None
    ) -> None:
        self.data = data
        self.traces = traces
        self.code = code()
        self._store = store
        self._tell = tell

    @abstractmethod
    def mark(self, cell: C) -> str:
        """Fingerprint of all that a cell's result depends on."""

    @abstractmethod
    def plan(self, cell: C, scratch: Path) -> Plan:
        """What is brought up for a cell and the others of its bed."""

    @abstractmethod
    def measure(self, session: Any, standing: Plan, cell: C, scratch: Path) -> R:
        """A cell's result; the time that all of it took is put in afterwards.

        Args:
            session: Of the bed that stands. standing: The plan that it was brought up with.
            cell: Which. scratch: A directory for files on the way.
        """

    def found(self, cell: C) -> R | None:
        """A result that was there before, or is by now."""
        return self._store.get(cell.name, self.mark(cell))

    def bed(self, cells: Sequence[C]) -> dict[str, R]:
        """Results of cells of one bed by name; it is brought up if one of them is not there yet.

        After a failure it is brought up anew, as it may be what failed.
        """
        results = {cell.name: found for cell in cells if (found := self.found(cell)) is not None}
        left = [cell for cell in cells if cell.name not in results]
        with tempfile.TemporaryDirectory(prefix=f"roambed-{self.name}-") as scratch:
            while left:
                self._standing(Path(scratch), left, results)
                left = [cell for cell in left if cell.name not in results]
        return results

    def _standing(self, scratch: Path, cells: Sequence[C], results: dict[str, R]) -> None:
        """As many cells as one bring-up carries: up to the first that fails. Each is kept as soon as it is measured."""
        before, begin = len(results), time.monotonic()
        try:
            with Experiment(self.plan(cells[0], scratch)).up(runs=scratch / "runs") as bed:
                standing = bed.session.plan  # each cell puts its own in the place of it
                for cell in cells:
                    self._keep(cell, self._one(bed.session, standing, cell, scratch), results)
                    if results[cell.name].failed:
                        return
        except Exception as error:
            if len(results) > before:
                return  # what could not be taken down was of use: the rest is tried on another
            for cell in cells:
                self._keep(cell, self._failure(cell, error, time.monotonic() - begin), results)

    def _keep(self, cell: C, found: R, results: dict[str, R]) -> None:
        results[cell.name] = found
        self._store.add(found)
        self._tell(cell, found)

    def _one(self, session: Any, standing: Plan, cell: C, scratch: Path) -> R:
        begin = time.monotonic()
        try:
            found: Any = self.measure(session, standing, cell, scratch)
            return replace(found, took_s=time.monotonic() - begin)
        except Exception as error:
            return self._failure(cell, error, time.monotonic() - begin)

    def _failure(self, cell: C, error: Exception, took_s: float) -> R:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return self._store.kind(cell=cell.name, mark=self.mark(cell), failed=why, took_s=took_s)


@dataclass(frozen=True)
class Trained:
    """What a training left: its row of the run's summary, its events in order, the run's manifest."""

    summary: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]


def trained(session: Any, plan: Plan, scheme: str, scratch: Path) -> Trained:
    """Train a scheme of a plan on a bed that stands; its run directory is gone afterwards.

    Raises:
        Exception: What the training failed of.
    """
    session.plan, session.real = plan, dilated(plan)
    runs = scratch / "runs"
    try:
        directory = RunDirectory(runs, new_run_id(plan.name))
        live, stop = Live(quiet=True), threading.Event()
        outcome = train(session, (scheme,), data.split(plan), directory, live, stop, [])[0]
        if outcome.failure is not None:
            raise outcome.failure
        lines = (directory.path / "events.jsonl").read_text().splitlines()
        events = [event for event in map(json.loads, lines) if "kind" in event]
        manifest = json.loads((directory.path / "manifest.json").read_text())
        return Trained(outcome.row, events, manifest)
    finally:
        shutil.rmtree(runs, ignore_errors=True)


def served(session: Any, plan: Plan, scratch: Path) -> Mapping[str, Any]:
    """Run the tasks of a plan on a bed that stands as a serverless platform; returns the run's summary.

    Raises:
        Exception: What the run failed of. That a task failed is none.
    """
    session.plan, session.real = plan, dilated(plan)
    runs = scratch / "runs"
    try:
        directory = RunDirectory(runs, new_run_id(plan.name))
        outcome = platform.train(session, known.split(plan), directory, threading.Event(), [])
        if outcome.failure is not None:
            raise outcome.failure
        return outcome.row
    finally:
        shutil.rmtree(runs, ignore_errors=True)
