"""Plots of the page, as SVG files of their own."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.edgemove.cells import Cell
from benchmarks.edgemove.figures import Results, bound, chosen, speedup
from benchmarks.edgemove.settings import SETTINGS
from benchmarks.grid.plots import standalone
from testbed.report import style


def plots(results: Results, cells: Sequence[Cell]) -> dict[str, str]:
    """Every plot there is something for: name and SVG text."""
    made = {
        "edgemove-speedup": _speedup(results, cells),
        "edgemove-bound": _bound(results, cells),
        "edgemove-plans": _plans(results, cells),
    }
    return {name: text for name, text in made.items() if text is not None}


def _speedup(results: Results, cells: Sequence[Cell]) -> str | None:
    """Speed-up over split training and its bound, by setting."""
    rows = [
        (SETTINGS[cell.setting].title, row.gained, row.bound)
        for cell in cells
        if cell.kind == "steady" and cell.way == "auto" and (row := speedup(results, cell)) is not None
    ]
    return _bars("edgemove-speedup", rows, "speed-up over unpipelined split training", "measured", "bound", 1.0)


def _bound(results: Results, cells: Sequence[Cell]) -> str | None:
    """Share of the bound that was reached, and that was wanted."""
    rows = [
        (f"{SETTINGS[cell.setting].title}, {cell.way}", row.efficiency, row.wanted)
        for cell in cells
        if cell.kind == "bound" and cell.way != "apart" and (row := bound(results, cell)) is not None
    ]
    return _bars("edgemove-bound", rows, "throughput over what the slowest part allows", "measured", "wanted", 1.0)


def _plans(results: Results, cells: Sequence[Cell]) -> str | None:
    """The chosen plan's seconds a batch over those of the best measured."""
    rows = [
        (SETTINGS[cell.setting].title, row.ratio, 1.05)
        for cell in cells
        if cell.kind == "plans" and (row := chosen(results, cell)) is not None
    ]
    return _bars("edgemove-plans", rows, "chosen plan's time over that of the best measured", "measured", "wanted", 1.0)


def _bars(
    name: str, rows: Sequence[tuple[str, float, float]], label: str, measured: str, limit: str, line: float
) -> str | None:
    """A bar a row, and a mark where its limit is."""
    if not rows:
        return None
    with style.drawing(name):
        figure = style.figure(1.2 + 0.3 * len(rows), 8.0)
        axes = figure.subplots()
        places = [len(rows) - i for i in range(len(rows))]
        handles = [axes.barh(places, [value for _, value, _ in rows], height=0.6, color=style.SCHEMES[1])]
        handles.append(axes.plot([end for *_, end in rows], places, "D", markersize=5, color=style.SCHEMES[3])[0])
        axes.axvline(line, color=style.SCHEMES[5], linewidth=1.2)
        axes.set_yticks(places, [title for title, *_ in rows])
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel(label)
        style.legend(figure, handles, [measured, limit])
        style.margins(figure, left=2.6, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)
