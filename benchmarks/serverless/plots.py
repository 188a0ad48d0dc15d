"""Plots of the page, as SVG files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from benchmarks.grid.figures import measured
from benchmarks.grid.plots import standalone
from benchmarks.serverless.cells import Cell
from benchmarks.serverless.compared import against, pairs
from benchmarks.serverless.figures import Results
from benchmarks.serverless.lessons import ALL, LESSONS
from benchmarks.serverless.scenarios import SCENARIOS
from benchmarks.serverless.small import group, saved
from testbed.report import style


def plots(results: Results, cells: Sequence[Cell]) -> dict[str, str]:
    """Every plot there is something for: name and SVG text."""
    made = {
        "serverless-orchestrators": _orchestrators(results, cells),
        "serverless-accuracy": _accuracy(results, cells),
        "serverless-small": _savings(results, cells),
    }
    return {name: text for name, text in made.items() if text is not None}


def _orchestrators(results: Results, cells: Sequence[Cell]) -> str | None:
    """How far the objective of each baseline is above the orchestrator's, a row a scenario and baseline."""
    rows = []
    for scenario, policy in pairs(cells):
        found = against(results, cells, scenario, policy)
        if found is not None:
            rows.append((f"{SCENARIOS[scenario].title}, {policy}", mean(found.other) / mean(found.ours)))
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    with style.drawing("serverless-orchestrators"):
        figure = style.figure(1.2 + 0.3 * len(rows), 8.0)
        axes = figure.subplots()
        places = [len(rows) - i for i in range(len(rows))]
        axes.barh(places, [value for _, value in rows], height=0.6, color=style.SCHEMES[1])
        axes.axvline(1.0, color=style.SCHEMES[5], linewidth=1.2)
        axes.set_yticks(places, [title for title, _ in rows])
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel("measured objective of the baseline over the orchestrator's")
        style.margins(figure, left=2.9, right=0.2, top=0.2, bottom=0.5)
        return standalone(figure)


def _accuracy(results: Results, cells: Sequence[Cell]) -> str | None:
    """Accuracy after each round by what is trained on, a panel a task: means over seeds."""
    rules = list(dict.fromkeys(cell.rule for cell in cells if cell.kind == "accuracy"))
    curves: dict[str, dict[str, list[float]]] = {}
    for rule in rules:
        for (name, _), mine in group(cells, "accuracy", rule).items():
            rows = [found.row["accuracy"] for cell in mine if (found := measured(results, cell)) is not None]
            if rows:
                curves.setdefault(name, {})[rule] = [100 * mean(each) for each in zip(*rows, strict=False)]
    if not curves:
        return None
    with style.drawing("serverless-accuracy"):
        figure = style.figure(3.4, 8.0)
        every = figure.subplots(1, len(curves), squeeze=False)[0]
        handles = {}
        for axes, (name, found) in zip(every, curves.items(), strict=True):
            for rule, curve in found.items():
                colour = style.SCHEMES[rules.index(rule) % len(style.SCHEMES)]
                handles[rule] = axes.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=1.4)[0]
            axes.set_title(LESSONS[name].title, fontsize=9)
            axes.set_xlabel("round")
            axes.grid()
        every[0].set_ylabel("accuracy [%]")
        style.legend(figure, list(handles.values()), ["all data" if rule == ALL else rule for rule in handles])
        style.margins(figure, left=0.7, right=0.2, top=0.7, bottom=0.5)
        return standalone(figure)


def _savings(results: Results, cells: Sequence[Cell]) -> str | None:
    """How many times less time, energy and bytes a share takes, a row a task and scheme."""
    rows = []
    for rule in dict.fromkeys(cell.rule for cell in cells if cell.kind == "small" and cell.rule != ALL):
        for (name, scheme), mine in group(cells, "small", rule).items():
            gain = saved(results, mine)
            if gain is not None:
                title = f"{name}, {scheme}, {rule}"
                rows.append((title, (mean(gain.time), mean(gain.energy), mean(gain.up))))
    if not rows:
        return None
    with style.drawing("serverless-small"):
        figure = style.figure(1.2 + 0.55 * len(rows), 8.0)
        axes = figure.subplots()
        places = [len(rows) - i for i in range(len(rows))]
        handles = [
            axes.barh([at + 0.25 * (1 - i) for at in places], [values[i] for _, values in rows], height=0.22,
                      color=style.SCHEMES[i + 1])
            for i in range(3)
        ]  # fmt: skip
        axes.axvline(2.0, color=style.SCHEMES[5], linewidth=1.2)
        axes.set_yticks(places, [title for title, _ in rows])
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_xlabel("all data over the share")
        style.legend(figure, handles, ["devices' time", "active energy", "bytes sent"])
        style.margins(figure, left=2.2, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)
