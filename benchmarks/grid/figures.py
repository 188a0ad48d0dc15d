"""Arithmetic that every page needs: what was measured, figures against their limits, means over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from benchmarks.grid.store import C, R

Limits = Mapping[str, tuple[str, float]]
"""What figures should be: ``at least`` or ``at most`` so much."""


def measured(results: Mapping[str, R], cell: C) -> R | None:
    """What a cell came to, if it did not fail."""
    found = results.get(cell.name)
    return None if found is None or found.failed else found


def held(limits: Limits, name: str, value: float | None) -> bool | None:
    """Whether a figure is what it should be; None where nothing was promised or measured."""
    if value is None or name not in limits:
        return None
    way, limit = limits[name]
    return value <= limit if way == "at most" else value >= limit


def most(values: Iterable[float | None], digits: int = 4) -> float | None:
    """The largest; None if one is missing, or there is none."""
    known = _complete(values)
    return None if known is None else round(max(known), digits)


def least(values: Iterable[float | None], digits: int = 4) -> float | None:
    """The smallest; None if one is missing, or there is none."""
    known = _complete(values)
    return None if known is None else round(min(known), digits)


def count(values: Iterable[bool | None]) -> int | None:
    """How many are true; None if one is missing, or there is none."""
    known = _complete(values)
    return None if known is None else sum(map(bool, known))


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % confidence interval (Student's t); None from a single value."""
    if len(values) < 2:
        return mean(values), None
    quantile = float(student.ppf(0.975, len(values) - 1))
    return mean(values), quantile * stdev(values) / math.sqrt(len(values))


def as_json(
    figures: Mapping[str, Any],
    results: Mapping[str, R],
    cells: Iterable[C],
    about: Callable[[C], Mapping[str, Any]],
    told: Callable[[C, R], Mapping[str, Any]],
) -> dict[str, Any]:
    """What a JSON file beside a page holds: the figures, and every cell.

    Args:
        figures: By name. results: By name of cell. cells: What was to be measured.
        about: What a cell is. told: What it came to, if it did not fail.
    """
    return {**figures, "cases": [{**about(cell), **_came_to(results.get(cell.name), cell, told)} for cell in cells]}


def _came_to(found: R | None, cell: C, told: Callable[[C, R], Mapping[str, Any]]) -> dict[str, Any]:
    if found is None:
        return {"failed": "not reached"}
    return {"failed": found.failed} if found.failed else {"failed": "", **told(cell, found)}


def _complete(values: Iterable[float | None]) -> list[float] | None:
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return known or None
