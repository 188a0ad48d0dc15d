"""The page: what machine, which figures against what they should be, tables, every cell. Nothing is written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
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
    held,
    measured,
    moving,
    only,
    rate,
    seconds,
    speedup,
)
from benchmarks.edgemove.plots import plots
from benchmarks.edgemove.settings import SETTINGS
from benchmarks.fedfly.figures import interval
from benchmarks.fidelity.page import Machine


def write(out: Path, results: Results, cells: Sequence[Cell], here: Machine, *, quick: bool, data: str) -> None:
    """edgemove.md, edgemove.json and the plots."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = plots(results, cells)
    for name, text in drawn.items():
        (out / f"{name}.svg").write_text(text)
    (out / "edgemove.json").write_text(json.dumps(as_json(results, cells), indent=1) + "\n")
    (out / "edgemove.md").write_text(text_of(results, cells, here, list(drawn), quick=quick, data=data))
    print(f"written: {out / 'edgemove.md'}, {out / 'edgemove.json'}", flush=True)


def text_of(
    results: Results, cells: Sequence[Cell], here: Machine, drawn: Sequence[str], *, quick: bool, data: str
) -> str:
    """The page in Markdown."""
    lines = ["# EdgeMove: what a pipeline gains, and how close it comes to its bound", ""]
    lines += ["Made by `make bench-edgemove`; not edited by hand.", ""]
    if quick:
        lines += ["**A quick run (`QUICK=1`): the committed list of cells from which the figures come, no grid.**", ""]
    rows = (*here.rows, ("data", data), ("cells", _count(results, cells)))
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += [*_figures(results, cells), "", words.HOW, ""]
    for name in drawn:
        lines += [f"![{name}]({name}.svg)", ""]
    parts = (
        ("Beside the published range", _published(results, cells)),
        ("What bounds a pipeline", _bounds(results, cells)),
        ("Speed-up", _speedups(results, cells)),
        ("Plans", _plans(results, cells)),
        ("Baselines", _baselines(results, cells)),
        ("While the device moves", _movings(results, cells)),
        ("Accuracy", _accuracy(results, cells)),
        ("Every cell", _cells(results, cells)),
    )
    for title, made in parts:
        body = list(made)
        if body:
            lines += [f"## {title}", "", *words.ABOUT.get(title, ()), *body, ""]
    return "\n".join(lines)


def _figures(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    yield from ("| figure | | measured | should be |", "|---|---|---|---|")
    found = figures(results, cells)
    for name, meaning in words.MEANING.items():
        value = found[name]
        if isinstance(value, dict):
            said = ", ".join(f"{f}: {'not measured' if v is None else f'{v:.3f}'}" for f, v in value.items())
            yield f"| `{name}` | {meaning} | {said} | |"
            continue
        wanted = f"{LIMITS[name][0]} {LIMITS[name][1]:g}" if name in LIMITS else ""
        said = "not measured" if value is None else f"{value:.4g}"
        yield f"| `{name}` | {meaning} | {said}{' **missed**' if held(name, value) is False else ''} | {wanted} |"


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
        f"{sum(row.handovers for row in rows)} | {sum(row.changes for row in rows)} | {_interval(stalls, 3)} s | "
        f"{_interval(lasted, 1)} s | {max(row.probe_time for row in rows):.2%} | "
        f"{max(row.probe_bytes for row in rows):.2%} |"
    )


def _interval(values: Sequence[float], digits: int) -> str:
    middle, half = interval(values)
    return f"{middle:.{digits}f}" if half is None else f"{middle:.{digits}f} ± {half:.{digits}f}"


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
            f"{begin} {_interval(plain, 1)} % | {_interval(piped, 1)} % | {_interval(differences, 2)} points | "
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
    return f"{_interval(known, 1)} s" + (f" ({len(known)} of {len(values)})" if len(known) < len(values) else "")


def _cells(results: Results, cells: Sequence[Cell]) -> Iterator[str]:
    yield from ("| cell | trainings | verdict | took | |", "|---|---|---|---|---|")
    for cell in cells:
        found = results.get(cell.name)
        if found is None:
            yield f"| `{cell.name}` | | **not reached** | | |"
        elif found.failed:
            yield f"| `{cell.name}` | | **failed** | {found.took_s:.0f} s | {found.failed.replace('|', '/')} |"
        else:
            verdicts = sorted({str(row["verdict"]) for row in found.rows})
            mark = ", ".join(one if one == "ok" else f"**{one}**" for one in verdicts)
            why = "; ".join(dict.fromkeys(reason for row in found.rows for reason in row["reasons"]))[:200]
            yield f"| `{cell.name}` | {len(found.rows)} | {mark} | {found.took_s:.0f} s | {why.replace('|', '/')} |"


def _autos(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.kind == "steady" and cell.way == "auto"]


def _count(results: Results, cells: Sequence[Cell]) -> str:
    there = [cell for cell in cells if measured(results, cell) is not None]
    said = f"{len(there)} of {len(cells)} measured"
    return said + (f", **{len(cells) - len(there)} failed**" if len(there) < len(cells) else "")
