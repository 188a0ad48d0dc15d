"""Draws a timeline: sites, paths coloured by the site that a device is on, and where it is handed over."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from testbed.errors import InputError
from testbed.mobility.overview import Device, Overview
from testbed.report.style import EDGES, HANDOVER, INK, LINE, PAPER, drawing, figure, margins, svg

_NAMED = 12
"""Devices up to which each is named at its start."""
_DPI = 160
_POINTS = 72
"""Units of an SVG in an inch."""


@dataclass(frozen=True)
class Palette:
    """Colours of what is no data."""

    ink: str
    line: str
    paper: str


PAGE = Palette(INK, LINE, PAPER)
"""Follows the page that the drawing is put into."""
FILE = Palette("#1d2126", "#c4cad2", "#ffffff")
"""A file on its own."""


def page(overview: Overview) -> str:
    """The map as an ``<svg>`` element of a page."""
    with _drawing(PAGE):
        return svg(_draw(overview, PAGE), "map", _said(overview))


@dataclass(frozen=True)
class Frame:
    """The map as an ``<svg>`` element, and where places are on it: ``offset + scale * metres``, in its own units."""

    svg: str
    x: tuple[float, float]
    y: tuple[float, float]

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a place is on the drawing."""
        return self.x[0] + self.x[1] * x, self.y[0] + self.y[1] * y


def frame(overview: Overview) -> Frame:
    """The map of `page`, to be drawn on."""
    with _drawing(PAGE):
        drawn = _draw(overview, PAGE)
        text = svg(drawn, "map", _said(overview))  # what is drawn has its final place
        (axes,) = drawn.axes
        (x0, y0), (x1, y1) = axes.transData.transform([(0.0, 0.0), (1000.0, 1000.0)]) * (_POINTS / drawn.dpi)
        height = drawn.get_figheight() * _POINTS
    return Frame(text, (x0, (x1 - x0) / 1000), (height - y0, (y0 - y1) / 1000))


def save(overview: Overview, path: Path) -> None:
    """Write the map to a file, ``.svg`` or ``.png``.

    Raises:
        InputError: The name ends otherwise, or the file cannot be written.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError("a map is an SVG or PNG file", wanted="a name that ends in .svg or .png", found=str(path))
    with _drawing(FILE):
        drawn = _draw(overview, FILE)
        out = io.BytesIO()
        if path.suffix.lower() == ".png":
            FigureCanvasAgg(drawn)
            drawn.savefig(out, format="png", dpi=_DPI, facecolor=FILE.paper)
        else:
            drawn.savefig(out, format="svg", facecolor=FILE.paper, metadata={"Date": None, "Title": overview.name})
    try:
        path.write_bytes(out.getvalue())
    except OSError as error:
        raise InputError(f"the map cannot be written ({error.strerror})", where=str(path)) from None


@contextmanager
def _drawing(palette: Palette) -> Iterator[None]:
    inks = ("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor")
    lines = ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color")
    settings = dict.fromkeys(inks, palette.ink) | dict.fromkeys(lines, palette.line)
    with drawing("map"), matplotlib.rc_context({**settings, "axes.grid.axis": "both"}):
        yield


def _draw(overview: Overview, palette: Palette) -> Figure:
    left, bottom, right, top = _bounds(overview)
    width = 10.4
    inner = width - 0.75 - 2.0
    height = min(max(inner * (top - bottom) / (right - left), 2.2), 8.0)
    fig = figure(height + 0.55 + 0.2, width)
    axes = fig.subplots()
    axes.set_aspect("equal", adjustable="box")
    # The side that is too short for the paper shows more.
    more_x = max(inner / height * (top - bottom), right - left)
    more_y = max(height / inner * (right - left), top - bottom)
    axes.set_xlim((left + right - more_x) / 2, (left + right + more_x) / 2)
    axes.set_ylim((bottom + top - more_y) / 2, (bottom + top + more_y) / 2)
    colours = {site: EDGES[i % len(EDGES)] for i, site in enumerate(overview.sites)}
    crowd = len(overview.devices) > _NAMED
    reach = _circle(overview)
    if reach is not None:
        for site, at in overview.sites.items():
            axes.add_patch(Circle(at, reach, facecolor=colours[site], alpha=0.07, linewidth=0, zorder=1))
            axes.add_patch(Circle(at, reach, fill=False, edgecolor=colours[site], linewidth=0.7,
                                  linestyle=(0, (1, 2)), zorder=1))  # fmt: skip
    for device in overview.devices:
        _path(axes, device, colours, palette, crowd)
    _handovers(axes, overview, colours, palette)
    for site, (x, y) in overview.sites.items():
        axes.plot(x, y, marker="^", markersize=11, color=colours[site], markeredgecolor=palette.paper,
                  markeredgewidth=1.2, linestyle="none", zorder=6)  # fmt: skip
        if len(overview.sites) <= 40:
            _label(axes, site, (x, y), (0, 8), palette, ha="center", va="bottom", weight="bold", fontsize=9)
    axes.set_xlabel("x [m]")
    axes.set_ylabel("y [m]")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _legend(fig, overview, colours, palette, 1 - 1.85 / width)
    margins(fig, left=0.75, right=2.0, top=0.2, bottom=0.55)
    return fig


def _circle(overview: Overview) -> float | None:
    """Radius of the circles around sites; None where there are none to draw: they would fill the map."""
    places = [*overview.sites.values(), *((x, y) for d in overview.devices for _, x, y in d.path)]
    span = max(max(v) - min(v) for v in zip(*places, strict=True))
    return overview.reach if overview.reach is not None and overview.reach <= 0.75 * span else None


def _bounds(overview: Overview) -> tuple[float, float, float, float]:
    """What the map shows, with room around it. There is a site at least."""
    places = [*overview.sites.values(), *((x, y) for d in overview.devices for _, x, y in d.path)]
    reach = _circle(overview)
    if reach is not None:
        places += [(x + d, y + d) for x, y in overview.sites.values() for d in (-reach, reach)]
    xs, ys = zip(*places, strict=True)
    size = max(max(xs) - min(xs), max(ys) - min(ys), 10.0)
    room = 0.06 * size
    return min(xs) - room, min(ys) - room, max(xs) + room, max(ys) + room


def _path(axes: Any, device: Device, colours: dict[str, str], palette: Palette, crowd: bool) -> None:
    if not device.path:
        return
    lines: dict[str, list[list[tuple[float, float]]]] = {}
    lost: list[list[tuple[float, float]]] = []
    for (t0, x0, y0), (t1, x1, y1) in pairwise(device.path):
        middle = (t0 + t1) / 2
        piece = [(x0, y0), (x1, y1)]
        outage = next((o for o in device.outages if o.begin <= middle < (math.inf if o.end is None else o.end)), None)
        if outage is not None:
            if outage.why != "absent":
                lost.append(piece)
            continue
        site = next((w.site for w in reversed(device.dwells) if w.begin <= middle), device.start)
        lines.setdefault(site, []).append(piece)
    thick = 0.9 if crowd else 1.6
    for site, pieces in lines.items():
        axes.add_collection(LineCollection(_joined(pieces), colors=colours[site], linewidths=thick,
                                           alpha=0.6 if crowd else 0.85, capstyle="round", zorder=3))  # fmt: skip
    axes.add_collection(LineCollection(_joined(lost), colors=palette.ink, linewidths=thick * 0.8, alpha=0.75,
                                       linestyles=(0, (2, 2)), zorder=3))  # fmt: skip
    _, x, y = device.path[0]
    axes.plot(x, y, marker="o", markersize=3.5 if crowd else 5.5, color=palette.paper, markeredgecolor=palette.ink,
              markeredgewidth=0.9, linestyle="none", zorder=5)  # fmt: skip
    if not crowd:
        _label(axes, device.name, (x, y), (6, -4), palette, va="top", fontsize=8)


def _joined(pieces: Sequence[list[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """Pieces that meet as one line, so that dashes go on and nothing is drawn twice."""
    found: list[list[tuple[float, float]]] = []
    for piece in pieces:
        if found and found[-1][-1] == piece[0]:
            found[-1].append(piece[1])
        else:
            found.append(list(piece))
    return found


def _handovers(axes: Any, overview: Overview, colours: dict[str, str], palette: Palette) -> None:
    drawn: set[tuple[str, str]] = set()
    many = len(overview.handovers) > 60
    for handover in overview.handovers:
        if handover.x is not None:
            axes.plot(handover.x, handover.y, marker="D", markersize=3.4 if many else 5.5, color=HANDOVER,
                      markeredgecolor=palette.paper, markeredgewidth=0.5 if many else 0.8, linestyle="none",
                      alpha=0.8 if many else 1.0, zorder=4)  # fmt: skip
        elif (handover.source, handover.to) not in drawn:  # without a path: from site to site
            drawn.add((handover.source, handover.to))
            axes.annotate(
                "", overview.sites[handover.to], overview.sites[handover.source], zorder=4,
                arrowprops={"arrowstyle": "-|>", "color": HANDOVER, "shrinkA": 12, "shrinkB": 12, "linewidth": 1.3,
                            "connectionstyle": "arc3,rad=0.15"},
            )  # fmt: skip


def _label(
    axes: Any, text: str, at: tuple[float, float], offset: tuple[int, int], palette: Palette, **how: Any
) -> None:
    note = axes.annotate(text, at, xytext=offset, textcoords="offset points", color=palette.ink, zorder=7, **how)
    note.set_bbox({"boxstyle": "round,pad=0.12", "facecolor": palette.paper, "edgecolor": "none", "alpha": 0.75})


def _legend(fig: Figure, overview: Overview, colours: dict[str, str], palette: Palette, left: float) -> None:
    handles: list[Any] = []
    for site, colour in list(colours.items())[: len(EDGES)]:
        handles.append(Line2D([], [], color=colour, marker="^", markersize=7, linewidth=1.6, label=f"on {site}"))
    if any(o.why != "absent" for d in overview.devices for o in d.outages):
        handles.append(Line2D([], [], color=palette.ink, linestyle=(0, (2, 2)), linewidth=1.2, label="out of coverage"))
    if any(h.x is not None for h in overview.handovers):
        handles.append(Line2D([], [], color=HANDOVER, marker="D", linestyle="none", markersize=5,
                              label=f"handover ({len(overview.handovers)})"))  # fmt: skip
    elif overview.handovers:
        handles.append(Line2D([], [], color=HANDOVER, linewidth=1.3, label=f"handover ({len(overview.handovers)})"))
    if any(d.path for d in overview.devices):
        handles.append(Line2D([], [], color=palette.paper, marker="o", markeredgecolor=palette.ink, linestyle="none",
                              markersize=5, label="start"))  # fmt: skip
    if _circle(overview) is not None:
        handles.append(Line2D([], [], color=palette.line, linestyle=(0, (1, 2)), linewidth=1.2,
                              label=f"usual reach, {overview.reach:.0f} m"))  # fmt: skip
    fig.legend(handles=handles, loc="upper left", bbox_to_anchor=(left, 0.985), fontsize=8.5, handlelength=1.8,
               labelspacing=0.7, borderaxespad=0.1)  # fmt: skip


def _said(overview: Overview) -> str:
    return (
        f"Map of {len(overview.sites)} sites and the paths of {len(overview.devices)} devices over {overview.end:g} s "
        f"with {len(overview.handovers)} handovers."
    )
