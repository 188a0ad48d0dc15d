"""The serverless platform over time: which function runs on which unit, and how good each task's model is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from nodes.events import Span
from testbed.report import words
from testbed.report.records import RunRecord, SchemeRecord, items, number, table
from testbed.report.style import (
    EDGES,
    FORWARD,
    HANDOVER,
    LINE,
    SCHEMES,
    WAIT,
    WIDTH,
    drawing,
    figure,
    legend,
    margins,
    svg,
)
from testbed.report.timeline import Rectangles, rectangles

COLOURS = {
    "select-data": EDGES[3], "train-device": FORWARD, "train-edge": EDGES[0], "aggregate": EDGES[1],
    "evaluate": EDGES[2], "initialise": EDGES[4], "broadcast": EDGES[5],
}  # fmt: skip
_START = "#c9ccd1"
_KINDS = ("device", "edge", "cloud")
_MOST_UNITS = 24
_LANE = 0.2  # inches
_DIGIT = 0.075  # inches

Lane = tuple[str, int]


def invocations(scheme: SchemeRecord) -> list[Span]:
    """Events of invocations, in order of their begin."""
    return [span for span in scheme.spans if span.kind == "function"]


def lanes(spans: Sequence[Span]) -> dict[int, Lane]:
    """A lane of its unit for each invocation, so that none hides another one; by the position in the list."""
    ends: dict[str, list[float]] = defaultdict(list)
    found = {}
    for i, span in enumerate(spans):
        mine = ends[span.node]
        free = next((lane for lane, end in enumerate(mine) if end <= span.begin), len(mine))
        if free == len(mine):
            mine.append(span.end)
        mine[free] = span.end
        found[i] = (span.node, free)
    return found


def placement_plot(record: RunRecord) -> str | None:
    """Units by functions over time; None where no function ran."""
    scheme = next((one for one in record.schemes if invocations(one)), None)
    if scheme is None:
        return None
    units = _units(scheme)
    spans = [span for span in invocations(scheme) if span.node in units]
    placed = lanes(spans)
    depth = {unit: 1 + max((lane for node, lane in placed.values() if node == unit), default=0) for unit in units}
    first, rows = {}, 0
    for unit in units:
        first[unit], rows = rows, rows + depth[unit]
    begin, last = scheme.begin, max(span.end for span in spans)
    left = 0.25 + _DIGIT * max(len(unit) for unit in units)
    inch = (last - begin) / (WIDTH - left - 0.1) or 1.0
    boxes: Rectangles = defaultdict(list)
    with drawing("placement"):
        fig = figure(0.95 + _LANE * rows)
        axes = fig.subplots()
        for unit in units:
            axes.axhline(first[unit] - 0.5, color=LINE, linewidth=0.8, zorder=0)
        for i, span in enumerate(spans):
            row = first[span.node] + placed[i][1]
            _box(boxes, span, row, begin)
            _name(axes, span, row, begin, inch)
        rectangles(axes, boxes)
        for span in scheme.spans:
            if span.kind == "handover":
                axes.axvline(span.begin - begin, color=HANDOVER, linewidth=1.2, zorder=2)
        axes.set_xlim(0, last - begin)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks([first[unit] + (depth[unit] - 1) / 2 for unit in units], units)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(12))
        axes.set_xlabel("time since tasks began to come [s]")
        names = list(dict.fromkeys(_function(span) for span in spans))
        handles: list[Any] = [Patch(color=COLOURS.get(name, WAIT)) for name in names]
        legend(fig, [*handles, Patch(color=_START)], [*names, "fetching and starting"])
        margins(fig, left=left, right=0.1, top=0.36 + 0.17 * (len(names) > 4), bottom=0.45)
        said = "; ".join(f"{unit}: {_busy(spans, unit)}" for unit in units)
        return svg(fig, "placement", f"Which function ran on which unit, over time. {said}.")


def accuracy_plot(record: RunRecord) -> str | None:
    """Accuracy of each task over time; None where none was evaluated."""
    every = {name: _scores(task) for scheme in record.schemes for name, task in scheme.tasks.items()}
    curves = {name: points for name, points in every.items() if points}
    if not curves:
        return None
    with drawing("tasks"):
        fig = figure(2.6)
        axes = fig.subplots()
        handles = []
        for i, (_, points) in enumerate(curves.items()):
            colour = SCHEMES[i % len(SCHEMES)]
            axes.plot([at for at, _ in points], [value for _, value in points], color=colour, marker="os^D"[i % 4],
                      markersize=5, linewidth=1.6)  # fmt: skip
            handles.append(Line2D([], [], color=colour, marker="os^D"[i % 4], linewidth=1.6))
        axes.set_xlim(left=0)
        axes.set_ylim(0, min(1.0, 1.15 * max(value for points in curves.values() for _, value in points)) or 1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0%}"))
        axes.set_xlabel("time since tasks began to come [s]")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        legend(fig, handles[:10], list(curves)[:10])
        margins(fig, left=0.55, right=0.2, top=0.36 + 0.17 * (len(curves) > 5), bottom=0.45)
        said = "; ".join(f"{name}: " + ", ".join(words.percent(value) for _, value in points)
                         for name, points in curves.items())  # fmt: skip
        return svg(fig, "tasks", f"Accuracy of each task after its rounds. {said}.")


def _scores(task: Mapping[str, Any]) -> list[tuple[float, float]]:
    """When rounds of a task were done, and how good its model was then."""
    rows = [table(row) for row in items(task.get("round_rows"))]
    points = [(number(row.get("at_s")), number(row.get("accuracy"))) for row in rows]
    return [(at, value) for at, value in points if at is not None and value is not None]


def _units(scheme: SchemeRecord) -> list[str]:
    """Units on which something ran: devices first, the cloud last."""
    there = {span.node for span in invocations(scheme)}
    kinds = {name: str(row.get("kind")) for name, row in scheme.nodes.items()}

    def order(name: str) -> tuple[int, str]:
        kind = kinds.get(name, "")
        return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), name)

    return sorted(there, key=order)[-_MOST_UNITS:]


def _function(span: Span) -> str:
    return str(span.attrs.get("function") or "?")


def _ready(span: Span) -> float:
    """When an invocation had its blobs and its instance."""
    before = sum(number(span.attrs.get(key)) or 0.0 for key in ("fetch_s", "start_s"))
    return min(span.begin + before, span.end)


def _box(boxes: Rectangles, span: Span, row: int, begin: float) -> None:
    ready = _ready(span)
    if ready > span.begin:
        boxes[_START].append((span.begin - begin, row - 0.36, ready - span.begin, 0.72))
    boxes[COLOURS.get(_function(span), WAIT)].append((ready - begin, row - 0.36, span.end - ready, 0.72))


def _name(axes: Any, span: Span, row: int, begin: float, inch: float) -> None:
    said = f"{span.task} {span.round}" if span.round else span.task
    ready = _ready(span)
    if said and span.end - ready > (len(said) + 1) * _DIGIT * inch:
        axes.text((ready + span.end) / 2 - begin, row, said, color="white", ha="center", va="center", fontsize=7,
                  clip_on=True, zorder=5)  # fmt: skip


def _busy(spans: Sequence[Span], unit: str) -> str:
    sums: dict[str, int] = defaultdict(int)
    for span in spans:
        if span.node == unit:
            sums[_function(span)] += 1
    return ", ".join(f"{name} {count} times" for name, count in sorted(sums.items()))
