"""Measure and write: ``python -m benchmarks.fidelity``; see `main`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.fidelity import page, peers, speeds, suite
from benchmarks.fidelity.cases import Record
from benchmarks.grid.command import complain
from benchmarks.grid.machine import machine
from testbed.emulation import links
from testbed.errors import RoambedError

REPOSITORY = Path(__file__).resolve().parents[2]


def product(record: Record, extent: suite.Extent) -> dict[str, Callable[[], None]]:
    parts = (
        suite.goodput, suite.ten_links, suite.one_way, suite.losses, suite.bursts, suite.jitter,
        suite.rate_trace, suite.mahimahi, suite.tail_drop,
    )  # fmt: skip
    return {part.__name__: (lambda part=part: part(record, extent)) for part in parts}


def others(record: Record, extent: suite.Extent, install: bool) -> None:
    """Goodput, delay and loss by other tools; where a tool is not to be had, a row says why."""
    for name, why, make in (
        (peers.WIREFILTER, peers.wirefilter_missing(install), peers.wirefilter),
        (peers.TCLINK, peers.tclink_missing(), peers.tclink),
    ):
        if why is not None:
            for kind, what in (("tcp", "TCP goodput"), ("delay p50", "one-way delay"), ("loss", "loss")):
                record.missing(kind, what, name, why)
            continue
        suite.goodput(record, extent, make, name)
        suite.one_way(record, extent, make, name, repeats=1)
        suite.losses(record, extent, make, name)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description="asked against measured")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs", help="where fidelity.md and .json go")
    parser.add_argument("--quick", action="store_true", help="fewer cases and probes, under 5 minutes")
    parser.add_argument("--install", action="store_true", help="install vde2 for the comparison (needs root)")
    parser.add_argument("--only", default="", help="parts to measure, by comma (nothing is written to docs/ then)")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if os.geteuid() != 0:
        complain("error: network namespaces need root; remedy: make bench-fidelity, or sudo")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: everything is taken down on the way
    extent = suite.QUICK if asked.quick else suite.Extent()
    record = Record()
    parts = product(record, extent)
    parts["training"] = lambda: speeds.training(record, asked.quick)
    parts["foreign"] = lambda: speeds.foreign(record, asked.quick)
    parts["others"] = lambda: others(record, extent, asked.install)
    wanted = [name for name in asked.only.split(",") if name] or list(parts)
    unknown = set(wanted) - set(parts)
    if unknown:
        complain(f"error: no such part: {', '.join(sorted(unknown))}; there are: {', '.join(parts)}")
        return 2
    try:
        before = machine(links)
        for name in wanted:
            parts[name]()
    except KeyboardInterrupt:
        complain("interrupted: nothing is written")
        return 130
    except RoambedError as error:
        complain(f"error: {error}")
        return error.exit_code
    if asked.only and asked.out == REPOSITORY / "docs":
        return 1 if record.failed_ours else 0
    page.write(asked.out, record, before, quick=asked.quick)
    for case in record.failed:
        complain(f"not measured: {case.by}: {case.what}: {case.note}")
    return 1 if record.failed_ours else 0


if __name__ == "__main__":
    sys.exit(main())
