"""The page: what machine, which figures against what they should be, tables, every cell. Nothing is written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import mean, median

from benchmarks.grid.figures import measured
from benchmarks.grid.page import Page, Parts, counted, every, plus_minus, verdict
from benchmarks.serverless import runs, words
from benchmarks.serverless.cells import SPLIT, Cell
from benchmarks.serverless.figures import LIMITS, Results, as_json, cases, figures, invalid
from benchmarks.serverless.lessons import ALL, CONTROL, LESSONS
from benchmarks.serverless.plots import plots
from benchmarks.serverless.small import again, deltas, group, saved, within
from benchmarks.serverless.store import Found


def _parts(results: Results, cells: Sequence[Cell]) -> Parts:
    return (
        ("Orchestrators", runs.comparisons(results, cells)),
        ("Tasks", runs.tasks(results, cells)),
        ("Predicted and measured", runs.predictions(results, cells)),
        ("Small data on the platform", runs.ruled(results, cells)),
        ("Small data: accuracy", _accuracies(results, cells)),
        ("Small data: what it saves", _savings(results, cells)),
        ("Decisions", _decisions(results, cells)),
        ("Every cell", every(results, cells, ("", "verdict"), _cell)),
    )


def _counted(results: Results, cells: Sequence[Cell]) -> str:
    """How many cells there are, and which of them should not be trusted."""
    doubtful = invalid(results, cells)
    named = ", ".join(f"`{name}`" for name in doubtful)
    more = f"; **{len(doubtful)} with the verdict `invalid`**, which count in the figures: {named}" if doubtful else ""
    return counted(results, cells) + more


def _accuracies(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    rules = list(dict.fromkeys(cell.rule for cell in cells if cell.kind == "accuracy"))
    if not rules:
        return
    yield "| task | rounds | trained on | accuracy | to all data | to random | batches | seeds |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in dict.fromkeys(cell.setting for cell in cells if cell.kind == "accuracy"):
        lesson = LESSONS[name]
        for rule in rules:
            mine = group(cells, "accuracy", rule).get((name, ""), [])
            if not mine:
                continue
            begin = f"| {lesson.title} | {lesson.rounds} | {_rule(rule)} |"
            there = [(cell, found) for cell in mine if (found := measured(results, cell)) is not None]
            if not there:
                yield f"{begin} not measured | | | | |"
                continue
            known = [cell for cell, _ in there]
            accuracy = plus_minus([100 * found.row["accuracy"][-1] for _, found in there], 1)
            batches = mean(found.row["batches"] for _, found in there)
            to_all = "" if rule == ALL else _points(deltas(results, known))
            to_random = "" if rule in (ALL, CONTROL) else _points(deltas(results, known, CONTROL))
            yield (f"{begin} {accuracy} % | {to_all} | {to_random} | {batches:.0f} | {len(there)} of {len(mine)} |")


def _points(values: Sequence[float] | None) -> str:
    return "" if values is None else within(values)


def _rule(rule: str) -> str:
    return "all data" if rule == ALL else f"`{rule}`"


def _savings(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind == "small" and cell.rule != ALL]
    if not listed:
        return
    yield "| task | scheme | trained on | time | energy | bytes sent | round | selection | as in memory | seeds |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, scheme, rule in dict.fromkeys((cell.setting, cell.way, cell.rule) for cell in listed):
        mine = [cell for cell in listed if (cell.setting, cell.way, cell.rule) == (name, scheme, rule)]
        there = [cell for cell in mine if saved(results, [cell]) is not None]
        gain = saved(results, there)
        begin = f"| {LESSONS[name].title} | {scheme} | {_rule(rule)} |"
        if gain is None:
            yield f"{begin} not measured | | | | | | |"
            continue
        rows = [results[cell.name].row for cell in there]
        share = mean(row["select_s"] / row["busy_s"] for row in rows)
        same = [one for cell in there if (one := again(results, cell)) is not None]
        up = plus_minus(gain.up, 2) + ("" if scheme in SPLIT else " (models only)")
        yield (
            f"{begin} {plus_minus(gain.time, 2)} | {plus_minus(gain.energy, 2)} | {up} | {plus_minus(gain.round, 2)} | "
            f"{share:.1%} | {f'{sum(same)} of {len(same)}' if same else ''} | {len(there)} of {len(mine)} |"
        )


def _decisions(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    found = cases(results, cells)
    if found is not None:
        gaps = [gap for one in found if (gap := one.gap) is not None]
        finite = [gap for gap in gaps if math.isfinite(gap)]
        yield from ("| small cases | |", "|---|---|", f"| cases, of them without a placement | {len(found)}, "
                    f"{len(found) - len(gaps)} |")  # fmt: skip
        yield f"| greedy found none where there is one | {len(gaps) - len(finite)} |"
        yield f"| exact not proved in time: held against what is proved | {sum(not one.proved for one in found)} |"
        if finite:
            yield f"| gap: mean, median, largest | {mean(finite):.2f} %, {median(finite):.2f} %, {max(finite):.2f} % |"
        yield ""
    listed = [cell for cell in cells if cell.kind == "decide"]
    if listed:
        yield from ("| units | owners | tasks | seconds: median | longest |", "|---|---|---|---|---|")
    for cell in listed:
        one = measured(results, cell)
        if one is None:
            yield f"| {cell.setting} | not measured | | | |"
            continue
        row = one.row
        longest = row["why_not"] or f"{max(row['seconds']):.3f}"
        yield f"| {row['units']} | {row['owners']} | {row['tasks']} | {median(row['seconds']):.3f} | {longest} |"


def _cell(found: Found) -> tuple[str, ...]:
    rows = [row for row in found.rows if "verdict" in row]
    why = "; ".join(dict.fromkeys(reason for row in rows for reason in row["reasons"]))
    said = ", ".join(verdict(one) for one in dict.fromkeys(str(row["verdict"]) for row in rows))
    return f"{len(found.rows)} cases" if len(found.rows) > 1 else "", said, why


PAGE = Page(
    name="serverless",
    title="The serverless platform: orchestrators, and small data",
    meaning=words.MEANING,
    limits=LIMITS,
    how=words.HOW,
    about=words.ABOUT,
    figures=figures,
    as_json=as_json,
    plots=plots,
    parts=_parts,
    cells=_counted,
    true=("blind_beaten",),
    share="+.2f",
)
