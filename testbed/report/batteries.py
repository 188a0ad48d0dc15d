"""Batteries over time: a panel a device, the schemes in it."""

from __future__ import annotations

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from testbed.report import words
from testbed.report.plots import MOST_DEVICES, colour_of
from testbed.report.records import RunRecord, SchemeRecord, items, number, table
from testbed.report.style import INK, drawing, figure, legend, margins, svg

_COLUMNS = 4
_MUCH = 0.2
"""Share of a battery from which on its axis begins at empty."""

Curve = list[tuple[float, float]]


def curve(scheme: SchemeRecord, device: str) -> tuple[Curve, float | None]:
    """A battery's curve (s since the training began, share of the capacity), and its reserve; empty without one."""
    one = table(table(table(scheme.energy.get("nodes")).get(device)).get("battery"))
    capacity, reserve = number(one.get("capacity_j")), number(one.get("reserve_j"))
    points = [(number(at), number(left)) for at, left in (p for p in items(one.get("curve")) if len(items(p)) == 2)]
    if not capacity:
        return [], None
    return [(t, j / capacity) for t, j in points if t is not None and j is not None], (reserve or 0.0) / capacity


def battery_plot(record: RunRecord) -> str | None:
    """What was left in each device's battery; None where nobody has one."""
    there = {name: None for scheme in record.schemes for name in table(scheme.energy.get("nodes"))}
    curves = {name: [(s, *curve(s, name)) for s in record.schemes] for name in there}
    devices = [name for name, all_ in curves.items() if any(points for _, points, _ in all_)][:MOST_DEVICES]
    if not devices:
        return None
    columns = min(_COLUMNS, len(devices))
    rows = -(-len(devices) // columns)
    with drawing("batteries"):
        fig = figure(0.75 + 1.75 * rows)
        panels = fig.subplots(rows, columns, squeeze=False)
        kept = False
        for axes, device in zip(panels.flat, devices, strict=False):
            lowest, highest = 1.0, 0.0
            for i, (scheme, points, _) in enumerate(curves[device]):
                times, left = [t for t, _ in points], [share for _, share in points]
                axes.plot(times, left, color=colour_of(record, scheme.name), linewidth=max(1.2, 2.6 - 0.7 * i))
                lowest, highest = min([lowest, *left]), max([highest, *left])
            bottom = 0.0 if highest - lowest > _MUCH else max(0.0, lowest - max(highest - lowest, 0.01))
            reserve = max((r for _, _, r in curves[device] if r), default=0.0)
            if reserve > bottom:
                axes.axhline(reserve, color=INK, linewidth=0.8, dashes=(3, 2))
                kept = True
            axes.set_ylim(bottom, max(highest, reserve) + 0.08 * (highest - bottom))
            axes.set_xlim(left=0)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.3g} %"))
            axes.set_title(device)
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        for axes in panels.flat[len(devices) :]:
            axes.set_visible(False)
        for axes in panels[-1]:
            axes.set_xlabel("time since training began [s]")
        handles = [Line2D([], [], color=colour_of(record, s.name), linewidth=2) for s in record.schemes]
        labels = [s.name for s in record.schemes]
        if kept:
            handles.append(Line2D([], [], color=INK, linewidth=0.8, dashes=(3, 2)))
            labels.append("reserve")
        legend(fig, handles, labels)
        margins(fig, left=0.55, right=0.1, top=0.62, bottom=0.45, wspace=0.32, hspace=0.62)
        said = "; ".join(
            f"{device} under {scheme.name} from {words.percent(points[0][1])} to {words.percent(points[-1][1])}"
            for device in devices for scheme, points, _ in curves[device] if points
        )  # fmt: skip
        return svg(fig, "batteries", f"What was left in batteries over time: {said}.")
