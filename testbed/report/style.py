"""How plots look, and how they become part of a page: SVG whose ink follows the page, in light, dark and on paper.

Ink, lines and background are drawn in marker colours that no data uses; in the page they become CSS variables.
Text stays text: it can be searched, selected and read aloud.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, LINE, PAPER = "#010203", "#040506", "#070809"
_VARIABLES = {INK: "var(--ink)", LINE: "var(--line)", PAPER: "var(--paper)"}

# Told apart also by people who see no red or no green, and on dark as on light.
SCHEMES = ("#d2691e", "#2f74b5", "#2e9270", "#9a5fb0", "#b8860b", "#607d8b")
FORWARD, BACKWARD, WAIT = "#2f74b5", "#86b6e0", "#9aa0a8"
EDGES = ("#2e9270", "#e0a024", "#9a5fb0", "#b8577a", "#6b8e23", "#607d8b")
HANDOVER, MIGRATION, LOST = "#c62f4b", "#c62f4b", "#c62f4b"

WIDTH = 10.4  # inches; the page's column
_RASTER_DPI = 190

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "text.parse_math": False,
}


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Everything that is drawn and exported within looks alike, and the same from run to run."""
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        yield


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that size in inches, outside of any global state."""
    made = Figure(figsize=(width, height))
    FigureCanvasSVG(made)
    return made


def margins(figure: Figure, *, left: float, right: float, top: float, bottom: float, **more: float) -> None:
    """Margins in inches: the same whatever the figure's size."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, top=1 - top / height, bottom=bottom / height, **more
    )


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels, at the top left: a line of at most five."""
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncol=max(1, min(5, len(labels))), fontsize=8.5,
        handlelength=1.4, handleheight=0.9, columnspacing=1.6, borderaxespad=0.1,
    )  # fmt: skip


def svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an ``<svg>`` element to put into a page.

    Args:
        figure: Drawn within `drawing`.
        name: Unique in the page; keeps ids apart.
        description: What a person who does not see it should know.
    """
    out = io.StringIO()
    figure.savefig(out, format="svg", dpi=_RASTER_DPI, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"'DejaVu Sans'(?:, [^;\"]*)?sans-serif", "sans-serif", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    for marker, variable in _VARIABLES.items():
        text = text.replace(marker, variable)
    label = html.escape(description, quote=True)
    return re.sub(r'<svg [^>]*?height="[^"]*"', lambda m: _open(m.group(0), label), text, count=1).strip()


def _open(tag: str, label: str) -> str:
    # The page gives the width; the height follows from the viewBox.
    tag = re.sub(r' (?:width|height)="[^"]*"', "", tag)
    return f'{tag} role="img" aria-label="{label}"'
