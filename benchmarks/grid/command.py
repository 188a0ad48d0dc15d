"""The command of a grid: measure what is not there yet, keep each result at once, and write the page of all."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.grid.bench import Bench
from benchmarks.grid.machine import REPOSITORY, machine
from benchmarks.grid.page import Page
from benchmarks.grid.store import C, Store
from testbed.emulation import links
from testbed.errors import RoambedError

DOCS = REPOSITORY / "docs"


@dataclass(frozen=True)
class Directory:
    """A directory that a benchmark may be given: what the help says of it, and what ``make`` is to be told."""

    help: str
    remedy: str


@dataclass(frozen=True)
class Grid:
    """A benchmark.

    Attributes:
        about: What it is, for the help. page: Its page, which has its name.
        bench: What measures its cells. kind: The dataclass of their results. said: A result that did not fail, short.
        quick: The committed list that the figures come from, bed by bed.
        full: That and the whole grid after it, by its seeds and whether there are traces.
        bed: Name of a cell's bed; cells of a bed follow each other.
        beside: What a cell is compared to, if it cannot go without.
        needs_data: Whether a cell needs a directory of data; without one it is left out.
        embedded, given: What it trains on, in words: without a directory of data, and with one.
        seeds: How many the grid has; 0 if it knows none. data, traces: Directories that it can be given.
    """

    about: str
    page: Page
    bench: type[Bench[Any, Any]]
    kind: Callable[..., Any]
    said: Callable[[Any], str]
    quick: Callable[[], Sequence[Any]]
    full: Callable[[Sequence[int], bool], Sequence[Any]]
    bed: Callable[[Any], str]
    beside: Callable[[Any], Iterable[Any]] = lambda cell: ()
    needs_data: Callable[[Any], bool] = lambda cell: False
    embedded: str = "digits (embedded)"
    given: str = ""
    seeds: int = 5
    data: Directory | None = None
    traces: Directory | None = None

    @property
    def name(self) -> str:
        """Of the benchmark, of ``make bench-...``, and of its files."""
        return self.page.name


def arguments(grid: Grid, words: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked; an option that a benchmark does not have is as if it was not given."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{grid.name}", description=grid.about)
    parser.add_argument("--out", type=Path, default=DOCS, help=f"where {grid.name}.md, .json and .svg go")
    parser.add_argument("--quick", action="store_true", help="the committed list that the figures come from, no grid")
    for option, directory in (("data", grid.data), ("traces", grid.traces)):
        if directory is not None:
            parser.add_argument(f"--{option}", type=Path, help=directory.help)
    if grid.seeds:
        default = f"how many seeds the grid has (default {grid.seeds})"
        parser.add_argument("--seeds", type=int, default=grid.seeds, help=default)
    kept = f"where results are kept on the way (default: build/{grid.name})"
    parser.add_argument("--store", type=Path, help=kept)
    parser.add_argument("--fresh", action="store_true", help="measure anew what an interrupted run has left")
    parser.add_argument("--only", default="", help="cells whose names hold this text (the page then lacks the others)")
    parser.add_argument("--list", action="store_true", help="print the cells, and measure nothing")
    parser.set_defaults(data=None, traces=None)
    return parser.parse_args(words)


def wanted(grid: Grid, asked: argparse.Namespace) -> list[Any]:
    """Cells to measure, with those that they are compared to."""
    seeds = range(1, asked.seeds + 1) if grid.seeds else ()
    listed = grid.quick() if asked.quick else grid.full(seeds, asked.traces is not None)
    listed = [cell for cell in listed if asked.data is not None or not grid.needs_data(cell)]
    chosen = [cell for cell in listed if asked.only in cell.name]
    names = {one.name for cell in chosen for one in (cell, *grid.beside(cell))}
    return [cell for cell in listed if cell.name in names]


def by_bed(listed: Iterable[C], bed: Callable[[C], str]) -> dict[str, list[C]]:
    """Cells by the bed that they share, in order."""
    found: dict[str, list[C]] = {}
    for cell in listed:
        found.setdefault(bed(cell), []).append(cell)
    return found


def main(grid: Grid, words: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit code: 1 if a cell could not be measured, 2 if nothing was tried."""
    asked = arguments(grid, words)
    if grid.seeds and asked.seeds < 1:
        return _refuse("the grid needs a seed at least", "SEEDS=1 or more")
    for path, directory in ((asked.data, grid.data), (asked.traces, grid.traces)):
        if directory is not None and path is not None and not path.is_dir():
            return _refuse(f"there is no directory {path}", directory.remedy)
    listed = wanted(grid, asked)
    if not listed:
        return _refuse(f"no cell has {asked.only!r} in its name", "--list prints them")
    if asked.list:
        print("\n".join(cell.name for cell in listed))
        return 0
    if asked.only and asked.out.resolve() == DOCS:
        return _refuse("with --only the page would lack cells", "--out DIR elsewhere than docs/")
    if os.geteuid() != 0:
        return _refuse("containers and links need root", f"make bench-{grid.name}, or sudo")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: everything is taken down on the way
    return measure(grid, asked, listed)


def measure(grid: Grid, asked: argparse.Namespace, listed: Sequence[Any]) -> int:
    """Measure cells bed by bed, and write the page; results stay in the store until all are there."""
    begun = time.monotonic()
    store = Store((asked.store or REPOSITORY / "build" / grid.name) / "cells.jsonl", grid.kind)
    if asked.fresh:
        store.forget(cell.name for cell in listed)

    def tell(cell: Any, found: Any) -> None:
        said = f"FAILED: {found.failed}" if found.failed else grid.said(found)
        print(f"[{time.monotonic() - begun:6.0f} s] {cell.name}  {found.took_s:.0f} s  {said}", flush=True)

    data, traces = (None if path is None else str(path.resolve()) for path in (asked.data, asked.traces))
    bench = grid.bench(store, tell, data, traces)
    results: dict[str, Any] = {}
    try:
        here = machine(links)
        for group in by_bed(listed, grid.bed).values():
            results |= bench.bed(group)
    except KeyboardInterrupt:
        complain("interrupted: the same command goes on from here")
        return 130
    except RoambedError as error:
        complain(f"error: {error}")
        return error.exit_code
    named = grid.embedded if data is None else grid.given
    grid.page.write(asked.out, results, listed, here, quick=asked.quick, data=named)
    failed = [found for found in results.values() if found.failed]
    for found in failed:
        complain(f"not measured: {found.cell}: {found.failed}")
    if failed:
        complain("the same command tries again what failed, and keeps the rest")
        return 1
    store.forget(results)
    return 0


def complain(words: str) -> None:
    """To who called, beside what is printed."""
    print(words, file=sys.stderr, flush=True)


def _refuse(what: str, remedy: str) -> int:
    complain(f"error: {what}; remedy: {remedy}")
    return 2
