"""Runs cells: one bring-up a bed, one training or several a cell. What goes wrong in a cell is that cell's result."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.edgemove.cells import BOUND_ROUNDS, Cell, fingerprint, training
from benchmarks.edgemove.settings import DEVICE, Setting, Training, experiment, pieces
from benchmarks.edgemove.store import Found, Store, row
from benchmarks.edgemove.timing import DROP, SKIP
from benchmarks.fedfly.measure import REPOSITORY, code
from nodes.policies.partition import ranked
from nodes.policies.plans import Plan as Candidate
from testbed import Experiment
from testbed.experiment import load_plan
from testbed.experiment.plan import PipelinePlan, Plan
from testbed.run import data
from testbed.run.live import Live
from testbed.run.record import RunDirectory, new_run_id
from testbed.run.runner import train
from testbed.run.staging import problem_of

__all__ = ["ADAPTIVE", "REPOSITORY", "Bench", "Row", "Tell", "best"]

ADAPTIVE = "adapt" in PipelinePlan.__dataclass_fields__
"""Whether pipelines can change while they train here; cells that need it are left out otherwise."""
MOST_PLANS, MOST_CUTS = 12, 4
LASTS_S = 1.2
"""How long a plan is measured at least, fill and drain left out."""

Row = dict[str, Any]
Tell = Callable[[Cell, Found], None]


class Bench:
    """Measures what is not in the store yet.

    Args:
        store: Results so far, and where new ones go. directory: CIFAR-10's, None for digits. tell: Told each result.
        traces: Directory of traces; None if there is none.
    """

    def __init__(self, store: Store, directory: str | None, tell: Tell, traces: str | None = None) -> None:
        self._store = store
        self._data = directory
        self._traces = traces
        self._tell = tell
        self._code = code()

    def found(self, cell: Cell) -> Found | None:
        """A result that was there before, or is by now."""
        return self._store.get(cell.name, self._mark(cell))

    def bed(self, cells: Sequence[Cell]) -> dict[str, Found]:
        """Results of cells of one bed by name; it is brought up if one of them is not there yet.

        After a failure it is brought up anew, as it may be what failed.
        """
        results = {cell.name: found for cell in cells if (found := self.found(cell)) is not None}
        left = [cell for cell in cells if cell.name not in results]
        with tempfile.TemporaryDirectory(prefix="roambed-edgemove-") as scratch:
            while left:
                self._standing(Path(scratch), left, results)
                left = [cell for cell in left if cell.name not in results]
        return results

    def _standing(self, scratch: Path, cells: Sequence[Cell], results: dict[str, Found]) -> None:
        """As many cells as one bring-up carries: up to the first that fails. Each is kept as soon as it is measured."""
        before, begin = len(results), time.monotonic()
        try:
            with Experiment(self._plan(scratch, cells[0].on, training(cells[0]))).up(runs=scratch / "runs") as bed:
                for cell in cells:
                    self._keep(cell, self._one(bed.session, cell, scratch), results)
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

    def _one(self, session: Any, cell: Cell, scratch: Path) -> Found:
        begin = time.monotonic()
        try:
            asked = training(cell)

            def run(what: str, own: Training) -> Row:
                return self._train(session, cell.on, own, scratch, what)

            if cell.kind == "plans":
                rows = plans(session, asked, run)
            elif cell.kind == "split":
                rows = cuts(session, asked, run)
            else:
                rows = [run(cell.way, asked)]
            return Found(cell.name, self._mark(cell), rows, took_s=time.monotonic() - begin)
        except Exception as error:
            return self._failure(cell, error, time.monotonic() - begin)

    def _plan(self, scratch: Path, setting: Setting, asked: Training) -> Plan:
        path = scratch / f"{setting.name}.yaml"
        path.write_text(experiment(setting, asked, self._data, self._traces))
        return load_plan(path, [])

    def _train(self, session: Any, setting: Setting, asked: Training, scratch: Path, what: str) -> Row:
        """One training, and what is kept of it."""
        session.plan = session.real = plan = self._plan(scratch, setting, asked)
        runs = scratch / "runs"
        directory = RunDirectory(runs, new_run_id("edgemove"))
        live, stop = Live(quiet=True), threading.Event()
        outcome = train(session, (asked.scheme,), data.split(plan), directory, live, stop, [])[0]
        if outcome.failure is not None:
            raise outcome.failure
        lines = (directory.path / "events.jsonl").read_text().splitlines()
        events = [event for event in map(json.loads, lines) if "kind" in event]
        manifest = json.loads((directory.path / "manifest.json").read_text())
        staging = (manifest.get("stages") or {}).get(DEVICE, {}) if asked.scheme == "edgemove" else {}
        shutil.rmtree(runs, ignore_errors=True)
        micro = (asked.micro or setting.micro) if asked.scheme in ("edgemove", "local") else 1
        found = row(what, events, outcome.row, staging, micro, setting.batch)
        return found | {"scheme": asked.scheme, "schedule": asked.schedule, "cut": asked.cut}

    def _failure(self, cell: Cell, error: Exception, took_s: float) -> Found:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        return Found(cell.name, self._mark(cell), failed=why, took_s=took_s)

    def _mark(self, cell: Cell) -> str:
        return fingerprint(cell, self._code, self._data or "digits")


Run = Callable[[str, Training], Row]


def plans(session: Any, asked: Training, run: Run) -> list[Row]:
    """The chosen plan, all plans (the likeliest dozen of them), and the chosen and the best one again."""
    chosen = run("chosen", asked)
    every = ranked(problem_of(session.plan, DEVICE, session.layer_times, {}, {}), MOST_PLANS)
    rows = [chosen, *(run("plan", _as_planned(asked, one)) | {"predicted": _predicted(one)} for one in every)]
    again = replace(_as_long(asked, every[0].seconds), rounds=BOUND_ROUNDS)
    rows.append(run("chosen again", again))
    winner = best([one for one in rows if one["what"] == "plan"])
    rows.append(run("best again", _same(again, winner)))
    return rows


def cuts(session: Any, asked: Training, run: Run) -> list[Row]:
    """Unpipelined training on whole batches at the likeliest cuts, at the best of them again, and `splitfed` there.

    With `splitfed` the server is the nearest one, and layers are paced in one piece.
    """
    first = run("planned", replace(asked, rounds=1))
    problem = replace(problem_of(session.plan, DEVICE, session.layer_times, {}, {}), fewest=2)
    every = ranked(problem, MOST_CUTS)
    rows = [first, *(run("cut", _as_planned(asked, one)) | {"predicted": _predicted(one)} for one in every)]
    winner = best([one for one in rows if one["what"] == "cut"])
    again = replace(_as_long(asked, every[0].seconds), rounds=BOUND_ROUNDS)
    rows.append(run("best again", _same(again, winner)))
    rows.append(run("splitfed", replace(again, scheme="splitfed", micro=None, cut=winner["bounds"][1])))
    return rows


def best(rows: Sequence[Row]) -> Row:
    """The one with the fewest seconds a batch."""
    return min(rows, key=seconds)


def seconds(one: Row) -> float:
    """Seconds a batch, fill and drain left out: the median of its rounds."""
    return median(r["steady_s"] for r in one["rounds"] if r["steady_s"] is not None)


def _as_long(asked: Training, batch_s: float) -> Training:
    """So many batches that the pipeline is full for long enough; never more than were asked for."""
    return replace(asked, batches=min(asked.batches, max(5, math.ceil(LASTS_S / batch_s) + SKIP + DROP + 1)))


def _as_planned(asked: Training, one: Candidate) -> Training:
    """A plan as a training of its own. The device alone is no pipeline."""
    asked = _as_long(asked, one.seconds)
    if len(one.layout.nodes) == 1:
        return replace(asked, scheme="local")
    return replace(asked, plan=pieces(one.layout.nodes, one.layout.bounds), depth=one.depths[0])


def _same(asked: Training, found: Row) -> Training:
    if found["scheme"] == "local":
        return replace(asked, scheme="local")
    return replace(asked, plan=pieces(found["nodes"], found["bounds"]), depth=found["depths"][0])


def _predicted(one: Candidate) -> dict[str, Any]:
    return {"batch_s": one.seconds, "bound_s": one.bound * one.micro, "bottleneck": one.bottleneck}
