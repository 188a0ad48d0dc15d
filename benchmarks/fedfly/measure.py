"""Runs cells: one bring-up a bed, one training a cell. What goes wrong in a cell is that cell's result."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.fedfly.cells import CUTS, SPLITS, Cell, fingerprint, moves, predictions
from benchmarks.fedfly.settings import Setting, experiment
from benchmarks.fedfly.store import Found, Store, of_run
from testbed import Experiment
from testbed.experiment.plan import Plan
from testbed.run import data
from testbed.run.live import Live
from testbed.run.record import RunDirectory, new_run_id
from testbed.run.runner import train

REPOSITORY = Path(__file__).resolve().parents[2]
_CODE = ("testbed/emulation", "testbed/experiment", "testbed/run", "nodes", "native")
_ENDINGS = (".py", ".c", ".h")

Tell = Callable[[Cell, Found], None]


def code() -> str:
    """A digest of everything that a result depends on, committed or not."""
    digest = hashlib.sha256()
    for room in _CODE:
        for path in sorted((REPOSITORY / room).rglob("*")):
            if path.suffix in _ENDINGS:
                digest.update(str(path.relative_to(REPOSITORY)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def plan_of(plan: Plan, cell: Cell) -> Plan:
    """The bed's plan with what is a cell's own: seed, cut, rounds, split, strategy, moves and forecasts."""
    work = plan.workload
    work = replace(
        work,
        cut=CUTS[cell.cut],
        rounds=cell.rounds,
        strategy="migrate" if cell.strategy == "none" else cell.strategy,
        data=replace(work.data, fractions=SPLITS[cell.split]),
    )
    if cell.kind == "whole" and cell.strategy != "none":  # moves are the trace's
        return replace(plan, seed=cell.seed, workload=work)
    return replace(plan, seed=cell.seed, workload=work, moves=moves(cell), predictions=predictions(cell))


class Bench:
    """Measures what is not in the store yet.

    Args:
        store: Results so far, and where new ones go. directory: CIFAR-10's, None for digits. tell: Told each result.
        traces: Directory of traces; None if there is none.
    """

    def __init__(self, store: Store, directory: str | None, tell: Tell, traces: str | None = None) -> None:
        self._store = store
        self._traces = traces
        self._data = directory
        self._code = code()
        self._tell = tell

    def found(self, cell: Cell) -> Found | None:
        """A result that was there before, or is by now."""
        return self._store.get(cell.name, self._mark(cell))

    def bed(self, setting: Setting, cells: Sequence[Cell]) -> dict[str, Found]:
        """Results of a bed's cells by name; the bed is brought up if one of them is not there yet.

        After a failure the bed is brought up anew, as it may be what failed.
        """
        results = {cell.name: found for cell in cells if (found := self.found(cell)) is not None}
        left = [cell for cell in cells if cell.name not in results]
        with tempfile.TemporaryDirectory(prefix="roambed-fedfly-") as scratch:
            path = Path(scratch, f"{setting.name}.yaml")
            path.write_text(experiment(setting, self._data, self._traces))
            while left:
                self._standing(path, left, results)
                left = [cell for cell in left if cell.name not in results]
        return results

    def _standing(self, path: Path, cells: Sequence[Cell], results: dict[str, Found]) -> None:
        """As many cells as one bring-up carries: up to the first that fails. Each is kept as soon as it is measured."""
        runs, before, begin = path.with_name("runs"), len(results), time.monotonic()
        try:
            with Experiment.load(path).up(runs=runs) as bed:
                plan = bed.session.plan  # each cell changes what it changes of the bed's own
                for cell in cells:
                    self._keep(cell, self._one(bed.session, plan, cell, runs), results)
                    shutil.rmtree(runs, ignore_errors=True)
                    if results[cell.name].failed:
                        return
        except Exception as error:
            if len(results) > before:
                return  # what could not be taken down was of use: the rest is tried on another
            for cell in cells:
                self._keep(cell, self._failure(cell, error, time.monotonic() - begin), results)

    def _keep(self, cell: Cell, found: Found, results: dict[str, Found]) -> None:
        results[cell.name] = found
        self._store.add(found)
        self._tell(cell, found)

    def _one(self, session: Any, bed: Plan, cell: Cell, runs: Path) -> Found:
        begin = time.monotonic()
        try:
            session.plan = session.real = plan = plan_of(bed, cell)
            directory = RunDirectory(runs, new_run_id("fedfly"))
            outcome = train(
                session, ("fedfly",), data.split(plan), directory, Live(quiet=True), threading.Event(), []
            )[0]
            if outcome.failure is not None:
                raise outcome.failure
            lines = (directory.path / "events.jsonl").read_text().splitlines()
            events = [event for event in map(json.loads, lines) if "kind" in event]
            return of_run(cell.name, self._mark(cell), outcome.row, events, time.monotonic() - begin)
        except Exception as error:
            return self._failure(cell, error, time.monotonic() - begin)

    def _failure(self, cell: Cell, error: Exception, took_s: float) -> Found:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return Found(cell.name, self._mark(cell), failed=why, took_s=took_s)

    def _mark(self, cell: Cell) -> str:
        return fingerprint(cell, self._code, self._data or "digits")
