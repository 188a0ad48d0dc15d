"""The page: what machine, which figures against what they should be, tables, every cell. Nothing is written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from benchmarks.fedfly import words
from benchmarks.fedfly.cells import CUTS, FRACTIONS, SPLITS, STRATEGIES, Cell
from benchmarks.fedfly.figures import (
    LIMITS,
    Results,
    accuracy_delta,
    against,
    alike,
    as_json,
    figures,
    law,
    same_weights,
    state,
)
from benchmarks.fedfly.plots import plots
from benchmarks.fedfly.settings import SETTINGS
from benchmarks.fedfly.store import Found
from benchmarks.grid.figures import measured
from benchmarks.grid.page import Page, Parts, every, failures, plus_minus, verdict

_SAME = {True: "same", False: "**different**", None: "not known"}


def _parts(results: Results, cells: Sequence[Cell]) -> Parts:
    return (
        ("Beside the published figures", _published(results, cells)),
        ("The law, by setting", _laws(results, cells)),
        ("What the state takes", _states(results, cells)),
        ("The grid", _grid(results, cells)),
        ("Whole runs", _whole(results, cells)),
        ("Accuracy and weights", _weights(results, cells)),
        ("Every cell", every(results, cells, ("verdict", "accuracy", "weights"), _cell)),
        ("Where the restart here is cleaner than the published code's", (words.RESTART,)),
    )


def _published(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    accepted = next((c for c in cells if c.kind == "law" and c.rounds > 1 and c.strategy == "migrate"), None)
    if accepted is None:
        return
    yield from ("| move at | published: up to | f / (1 + f) | here | law with downtime | downtime |",
                "|---|---|---|---|---|---|")  # fmt: skip
    for device, fraction in FRACTIONS.items():
        row = law(results, accepted, device)
        most = f"{words.PUBLISHED[fraction]:.0f} %" if fraction in words.PUBLISHED else ""
        here = ("not measured", "", "") if row is None else (
            f"{row.saving:.1%}", f"{row.expected:.1%}", f"{row.downtime:.3f} s"
        )  # fmt: skip
        yield f"| {fraction:.0%} | {most} | {fraction / (1 + fraction):.1%} | {' | '.join(here)} |"


def _laws(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    """Cells of seed 1 that have one that restarts beside them; the grid has the rest."""
    moving = [c for c in cells if c.kind == "law" and c.strategy not in ("none", "restart")]
    names = {c.name for c in cells}
    plain = [c for c in moving if c.cut == "SP2" and c.split == "balanced" and c.seed == 1]
    plain = [c for c in plain if alike(c, "restart").name in names]
    if not plain:
        return
    yield from (
        "| setting | strategy | move at | f | T | restart | of (1 + f) T | with it | saving | law | T / downtime | n |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    )
    for cell in plain:
        for device, fraction in FRACTIONS.items():
            row = law(results, cell, device)
            begin = f"| {SETTINGS[cell.setting].title} | {cell.strategy} | {fraction:.0%} |"
            if row is None:
                yield f"{begin} not measured | | | | | | | | |"
                continue
            ratio = f"{row.whole / row.downtime:.0f}" if row.downtime > 0 else ""
            yield (
                f"{begin} {row.f:.3f} | {row.whole:.2f} s | {row.restart:.2f} s | {1 + row.restart_error:.3f} | "
                f"{row.moving:.2f} s | {row.saving:.1%} | {row.expected:.1%} | {ratio} | {row.n} |"
            )


def _states(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    wanted = [c for c in cells if c.strategy in ("migrate", "shadow") and c.kind != "whole"]
    wanted = [c for c in wanted if c.kind != "law" or c.rounds > 1]
    if not wanted:
        return
    yield from (
        "| bed | strategy | state_s | longest | limit | of it | of migrate | link's gap | for standbys, a move | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    )
    for cell in wanted:
        found = measured(results, cell)
        timed = None if found is None else state(cell, found)
        begin = f"| {words.bed(cell)} | {words.strategy(cell)} |"
        if found is None or timed is None:
            yield f"{begin} not measured | | | | | | | |"
            continue
        limit = "" if timed.limit is None else f"{timed.limit:.3f} s"
        over = "" if timed.over is None else f"{timed.over:.2f}" + (" **missed**" if timed.over > 1 else "")
        ratio = against(results, cell) if cell.kind == "state" and cell.strategy == "shadow" else None
        extra = ""
        if cell.strategy == "shadow" and found.moves:
            count = len(found.moves)
            extra = f"{found.standby_bytes / count / 1e6:.2f} MB, {found.standby_s / count:.2f} s of an edge server"
        gap = "" if timed.gap_s is None else f"{timed.gap_s * 1e3:.0f} ms"
        yield (
            f"{begin} {timed.state_s:.3f} s | {timed.worst_s:.3f} s | {limit} | {over} | "
            f"{'' if ratio is None else f'{ratio:.2f}'} | {gap} | {extra} | {timed.n} |"
        )


def _grid(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    grid = [c for c in cells if c.kind == "law" and c.rounds == 1]
    seeds = sorted({c.seed for c in grid})
    if len(seeds) < 2:
        return
    heads = " | ".join(f"saving at {f:.0%}" for f in FRACTIONS.values())
    yield f"| setting | data | cut | strategy | {heads} | accuracy | seeds |"
    yield "|---|---|---|---|" + "---|" * (len(FRACTIONS) + 2)
    for setting in dict.fromkeys(c.setting for c in grid):
        for split, cut, strategy in product(SPLITS, CUTS, STRATEGIES):
            key = (setting, split, cut, strategy)
            group = [c for c in grid if (c.setting, c.split, c.cut, c.strategy) == key]
            if group:
                yield _group(results, group)


def _group(results: Results, group: Sequence[Cell]) -> str:
    """A line of the grid: the same cell by several seeds."""
    cell = group[0]
    shown = []
    for device in FRACTIONS:
        rows = [] if cell.strategy == "restart" else [law(results, c, device) for c in group]
        shown.append(_percent([100 * row.saving for row in rows if row is not None]))
    ended = [found for c in group if (found := measured(results, c)) is not None]
    accuracy = _percent([100 * found.accuracy for found in ended if found.accuracy is not None])
    about = f"| {SETTINGS[cell.setting].title} | {cell.split} | {cell.cut} | {cell.strategy} |"
    return f"{about} {' | '.join(shown)} | {accuracy} | {len(ended)} of {len(group)} |"


def _percent(values: Sequence[float]) -> str:
    return f"{plus_minus(values, 1)} %" if values else ""


def _whole(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    whole = [c for c in cells if c.kind == "whole"]
    if not whole:
        yield "Not measured: they need traces (`TRACES=DIR`, and no `QUICK=1`)."
        return
    yield "| movement | strategy | rounds | moves | training took | downtime | thrown away | accuracy | weights |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in whole:
        found = measured(results, cell)
        begin = f"| {SETTINGS[cell.setting].title} | {cell.strategy} | {cell.rounds} |"
        if found is None or found.duration_s is None:
            yield f"{begin} not measured | | | | | |"
            continue
        down, lost = (sum(move[key] or 0.0 for move in found.moves) for key in ("downtime_s", "lost_s"))
        same = "" if cell.strategy == "none" else _SAME[same_weights(results, cell)]
        accuracy = "" if found.accuracy is None else f"{found.accuracy:.4f}"
        yield (
            f"{begin} {len(found.moves)} | {found.duration_s:.0f} s | {down:.1f} s | {lost:.1f} s | "
            f"{accuracy} | {same} |"
        )


def _weights(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    moving = [c for c in cells if c.strategy != "none"]
    if not moving:
        return
    yield from ("| strategy | cells | same weights as without moves | accuracy, furthest off |", "|---|---|---|---|")
    for strategy in STRATEGIES:
        group = [c for c in moving if c.strategy == strategy]
        if not group:
            continue
        same = [same_weights(results, c) for c in group]
        deltas = [abs(d) for c in group if (d := accuracy_delta(results, c)) is not None]
        unknown = f", {same.count(None)} not known" if None in same else ""
        furthest = f"{100 * max(deltas):.2f} points" if deltas else "not measured"
        yield f"| {strategy} | {len(group)} | {same.count(True)}, different {same.count(False)}{unknown} | {furthest} |"


def _cell(found: Found) -> tuple[str, ...]:
    accuracy = "" if found.accuracy is None else f"{found.accuracy:.4f}"
    return verdict(found.verdict), accuracy, f"`{(found.weights_sha256 or '')[:12]}`", "; ".join(found.reasons)


def _count(results: Results, cells: Sequence[Cell]) -> str:
    there = [found for c in cells if (found := measured(results, c)) is not None]
    doubtful = sum(found.verdict != "ok" for found in there)
    said = f"{len(cells)}: {len(there)} measured"
    if doubtful:
        said += f" ({doubtful} of them with the verdict `invalid`: see the last table)"
    return said + failures(len(there), cells)


PAGE = Page(
    name="fedfly",
    title="FedFly: what moving the training state saves, and costs",
    meaning=words.MEANING,
    limits=LIMITS,
    true=("digests_equal",),
    number=".3g",
    share=".1%",
    how=words.HOW,
    about=words.ABOUT,
    figures=figures,
    as_json=as_json,
    plots=plots,
    parts=_parts,
    cells=_count,
)
