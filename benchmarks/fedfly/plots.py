"""Plots of the page, as SVG files of their own."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.fedfly import words
from benchmarks.fedfly.cells import FRACTIONS, Cell
from benchmarks.fedfly.figures import Law, Results, law, state
from benchmarks.fedfly.settings import SETTINGS
from benchmarks.grid.figures import measured
from benchmarks.grid.plots import standalone
from testbed.report import style


def plots(results: Results, cells: Sequence[Cell]) -> dict[str, str]:
    """Every plot there is something for: name and SVG text."""
    made = {"fedfly-saving": _saving(results, cells), "fedfly-state": _state(results, cells)}
    return {name: text for name, text in made.items() if text is not None}


def _saving(results: Results, cells: Sequence[Cell]) -> str | None:
    """Saving by f: the law's curve, what was published, what was measured."""
    series: dict[str, list[Law]] = {}
    for cell in cells:
        if cell.kind == "law" and cell.strategy == "migrate" and cell.seed == 1 and cell.cut == "SP2":
            rows = [row for device in FRACTIONS if (row := law(results, cell, device)) is not None]
            title = SETTINGS[cell.setting].title.lower()
            if rows and cell.split == "balanced" and len(rows) >= len(series.get(title, ())):
                series.setdefault(title, rows)
    if not series:
        return None
    with style.drawing("fedfly-saving"):
        figure = style.figure(3.4, 8.0)
        axes = figure.subplots()
        shares = [i / 100 for i in range(101)]
        handles = [axes.plot(shares, [100 * f / (1 + f) for f in shares], color=style.SCHEMES[5], linewidth=1.2)[0]]
        labels = ["f / (1 + f)"]
        published = list(words.PUBLISHED), list(words.PUBLISHED.values())
        handles.append(axes.plot(*published, "x", markersize=8, color=style.SCHEMES[3])[0])
        labels.append("published, up to")
        for index, (title, rows) in enumerate(series.items()):
            colour = style.SCHEMES[index]
            handles.append(
                axes.plot([r.f for r in rows], [100 * r.saving for r in rows], "o", markersize=5, color=colour)[0]
            )
            labels.append(f"measured, {title}")
        axes.set_xlabel("f: share of the round before the move")
        axes.set_ylabel("time saved by migrating [%]")
        axes.set_xlim(0, 1)
        style.legend(figure, handles, labels)
        style.margins(figure, left=0.6, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)


def _state(results: Results, cells: Sequence[Cell]) -> str | None:
    """Median time that the state took, by bed and strategy, and the limit of copying it."""
    timed = []
    for cell in cells:
        found = measured(results, cell) if cell.kind == "state" and cell.strategy != "none" else None
        row = None if found is None else state(cell, found)
        if row is not None:
            timed.append((cell, row))
    if not timed:
        return None
    with style.drawing("fedfly-state"):
        figure = style.figure(0.6 + 0.36 * len(timed), 8.0)
        axes = figure.subplots()
        names = [f"{words.bed(cell)}: {words.strategy(cell)}" for cell, _ in timed]
        places = [len(timed) - i for i in range(len(timed))]
        bars = axes.barh(places, [row.state_s for _, row in timed], height=0.6, color=style.SCHEMES[1])
        handles, labels = [bars], ["state_s, median"]
        worst = axes.plot([row.worst_s for _, row in timed], places, "|", markersize=10, color=style.SCHEMES[0])[0]
        handles.append(worst)
        labels.append("the longest")
        limits = [(row.limit, at) for (cell, row), at in zip(timed, places, strict=True)
                  if row.limit is not None and cell.strategy == "migrate"]  # fmt: skip
        if limits:
            handles.append(axes.plot(*zip(*limits, strict=True), "D", markersize=5, color=style.SCHEMES[3])[0])
            labels.append("limit of copying")
        axes.set_yticks(places, names)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel("time [s]")
        style.legend(figure, handles, labels)
        style.margins(figure, left=2.9, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)
