"""Measure and write: ``python -m benchmarks.fedfly``; see `benchmarks.grid.command.main`."""

from __future__ import annotations

import sys

from benchmarks.fedfly import cells
from benchmarks.fedfly.measure import Bench
from benchmarks.fedfly.page import PAGE
from benchmarks.fedfly.store import Found
from benchmarks.grid.command import Directory, Grid, main

GRID = Grid(
    about="FedFly's experiment, and more",
    page=PAGE,
    bench=Bench,
    kind=Found,
    said=lambda found: f"{found.verdict}  {'; '.join(found.reasons)[:160]}",
    quick=cells.quick,
    full=cells.full,
    bed=lambda cell: cell.setting,
    beside=lambda cell: (cell.base,),
    given="CIFAR-10",
    data=Directory(
        "directory of CIFAR-10's binary files (default: embedded digits)",
        "DATA=DIR with the binary files of CIFAR-10",
    ),
    traces=Directory(
        "directory of movement traces for the whole runs (default: none)",
        "TRACES=DIR with the traces of the whole runs",
    ),
)

if __name__ == "__main__":
    sys.exit(main(GRID))
