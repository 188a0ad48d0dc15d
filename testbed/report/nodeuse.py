"""Nodes over time: CPU that each got, what kept it from more, its memory; and who used the machine."""

from __future__ import annotations

from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from testbed.report import watched, words
from testbed.report.records import RunRecord, SchemeRecord
from testbed.report.style import BACKWARD, EDGES, FORWARD, INK, LINE, WAIT, drawing, figure, legend, margins, svg
from testbed.report.watched import Series

MOST_NODES = 20
STARVED, CROWDED = "#c62f4b", "#e9a9b5"
_NODE = (("got", FORWARD), ("throttled", WAIT), ("crowded", CROWDED), ("by_others", STARVED))
_MACHINE = (("nodes", FORWARD), ("testbed", EDGES[0]), ("others", STARVED), ("steal", INK))

EXPLAINED = (
    "In cores; the dashed line is the limit. A node is starved while it is ready to run, its own limit lets it, and "
    "no core is free for it: because of other programs or the hypervisor, or because the nodes and the testbed are in "
    "each other's way. Waiting for a link or for the next step's time is not starving. Paced steps make up for short "
    "waits: late steps and the share starved by others decide the verdict."
)


def node_plots(record: RunRecord) -> list[tuple[str, str]]:
    """A caption and a plot for each scheme that was watched."""
    found: list[tuple[str, str]] = []
    several = sum(bool(watched.node_series(s)) for s in record.schemes) > 1
    for i, scheme in enumerate(record.schemes):
        series = watched.node_series(scheme)
        names = watched.node_names(record, scheme)
        if names:
            caption = (f"{scheme.name}. " if several else "") + ("" if found else EXPLAINED)
            if len(names) > MOST_NODES:
                caption += f" {MOST_NODES} of {len(names)} nodes; watch.csv has all."
            found.append((caption.strip(), _plot(scheme, series, names[:MOST_NODES], f"nodes{i}")))
    return found


def _plot(scheme: SchemeRecord, series: dict[str, Series], names: list[str], anchor: str) -> str:
    rows = [*names, ""] if "" in series else names
    last = max(one.edges[-1] for one in series.values())
    with drawing(anchor):
        fig = figure(1.0 + 0.46 * len(rows))
        panels = fig.subplots(len(rows), 2, sharex=True, squeeze=False, width_ratios=(2.6, 1))
        for (cpu, memory), name in zip(panels, rows, strict=True):
            for axes in (cpu, memory):
                _bare(axes)
            if name:
                _node(cpu, memory, scheme, name, series[name])
            else:
                _machine(cpu, series[""], watched.cores(scheme))
                memory.set_visible(False)
            cpu.text(-0.012, 0.45, name or "machine", transform=cpu.transAxes, ha="right", va="center", fontsize=8.5,
                     weight="normal" if name else "bold")  # fmt: skip
        panels[0][0].set_title("CPU")
        panels[0][1].set_title("memory")
        bottom = [panels[-1][0], panels[-2][1] if "" in series and len(rows) > 1 else panels[-1][1]]
        for axes in bottom:
            axes.set_xlim(0, last)
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("time since training began [s]")
        legend(fig, *_legend("" in series))
        margins(fig, left=0.95, right=1.15, top=0.82, bottom=0.45, hspace=0.28, wspace=0.42)
        return svg(fig, anchor, f"CPU, starvation and memory over time under {scheme.name} of {', '.join(names)}; "
                   "the table has the sums.")  # fmt: skip


def _node(cpu: Any, memory: Any, scheme: SchemeRecord, name: str, series: Series) -> None:
    limit = watched.quota(scheme, name)
    _stack(cpu, series, _NODE)
    top = max(series.most(*(part for part, _ in _NODE)), limit or 0.0, 0.02)
    cpu.set_ylim(0, 1.08 * top)
    if limit is not None:
        cpu.axhline(limit, color=INK, linewidth=0.8, dashes=(3, 2))
    took = series.edges[-1] - series.edges[0]
    lengths = [b - a for a, b in zip(series.edges, series.edges[1:], strict=False)]

    def share(part: str) -> float:
        return sum(v * d for v, d in zip(series.values[part], lengths, strict=True)) / took if took else 0.0

    starved = share("by_others") + share("crowded")
    cpu.text(1.01, 0.45, f"{share('got'):.2f}{f' of {limit:.2g}' if limit else ''}\nstarved {words.percent(starved)}",
             transform=cpu.transAxes, va="center", fontsize=7.5, linespacing=1.25)  # fmt: skip
    most, allowed = max(series.values["memory"], default=0.0), watched.memory_limit(scheme, name)
    memory.stairs(series.values["memory"], series.edges, fill=True, color=BACKWARD, linewidth=0)
    memory.set_ylim(0, 1.08 * max(most, allowed or 0.0, 1.0))
    if allowed is not None:
        memory.axhline(allowed, color=INK, linewidth=0.8, dashes=(3, 2))
    of = f"\nof {words.memory(allowed)}" if allowed else ""
    memory.text(1.03, 0.45, f"{words.memory(round(most / 2**20) * 2**20)}{of}", transform=memory.transAxes,
                va="center", fontsize=7.5, linespacing=1.25)  # fmt: skip


def _machine(axes: Any, series: Series, cores: float) -> None:
    _stack(axes, series, _MACHINE)
    axes.set_ylim(0, 1.08 * max(cores, series.most(*(part for part, _ in _MACHINE))))
    axes.axhline(cores, color=INK, linewidth=0.8, dashes=(3, 2))
    axes.text(1.01, 0.45, f"{cores:g} cores", transform=axes.transAxes, va="center", fontsize=7.5)


def _stack(axes: Any, series: Series, parts: tuple[tuple[str, str], ...]) -> None:
    below = [0.0] * (len(series.edges) - 1)
    for name, colour in parts:
        above = [a + b for a, b in zip(below, series.values[name], strict=True)]
        if any(series.values[name]):
            axes.stairs(above, series.edges, baseline=below, fill=True, color=colour, linewidth=0)
        below = above


def _bare(axes: Any) -> None:
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.grid(visible=False)
    axes.axhline(0, color=LINE, linewidth=0.8)
    axes.spines[:].set_visible(False)


def _legend(machine: bool) -> tuple[list[Any], list[str]]:
    entries = [
        (Patch(color=FORWARD), "CPU got by the node (below: by all nodes)" if machine else "CPU got by the node"),
        (Patch(color=WAIT), "held back by its own limit"),
        (Patch(color=CROWDED), "starved by nodes and testbed"),
        (Patch(color=STARVED), "starved by others (below: CPU of others)" if machine else "starved by others"),
        (Line2D([], [], color=INK, linewidth=0.8, dashes=(3, 2)), "limit"),
    ]
    if machine:
        entries += [(Patch(color=EDGES[0]), "relay and testbed"), (Patch(color=INK), "taken by the hypervisor")]
    return [e[0] for e in entries], [e[1] for e in entries]
