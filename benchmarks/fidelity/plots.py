"""Plots of the page, as SVG files of their own: they must look right wherever a Markdown file is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.fidelity.cases import PRODUCT, Case
from benchmarks.grid.plots import standalone
from testbed.report import style

_NUMBER = re.compile(r"([0-9.]+) (?:Mbit/s|ms)")


def plots(cases: list[Case]) -> dict[str, str]:
    """Every plot there is something for: name and SVG text."""
    makers: dict[str, Callable[[list[Case]], str | None]] = {
        "fidelity-tcp": _tcp,
        "fidelity-delay": _delay,
        "fidelity-trace": _trace,
    }
    made = {name: make(cases) for name, make in makers.items()}
    return {name: text for name, text in made.items() if text is not None}


def _tcp(cases: list[Case]) -> str | None:
    lines = _lines(cases, "tcp")
    if not lines:
        return None
    with style.drawing("fidelity-tcp"):
        figure = style.figure(3.0, 8.0)
        axes = figure.subplots()
        handles = [_draw(axes, points, index) for index, points in enumerate(lines.values())]
        axes.axhspan(-1, 1, color=style.LINE, alpha=0.35, linewidth=0)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=1)
        _ticks(axes.xaxis, sorted({x for points in lines.values() for x, _ in points}))
        _ticks(axes.yaxis, _round_numbers([y for points in lines.values() for _, y in points], 1))
        axes.set_xlabel("rate asked for [Mbit/s]")
        axes.set_ylabel("error of TCP goodput [%]")
        style.legend(figure, handles, list(lines))
        style.margins(figure, left=0.75, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)


def _delay(cases: list[Case]) -> str | None:
    kinds = ("delay p50", "delay p99", "delay p50 busy", "delay p99 busy")
    found = {kind: _lines(cases, kind) for kind in kinds}
    if not any(found.values()):
        return None
    names = list(dict.fromkeys(name for lines in found.values() for name in lines))
    with style.drawing("fidelity-delay"):
        figure = style.figure(3.6, 8.0)
        panels = figure.subplots(1, 2, sharey=True)
        handles, labels = [], []
        for axes, suffix, title in zip(panels, ("", " busy"), ("idle", "all cores busy"), strict=True):
            for index, name in enumerate(names):
                for quantile, dash in (("p50", "-"), ("p99", ":")):
                    points = found[f"delay {quantile}{suffix}"].get(name)
                    if points:
                        handle = _draw(axes, points, index, dash)
                        if not suffix:
                            handles.append(handle)
                            labels.append(f"{name} {quantile}")
            axes.set_title(title)
            axes.set_xscale("symlog", linthresh=1)
            axes.set_yscale("symlog", linthresh=0.5)
            everything = [point for lines in found.values() for points in lines.values() for point in points]
            _ticks(axes.xaxis, sorted({x for x, _ in everything}))
            _ticks(axes.yaxis, _round_numbers([y for _, y in everything], 0.5))
            axes.set_xlabel("delay asked for [ms]")
        panels[0].set_ylabel("error of one-way delay [ms]")
        style.legend(figure, handles, labels)
        style.margins(figure, left=0.75, right=0.2, top=0.75, bottom=0.5, wspace=0.1)
        return standalone(figure)


def _trace(cases: list[Case]) -> str | None:
    steps = [c for c in cases if c.kind == "trace steps" and c.measured is not None and c.asked is not None]
    if not steps:
        return None
    with style.drawing("fidelity-trace"):
        figure = style.figure(2.8, 8.0)
        axes = figure.subplots()
        at = [float(case.what.split()[2]) for case in steps]
        width = at[1] - at[0] if len(at) > 1 else 1.0
        asked = axes.step([*at, at[-1] + width], [c.asked for c in steps] + [steps[-1].asked], where="post",
                          color=style.SCHEMES[5], linewidth=1.2)[0]  # fmt: skip
        found = axes.plot([t + width / 2 for t in at], [c.measured for c in steps], "o", markersize=3,
                          color=style.SCHEMES[0])[0]  # fmt: skip
        axes.set_xlabel("time [s]")
        axes.set_ylabel("rate [Mbit/s]")
        axes.set_ylim(bottom=0)
        style.legend(figure, [asked, found], ["asked", "measured in each step of 250 ms"])
        style.margins(figure, left=0.6, right=0.2, top=0.4, bottom=0.5)
        return standalone(figure)


def _lines(cases: list[Case], kind: str) -> dict[str, list[tuple[float, float]]]:
    """By tool: (what was asked, error), in order; this testbed first."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case in sorted(cases, key=lambda case: case.by != PRODUCT):
        number = _NUMBER.search(case.what)
        if case.kind == kind and case.error is not None and number:
            found.setdefault(case.by, []).append((float(number[1]), case.error))
    return found


def _draw(axes: Any, points: list[tuple[float, float]], index: int, dash: str = "-") -> Any:
    return axes.plot(
        [x for x, _ in points], [y for _, y in points], "o" + dash, markersize=4, linewidth=1.4,
        color=style.SCHEMES[index % len(style.SCHEMES)], clip_on=False,
    )[0]  # fmt: skip


def _round_numbers(values: list[float], least: float) -> list[float]:
    """Ticks for a scale that is logarithmic beyond ``least``: so far as there are values, and one more."""
    sides = {1.0: max(0.0, *values), -1.0: max(0.0, *(-value for value in values))}
    found = [0.0]
    for sign, most in sides.items():
        tick = least
        while True:
            found.append(sign * tick)
            if tick >= most:
                break
            tick = 1.0 if tick < 1 else tick * 10
    return sorted(found)


def _ticks(axis: Any, values: list[float]) -> None:
    # Plain numbers: the usual labels of such scales are formulas, which only TeX would draw.
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
