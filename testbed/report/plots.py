"""Plots of results by round: what a move saved, accuracy, times. Timelines are in `timeline`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from testbed.report import words
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.saving import Saving
from testbed.report.style import INK, PAPER, SCHEMES, drawing, figure, legend, margins, svg

MOST_DEVICES = 12
_COLUMNS = 4


def colour_of(record: RunRecord, scheme: str) -> str:
    """A scheme's colour, the same in all plots of a run."""
    names = [s.name for s in record.schemes]
    return SCHEMES[(names.index(scheme) if scheme in names else 0) % len(SCHEMES)]


def saving_plot(record: RunRecord, found: Sequence[Saving]) -> str | None:
    """Restarting against moving the state: two bars for every round in which a device moved."""
    rows = [s for s in found if s.restarting_s is not None and s.moving_s is not None][:16]
    if not rows:
        return None
    longest = max(max(s.restarting_s or 0.0, s.moving_s or 0.0) for s in rows)
    with drawing("saving"):
        fig = figure(0.75 + 0.78 * len(rows))
        axes = fig.subplots()
        for i, row in enumerate(rows):
            bars = ((row.restarting_s, row.base, -0.19), (row.moving_s, row.other, 0.19))
            for value, scheme, offset in bars:
                axes.barh(i + offset, value or 0.0, 0.34, color=colour_of(record, scheme))
                axes.text((value or 0) + longest * 0.008, i + offset, words.seconds(value), va="center", fontsize=9)
            saved, law = words.percent(row.saved), words.percent(row.law)
            axes.text(longest * 1.16, i - 0.12, f"{saved} saved", va="center", weight="bold", fontsize=12)
            axes.text(longest * 1.16, i + 0.22, f"at most {law} by f/(1+f)", va="center", fontsize=8.5)
        names = [f"{s.device}, round {s.round}\nmoved at {words.percent(s.f, 0)}" for s in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, longest * 1.5)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xticks([t for t in axes.get_xticks() if t <= longest * 1.12])
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("time of the round, first batch to last [s]", loc="left")
        names = list(dict.fromkeys([name for s in rows for name in (s.base, s.other)]))
        labels = [f"{n} ({_strategy(rows, n)})" for n in names]
        legend(fig, [Patch(color=colour_of(record, n)) for n in names], labels)
        margins(fig, left=1.35, right=0.1, top=0.34, bottom=0.45)
        said = "; ".join(
            f"{s.device} in round {s.round}: {words.seconds(s.restarting_s)} with {s.base}, "
            f"{words.seconds(s.moving_s)} with {s.other}"
            for s in rows
        )
        return svg(fig, "saving", f"Time of the rounds in which a device moved. {said}.")


def accuracy_plot(record: RunRecord) -> str | None:
    """Accuracy by round and by time: schemes that compute the same differ in the second only."""
    schemes = [s for s in record.schemes if any(a is not None for a in s.accuracy)]
    if not schemes:
        return None
    with drawing("accuracy"):
        fig = figure(2.9)
        by_round, by_time = fig.subplots(1, 2, sharey=True)
        lines = []
        for i, scheme in enumerate(schemes):
            # Curves that coincide stay visible: each later one is thinner than the one under it.
            style: dict[str, Any] = {
                "color": colour_of(record, scheme.name), "linewidth": max(1.2, 4.2 - 1.9 * i), "marker": "os^D"[i % 4],
                "markersize": max(4.0, 8.5 - 2.6 * i), "markeredgecolor": PAPER, "markeredgewidth": 0.8,
                "clip_on": False, "zorder": 3 + i,
            }  # fmt: skip
            points = [(r + 1, a) for r, a in enumerate(scheme.accuracy) if a is not None]
            lines += by_round.plot([p[0] for p in points], [p[1] for p in points], **style)
            times = _evaluated(scheme)
            timed = [(times[r], a) for r, a in points if r in times]
            by_time.plot([t for t, _ in timed], [a for _, a in timed], **style)
        by_round.set_xlabel("round")
        by_round.set_title("by round")
        by_round.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        by_time.set_xlabel("time since training began [s]")
        by_time.set_title("by time")
        by_time.set_xlim(left=0)
        top = max(a for s in schemes for a in s.accuracy if a is not None)
        by_round.set_ylim(0, min(1.0, top * 1.15) or 1.0)
        by_round.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.0%}"))
        for axes in (by_round, by_time):
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        legend(fig, lines, [s.name for s in schemes])
        margins(fig, left=0.55, right=0.2, top=0.62, bottom=0.45, wspace=0.12)
        said = "; ".join(
            f"{s.name}: " + ", ".join(words.percent(a) for a in s.accuracy) for s in schemes
        )
        return svg(fig, "accuracy", f"Accuracy after each round. {said}.")


def round_time_plot(record: RunRecord) -> str | None:
    """Time of every round: a panel a device, the schemes side by side."""
    devices = [d for d in record.devices if any(r.time_s for s in record.schemes for r in s.devices.get(d, ()))]
    devices = devices[:MOST_DEVICES]
    schemes = [s for s in record.schemes if s.devices]
    if not devices or not schemes:
        return None
    columns = min(_COLUMNS, len(devices))
    rows = -(-len(devices) // columns)
    rounds = range(1, max(s.last_round for s in schemes) + 1)
    width = min(0.36, 0.8 / len(schemes))
    with drawing("rounds"):
        fig = figure(0.75 + 1.75 * rows)
        panels = fig.subplots(rows, columns, sharey=True, squeeze=False)
        lost = False
        for axes, device in zip(panels.flat, devices, strict=False):
            for i, scheme in enumerate(schemes):
                known = {r.round: r.time_s for r in scheme.devices.get(device, ()) if r.time_s is not None}
                places = [n + width * (i + 0.5 - len(schemes) / 2) for n in known]
                axes.bar(places, list(known.values()), width * 0.92, color=colour_of(record, scheme.name))
                lost = _lost(axes, scheme, device, dict(zip(known, places, strict=True)), width * 0.92) or lost
            moved = sorted({m.round for s in schemes for m in s.moves if m.device == device and m.round})
            for n in moved:
                axes.annotate("moves", (n, 1.0), xycoords=("data", "axes fraction"), ha="center", fontsize=7.5,
                              xytext=(0, 1), textcoords="offset points")  # fmt: skip
            axes.set_title(device, pad=12)
            axes.set_xlim(rounds[0] - 0.6, rounds[-1] + 0.6)
            axes.set_xticks(list(rounds)[:: -(-len(rounds) // 8)])
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        for axes in panels.flat[len(devices) :]:
            axes.set_visible(False)
        for row in panels:
            row[0].set_ylabel("time [s]")
        for axes in panels[-1]:
            axes.set_xlabel("round")
        handles = [Patch(color=colour_of(record, s.name)) for s in schemes]
        labels = [s.name for s in schemes]
        if lost:
            handles.append(Patch(facecolor="none", edgecolor=INK, hatch="////", linewidth=0.6))
            labels.append("of it thrown away by a restart")
        legend(fig, handles, labels)
        margins(fig, left=0.55, right=0.1, top=0.72, bottom=0.45, wspace=0.1, hspace=0.62)
        names = ", ".join(devices)
        return svg(fig, "rounds", f"Time of every round for {names}, by scheme; the table has the numbers.")


def _lost(axes: Any, scheme: SchemeRecord, device: str, places: dict[int, float], width: float) -> bool:
    thrown = [(m.round, m.lost_s) for m in scheme.moves if m.device == device and m.lost_s and m.round in places]
    for n, time in thrown:
        axes.bar(places[n or 0], time, width, facecolor="none", edgecolor=PAPER, hatch="////", linewidth=0)
    return bool(thrown)


def _evaluated(scheme: SchemeRecord) -> dict[int, float]:
    """When each round's accuracy was known, s since training began."""
    return {s.round: s.end - scheme.begin for s in scheme.spans if s.kind in ("accuracy", "evaluate")}


def _strategy(rows: Sequence[Saving], scheme: str) -> str:
    return next((s.strategy for s in rows if s.other == scheme), "restart")
