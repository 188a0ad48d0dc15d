"""Measure and write: ``python -m benchmarks.serverless``; see `benchmarks.grid.command.main`."""

from __future__ import annotations

import sys

from benchmarks.grid.command import Directory, Grid, main
from benchmarks.serverless import cells
from benchmarks.serverless.measure import Bench
from benchmarks.serverless.page import PAGE
from benchmarks.serverless.store import Found, said

GRID = Grid(
    about="The serverless platform, measured",
    page=PAGE,
    bench=Bench,
    kind=Found,
    said=said,
    quick=cells.quick,
    full=cells.full,
    bed=lambda cell: cell.bed,
    beside=cells.beside,
    needs_data=cells.needs_data,
    embedded="embedded (digits, passages, docstrings, motion)",
    given="embedded, and in the whole grid CIFAR-10",
    data=Directory(
        "directory of CIFAR-10's binary files, for small data on it beside what is embedded",
        "DATA=DIR with the binary files of CIFAR-10",
    ),
)

if __name__ == "__main__":
    sys.exit(main(GRID))
