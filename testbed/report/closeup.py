"""One move close up, as a diagram of space and time: a row a node, messages as lines from row to row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from nodes.events import Span
from testbed.report import words
from testbed.report.activity import FORWARDS, Moving, behind, edges, moving, of_device, thrown_away
from testbed.report.records import MoveRecord, RunRecord, SchemeRecord
from testbed.report.style import (
    BACKWARD,
    FORWARD,
    HANDOVER,
    INK,
    LINE,
    LOST,
    MIGRATION,
    WAIT,
    drawing,
    figure,
    margins,
    svg,
)
from testbed.report.timeline import Rectangles, edge_colours, rectangles

MOST_MOVES = 8
_HALF = 0.2  # height of a row's bars, from its middle
_WAIT = 0.04
_ROUND_TRIPS = 3.2  # batches before and after the move


def closeup_plots(record: RunRecord) -> list[tuple[str, str]]:
    """A caption and a plot for every move, as many as fit into a report."""
    found: list[tuple[str, str]] = []
    colours = edge_colours(record)
    for scheme in record.schemes:
        for i, move in enumerate(scheme.moves):
            if len(found) == MOST_MOVES:
                return found
            around = moving(scheme, move)
            if around is not None:
                drawn = _plot(scheme, around, edges(record), colours, f"move-{scheme.name}-{i}")
                found.append((caption(scheme, move), drawn))
    return found


def caption(scheme: SchemeRecord, move: MoveRecord) -> str:
    """What a move did, in a sentence."""
    place = f"{move.device} moves from {move.origin} to {move.to}"
    done = "" if move.progress is None else f" after {words.percent(move.progress, 0)} of round {move.round}"
    if move.strategy == "restart":
        lost = f" {move.lost_batches} batches are thrown away." if move.lost_batches else ""
        return f"{scheme.name}, restart: {place}{done}.{lost}"
    cost = f" Downtime {words.seconds(move.downtime_s)}." if move.downtime_s is not None else ""
    if move.state_bytes and move.state_s is not None:
        limit = f"; the links allow {words.seconds(move.limit_s)}" if move.limit_s else ""
        cost += f" {words.size(move.state_bytes)} of training state added {words.seconds(move.state_s)}{limit}."
    return f"{scheme.name}, {move.strategy}: {place}{done}.{cost}"


def _plot(scheme: SchemeRecord, around: Moving, all_edges: Sequence[str], colours: dict[str, str], name: str) -> str:
    device = around.move.device
    spans = of_device(scheme, device)
    pad = _ROUND_TRIPS * around.cycle
    first, last = around.begin - pad, around.end + pad
    window = [s for s in spans if s.end >= first and s.begin <= last]
    used = {s.node for s in window if s.kind == "tail-step"} | {s.node for s in around.state}
    rows = [device, *(e for e in all_edges if e in used), *sorted(used - {device} - set(all_edges))]
    lanes = {node: i for i, node in enumerate(rows)}
    with drawing(name):
        fig = figure(0.95 + 0.62 * len(rows))
        axes = fig.subplots()
        for node, lane in lanes.items():
            axes.axhline(lane, color=LINE, linewidth=0.8, zorder=0)
            for colour, boxes in _boxes(window, scheme.begin, node, lane, colours).items():
                rectangles(axes, {colour: boxes})
        _messages(axes, window, scheme.begin, lanes)
        _lost(axes, spans, scheme.begin, first, last)
        _numbers(axes, window, scheme.begin, (last - first) / 60)
        _state(axes, around, scheme.begin, lanes)
        _handover(axes, around, scheme.begin)
        axes.set_xlim(first - scheme.begin, last - scheme.begin)
        axes.set_ylim(len(rows) - 0.6, -0.75)
        axes.set_yticks(range(len(rows)), rows)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(12))
        axes.set_xlabel("time since training began [s]")
        margins(fig, left=0.95, right=0.1, top=0.3, bottom=0.45)
        return svg(fig, name, caption(scheme, around.move))


def _boxes(spans: Sequence[Span], begin: float, node: str, lane: int, colours: dict[str, str]) -> Rectangles:
    found: Rectangles = defaultdict(list)
    shapes = {"forward": FORWARD, "step": FORWARD, "backward": BACKWARD, "wait": WAIT}
    for span in spans:
        if span.node != node:
            continue
        half = _HALF if span.kind != "wait" else _WAIT
        if span.kind in shapes:
            colour = shapes[span.kind]
        elif span.kind == "tail-step":
            colour = colours.get(node, FORWARD)  # the device's own, where a pipeline's labels stay
        else:
            continue
        found[colour].append((span.begin - begin, lane - half, span.end - span.begin, 2 * half))
    return found


def _messages(axes: Any, spans: Sequence[Span], begin: float, lanes: dict[str, int]) -> None:
    for span in spans:
        if span.kind != "send" or span.node not in lanes or span.peer not in lanes:
            continue
        down = 1 if lanes[span.peer] > lanes[span.node] else -1
        ends = [lanes[span.node] + down * _HALF, lanes[span.peer] - down * _HALF]
        axes.plot([span.begin - begin, span.end - begin], ends, color=INK, linewidth=0.7, alpha=0.55, zorder=1)


def _numbers(axes: Any, spans: Sequence[Span], begin: float, narrow: float) -> None:
    # Batches count from 1 for people.
    for span in spans:
        if span.kind in FORWARDS and not behind(span) and span.end - span.begin > narrow:
            middle = (span.begin + span.end) / 2 - begin
            axes.text(middle, 0, str(span.batch + 1), color="white", ha="center", va="center", fontsize=7.5,
                      clip_on=True, zorder=5)  # fmt: skip


def _lost(axes: Any, spans: Sequence[Span], begin: float, first: float, last: float) -> None:
    for since, until in thrown_away(spans):
        if until < first or since > last:
            continue
        since = max(since, first)
        axes.add_patch(
            Rectangle(
                (since - begin, -0.3), until - since, 0.6,
                facecolor="none", edgecolor=LOST, hatch="////", linewidth=1.0, zorder=3, alpha=0.9,
            )
        )  # fmt: skip
        axes.text(since - begin, -0.36, " thrown away, back to the round's start", color=INK, fontsize=8, va="bottom")


def _state(axes: Any, around: Moving, begin: float, lanes: dict[str, int]) -> None:
    for span in around.state:
        here, there = lanes[span.node], lanes.get(span.peer)
        if span.kind == "transfer" and there is not None:
            down = 1 if there > here else -1
            ends = (here + down * _HALF, there - down * _HALF)
            # The state leaves over a while and arrives over a while: a band from the one edge server to the other.
            width = (span.end - span.begin) * 0.12
            corners = [(span.begin - begin, ends[0]), (span.begin - begin + width, ends[0]),
                       (span.end - begin, ends[1]), (span.end - begin - width, ends[1])]  # fmt: skip
            axes.add_patch(Polygon(corners, facecolor=MIGRATION, alpha=0.85, linewidth=0, zorder=4))
            axes.text(
                (span.begin + span.end) / 2 - begin, sum(ends) / 2 - 0.12 * down,
                f" {words.size(span.bytes)} in {words.seconds(span.end - span.begin)}", fontsize=8, va="center",
                zorder=6,
            )  # fmt: skip
        elif span.kind != "transfer":
            axes.add_patch(
                Rectangle((span.begin - begin, here - _HALF), span.end - span.begin, 2 * _HALF,
                          facecolor=MIGRATION, edgecolor=MIGRATION, linewidth=1.0, zorder=4)
            )  # fmt: skip


def _handover(axes: Any, around: Moving, begin: float) -> None:
    at, gap = around.handover - begin, around.move.gap_s
    if gap:
        axes.axvspan(at, at + gap, color=HANDOVER, alpha=0.16, linewidth=0, zorder=0)
    axes.axvline(at, color=HANDOVER, linewidth=1.4, zorder=2)
    silent = f", link silent for {words.seconds(gap)}" if gap is not None else ""
    axes.annotate(
        f"handover {around.move.origin} to {around.move.to}{silent}", (at, 1.0), xycoords=("data", "axes fraction"),
        xytext=(0, 3), textcoords="offset points", fontsize=8.5, ha="center", weight="bold",
    )  # fmt: skip
