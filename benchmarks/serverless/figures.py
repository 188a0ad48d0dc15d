"""The arithmetic: from what cells came to, to the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.grid import figures as grid
from benchmarks.grid.figures import measured, most
from benchmarks.orchestrator.measure import Small, gap_p95
from benchmarks.serverless import compared, small
from benchmarks.serverless.alone import case
from benchmarks.serverless.cells import SIZES, Cell
from benchmarks.serverless.store import Found

Results = Mapping[str, Found]

LIMITS: dict[str, tuple[str, float]] = {
    "worst_against_baseline_pct": ("at most", 3.0),
    "prediction_error_pct": ("at most", 15.0),
    "greedy_gap_pct_p95": ("at most", 5.0),
    "decide_10k_s": ("at most", 1.0),
    "small_data_time_ratio": ("at least", 2.0),
    "small_data_energy_ratio": ("at least", 2.0),
    "small_data_bytes_ratio": ("at least", 2.0),
    "small_data_accuracy_delta": ("at least", -2.0),
}


def cases(results: Results, cells: Sequence[Cell]) -> list[Small] | None:
    """The small cases that greedy was held against exact on; None if some are missing."""
    every = [measured(results, cell) for cell in cells if cell.kind == "gap"]
    known = [found for found in every if found is not None]
    return [case(row) for found in known for row in found.rows] if known and len(known) == len(every) else None


def gap(results: Results, cells: Sequence[Cell]) -> float | None:
    """Per cent that greedy is above exact, 95th percentile; None also where it found nothing in so many cases.

    Where exact was not proved in time, above what is proved that none can be below.
    """
    found = cases(results, cells)
    value = math.nan if found is None else gap_p95(found)
    return round(value, 4) if math.isfinite(value) else None


def longest(results: Results, cells: Sequence[Cell]) -> float | None:
    """Longest decision on the most units, s; None if it was not measured, or is none."""
    last = [cell for cell in cells if cell.kind == "decide" and cell.setting == str(SIZES[-1])]
    rows = [None if (found := measured(results, cell)) is None else found.row for cell in last]
    return most(None if row is None or row["why_not"] else max(row["seconds"]) for row in rows)


def figures(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """All figures. One is None if something that it stands on is missing.

    Args:
        results: By name of cell. cells: What was to be measured: the quick list or the whole grid.
    """
    return {
        **compared.figures(results, cells),
        "greedy_gap_pct_p95": gap(results, cells),
        "decide_10k_s": longest(results, cells),
        **small.figures(results, cells),
        "invalid": len(invalid(results, cells)),
    }  # fmt: skip


def invalid(results: Results, cells: Sequence[Cell]) -> list[str]:
    """Names of the cells whose run has the verdict ``invalid``. They count in the figures all the same."""
    there = [found for cell in cells if (found := measured(results, cell)) is not None]
    return [one.cell for one in there if any(row.get("verdict", "ok") != "ok" for row in one.rows)]


def as_json(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """What serverless.json holds."""

    def told(cell: Cell, found: Found) -> dict[str, Any]:
        return _told(results, cell, found)

    found = {**figures(results, cells), "invalid_cells": invalid(results, cells)}
    return grid.as_json(found, results, cells, _about, told)


def _about(cell: Cell) -> dict[str, Any]:
    return {"name": cell.name, "kind": cell.kind, "setting": cell.setting, "way": cell.way, "rule": cell.rule,
            "seed": cell.seed}  # fmt: skip


def _told(results: Results, cell: Cell, found: Found) -> dict[str, Any]:
    if cell.kind == "gap":
        gaps = [one.gap for one in map(case, found.rows)]
        return {"gaps_pct": [None if one is None or math.isinf(one) else round(one, 4) for one in gaps],
                "missed": sum(one is not None and math.isinf(one) for one in gaps)}  # fmt: skip
    if cell.kind == "platform":
        return {**compared.told(cell, found), **found.row}
    more = small.told(results, cell) if cell.kind in ("accuracy", "small") else {}
    return {**more, **found.row}
