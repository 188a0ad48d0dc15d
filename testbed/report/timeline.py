"""The timeline: what every device and its edge half did, from the first batch to the last.

A device has two rows: what it computed and when it waited; under it its edge half, or the stages of its pipeline, in
the colour of the edge server it was on. So a move is seen as a change of colour, a restart as work that is struck out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from nodes.events import Span
from testbed.report.activity import ON_DEVICE, STATE, behind, edges, of_device, thrown_away
from testbed.report.plots import MOST_DEVICES
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.style import (
    BACKWARD,
    EDGES,
    FORWARD,
    HANDOVER,
    INK,
    LOST,
    MIGRATION,
    WAIT,
    drawing,
    figure,
    legend,
    margins,
    svg,
)

_FEW = 400  # rectangles that stay vectors; more become pixels, so that the page stays small
_COMPUTE, _WAITING, _EDGE = (-0.38, 0.34), (-0.12, 0.08), (0.02, 0.30)  # y from the lane's middle, height
_KINDS = {"forward": FORWARD, "step": FORWARD, "backward": BACKWARD, "wait": WAIT}

Rectangles = dict[str, list[tuple[float, float, float, float]]]


def edge_colours(record: RunRecord) -> dict[str, str]:
    """An edge server's colour, the same in all plots of a run: that of its site, where there is a map."""
    here = edges(record)
    sites = [f"edge-{site}" for site in record.motion.sites] if record.motion is not None else []
    order = [*sites, *(name for name in here if name not in sites)]
    return {name: EDGES[order.index(name) % len(EDGES)] for name in here}


def timeline_plot(record: RunRecord) -> str | None:
    """All schemes under one another on one scale of time."""
    schemes = [s for s in record.schemes if any(span.kind in ON_DEVICE for span in s.spans)]
    devices = record.devices[:MOST_DEVICES]
    if not schemes or not devices:
        return None
    colours = edge_colours(record)
    with drawing("timeline"):
        fig = figure(1.15 + len(schemes) * (0.42 + 0.5 * len(devices)))
        panels = fig.subplots(len(schemes), 1, sharex=True, squeeze=False)[:, 0]
        for axes, scheme in zip(panels, schemes, strict=True):
            _panel(axes, scheme, devices, colours)
        last = max(s.end - scheme.begin for scheme in schemes for s in scheme.spans if s.kind in ON_DEVICE)
        panels[-1].set_xlim(0, last * 1.005)
        panels[-1].xaxis.set_major_locator(MaxNLocator(12))
        panels[-1].set_xlabel("time since training began [s]")
        legend(fig, *_legend(schemes, colours))
        margins(fig, left=0.75, right=0.1, top=0.82, bottom=0.45, hspace=0.42 / (0.5 * len(devices)))
        return svg(
            fig, "timeline",
            f"Timeline of {', '.join(devices)} under {', '.join(s.name for s in schemes)}: computing, waiting, where "
            f"the {_behind(schemes)} is, handovers and migrations; the tables of rounds and moves have the numbers.",
        )  # fmt: skip


def rectangles(axes: Any, found: Rectangles, *, few: int = _FEW) -> None:
    """Draw rectangles by colour, as pixels where they are many."""
    many = sum(map(len, found.values())) > few
    for colour, boxes in found.items():
        corners = [_box(*box) for box in boxes]
        # Not snapped to whole pixels: steps narrower than one still show, as a tint.
        axes.add_collection(PolyCollection(corners, facecolors=colour, linewidths=0, rasterized=many, snap=False))


def work(spans: Sequence[Span], begin: float, lane: float, colours: dict[str, str]) -> Rectangles:
    """Rectangles of one lane: the device's own work above, its edge half's below."""
    found: Rectangles = defaultdict(list)
    for span in spans:
        if behind(span) and span.kind in ("forward", "backward", "tail-step"):
            # A stage of a pipeline; the device's own row has no colour of an edge server.
            offset, height = _EDGE if span.node in colours else _COMPUTE
            colour = colours.get(span.node, FORWARD)
            found[colour].append((span.begin - begin, lane + offset, span.end - span.begin, height))
        elif span.kind in _KINDS:
            offset, height = _WAITING if span.kind == "wait" else _COMPUTE
            found[_KINDS[span.kind]].append((span.begin - begin, lane + offset, span.end - span.begin, height))
        elif span.kind == "tail-step":
            offset, height = _EDGE
            found[colours[span.node]].append((span.begin - begin, lane + offset, span.end - span.begin, height))
    return found


def places(spans: Sequence[Span], begin: float, lane: float, colours: dict[str, str]) -> Rectangles:
    """Where a device's edge half was: from its first step of a round on a node to its last there."""
    found: Rectangles = defaultdict(list)
    offset, height = _EDGE
    steps = [s for s in spans if s.kind == "tail-step" and s.node in colours]
    for (_, node), same in groupby(steps, key=lambda s: (s.round, s.node)):
        here = list(same)
        found[colours[node]].append((here[0].begin - begin, lane + offset, here[-1].end - here[0].begin, height))
    return found


def _panel(axes: Any, scheme: SchemeRecord, devices: Sequence[str], colours: dict[str, str]) -> None:
    boxes: Rectangles = defaultdict(list)
    for lane, device in enumerate(devices):
        spans = of_device(scheme, device)
        for colour, more in work(spans, scheme.begin, lane, colours).items():
            boxes[colour] += more
        for colour, more in places(spans, scheme.begin, lane, colours).items():
            axes.add_collection(
                PolyCollection([_box(*box) for box in more], facecolors=colour, linewidths=0, alpha=0.4, zorder=0.5)
            )
        _marks(axes, scheme, spans, lane)
    rectangles(axes, boxes)
    axes.set_yticks(range(len(devices)), devices)
    axes.set_ylim(len(devices) - 0.45, -0.6)
    axes.set_title(scheme.name)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)


def _marks(axes: Any, scheme: SchemeRecord, spans: Sequence[Span], lane: int) -> None:
    for begin, end in thrown_away(spans):
        axes.add_patch(
            Rectangle(
                (begin - scheme.begin, lane - 0.42), end - begin, 0.78,
                facecolor="none", edgecolor=LOST, hatch="////", linewidth=1.0, zorder=3,
            )
        )  # fmt: skip
    for count in sorted({s.round for s in spans if s.kind == "round"}):
        first = next(s for s in spans if s.kind == "round" and s.round == count)
        axes.plot([first.end - scheme.begin] * 2, [lane - 0.42, lane + 0.36], color=INK, linewidth=0.8, zorder=4)
    state = [s for s in spans if s.kind in STATE]
    if state:
        axes.add_collection(
            PolyCollection(
                [_box(s.begin - scheme.begin, lane + _EDGE[0], s.end - s.begin, _EDGE[1]) for s in state],
                facecolors=MIGRATION, edgecolors=MIGRATION, linewidths=0.8, zorder=5,
            )
        )  # fmt: skip
    for port in (s for s in spans if s.kind == "handover"):
        at = port.begin - scheme.begin
        axes.plot([at, at], [lane - 0.46, lane + 0.4], color=HANDOVER, linewidth=1.4, zorder=6)
        axes.plot([at], [lane - 0.5], marker="v", color=HANDOVER, markersize=5, clip_on=False, zorder=6)
        axes.annotate(
            f"to {port.attrs.get('to', '?')}", (at, lane - 0.5), xytext=(5, -1), textcoords="offset points",
            fontsize=7.5, va="center", zorder=7,
        )  # fmt: skip


def _box(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x, y + height), (x + width, y + height), (x + width, y)]


def _behind(schemes: Sequence[SchemeRecord]) -> str:
    """What is on edge servers: halves of models, stages of pipelines, or both, scheme by scheme."""
    stages = any(behind(span) for scheme in schemes for span in scheme.spans)
    halves = any(s.kind == "tail-step" and not behind(s) for scheme in schemes for s in scheme.spans)
    return " or ".join(name for name, there in (("edge half", halves or not stages), ("stage", stages)) if there)


def _legend(schemes: Sequence[SchemeRecord], colours: dict[str, str]) -> tuple[list[Any], list[str]]:
    kinds = {s.kind for scheme in schemes for s in scheme.spans}
    entries: list[tuple[Any, str]] = []
    if "step" in kinds:
        entries.append((Patch(color=FORWARD), "training step"))
    if "forward" in kinds:
        entries += [(Patch(color=FORWARD), "forward"), (Patch(color=BACKWARD), "backward")]
    if "wait" in kinds:
        entries.append((Patch(color=WAIT), "waiting"))
    what = _behind(schemes)
    entries += [(Patch(color=colour), f"{what} on {name}") for name, colour in colours.items()][:4]
    if any(thrown_away(of_device(s, d)) for s in schemes for d in s.devices):
        entries.append((Patch(facecolor="none", edgecolor=LOST, hatch="////"), "thrown away"))
    if "handover" in kinds:
        entries.append((Line2D([], [], color=HANDOVER, marker="v", linewidth=1.4), "handover"))
    if kinds & set(STATE):
        entries.append((Patch(color=MIGRATION), "migration"))
    entries.append((Line2D([], [], color=INK, linewidth=0, marker="|", markersize=9), "end of a round"))
    return [e[0] for e in entries], [e[1] for e in entries]
