"""Measure and write: ``python -m benchmarks.orchestrator``; see `main`. Needs no root: nothing is brought up."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.grid.command import DOCS, complain
from benchmarks.grid.machine import computer
from benchmarks.orchestrator import page
from benchmarks.orchestrator.measure import SIZES, measured
from testbed.errors import RoambedError

CASES, QUICK = 200, 60


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestrator", description="The orchestrator, measured")
    parser.add_argument("--out", type=Path, default=DOCS, help="where orchestrator.md and .json go")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} small cases instead of {CASES}")
    return parser.parse_args(words)


def main() -> int:
    asked = arguments()
    by = f"Python {platform.python_version()}, numpy {version('numpy')}, scipy {version('scipy')}"
    begun, here = time.monotonic(), computer(("by", by))

    def tell(said: str) -> None:
        print(f"[{time.monotonic() - begun:6.0f} s] {said}", flush=True)

    try:
        smalls, larges = measured(QUICK if asked.quick else CASES, SIZES, tell)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except RoambedError as error:
        complain(f"error: {error}")
        return error.exit_code
    page.write(asked.out, smalls, larges, here, quick=asked.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
