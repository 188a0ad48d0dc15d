"""Reports on runs: tables, plots, one HTML page, comparison of two runs."""

from __future__ import annotations

from pathlib import Path


def write_report(run_dir: Path) -> Path:
    """Draw ``report.html`` of a run directory, whatever state it is in, and return its path."""
    # Imported on use: the plots take a second that no other verb should wait for.
    from testbed.report.html import write_report as write

    return write(run_dir)


__all__ = ["write_report"]
