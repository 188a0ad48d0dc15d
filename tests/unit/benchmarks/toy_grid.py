"""A small grid of its own, on which what grids have in common is tested."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.grid import bench
from benchmarks.grid.command import Directory, Grid
from benchmarks.grid.figures import as_json, measured, most
from benchmarks.grid.machine import Machine
from benchmarks.grid.page import Page, every, verdict
from benchmarks.grid.store import Store, mark
from testbed.errors import EmulationError


@dataclass(frozen=True)
class Cell:
    name: str
    bed: str = "small"


@dataclass(frozen=True)
class Found:
    cell: str
    mark: str
    value: float | None = None
    verdict: str = ""
    failed: str = ""
    took_s: float = 0.0


class Bench(bench.Bench[Cell, Found]):
    """Whose cells come to the length of their names; those in ``failing`` fail."""

    name = "toy"
    failing: Collection[str] = ()
    tried: Sequence[str] = ()

    def mark(self, cell: Cell) -> str:
        return mark(cell.name, cell.bed, self.data)

    def plan(self, cell: Cell, scratch: Path) -> Any:
        return f"plan of {cell.bed}"

    def measure(self, session: Any, standing: Any, cell: Cell, scratch: Path) -> Found:
        assert standing == f"plan of {cell.bed}"
        session.plan = "the cell's own"
        type(self).tried = [*self.tried, cell.name]
        if cell.name in self.failing:
            raise EmulationError("it fell | over")
        return Found(cell.name, self.mark(cell), float(len(cell.name)), "ok")


class Beds:
    """In place of real ones: counts bring-ups; they fail while ``broken``, and being taken down while ``stuck``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: bool = False, stuck: bool = False) -> None:
        self.brought_up = 0
        self._broken, self._stuck = broken, stuck
        monkeypatch.setattr(bench, "Experiment", self._of)

    def _of(self, plan: str) -> Beds:
        self.session = SimpleNamespace(plan=plan)
        return self

    def up(self, runs: Path) -> Beds:
        return self

    def __enter__(self) -> Beds:
        self.brought_up += 1
        if self._broken:
            raise RuntimeError("no engine")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stuck:
            raise RuntimeError("a container stays")


CELLS = [Cell("a"), Cell("bb"), Cell("ccc"), Cell("dddd", "large"), Cell("eeeee", "large")]
HERE = Machine((("machine", "a test"),))


def figures(results: Any, cells: Any) -> dict[str, Any]:
    found = {cell.name: measured(results, cell) for cell in cells}
    values = {name: None if one is None else one.value for name, one in found.items()}
    return {"largest": most(values.values()), "by_cell": values, "all_there": None not in values.values(), "none": None}


def told(results: Any, cells: Any) -> dict[str, Any]:
    about = figures(results, cells)
    return as_json(about, results, cells, lambda cell: {"name": cell.name}, lambda _, found: {"value": found.value})


def row(found: Found) -> tuple[str, ...]:
    return f"{found.value:g}", verdict(found.verdict), "why | so"


PAGE = Page(
    name="toy",
    title="A toy",
    meaning={"largest": "the largest", "by_cell": "each", "all_there": "whether", "none": "nothing"},
    limits={"largest": ("at most", 3.0), "none": ("at least", 1.0)},
    true=("all_there",),
    how="How.",
    about={"Cells": ("About cells.", "")},
    figures=figures,
    as_json=told,
    plots=lambda results, cells: {"toy-plot": "<svg/>"},
    parts=lambda results, cells: (("Empty", ()), ("Cells", every(results, cells, ("value", "verdict"), row))),
)
GRID = Grid(
    about="a toy",
    page=PAGE,
    bench=Bench,
    kind=Found,
    said=lambda found: f"{found.value:g}",
    quick=lambda: CELLS[:3],
    full=lambda seeds, traces: CELLS if traces else CELLS[: 3 + len(seeds)],
    bed=lambda cell: cell.bed,
    beside=lambda cell: CELLS[:1] if cell.name == "ccc" else (),
    given="files",
    data=Directory("files", "DATA=DIR with files"),
    traces=Directory("movement", "TRACES=DIR with movement"),
    seeds=2,
)


def made(tmp_path: Path, tell: Any = lambda *_: None) -> Bench:
    return Bench(Store(tmp_path / "cells.jsonl", Found), tell)
