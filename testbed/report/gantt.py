"""Pipelines as Gantt charts: a lane a stage, a box a piece of work, a thin line a message; gaps are waiting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nodes.events import Span
from testbed.report import words
from testbed.report.pipelines import Lane, Moment, Pipelined, Window, lane_of, receiver, stage_of, windows
from testbed.report.pipelines import lanes as lanes_of
from testbed.report.records import text, whole
from testbed.report.style import (
    BACKWARD,
    EDGES,
    FORWARD,
    HANDOVER,
    INK,
    LINE,
    WIDTH,
    drawing,
    figure,
    legend,
    margins,
    svg,
)
from testbed.report.timeline import Rectangles, rectangles

MOST_OWNERS = 4
MOST_PLOTS = 8
_TAIL, _UPDATE, _PROBE = EDGES[0], EDGES[1], EDGES[2]
_KINDS = {
    "forward": (FORWARD, "forward"), "backward": (BACKWARD, "backward"),
    "tail-step": (_TAIL, "forward, loss and backward"), "update": (_UPDATE, "update of the weights"),
}  # fmt: skip
_ON = {"forward": "white", "backward": "#10243a", "tail-step": "white"}  # numbers, on light and dark pages alike
_HALF = 0.27  # height of a box, from its lane's middle
_THIN = 0.09  # height of a probe, below that
_DIGIT = 0.075  # inches
_GAP = 0.012  # inches between boxes that follow at once
_MOST_LINES = 400  # messages that stay vectors


def gantt_plots(found: Sequence[Pipelined]) -> list[tuple[str, str]]:
    """A caption and a chart for every window of the first few owners of each scheme."""
    owners: dict[str, list[str]] = defaultdict(list)
    made: list[tuple[str, str]] = []
    for pipe in found:
        owners[pipe.scheme.name].append(pipe.owner)
        if len(owners[pipe.scheme.name]) > MOST_OWNERS:
            continue
        for window in windows(pipe):
            if len(made) == MOST_PLOTS:
                return made
            made.append((caption(pipe, window), _plot(pipe, window, f"pipeline-{len(made)}")))
    return made


def caption(pipe: Pipelined, window: Window) -> str:
    """What a chart shows, in a sentence, and how the pipeline is worked."""
    place = f"{pipe.scheme.name}, {pipe.owner}: {window.text}."
    told = next((s for s in pipe.rounds if stage_of(s) == 0 and s.end >= window.begin), None)
    if told is None:
        return place
    schedule, micro, depth = (told.attrs.get(name) for name in ("schedule", "micro", "depth"))
    return (
        f"{place} Schedule {text(schedule, words.DASH)}, {words.plain(whole(micro))} micro-batches a batch, at most "
        f"{words.plain(whole(depth))} of them under way."
    )


def _plot(pipe: Pipelined, window: Window, name: str) -> str:
    work, begin = pipe.within(window), pipe.scheme.begin
    rows = lanes_of(work)
    lanes = {lane: i for i, lane in enumerate(rows)}
    left = 0.35 + _DIGIT * max(len("stage 0"), *(len(lane.node) for lane in rows))
    inch = (window.end - window.begin) / (WIDTH - left - 0.1)  # seconds
    labels = list(dict.fromkeys(m.text for m in window.moments))
    keys = _legend(work, pipe.probing(window))
    top = 0.34 + 0.17 * (len(labels) + (len(keys[1]) > 5))  # the legend has five a line
    with drawing(name):
        fig = figure(top + 0.45 + 0.62 * len(rows))
        axes = fig.subplots()
        for lane in lanes.values():
            axes.axhline(lane, color=LINE, linewidth=0.8, zorder=0)
        _messages(axes, pipe, window, lanes)
        rectangles(axes, _boxes(work, begin, lanes, inch))
        rectangles(axes, _probes(pipe.probing(window), begin, lanes))
        _numbers(axes, work, begin, lanes, inch)
        _batches(axes, work, begin)
        _moments(axes, window.moments, begin, labels)
        axes.set_xlim(window.begin - begin, window.end - begin)
        axes.set_ylim(len(rows) - 0.55, -0.7)
        axes.set_yticks(range(len(rows)), [f"stage {lane.stage}\n{lane.node}" for lane in rows])
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(12))
        axes.set_xlabel("time since training began [s]")
        legend(fig, *keys)
        margins(fig, left=left, right=0.1, top=top, bottom=0.45)
        return svg(fig, name, _description(pipe, window, rows, work))


def _boxes(work: Sequence[Span], begin: float, lanes: dict[Lane, int], inch: float) -> Rectangles:
    found: Rectangles = defaultdict(list)
    for span in work:
        width = span.end - span.begin
        if width > 5 * _GAP * inch:
            width -= _GAP * inch
        found[_KINDS[span.kind][0]].append((span.begin - begin, lanes[lane_of(span)] - _HALF, width, 2 * _HALF))
    return found


def _probes(probes: Sequence[Span], begin: float, lanes: dict[Lane, int]) -> Rectangles:
    """Probes below the work of their node: on the device all of one's time, on a server its work for it."""
    first: dict[str, int] = {}
    for lane, row in lanes.items():
        first.setdefault(lane.node, row)
    found: Rectangles = defaultdict(list)
    for span in probes:
        if span.node in first:
            found[_PROBE].append((span.begin - begin, first[span.node] + _HALF, span.end - span.begin, _THIN))
    return found


def _numbers(axes: Any, work: Sequence[Span], begin: float, lanes: dict[Lane, int], inch: float) -> None:
    for span in work:
        number = str(span.micro + 1)  # counts from 1 for people, as batches do
        if span.kind in _ON and span.end - span.begin > (len(number) + 0.5) * _DIGIT * inch:
            axes.text((span.begin + span.end) / 2 - begin, lanes[lane_of(span)], number, color=_ON[span.kind],
                      ha="center", va="center", fontsize=7.5, clip_on=True, zorder=5)  # fmt: skip


def _batches(axes: Any, work: Sequence[Span], begin: float) -> None:
    """Where batches begin, on the first stage."""
    for span in work:
        if span.kind == "forward" and span.micro == 0 and stage_of(span) == 0:
            said = f"batch {span.batch + 1}" if span.batch else f"round {span.round}"
            at = span.begin - begin
            axes.plot([at, at], [-_HALF - 0.2, -_HALF], color=INK, linewidth=0.8, zorder=4)
            axes.annotate(said, (at, -_HALF), xytext=(3, 3), textcoords="offset points", fontsize=7.5, va="bottom",
                          clip_on=True, zorder=5)  # fmt: skip


def _messages(axes: Any, pipe: Pipelined, window: Window, lanes: dict[Lane, int]) -> None:
    begin, lines = pipe.scheme.begin, []
    for span in pipe.messages(window):
        here, there = lanes.get(lane_of(span)), lanes.get(receiver(span))
        if here is not None and there is not None and here != there:
            down = _HALF if there > here else -_HALF
            lines.append([(span.begin - begin, here + down), (span.end - begin, there - down)])
    axes.add_collection(
        LineCollection(
            lines, colors=INK, linewidths=0.7, alpha=0.55, zorder=1, rasterized=len(lines) > _MOST_LINES
        )
    )


def _moments(axes: Any, found: Sequence[Moment], begin: float, labels: Sequence[str]) -> None:
    for moment in found:
        at, colour = moment.at - begin, HANDOVER if moment.handover else INK
        if moment.end > moment.at:
            axes.axvspan(at, moment.end - begin, color=colour, alpha=0.12, linewidth=0, zorder=0.5)
        axes.axvline(at, color=colour, linewidth=1.4 if moment.handover else 1.0, zorder=2,
                     linestyle="-" if moment.handover else (0, (4, 3)))  # fmt: skip
    for row, said in enumerate(labels):
        at = next(m.at for m in found if m.text == said) - begin
        axes.annotate(
            said, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3 + 11 * (len(labels) - 1 - row)),
            textcoords="offset points", fontsize=8.5, ha="center", weight="bold",
        )  # fmt: skip


def _legend(work: Sequence[Span], probes: Sequence[Span]) -> tuple[list[Any], list[str]]:
    kinds = {s.kind for s in work}
    entries: list[tuple[Any, str]] = [(Patch(color=_KINDS[k][0]), _KINDS[k][1]) for k in _KINDS if k in kinds]
    if probes:
        entries.append((Patch(color=_PROBE), "probe"))
    entries.append((Line2D([], [], color=INK, linewidth=0.7, alpha=0.55), "message"))
    return [e[0] for e in entries], [e[1] for e in entries]


def _description(pipe: Pipelined, window: Window, rows: Sequence[Lane], work: Sequence[Span]) -> str:
    busy: dict[Lane, float] = defaultdict(float)
    for span in work:
        busy[lane_of(span)] += min(span.end, window.end) - max(span.begin, window.begin)
    lasted = window.end - window.begin
    said = "; ".join(
        f"stage {lane.stage} on {lane.node} busy {words.percent(busy[lane] / lasted if lasted > 0 else None, 0)}"
        for lane in rows
    )
    probes = sum(span.kind == "probed" for span in pipe.probing(window))
    probed = f"; {probes} probe{'s' * (probes > 1)}" if probes else ""
    return f"Gantt chart. {caption(pipe, window)} In these {words.seconds(lasted)}: {said}{probed}."
