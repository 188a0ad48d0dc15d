"""Link use over time: what each link carried, both directions, from the counters of the links themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Patch

from testbed.report import words
from testbed.report.records import RunRecord, SchemeRecord, number
from testbed.report.style import BACKWARD, FORWARD, HANDOVER, LINE, drawing, figure, legend, margins, svg

MOST_LINKS = 14
_KINDS = ("access", "edge", "backhaul", "wire")

Samples = list[tuple[float, float, float, float]]  # begin, end, bit/s there, bit/s back


def link_samples(scheme: SchemeRecord) -> dict[str, Samples]:
    """Rates of each link over the intervals that it was looked at, s since training began."""
    found: dict[str, Samples] = defaultdict(list)
    for span in scheme.spans:
        took = span.end - span.begin
        if span.kind != "link" or took <= 0:
            continue
        there, back = (8 * (number(span.attrs.get(key)) or 0.0) / took for key in ("ab_bytes", "ba_bytes"))
        begin, end = span.begin - scheme.begin, span.end - scheme.begin
        found[str(span.attrs.get("link", "?"))].append((begin, end, there, back))
    return dict(found)


def link_plot(record: RunRecord) -> str | None:
    """A row a link, a column a scheme; there above the line, back below it."""
    schemes = [(s, link_samples(s)) for s in record.schemes]
    schemes = [(s, samples) for s, samples in schemes if samples]
    links = _busiest(record, [samples for _, samples in schemes])
    if not links:
        return None
    with drawing("links"):
        fig = figure(0.85 + 0.44 * len(links))
        panels = fig.subplots(len(links), len(schemes), sharex="col", sharey="row", squeeze=False)
        for column, (scheme, samples) in enumerate(schemes):
            for row, link in enumerate(links):
                _row(panels[row][column], samples.get(link, []), _moves(record, scheme, link))
            panels[0][column].set_title(scheme.name)
            panels[-1][column].set_xlabel("time since training began [s]")
            panels[-1][column].set_xlim(left=0)
        for row, link in enumerate(links):
            peak = max(max(t, b) for _, samples in schemes for _, _, t, b in samples.get(link, [(0, 0, 0.0, 0.0)]))
            first, last = panels[row][0], panels[row][-1]
            first.set_ylim(-1.1 * peak, 1.1 * peak)
            first.text(-0.015, 0.5, link, transform=first.transAxes, ha="right", va="center", fontsize=8)
            if row == 0:
                last.text(1.01, 1.15, "peak", transform=last.transAxes, va="bottom", fontsize=8)
            last.text(1.01, 0.5, words.rate(peak), transform=last.transAxes, va="center", fontsize=8)
        entries = {
            "from the first end (a device, or as named)": Patch(color=FORWARD),
            "back": Patch(color=BACKWARD),
        }
        if any(scheme.moves for scheme, _ in schemes):
            entries["handover"] = Patch(color=HANDOVER, alpha=0.7)
        legend(fig, list(entries.values()), list(entries))
        margins(fig, left=1.35, right=0.85, top=0.55, bottom=0.42, hspace=0.25, wspace=0.06)
        return svg(fig, "links", f"Bits per second over time on {', '.join(links)}.")


def _row(axes: Any, samples: Samples, moves: Sequence[float]) -> None:
    times: list[float] = []
    there: list[float] = []
    back: list[float] = []
    for begin, end, up, down in samples:
        if times and begin > times[-1] + 1e-3:  # nothing was carried in between
            times += [times[-1], begin]
            there += [0.0, 0.0]
            back += [0.0, 0.0]
        times += [begin, end]
        there += [up, up]
        back += [-down, -down]
    axes.fill_between(times, there, color=FORWARD, linewidth=0)
    axes.fill_between(times, back, color=BACKWARD, linewidth=0)
    axes.axhline(0, color=LINE, linewidth=0.8)
    for at in moves:
        axes.axvline(at, color=HANDOVER, linewidth=1.0, alpha=0.7)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _moves(record: RunRecord, scheme: SchemeRecord, link: str) -> list[float]:
    """When devices moved: on a device's own link its moves, on all others everybody's."""
    ends = next(((c.a, c.b) for c in record.calibration if c.link == link), link.split(":"))
    own = any(end in record.devices for end in ends)
    return [m.at_s for m in scheme.moves if m.at_s is not None and (not own or m.device in ends)]


def _busiest(record: RunRecord, samples: Sequence[dict[str, Samples]]) -> list[str]:
    """The links that carried most, in the order: access, edge, backhaul, wire."""
    carried: dict[str, float] = defaultdict(float)
    for links in samples:
        for link, rows in links.items():
            carried[link] += sum((end - begin) * (there + back) for begin, end, there, back in rows)
    most = sorted((link for link in carried if carried[link]), key=lambda link: -carried[link])[:MOST_LINKS]
    kinds = {c.link: c.kind for c in record.calibration}
    order = {kind: i for i, kind in enumerate(_KINDS)}
    return sorted(most, key=lambda link: (order.get(kinds.get(link, link.partition(":")[0]), len(_KINDS)), link))
