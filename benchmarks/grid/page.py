"""The page of a grid: what machine, which figures against what they should be, tables, every cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.grid.figures import Limits, held, interval, measured
from benchmarks.grid.machine import Machine
from benchmarks.grid.store import C, R

Parts = Iterable[tuple[str, Iterable[str]]]
"""Titles, and the lines below each; one without lines is left out."""


def counted(results: Mapping[str, R], cells: Sequence[C]) -> str:
    """How many cells there is a result of."""
    there = sum(measured(results, cell) is not None for cell in cells)
    return f"{there} of {len(cells)} measured{failures(there, cells)}"


def failures(there: int, cells: Sequence[C]) -> str:
    """How many of the cells are missing, if so many are there; empty if none is."""
    return f", **{len(cells) - there} failed**" if there < len(cells) else ""


@dataclass(frozen=True)
class Page:
    """What a benchmark's page says. The functions are given results by name of cell, and all cells.

    Attributes:
        name: Of the benchmark, and of the files. title: Of the page.
        meaning: What each figure is. limits: What they should be. true: Names of those that should be true.
        number, share: Formats of figures, and of the values of those that are by something.
        how: How it was measured. about: What is said below the titles of parts.
        figures: By name, with all that `meaning` has. as_json: What the JSON file holds.
        plots: SVG texts by name. parts: The rest. cells: How many there are, in words.
    """

    name: str
    title: str
    meaning: Mapping[str, str]
    limits: Limits
    how: str
    about: Mapping[str, Sequence[str]]
    figures: Callable[[Any, Any], Mapping[str, Any]]
    as_json: Callable[[Any, Any], Mapping[str, Any]]
    plots: Callable[[Any, Any], Mapping[str, str]]
    parts: Callable[[Any, Any], Parts]
    cells: Callable[[Any, Any], str] = counted
    true: Collection[str] = ()
    number: str = ".4g"
    share: str = ".3f"

    def write(
        self, out: Path, results: Mapping[str, Any], cells: Sequence[Any], here: Machine, *, quick: bool, data: str
    ) -> None:
        """The page, the JSON file and the plots.

        Args:
            out: Directory, made if it is not there.
            results: By name of cell. cells: What was to be measured.
            here: Where it was measured. quick: Whether the cells are the quick list's. data: What was trained on.
        """
        out.mkdir(parents=True, exist_ok=True)
        drawn = self.plots(results, cells)
        for name, text in drawn.items():
            (out / f"{name}.svg").write_text(text)
        page, told = out / f"{self.name}.md", out / f"{self.name}.json"
        told.write_text(json.dumps(self.as_json(results, cells), indent=1) + "\n")
        page.write_text(self.text(results, cells, here, list(drawn), quick=quick, data=data))
        print(f"written: {page}, {told}", flush=True)

    def text(
        self, results: Mapping[str, Any], cells: Sequence[Any], here: Machine, drawn: Sequence[str], *, quick: bool,
        data: str,
    ) -> str:  # fmt: skip
        """The page in Markdown; `drawn` are the names of its plots."""
        lines = [f"# {self.title}", "", f"Made by `make bench-{self.name}`; not edited by hand.", ""]
        if quick:
            listed = "the committed list of cells from which the figures come, no grid"
            lines += [f"**A quick run (`QUICK=1`): {listed}.**", ""]
        rows = (*here.rows, ("data", data), ("cells", self.cells(results, cells)))
        lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
        lines += [*self._figures(self.figures(results, cells)), "", self.how, ""]
        for name in drawn:
            lines += [f"![{name}]({name}.svg)", ""]
        for title, made in self.parts(results, cells):
            body = list(made)
            if body:
                lines += [f"## {title}", "", *self.about.get(title, ()), *body, ""]
        return "\n".join(lines)

    def _figures(self, found: Mapping[str, Any]) -> Iterator[str]:
        yield from ("| figure | | measured | should be |", "|---|---|---|---|")
        for name, meaning in self.meaning.items():
            value = found[name]
            if isinstance(value, dict):
                said = ", ".join(f"{by}: {_said(one, self.share)}" for by, one in value.items())
                yield f"| `{name}` | {meaning} | {said} | |"
                continue
            way, limit = self.limits.get(name, ("", None))
            wanted = "true" if name in self.true else "" if limit is None else f"{way} {limit:g}"
            missed = value is False or held(self.limits, name, value) is False
            said = _said(value, self.number)
            yield f"| `{name}` | {meaning} | {said}{' **missed**' if missed else ''} | {wanted} |"


def every(
    results: Mapping[str, R], cells: Iterable[C], heads: Sequence[str], row: Callable[[R], Sequence[str]]
) -> Iterator[str]:
    """The table of all cells.

    Args:
        results: By name of cell. cells: What was to be measured.
        heads: Of the columns that are the benchmark's own; one of them is ``verdict``.
        row: What is in them for a result, and after that why.
    """
    yield from (f"| cell | {' | '.join(heads)} | took | |", f"|{'---|' * (len(heads) + 3)}")
    before = heads.index("verdict")
    after = len(heads) - before - 1
    for cell in cells:
        found = results.get(cell.name)
        begin = f"| `{cell.name}` |"
        if found is None:
            yield f"{begin}{' |' * before} **not reached** |{' |' * (after + 2)}"
        elif found.failed:
            why = found.failed.replace("|", "/")
            yield f"{begin}{' |' * before} **failed** |{' |' * after} {found.took_s:.0f} s | {why} |"
        else:
            *own, why = row(found)
            yield f"{begin} {' | '.join(own)} | {found.took_s:.0f} s | {why[:200].replace('|', '/')} |"


def verdict(said: str) -> str:
    """A run's verdict; one that is not ``ok`` is to be seen."""
    return said if said == "ok" else f"**{said}**"


def plus_minus(values: Sequence[float], digits: int) -> str:
    """Mean and confidence interval of one value or more."""
    middle, half = interval(values)
    return f"{middle:.{digits}f}" if half is None else f"{middle:.{digits}f} ± {half:.{digits}f}"


def _said(value: float | bool | None, form: str) -> str:
    if value is None:
        return "not measured"
    return str(value).lower() if isinstance(value, bool) else f"{value:{form}}"
