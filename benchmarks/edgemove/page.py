"""The page: what machine, which figures against what they should be, tables, every cell. Nothing is written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.edgemove import words
from benchmarks.edgemove.cells import Cell
from benchmarks.edgemove.figures import (
    LIMITS,
    Moving,
    Results,
    as_json,
    bound,
    chosen,
    figures,
    moving,
    only,
    rate,
    seconds,
    speedup,
)
from benchmarks.edgemove.plots import plots
from benchmarks.edgemove.settings import SETTINGS
from benchmarks.edgemove.store import Found
from benchmarks.grid.page import Page, Parts, every, plus_minus, verdict


def _parts(results: Results, cells: Sequence[Cell]) -> Parts:
    return (
        ("Beside the published range", _published(results, cells)),
        ("What bounds a pipeline", _bounds(results, cells)),
        ("Speed-up", _speedups(results, cells)),
        ("Plans", _plans(results, cells)),
        ("Baselines", _baselines(results, cells)),
        ("While the device moves", _movings(results, cells)),
        ("Accuracy", _accuracy(results, cells)),
        ("Every cell", every(results, cells, ("trainings", "verdict"), _cell)),
    )


def _published(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    gains = [g.gained for cell in _autos(cells) if (g := speedup(results, cell)) is not None]
    if gains:
        least, most = words.PUBLISHED
        yield from ("| | least | most |", "|---|---|---|", f"| published | {least} | {most} |")
        yield f"| here, {len(gains)} settings | {min(gains):.2f} | {max(gains):.2f} |"


def _bounds(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind == "bound" and cell.way != "apart"]
    if not listed:
        return
    yield "| setting | schedule | parts of a batch [s] | slowest | batch | of the bound | wanted | bubble there |"
    yield "|---|---|---|---|---|---|---|---|"
    for cell in listed:
        row = bound(results, cell)
        begin = f"| {SETTINGS[cell.setting].title} | `{cell.way}` |"
        if row is None:
            yield f"{begin} not measured | | | | | |"
            continue
        every = ", ".join(f"{name} {value:.3f}" for name, value in row.parts.items())
        mark = "" if row.efficiency >= row.wanted else " **missed**"
        yield (
            f"{begin} {every} | {row.slowest} | {row.batch_s:.3f} s | {row.efficiency:.3f}{mark} | {row.wanted:g} | "
            f"{_bubble(only(results, cell), row.slowest)} |"
        )


def _bubble(row: Any, node: str) -> str:
    found = [stage["bubble"] for stage in row["stages"] if stage["node"] == node]
    return f"{found[0]:.1%}" if found else ""


def _speedups(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = _autos(cells)
    if not listed:
        return
    yield (
        "| setting | split | `splitfed` | micro-batches in turn | pipeline | speed-up | bound | of it | by overlap "
        "| its bound |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for cell in listed:
        row = speedup(results, cell)
        begin = f"| {SETTINGS[cell.setting].title} |"
        if row is None:
            yield f"{begin} not measured | | | | | | | | |"
            continue
        turns = "" if row.sequential is None else f"{row.sequential:.3f} s"
        overlap = "" if row.overlap is None else f"{row.overlap:.2f}"
        turned = "" if row.over_turns is None else f"{row.over_turns:.2f}"
        yield (
            f"{begin} {row.split:.3f} s | {row.splitfed:.3f} s | {turns} | {row.pipeline:.3f} s | {row.gained:.2f}"
            f"{' **missed**' if row.falls_short else ''} | {row.bound:.2f} | {row.gained / row.bound:.0%} | "
            f"{overlap} | {turned} |"
        )


def _plans(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind == "plans"]
    if not listed:
        return
    yield "| setting | plans | chosen | predicted | measured | best measured | measured again | chosen over best |"
    yield "|---|---|---|---|---|---|---|---|"
    for cell in listed:
        row = chosen(results, cell)
        begin = f"| {SETTINGS[cell.setting].title} |"
        if row is None:
            yield f"{begin} not measured | | | | | | |"
            continue
        predicted = row.chosen["predicted"]
        said = "" if predicted is None else f"{predicted['batch_s']:.3f} s"
        yield (
            f"{begin} {row.measured} | {_layout(row.chosen)} | {said} | {seconds(row.chosen):.3f} s | "
            f"{_layout(row.best)} | {seconds(row.best):.3f} s | {row.ratio:.3f}{'' if row.near else ' **missed**'} |"
        )


def _layout(row: Any) -> str:
    if len(row["nodes"]) < 2:
        return "device alone"
    runs = zip(row["nodes"], row["bounds"], row["bounds"][1:], strict=False)
    return ", ".join(f"{node} {a}-{b}" for node, a, b in runs)


def _baselines(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind == "steady"]
    if not listed:
        return
    yield "| setting | | seconds a batch | samples/s, whole rounds | bubbles by stage | staleness | probes |"
    yield "|---|---|---|---|---|---|---|"
    for cell in listed:
        row = only(results, cell)
        begin = f"| {SETTINGS[cell.setting].title} | {words.way(cell)} |"
        if row is None:
            yield f"{begin} not measured | | | | |"
            continue
        bubbles = ", ".join(f"{stage['bubble']:.0%}" for stage in row["stages"])
        stale = max((stage["staleness_most"] for stage in row["stages"]), default=0)
        yield f"{begin} {seconds(row):.3f} s | {rate(row):.1f} | {bubbles} | {stale} | {row['probes']['count']} |"


def _movings(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind in ("moving", "load", "traces")]
    if not listed:
        yield "Not measured: pipelines that change while they train are not part of this list."
        return
    yield "| scenario | | handovers | changes | stall per handover | training took | probes, time | bytes | seeds |"
    yield "|---|---|---|---|---|---|---|---|---|"
    groups = list(dict.fromkeys((cell.kind, cell.setting, cell.way) for cell in listed))
    for key in groups:
        group = [cell for cell in listed if (cell.kind, cell.setting, cell.way) == key]
        rows = [row for cell in group if (row := moving(results, cell)) is not None]
        begin = f"| {SETTINGS[key[1]].title} | {key[2]} |"
        yield f"{begin} {_moved(rows)} {len(rows)} of {len(group)} |" if rows else f"{begin} not measured | | | | | | |"


def _moved(rows: Sequence[Moving]) -> str:
    stalls, lasted = [row.stall_s for row in rows], [row.duration_s for row in rows]
    return (
        f"{sum(row.handovers for row in rows)} | {sum(row.changes for row in rows)} | {plus_minus(stalls, 3)} s | "
        f"{plus_minus(lasted, 1)} s | {max(row.probe_time for row in rows):.2%} | "
        f"{max(row.probe_bytes for row in rows):.2%} |"
    )


def _accuracy(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    listed = [cell for cell in cells if cell.kind == "accuracy" and cell.way != "local"]
    if not listed:
        return
    yield "| task | plain | pipeline, `1f1b` | paired difference | to 90 % of that: plain | pipeline | seeds |"
    yield "|---|---|---|---|---|---|---|"
    for setting in dict.fromkeys(cell.setting for cell in listed):
        pairs = [
            (a, b) for cell in listed if cell.setting == setting
            if (a := only(results, cell.beside("local"))) is not None and (b := only(results, cell)) is not None
        ]  # fmt: skip
        begin = f"| {SETTINGS[setting].title} |"
        if not pairs:
            yield f"{begin} not measured | | | | | |"
            continue
        plain, piped = ([100 * row["accuracy"][-1] for row in rows] for rows in zip(*pairs, strict=True))
        differences = [b - a for a, b in zip(plain, piped, strict=True)]
        times = [_reached(row, 0.9 * a["accuracy"][-1]) for a, b in pairs for row in (a, b)]
        yield (
            f"{begin} {plus_minus(plain, 1)} % | {plus_minus(piped, 1)} % | {plus_minus(differences, 2)} points | "
            f"{_times(times[::2])} | {_times(times[1::2])} | {len(pairs)} |"
        )


def _reached(row: Any, accuracy: float) -> float | None:
    """Seconds after which a training was so accurate; None if it never was."""
    ends = zip(row["accuracy"], row["round_ends"], strict=False)
    return next((at for found, at in ends if found >= accuracy), None)


def _times(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "never"
    return f"{plus_minus(known, 1)} s" + (f" ({len(known)} of {len(values)})" if len(known) < len(values) else "")


def _cell(found: Found) -> tuple[str, ...]:
    verdicts = sorted({str(row["verdict"]) for row in found.rows})
    why = "; ".join(dict.fromkeys(reason for row in found.rows for reason in row["reasons"]))
    return str(len(found.rows)), ", ".join(map(verdict, verdicts)), why


def _autos(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.kind == "steady" and cell.way == "auto"]


PAGE = Page(
    name="edgemove",
    title="EdgeMove: what a pipeline gains, and how close it comes to its bound",
    meaning=words.MEANING,
    limits=LIMITS,
    how=words.HOW,
    about=words.ABOUT,
    figures=figures,
    as_json=as_json,
    plots=plots,
    parts=_parts,
)
