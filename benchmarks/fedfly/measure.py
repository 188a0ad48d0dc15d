"""How a cell is measured: one training on its bed, with the plan's moves and forecasts its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.fedfly.cells import CUTS, SPLITS, Cell, fingerprint, moves, predictions
from benchmarks.fedfly.settings import experiment
from benchmarks.fedfly.store import Found, of_run
from benchmarks.grid import bench
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan


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


class Bench(bench.Bench[Cell, Found]):
    """Measures what is not in the store yet."""

    name = "fedfly"

    def mark(self, cell: Cell) -> str:
        return fingerprint(cell, self.code, self.data or "digits")

    def plan(self, cell: Cell, scratch: Path) -> Plan:
        path = scratch / f"{cell.setting}.yaml"
        path.write_text(experiment(cell.bed, self.data, self.traces))
        return load_plan(path, [])

    def measure(self, session: Any, standing: Plan, cell: Cell, scratch: Path) -> Found:
        run = bench.trained(session, plan_of(standing, cell), "fedfly", scratch)
        return of_run(cell.name, self.mark(cell), run.summary, run.events)
