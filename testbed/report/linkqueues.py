"""What waited in links and what they dropped, over time (only links that did), and how late the relay was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.report import words
from testbed.report.linkuse import MOST_LINKS
from testbed.report.records import RunRecord, SchemeRecord, number
from testbed.report.style import BACKWARD, EDGES, FORWARD, INK, LINE, LOST, drawing, figure, legend, margins, svg
from testbed.report.watched import LinkSums, link_sums


def queue_plot(record: RunRecord) -> str | None:
    """A row a link, a column a scheme; there above the line, back below it, a tick where packets were dropped.

    The last row is the relay's lateness in each second, of all links together.
    """
    schemes = [(s, link_sums(s)) for s in record.schemes]
    schemes = [(s, sums) for s, sums in schemes if sums]
    late = [lateness(s) for s, _ in schemes]
    known = sorted({link for _, sums in schemes for link, one in sums.items() if one.queue or one.dropped})
    links = known[:MOST_LINKS]
    if not links and not any(late):
        return None
    height = len(links) + any(late)
    with drawing("queues"):
        fig = figure(0.85 + 0.4 * height)
        panels = fig.subplots(height, len(schemes), sharex="col", sharey="row", squeeze=False)
        for column, (scheme, sums) in enumerate(schemes):
            for row, link in enumerate(links):
                _row(panels[row][column], sums.get(link, LinkSums()))
            panels[0][column].set_title(scheme.name)
            panels[-1][column].set_xlabel("time since training began [s]")
            panels[-1][column].set_xlim(0, scheme.duration_s or None)
        if any(late):
            _late_row(panels[-1], late, record.tolerances.get("link_late", 0.005))
        for row, link in enumerate(links):
            worst = [sums[link] for _, sums in schemes if link in sums]
            peak = max([one.queue for one in worst] + [1.0])
            first, last = panels[row][0], panels[row][-1]
            first.set_ylim(-1.35 * peak, 1.35 * peak)
            first.text(-0.015, 0.5, link, transform=first.transAxes, ha="right", va="center", fontsize=8)
            dropped = sum(one.dropped for one in worst)
            told = words.size(max(one.queue for one in worst)) + (f"\n{dropped:.0f} dropped" if dropped else "")
            last.text(1.01, 0.5, told, transform=last.transAxes, va="center", fontsize=8, linespacing=1.2)
        panels[0][-1].text(1.01, 1.15, "most", transform=panels[0][-1].transAxes, va="bottom", fontsize=8)
        entries: dict[str, Any] = {
            "waiting, from the first end": Patch(color=FORWARD),
            "back": Patch(color=BACKWARD),
            "dropped at a full queue": Line2D([], [], color=LOST, marker="|", linewidth=0),
        }
        if any(late):
            entries["99.9 % of frames are not later"] = Patch(color=EDGES[0])
            entries["tolerated"] = Line2D([], [], color=INK, linewidth=0.8, dashes=(3, 2))
        legend(fig, list(entries.values()), list(entries))
        margins(fig, left=1.35, right=0.95, top=0.55, bottom=0.42, hspace=0.3, wspace=0.06)
        return svg(fig, "queues", f"Bytes waiting over time in {', '.join(links)}; the table has the sums.")


def lateness(scheme: SchemeRecord) -> list[tuple[float, float, float]]:
    """Begin and end of each stretch, s since training began, and what 99.9 % of the frames were not later than, s."""
    found = []
    for span in scheme.spans:
        late = number(span.attrs.get("relay_late_p999_s")) if span.kind == "watch" and not span.node else None
        if late is not None:
            found.append((span.begin - scheme.begin, span.end - scheme.begin, late))
    return found


def _late_row(panels: Sequence[Any], late: Sequence[list[tuple[float, float, float]]], tolerated: float) -> None:
    worst = max(value for rows in late for _, _, value in rows)
    for axes, rows in zip(panels, late, strict=True):
        axes.bar([b for b, _, _ in rows], [v for _, _, v in rows], [e - b for b, e, _ in rows], align="edge",
                 color=EDGES[0], linewidth=0)  # fmt: skip
        axes.axhline(tolerated, color=INK, linewidth=0.8, dashes=(3, 2))
        axes.set_ylim(0, 1.15 * max(worst, tolerated))
        _bare(axes)
    panels[0].text(-0.015, 0.5, "relay's lateness", transform=panels[0].transAxes, ha="right", va="center", fontsize=8)
    panels[-1].text(1.01, 0.5, words.seconds(worst), transform=panels[-1].transAxes, va="center", fontsize=8)


def _row(axes: Any, sums: LinkSums) -> None:
    begins, lengths = [b for b, _, _, _ in sums.queues], [end - begin for begin, end, _, _ in sums.queues]
    for heights, colour in (
        ([there for _, _, there, _ in sums.queues], FORWARD),
        ([-back for _, _, _, back in sums.queues], BACKWARD),
    ):
        axes.bar(begins, heights, lengths, align="edge", color=colour, linewidth=0)
    for side, at_y in ((1, 0.93), (2, 0.07)):
        marks = [drop[0] for drop in sums.drops if drop[side]]
        axes.plot(marks, [at_y] * len(marks), color=LOST, marker="|", linewidth=0, markersize=5,
                  transform=axes.get_xaxis_transform(), clip_on=False)  # fmt: skip
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
