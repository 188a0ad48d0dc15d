"""When chargers are connected: from the times in the file, or from a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodes.policies.energy import Supply
from testbed.errors import InputError
from testbed.experiment.document import Document, Steps
from testbed.experiment.powering import Charging
from testbed.experiment.units import bare_number

HEADER = ("t", "watts")
MOST_BYTES = 16 << 20
WANTED = "a CSV file with the header t,watts and a row for each change, such as 30,5"


def supply(document: Document, profile: str, asked: Sequence[Charging]) -> tuple[Supply, ...]:
    """The schedule of a profile's charger.

    Raises:
        InputError: Times overlap, or the file cannot be used.
    """
    path: Steps = ("profiles", profile, "charging")
    if any(one.file is not None for one in asked):
        if len(asked) > 1:
            raise document.problem(
                path, "charging is by a file, or by times", wanted="one file, or a list of times", found="several",
                remedy="write all of it into the file",
            )  # fmt: skip
        return read(file(document, asked[0].file or ""), named_at=document.where(path))
    return tuple(_of_times(document, path, asked))


def file(document: Document, name: str) -> Path:
    """Where a file of the experiment is."""
    return document.path.parent / name


def _of_times(document: Document, path: Steps, asked: Sequence[Charging]) -> Iterator[Supply]:
    numbered = sorted(enumerate(asked), key=lambda one: one[1].begin or 0.0)
    until = -1.0
    for i, one in numbered:
        begin = one.begin or 0.0
        if begin < until:
            raise document.problem(
                (*path, i), "two chargers at the same time", wanted=f"from {until:g}s on" if until < math.inf else None,
                found=f"from {begin:g} s", remedy="let one end before the next begins, and add up their power between",
            )  # fmt: skip
        if 0 <= until < begin:
            yield Supply(until, 0.0)
        yield Supply(begin, one.power or 0.0)
        until = math.inf if one.end is None else one.end
    if until < math.inf:
        yield Supply(until, 0.0)


def read(path: Path, *, named_at: str | None = None) -> tuple[Supply, ...]:
    """The schedule that a CSV file has.

    Args:
        path: The file.
        named_at: Place that names it, for the error if there is no such file.

    Raises:
        InputError: It cannot be read or breaks the format.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError("the charging schedule is too large", wanted=f"at most {MOST_BYTES >> 20} MiB",
                             found=f"{path.stat().st_size >> 20} MiB", where=str(path))  # fmt: skip
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(
            f"the charging schedule cannot be read ({getattr(error, 'strerror', None) or error})", wanted=str(path),
            where=named_at or str(path), remedy="files are found relative to the experiment file",
        ) from None  # fmt: skip
    found: list[Supply] = []
    headed = False
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells, where = _cells(line, f"{path}:{number}"), f"{path}:{number}"
        if not headed:
            headed = True
            if tuple(cell.casefold() for cell in cells) != HEADER:
                raise InputError("the charging schedule has no header", wanted=WANTED, found=line.strip()[:80],
                                 where=where, remedy="make 't,watts' its first line")  # fmt: skip
            continue
        found.append(_row(cells, found, where))
    if not found:
        raise InputError("the charging schedule holds no rows", wanted=WANTED, where=f"{path}:1", remedy="add '0,5'")
    return tuple(found)


def _cells(line: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except (csv.Error, StopIteration) as error:
        raise InputError(f"this is not CSV: {error}", wanted=WANTED, found=line.strip()[:80], where=where,
                         remedy="take out quotes and control characters") from None  # fmt: skip


def _row(cells: Sequence[str], before: Sequence[Supply], where: str) -> Supply:
    try:
        at, watts = (bare_number(cell) for cell in cells)
    except ValueError:
        at = watts = math.nan
    if not (0 <= at < math.inf and 0 <= watts < math.inf):
        raise InputError("a row is a time in s and watts, both from 0 on", wanted="such as 30,5",
                         found=",".join(cells)[:80], where=where, remedy="units are left out")  # fmt: skip
    if before and at <= before[-1].at:
        raise InputError("time stands still or runs backwards", wanted=f"more than {before[-1].at:g}", found=f"{at:g}",
                         where=where, remedy="sort the rows by t, one row a moment")  # fmt: skip
    return Supply(at, watts)
