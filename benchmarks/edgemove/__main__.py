"""Measure and write: ``python -m benchmarks.edgemove``; see `main`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.edgemove import cells, page
from benchmarks.edgemove.measure import ADAPTIVE, REPOSITORY, Bench
from benchmarks.edgemove.store import Found, Store
from benchmarks.fidelity.cases import complain
from benchmarks.fidelity.page import machine
from testbed.emulation import links
from testbed.errors import RoambedError


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edgemove", description="EdgeMove's pipelines, measured")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs", help="where edgemove.md, .json and .svg go")
    parser.add_argument("--quick", action="store_true", help="the committed list that the figures come from, no grid")
    parser.add_argument("--data", type=Path, help="directory of CIFAR-10's binary files (default: what is embedded)")
    parser.add_argument("--traces", type=Path, help="directory that holds ucc5g's drive logs (default: none)")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds the grid has (default 5)")
    parser.add_argument("--store", type=Path, help="where results are kept on the way (default: build/edgemove)")
    parser.add_argument("--fresh", action="store_true", help="measure anew what an interrupted run has left")
    parser.add_argument("--only", default="", help="cells whose names hold this text (the page then lacks the others)")
    parser.add_argument("--list", action="store_true", help="print the cells, and measure nothing")
    return parser.parse_args(words)


def wanted(asked: argparse.Namespace) -> list[cells.Cell]:
    """Cells to measure."""
    if asked.quick:
        listed = cells.quick(adaptive=ADAPTIVE)
    else:
        listed = cells.full(range(1, asked.seeds + 1), asked.traces is not None, adaptive=ADAPTIVE)
    return [cell for cell in listed if asked.only in cell.name]


def main() -> int:
    asked = arguments()
    if asked.seeds < 1:
        complain("error: the grid needs a seed at least; remedy: SEEDS=1 or more")
        return 2
    for path, what in ((asked.data, "DATA=DIR with the binary files of CIFAR-10"),
                       (asked.traces, "TRACES=DIR with ucc5g's drive logs")):  # fmt: skip
        if path is not None and not path.is_dir():
            complain(f"error: there is no directory {path}; remedy: {what}")
            return 2
    listed = wanted(asked)
    if not listed:
        complain(f"error: no cell has {asked.only!r} in its name; remedy: --list prints them")
        return 2
    if asked.list:
        print("\n".join(cell.name for cell in listed))
        return 0
    if asked.only and asked.out == REPOSITORY / "docs":
        complain("error: with --only the page would lack cells; remedy: --out DIR elsewhere than docs/")
        return 2
    if os.geteuid() != 0:
        complain("error: containers and links need root; remedy: make bench-edgemove, or sudo")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: everything is taken down on the way
    return measure(asked, listed)


def measure(asked: argparse.Namespace, listed: list[cells.Cell]) -> int:
    begun = time.monotonic()
    store = Store((asked.store or REPOSITORY / "build" / "edgemove") / "cells.jsonl")
    if asked.fresh:
        store.forget(cell.name for cell in listed)

    def tell(cell: cells.Cell, found: Found) -> None:
        told = sorted({str(row["verdict"]) for row in found.rows})
        said = f"FAILED: {found.failed}" if found.failed else f"{len(found.rows)} trained, {', '.join(told)}"
        print(f"[{time.monotonic() - begun:6.0f} s] {cell.name}  {found.took_s:.0f} s  {said}", flush=True)

    data, traces = (None if path is None else str(path.resolve()) for path in (asked.data, asked.traces))
    bench = Bench(store, data, tell, traces)
    results: dict[str, Found] = {}
    try:
        here = machine(links)
        for group in cells.by_bed(listed).values():
            results |= bench.bed(group)
    except KeyboardInterrupt:
        complain("interrupted: the same command goes on from here")
        return 130
    except RoambedError as error:
        complain(f"error: {error}")
        return error.exit_code
    named = "embedded (digits, motion, docstrings)" if data is None else "CIFAR-10, and what is embedded"
    page.write(asked.out, results, listed, here, quick=asked.quick, data=named)
    failed = [found for found in results.values() if found.failed]
    for found in failed:
        complain(f"not measured: {found.cell}: {found.failed}")
    if failed:
        complain("the same command tries again what failed, and keeps the rest")
        return 1
    store.forget(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
