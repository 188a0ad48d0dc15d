"""Measure and write: ``python -m benchmarks.edgemove``; see `benchmarks.grid.command.main`."""

from __future__ import annotations

import sys

from benchmarks.edgemove import cells
from benchmarks.edgemove.measure import Bench
from benchmarks.edgemove.page import PAGE
from benchmarks.edgemove.store import Found
from benchmarks.grid.command import Directory, Grid, main


def _said(found: Found) -> str:
    return f"{len(found.rows)} trained, {', '.join(sorted({str(row['verdict']) for row in found.rows}))}"


GRID = Grid(
    about="EdgeMove's pipelines, measured",
    page=PAGE,
    bench=Bench,
    kind=Found,
    said=_said,
    quick=cells.quick,
    full=cells.full,
    bed=lambda cell: cell.on.bed.name,
    embedded="embedded (digits, motion, docstrings)",
    given="CIFAR-10, and what is embedded",
    data=Directory(
        "directory of CIFAR-10's binary files (default: what is embedded)",
        "DATA=DIR with the binary files of CIFAR-10",
    ),
    traces=Directory("directory that holds ucc5g's drive logs (default: none)", "TRACES=DIR with ucc5g's drive logs"),
)

if __name__ == "__main__":
    sys.exit(main(GRID))
