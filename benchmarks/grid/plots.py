"""A plot as a file of its own."""

from __future__ import annotations

import io
from typing import Any

from testbed.report import style

_COLOURS = {style.INK: "#24292f", style.LINE: "#c9d1d9", style.PAPER: "#ffffff"}


def standalone(figure: Any) -> str:
    """A figure as SVG text that looks right wherever a Markdown file is shown."""
    figure.patch.set_facecolor(style.PAPER)
    out = io.StringIO()
    figure.savefig(out, format="svg", facecolor=style.PAPER, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    for marker, colour in _COLOURS.items():
        text = text.replace(marker, colour)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
