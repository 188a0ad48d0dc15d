"""What needs no containers: decisions about problems that are numbers, and trainings in memory.

A cell is measured by one call of one process: what takes long runs in as many of them as there are cores.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.orchestrator.cases import many
from benchmarks.orchestrator.measure import Judged, Small, judge, one_small, timed
from benchmarks.selection import Bed
from benchmarks.serverless.cells import PACK, Cell
from benchmarks.serverless.lessons import LESSONS, choice, samples
from nodes.learn import datasets
from nodes.learn.stage import use_threads

Row = dict[str, Any]


def measure(cell: Cell, directory: str | None = None) -> tuple[list[Row], float]:
    """Rows of a cell, and the seconds that they took; ``directory`` is that of CIFAR-10's standard files, if any."""
    begin = time.monotonic()
    use_threads(1)
    match cell.kind:
        case "gap":
            first = int(cell.setting)
            rows = [asdict(one_small(number, compared=0)) for number in range(first, first + PACK)]
        case "decide":
            rows = [decided(int(cell.setting))]
        case "accuracy":
            rows = [trained(cell, directory)]
        case other:
            raise ValueError(f"{other} needs containers")
    return rows, time.monotonic() - begin


def decided(units: int) -> Row:
    """What decisions about so many units took."""
    problem = many(units, 1)
    seconds, decision = timed(problem)
    owners = sum(len(one.owners) for one in problem.requests)
    return {"units": units, "owners": owners, "tasks": len(problem.requests), "seconds": list(seconds),
            "why_not": judge(problem, decision).why}  # fmt: skip


def trained(cell: Cell, directory: str | None) -> Row:
    """A training to its last round, by four devices: accuracy by round, batches, CPU seconds."""
    lesson = LESSONS[cell.setting]
    where = Path(directory) if lesson.given and directory is not None else None
    data = datasets.load(lesson.data, where, *samples(lesson), cell.seed)
    done = Bed(lesson.job, cell.seed, data).train(choice(cell.rule))
    return {"accuracy": done.accuracy, "batches": done.batches, "select_s": done.select_s, "train_s": done.train_s}


def case(row: Row) -> Small:
    """A small case as it was kept."""
    return Small(**{**row, "exact": Judged(**row["exact"]), "greedy": Judged(**row["greedy"]), "baselines": {}})
