"""How a cell is measured: in memory, or by a training on its bed with an experiment file of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks import selection
from benchmarks.grid import bench
from benchmarks.grid.machine import REPOSITORY
from benchmarks.grid.store import mark
from benchmarks.serverless import alone, lessons, scenarios
from benchmarks.serverless.cells import ALONE, MEMORY, Cell, fingerprint, needs_data
from benchmarks.serverless.lessons import LESSONS
from benchmarks.serverless.scenarios import SCENARIOS
from benchmarks.serverless.store import Found, ran, trained
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan

_OURS = (Path(selection.__file__), *sorted((REPOSITORY / "benchmarks" / "orchestrator").glob("*.py")))
"""Code beside that of `benchmarks.grid.bench.code` that results depend on."""


class Bench(bench.Bench[Cell, Found]):
    """Measures what is not in the store yet."""

    name = "serverless"

    def mark(self, cell: Cell) -> str:
        bare = cell.bed in (MEMORY, ALONE)
        ours = mark(*(path.read_text() for path in _OURS)) if bare else mark(self._experiment(cell))
        return fingerprint(cell, self.code + ours, (self.data or "") if needs_data(cell) else "embedded")

    def bed(self, cells: Sequence[Cell]) -> dict[str, Found]:
        if cells[0].bed not in (MEMORY, ALONE):
            return super().bed(cells)
        results = {cell.name: found for cell in cells if (found := self.found(cell)) is not None}
        left = [cell for cell in cells if cell.name not in results]
        at_once = (os.cpu_count() or 1) if cells[0].bed == MEMORY else 1
        with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn"), _deaf) as pool:
            try:
                doing = {pool.submit(alone.measure, cell, self.data): cell for cell in left}
                for done in as_completed(doing):
                    self._keep(doing[done], self._done(doing[done], done), results)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
        return results

    def _done(self, cell: Cell, done: Future[tuple[list[alone.Row], float]]) -> Found:
        try:
            rows, took = done.result()
        except Exception as error:  # of one cell: the others go on
            return self._failure(cell, error, 0.0)
        return Found(cell.name, self.mark(cell), rows, took_s=took)

    def plan(self, cell: Cell, scratch: Path) -> Plan:
        path = scratch / f"{cell.bed}.yaml"
        path.write_text(self._experiment(cell))
        return load_plan(path, [])

    def _experiment(self, cell: Cell) -> str:
        if cell.kind == "platform":
            return scenarios.experiment(SCENARIOS[cell.setting], cell.way, cell.rule, cell.seed)
        return lessons.experiment(LESSONS[cell.setting], cell.way, cell.rule, cell.seed, self.data)

    def measure(self, session: Any, standing: Plan, cell: Cell, scratch: Path) -> Found:
        if cell.kind == "platform":
            return Found(cell.name, self.mark(cell), [ran(bench.served(session, self.plan(cell, scratch), scratch))])
        done = bench.trained(session, self.plan(cell, scratch), cell.way, scratch)
        return Found(cell.name, self.mark(cell), [trained(done.summary)])


def _deaf() -> None:
    """A worker leaves Ctrl-C to who has started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
