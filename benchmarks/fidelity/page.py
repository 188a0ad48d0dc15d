"""The page: what machine, which figures against what they may be, every case. Nothing in it is written by hand."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.fidelity.cases import FIGURES, PRODUCT, Case, Record, as_json, figures
from benchmarks.fidelity.plots import plots
from benchmarks.grid.machine import Machine

_MEANING = {
    "tcp_error_pct_max": "TCP goodput against rate x 1448/1514, worst of all rates [%]",
    "owd_error_ms_p50_max": "one-way delay, median, worst of all delays [ms]",
    "owd_error_ms_p99_max": "one-way delay, 99th percentile, idle [ms]",
    "owd_error_ms_p99_busy_max": "one-way delay, 99th percentile, all cores busy [ms]",
    "trace_step_error_pct_max": "a step of 250 ms of a rate trace, the worst one [%]",
    "speed_error_pct_max": "speed of a node, worst of four workloads [%]",
    "relay_cpu_pct_100mbit": "the relay's processor time at 100 Mbit/s [% of a core]",
    "relay_cpu_pct_1gbit": "the relay's processor time at 1 Gbit/s [% of a core]",
}
_TABLES = (
    ("Speed of nodes", ("speed", "speed window")),
    ("TCP goodput", ("tcp",)),
    ("One-way delay, idle", ("delay p50", "delay p99")),
    ("One-way delay, all cores busy", ("delay p50 busy", "delay p99 busy")),
    ("Losses", ("loss", "bursts")),
    ("Jitter", ("jitter",)),
    ("Rates that vary", ("mahimahi", "trace steps")),
    ("Queues", ("queue",)),
    ("What the relay costs", ("relay cpu 100", "relay cpu 1000", "many links")),
)
_HOW = """\
How: every link is made by the testbed's own code between two scratch network namespaces. TCP is one connection
(cubic), delay 5 ms each way, measured after slow start. Delays are told by small probes that carry the time they were
sent; their arrival is stamped by the kernel; of each direction the median of the runs counts, of the two directions
the worse. Losses may be off by four standard deviations of their number. What other tools did in the same cases is
in the same tables; nothing is promised of them. A value that is missing was not measured; why is in its row."""


def write(out: Path, record: Record, here: Machine, *, quick: bool) -> None:
    """fidelity.md, fidelity.json and the plots, all at once."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = plots(record.cases)
    for name, text in drawn.items():
        (out / f"{name}.svg").write_text(text)
    (out / "fidelity.json").write_text(json.dumps(as_json(record.cases), indent=1) + "\n")
    (out / "fidelity.md").write_text(text_of(record.cases, here, list(drawn), quick=quick))
    print(f"written: {out / 'fidelity.md'}, {out / 'fidelity.json'}", flush=True)


def text_of(cases: list[Case], here: Machine, drawn: list[str], *, quick: bool) -> str:
    """The page in Markdown."""
    lines = ["# Fidelity: asked against measured", ""]
    lines += ["Made by `make bench-fidelity`; not edited by hand.", ""]
    if quick:
        lines += ["**A quick run (`QUICK=1`): fewer cases, fewer probes, shorter windows.**", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in here.rows), ""]
    lines += ["| figure | | measured | at most |", "|---|---|---|---|"]
    for name, value in figures(cases).items():
        limit = FIGURES[name][1]
        said = "not measured" if value is None else f"{value:.3g}" + ("" if value <= limit else " **missed**")
        lines.append(f"| `{name}` | {_MEANING[name]} | {said} | {limit:g} |")
    lines += ["", _HOW, ""]
    missed = [case for case in cases if case.held is False]
    failed = [case for case in cases if case.failed]
    lines.append(f"{len(cases)} cases: {len(missed)} missed their limit, {len(failed)} could not be measured.")
    for name in drawn:
        lines += ["", f"![{name.removeprefix('fidelity-')}]({name}.svg)"]
    for title, kinds in _TABLES:
        rows = [case for kind in kinds for case in cases if case.kind == kind]
        if rows:
            lines += ["", f"## {title}", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _table(cases: list[Case]) -> list[str]:
    lines = ["| by | what | asked | measured | error | limit | n | |", "|---|---|---|---|---|---|---|---|"]
    for case in sorted(cases, key=lambda case: case.by != PRODUCT):
        error_unit = case.error_unit or case.unit
        values = [_with(case.asked, case.unit), _with(case.measured, case.unit), _with(case.error, error_unit, "+")]
        cells = [case.by, case.what, *values, _with(case.limit, error_unit), str(case.n or ""), _note(case)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with(value: float | None, unit: str, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4g} {unit}"


def _note(case: Case) -> str:
    words = [case.note.replace("|", "/")] if case.note else []
    if case.failed:
        words.insert(0, "**could not be measured**")
    elif case.held is False:
        words.insert(0, "**missed**")
    return "; ".join(words)
