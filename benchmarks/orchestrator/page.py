"""The page: what machine, the figures, the tables. Nothing in it is written by hand."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.grid.machine import Machine
from benchmarks.orchestrator.measure import BASELINES, Judged, Large, Small, as_json, figures

_MEANING = {
    "greedy_gap_pct_p95": ("greedy above exact, 95th percentile of the small cases [%]", 5.0),
    "decide_10k_s": ("longest of the decisions on 10,000 units [s]", 1.0),
}
_HOW = """\
How: problems are made up from seeds (`benchmarks/orchestrator/cases.py`), nothing runs on them. What is compared is the
objective that [the model](serverless-design.md) predicts, by the true problem for every policy. `exact` is HiGHS on
the same problem; a case counts as proved if its bound is reached. The bound of the large cases has every owner alone on
all units and links, and no transfer of weights, aggregation or evaluation: what is above it is in part what sharing
costs, and no placement may reach it. A decision's time is from plain data to the placement, building all arrays."""


def write(out: Path, smalls: list[Small], larges: list[Large], here: Machine, *, quick: bool) -> None:
    """orchestrator.md and orchestrator.json."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "orchestrator.json").write_text(json.dumps(as_json(smalls, larges), indent=1) + "\n")
    (out / "orchestrator.md").write_text(text_of(smalls, larges, here, quick=quick))
    print(f"written: {out / 'orchestrator.md'}, {out / 'orchestrator.json'}", flush=True)


def text_of(smalls: list[Small], larges: list[Large], here: Machine, *, quick: bool) -> str:
    """The page in Markdown."""
    lines = ["# The orchestrator: decision time and quality", ""]
    lines += ["Made by `make bench-orchestrator`; not edited by hand.", ""]
    if quick:
        lines += ["**A quick run (`QUICK=1`): fewer small cases.**", ""]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in here.rows), ""]
    lines += ["| figure | | measured | at most |", "|---|---|---|---|"]
    for name, value in figures(smalls, larges).items():
        meaning, limit = _MEANING[name]
        said = "not measured" if value is None else f"{value:.3g}" + ("" if value <= limit else " **missed**")
        lines.append(f"| `{name}` | {meaning} | {said} | {limit:g} |")
    lines += ["", _HOW, "", "## Small cases", "", *_small(smalls), "", "## Baselines on the small cases", ""]
    lines += [*_baselines(smalls), "", "## Many units", "", *_large(larges), "", "## Baselines on many units", ""]
    return "\n".join([*lines, *_many(larges)]) + "\n"


def _small(smalls: list[Small]) -> Iterator[str]:
    gaps = sorted(one.gap for one in smalls if one.gap is not None)
    found = [gap for gap in gaps if math.isfinite(gap)]
    yield from ("| | |", "|---|---|")
    yield f"| cases | {len(smalls)} |"
    yield f"| owners, tasks | {_span([s.owners for s in smalls])}, {_span([s.tasks for s in smalls])} |"
    yield f"| no placement breaks nothing (both say so) | {sum(one.gap is None for one in smalls)} |"
    yield f"| greedy found none where there is one | {len(gaps) - len(found)} |"
    yield f"| exact not proved in time: held against what is proved | {sum(not one.proved for one in smalls)} |"
    if found:
        mean, median = statistics.fmean(found), statistics.median(found)
        yield f"| gap: mean, median, largest | {mean:.2f} %, {median:.2f} %, {found[-1]:.2f} % |"
        yield f"| optimum found (within 0.01 %) | {sum(gap < 0.01 for gap in found)} |"
    for name, seconds in (("greedy", [one.greedy_s for one in smalls]), ("exact", [one.exact_s for one in smalls])):
        if seconds:
            yield f"| seconds of {name}: median, longest | {statistics.median(seconds):.3f}, {max(seconds):.3f} |"


def _baselines(smalls: list[Small]) -> Iterator[str]:
    yield from ("| policy | cases with a placement that breaks nothing | above greedy, mean [%] | least [%] |",
                "|---|---|---|---|")  # fmt: skip
    could = [one for one in smalls if one.baselines and math.isfinite(one.greedy.objective)]
    for name in BASELINES:
        above = [_above(one.baselines[name], one.greedy) for one in could]
        good = [value for value in above if math.isfinite(value)]
        said = f"{statistics.fmean(good):.1f} | {min(good):.1f}" if good else "|"
        yield f"| {name} | {len(good)} of {len(could)} | {said} |"


def _large(larges: list[Large]) -> Iterator[str]:
    yield from ("| units | owners | tasks | seconds: median | longest | objective | above the bound [%] |",
                "|---|---|---|---|---|---|---|")  # fmt: skip
    for one in larges:
        above = 100 * (one.greedy.objective / one.bound - 1) if math.isfinite(one.greedy.objective) else math.inf
        said = f"{one.greedy.objective:.5g} | {above:.1f}" if math.isfinite(above) else f"{one.greedy.why} |"
        took = f"{statistics.median(one.seconds):.3f} | {max(one.seconds):.3f}"
        yield f"| {one.units} | {one.owners} | {one.tasks} | {took} | {said} |"


def _many(larges: list[Large]) -> Iterator[str]:
    yield "Per cent above greedy, or why there is no placement, or what it breaks."
    yield ""
    yield "| units | " + " | ".join(BASELINES) + " |"
    yield "|---|" + "---|" * len(BASELINES)
    for one in larges:
        said = []
        for name in BASELINES:
            above = _above(one.baselines[name], one.greedy)
            said.append(f"{above:.1f}" if math.isfinite(above) else one.baselines[name].why or "-")
        yield f"| {one.units} | " + " | ".join(said) + " |"


def _above(one: Judged, other: Judged) -> float:
    if not (math.isfinite(one.objective) and math.isfinite(other.objective)):
        return math.inf
    return 100 * (one.objective / other.objective - 1)


def _span(values: list[int]) -> str:
    return f"{min(values)} to {max(values)}" if values else "none"
