"""``report.html``: one file that holds everything of a run that a person reads, and needs nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.report import (
    energygrids,
    grids,
    motiongrids,
    motionmap,
    pipelinegrids,
    pipelines,
    placements,
    selectiongrids,
    taskgrids,
    watchgrids,
    words,
)
from testbed.report.batteries import battery_plot
from testbed.report.closeup import closeup_plots
from testbed.report.gantt import gantt_plots
from testbed.report.grids import Grid
from testbed.report.linkqueues import queue_plot
from testbed.report.linkuse import link_plot
from testbed.report.load import load
from testbed.report.nodeuse import node_plots
from testbed.report.plots import MOST_DEVICES, accuracy_plot, round_time_plot, saving_plot
from testbed.report.records import RunRecord
from testbed.report.saving import Saving, savings
from testbed.report.timeline import timeline_plot

_FEW_MOVES = 6
_QUEUES = (
    "Bytes waiting for the wire, looked at once a second; only links that held or dropped anything. Lateness is how "
    "much later than due the relay handed frames over: what it adds to the links' own delays."
)
_PLACEMENT = (
    "A lane an instance at a time; grey: fetching weights from other units, and starting a process. Lines: handovers."
)
_BATTERIES = "What was left in each battery, as a share of its capacity; of small changes the axis does not begin at 0."


@dataclass(frozen=True)
class Section:
    """A heading, some plots with a caption each, some tables."""

    title: str
    anchor: str
    plots: list[tuple[str, Markup]] = field(default_factory=list)
    tables: list[Grid] = field(default_factory=list)
    folded: bool = False  # tables that few will open
    block: Markup | None = None  # what is neither


def write_report(run_dir: Path) -> Path:
    """Draw a run's report, whatever state its directory is in.

    Returns:
        The path of ``report.html`` in that directory, replaced whole.
    """
    path = run_dir / "report.html"
    partial = path.with_suffix(".partial")
    partial.write_text(render(load(run_dir)), encoding="utf-8")
    partial.replace(path)
    return path


def render(record: RunRecord) -> str:
    """The page of a run; the same text for the same record."""
    environment = Environment(
        loader=PackageLoader("testbed.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found = savings(record)
    return environment.get_template("report.html.j2").render(
        record=record,
        facts=_facts(record),
        notes=motiongrids.notes(record),
        headlines=[_headline(s) for s in found][:4],
        sections=[s for s in _sections(record, found) if s.plots or s.tables or s.block],
        manifest=json.dumps(record.manifest, indent=2, sort_keys=True, default=str) if record.manifest else "",
        version=record.manifest.get("roambed", ""),
    )


def _sections(record: RunRecord, found: list[Saving]) -> list[Section]:
    comparison = grids.comparison_grid(record)
    there = len(record.devices)
    crowd = f"{MOST_DEVICES} of {there} devices; those that moved come first." if there > MOST_DEVICES else ""
    moves = grids.moves_grid(record)
    if 0 < len(moves.rows) <= _FEW_MOVES:
        moves = grids.turned(moves, 2)  # it has more fields than a page is wide
    closeups = [(text, Markup(drawn)) for text, drawn in closeup_plots(record)]
    pipes = pipelines.gather(record)
    return [
        Section("Restart or migrate", "saving", _plots(saving_plot(record, found)),
                [comparison] if comparison else []),
        Section("Schemes", "schemes", [], _filled(grids.scheme_grid(record))),
        Section("Tasks", "tasks", _plots(placements.accuracy_plot(record)), _filled(taskgrids.task_grid(record))),
        Section("Placement over time", "placement", _plots(placements.placement_plot(record), _PLACEMENT),
                _filled(taskgrids.round_grid(record)) + _filled(taskgrids.placement_grid(record)), True),
        Section("Cost by task", "billing", [], _filled(taskgrids.cost_grid(record))),
        Section("Accuracy", "accuracy", _plots(accuracy_plot(record)), _filled(grids.accuracy_grid(record)), True),
        Section("Selection of data", "selection", [],
                _filled(selectiongrids.rule_grid(record)) + _filled(selectiongrids.device_grid(record))),
        Section("Time of each round", "rounds", _plots(round_time_plot(record), crowd),
                _filled(grids.rounds_grid(record)), True),
        Section("Timeline", "timeline", _plots(timeline_plot(record), crowd)),
        Section("Pipeline", "pipeline", [(text, Markup(drawn)) for text, drawn in gantt_plots(pipes)],
                _filled(pipelinegrids.pipeline_grid(pipes)) + _filled(pipelinegrids.steering_grid(record))),
        Section("Movement", "movement", [], motiongrids.all_grids(record), True, motionmap.block(record)),
        Section("Moves", "moves", closeups, _filled(moves)),
        Section("CPU and memory of the nodes", "nodes", [(text, Markup(drawn)) for text, drawn in node_plots(record)],
                _filled(watchgrids.node_grid(record)), True),
        Section("Energy", "energy", _plots(battery_plot(record), _BATTERIES), [
            *_filled(energygrids.energy_grid(record)), *_filled(energygrids.battery_grid(record)),
            *_filled(energygrids.cost_grid(record)),
        ]),
        Section("Link use", "links", [*_plots(link_plot(record)), *_plots(queue_plot(record), _QUEUES)],
                _filled(watchgrids.link_grid(record)), True),
        Section("Calibration of the links", "calibration", [], _filled(grids.calibration_grid(record))),
        Section("Limits of the nodes", "limits", [], _filled(grids.limits_grid(record))),
    ]  # fmt: skip


def _plots(drawn: str | None, caption: str = "") -> list[tuple[str, Markup]]:
    return [(caption, Markup(drawn))] if drawn else []


def _filled(grid: Grid) -> list[Grid]:
    return [grid] if grid.rows else []


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    links = record.manifest.get("links")
    facts: list[tuple[str, Any]] = [
        ("run", record.run),
        ("scheme", ", ".join(s.name for s in record.schemes if not s.tasks)),
        ("tasks", ", ".join(name for s in record.schemes for name in s.tasks)),
        ("data", _data(record.manifest.get("data"))),
        ("rounds", max((s.rounds for s in record.schemes), default=None)),
        ("devices", len(record.devices) or None),
        ("seed", record.seed),
        ("training", words.seconds(record.duration_s)),
        ("links", links.get("backend") if isinstance(links, dict) else None),
        ("begun", str(record.manifest.get("started") or "")[:16].replace("T", " ")),
    ]
    return [(label, str(value)) for label, value in facts if value not in (None, "", words.DASH)]


def _data(used: object) -> str | None:
    """The data set, and whether it is made up; runs of earlier versions do not tell."""
    if not isinstance(used, dict) or "set" not in used:
        return None
    return f"{used['set']} (synthetic)" if used.get("synthetic") else str(used["set"])


def _headline(row: Saving) -> tuple[str, str]:
    law = f" (law: at most {words.percent(row.law)})" if row.law is not None else ""
    return (
        words.percent(row.saved),
        f"of its round {row.round} saved for {row.device}: {words.seconds(row.moving_s)} with {row.strategy}, "
        f"{words.seconds(row.restarting_s)} with restart{law}",
    )
