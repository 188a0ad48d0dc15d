"""Movement traces: CSV with the header ``t,node,x,y``, seconds after the start of training and metres.

Lines that begin with ``#`` and blank lines are skipped. Rows of different nodes may be mixed; those of one node go
forward in time. A trace that breaks a rule is refused with the line that does: nothing is guessed or repaired.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean

HEADER = ["t", "node", "x", "y"]
FAR = 1e9
"""Metres and seconds that no trace goes beyond; distances stay finite."""


@dataclass(frozen=True)
class Row:
    """Where a node is at a time."""

    t: float
    node: str
    x: float
    y: float


def read(path: Path, nodes: Collection[str], *, named_at: str | None = None) -> Iterator[Row]:
    """The rows of a trace, one at a time.

    Args:
        path: The CSV file.
        nodes: Names that it may use.
        named_at: Place that names the trace, for the error if there is no such file.

    Raises:
        InputError: The file cannot be read or breaks the format.
    """
    if path.exists() and not path.is_file():
        raise InputError("the trace is not a file", found=str(path), where=named_at or str(path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(path, file, nodes)
    except OSError as error:
        raise InputError(
            f"the trace cannot be read ({error.strerror})",
            wanted=str(path),
            where=named_at or str(path),
            remedy="a trace is found relative to the experiment file",
        ) from None
    except UnicodeDecodeError:
        raise InputError("the trace is not UTF-8 text", where=str(path), remedy="save it as CSV in UTF-8") from None


def _rows(path: Path, lines: Iterator[str], nodes: Collection[str]) -> Iterator[Row]:
    header_seen = False
    last: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = _cells(line, where)
        if not header_seen:
            if cells != HEADER:
                raise InputError(
                    "the trace has no header", wanted=",".join(HEADER), found=line.strip()[:80], where=where,
                    remedy=f"make {','.join(HEADER)!r} its first line",
                )  # fmt: skip
            header_seen = True
            continue
        row = _row(cells, where, nodes)
        if row.t <= last.get(row.node, -1.0):
            problem = "stands still" if row.t == last[row.node] else "runs backwards"
            raise InputError(
                f"time {problem} for {row.node!r}", wanted=f"more than {last[row.node]:g}", found=f"{row.t:g}",
                where=where, remedy="sort the rows of each node by t, one row a moment",
            )  # fmt: skip
        last[row.node] = row.t
        yield row
    if not last:
        raise InputError("the trace holds no rows", wanted=",".join(HEADER), where=f"{path}:1")


def _cells(line: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InputError(f"this is not CSV: {error}", found=line.strip()[:80], where=where) from None


def _row(cells: list[str], where: str, nodes: Collection[str]) -> Row:
    if len(cells) != len(HEADER):
        raise InputError(
            f"a row has {len(HEADER)} values", wanted=",".join(HEADER), found=f"{len(cells)}: {','.join(cells)[:60]}",
            where=where, remedy="decimals have a point, values are separated by commas",
        )  # fmt: skip
    t, x, y = (_number(cells[i], HEADER[i], where) for i in (0, 2, 3))
    node = cells[1]
    if t < 0:
        raise InputError("the time is negative", wanted="seconds after the start, from 0", found=cells[0], where=where)
    if node not in nodes:
        raise InputError(
            f"the trace names {node!r}, which is no device of the experiment",
            wanted=", ".join(sorted(nodes)),
            found=node,
            where=where,
            remedy=did_you_mean(node, nodes) or f"add a device {node!r}, or take its rows out",
        )
    return Row(t, node, x, y)


def _number(text: str, name: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{name} is not a finite number", wanted="a number such as 12.5", found=text or "nothing", where=where,
            remedy="take the row out or fill in the value",
        )  # fmt: skip
    if abs(number) > FAR:
        raise InputError(f"{name} is out of range", wanted=f"at most {FAR:g} either way", found=text, where=where)
    return number
