"""Link traces: how the rate, delay and loss of one direction of a link vary over time.

Two formats, told apart by their first line:

- **CSV** with a header: ``t`` and any of ``rate``, ``delay``, ``loss``. Each row holds from its time to the next
  one's, the last as long as the one before it. An empty cell is what the link's own settings say; a rate of 0 lets
  nothing pass. Cells carry units as in the experiment file (``5Mbit``, ``20ms``, ``1%``), or the header does for its
  whole column (``rate_Mbit``, ``delay_ms``). Times are seconds, or ``t_ms``; they begin at 0 and go forward. Lines
  that begin with ``#`` and blank lines are skipped.
- **Mahimahi**: a whole number of milliseconds a line, each a chance to send 1500 bytes, in order; a number that is
  there twice is two chances. Nothing else may be in the file, as with Mahimahi itself.

What breaks a rule is refused with its line: nothing is guessed or repaired.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from testbed.emulation.links.shape import Schedule, Step
from testbed.errors import InputError
from testbed.experiment.limits import LEAST_RATE, LONGEST_DELAY, MOST_RATE
from testbed.experiment.problems import did_you_mean
from testbed.experiment.units import (
    DURATION_UNITS,
    RATE_UNITS,
    UnitError,
    bare_number,
    format_duration,
    format_rate,
    parse_duration,
    parse_fraction,
    parse_rate,
)
from testbed.mobility import mahimahi
from testbed.mobility.mahimahi import LONGEST

MOST_ROWS = 1_000_000
MOST_BYTES = 64 << 20
SHORTEST = 0.001
"""Seconds from row to row at least."""
WANTED = "a CSV file with the header t,rate,delay,loss (t and any of the others), or one of Mahimahi's"

_COLUMNS = ("rate", "delay", "loss")


@dataclass(frozen=True)
class _Column:
    """What one column of a CSV trace holds, and how its cells are read."""

    name: str
    unit: str | None = None

    def cell(self, text: str) -> float:
        """The value of a cell in base units (UnitError if it has none)."""
        if self.unit is not None:
            return self._bare(text)
        if self.name == "rate":
            return 0.0 if _is_zero(text) else parse_rate(text)
        if self.name == "delay":
            return parse_duration(text)
        if self.name == "loss":
            return parse_fraction(text)
        return _number(text) if _is_number(text) else parse_duration(text)

    def _bare(self, text: str) -> float:
        if not _is_number(text):
            raise UnitError(
                f"the header says {self.name}_{self.unit}, so this is to be a plain number",
                wanted="a number such as 12.5", found=text, remedy=f"call the column {self.name!r} to write units",
            )  # fmt: skip
        units = RATE_UNITS if self.name == "rate" else DURATION_UNITS
        return _number(text) * units[self.unit or ""]


@dataclass
class _Table:
    """The columns of a CSV trace and the steps read so far."""

    columns: list[_Column]
    steps: list[Step] = field(default_factory=list)


def read(path: Path, *, loop: bool | None = None, named_at: str | None = None) -> Schedule:
    """The schedule that a trace describes.

    Args:
        path: The file.
        loop: Whether it begins again at its end; None for what is usual: Mahimahi's do, others do not.
        named_at: Place that names the trace, for the error if there is no such file.

    Raises:
        InputError: The file cannot be read or breaks the format.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(
                "the trace is not a file", wanted=WANTED, found=str(path), where=named_at or str(path),
                remedy="name a file in it" if path.is_dir() else "name a plain file",
            )  # fmt: skip
        stat = path.stat()
        if stat.st_size > MOST_BYTES:
            raise InputError(
                "the trace is too large", wanted=f"at most {MOST_BYTES >> 20} MiB", found=f"{stat.st_size >> 20} MiB",
                where=str(path), remedy="take a part of it",
            )  # fmt: skip
        schedule = _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the trace cannot be read ({getattr(error, 'strerror', None) or error})",
            wanted=str(path),
            where=named_at or str(path),
            remedy="a trace is found relative to the experiment file",
        ) from None
    loops = bool(schedule.deliveries) if loop is None else loop
    return Schedule(schedule.name, schedule.steps, schedule.deliveries, schedule.length, loops)


@lru_cache(maxsize=16)  # each direction of each link reads it, and so do the check and the plan
def _read(path: Path, changed: int, size: int) -> Schedule:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            "the trace is not UTF-8 text", wanted=WANTED, where=str(path),
            remedy="save it as plain text; one that is packed is to be unpacked first",
        ) from None  # fmt: skip
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if len(lines) > MOST_ROWS:
        raise InputError(
            "the trace is too long", wanted=f"at most {MOST_ROWS} lines", found=str(len(lines)), where=str(path),
            remedy="take a part of it",
        )  # fmt: skip
    first = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        raise InputError("the trace is empty", wanted=WANTED, where=f"{path}:1", remedy="fill it, or name another")
    return mahimahi.parse(path, lines) if mahimahi.is_time(first) else _csv(path, lines)


def _csv(path: Path, lines: Sequence[str]) -> Schedule:
    table: _Table | None = None
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = _cells(line, where)
        if table is None:
            table = _Table(list(_header(cells, line, where)))
        else:
            table.steps.append(_step(table, cells, where))
    if table is None or not table.steps:
        raise InputError("the trace holds no rows", wanted=WANTED, where=f"{path}:1", remedy="add a row from 0 on")
    times = [step.at for step in table.steps]
    last = times[-1] - times[-2] if len(times) > 1 else 1.0
    return Schedule(path.name, steps=tuple(table.steps), length=times[-1] + last)


def _header(cells: Sequence[str], line: str, where: str) -> Iterator[_Column]:
    remedy = f"make {','.join(('t', *_COLUMNS))!r} its first line, or leave out of it what does not vary"
    names = [cell.partition("_")[0].casefold() for cell in cells]
    if names[0] != "t" or len(cells) < 2:
        raise InputError("the trace has no header", wanted=WANTED, found=line.strip()[:80], where=where, remedy=remedy)
    for name, cell in zip(names, cells, strict=True):
        if name not in ("t", *_COLUMNS):
            raise InputError(
                f"unknown column {cell!r}", wanted=f"t, {', '.join(_COLUMNS)}", found=cell[:40], where=where,
                remedy=did_you_mean(name, _COLUMNS) or remedy,
            )  # fmt: skip
        if names.count(name) > 1:
            raise InputError(f"column {name!r} is there twice", where=where, remedy="take one of them out")
        yield _Column(name, _unit(name, cell, where))


def _unit(name: str, cell: str, where: str) -> str | None:
    """The unit in a column's name, None without one."""
    asked = cell.partition("_")[2]
    if "_" not in cell:
        return None
    units = {"rate": RATE_UNITS, "loss": {}}.get(name, DURATION_UNITS)
    for unit in units:
        if unit.casefold() == asked.casefold():
            return unit
    wanted = ", ".join(f"{name}_{unit}" for unit in units) or "loss: fractions, or with % in each cell"
    remedy = None
    if name == "rate":
        remedy = did_you_mean(asked, units) or "'bps' means bytes to tc: write rate_bit or rate_Mbit"
    raise InputError(f"unknown unit {asked!r} of a column", wanted=wanted, found=cell[:40], where=where, remedy=remedy)


def _step(table: _Table, cells: Sequence[str], where: str) -> Step:
    if len(cells) != len(table.columns):
        raise InputError(
            f"a row has {len(table.columns)} values, as the header", wanted=",".join(c.name for c in table.columns),
            found=f"{len(cells)}: {','.join(cells)[:60]}", where=where,
            remedy="decimals have a point; leave a cell empty for the link's own setting",
        )  # fmt: skip
    values: dict[str, float] = {}
    for column, text in zip(table.columns, cells, strict=True):
        if text:
            values[column.name] = _value(column, text, where)
    at = values.pop("t", None)
    if at is None:
        raise InputError("a row has no time", wanted="seconds since the beginning", where=where, remedy="fill in t")
    _in_order(at, table.steps, where)
    return Step(at, **values)


def _value(column: _Column, text: str, where: str) -> float:
    try:
        value = column.cell(text)
    except UnitError as error:
        raise InputError(
            f"{column.name}: {error.message}", wanted=error.wanted, found=error.found, where=where, remedy=error.remedy
        ) from None
    if column.name == "rate" and value and not LEAST_RATE <= value < MOST_RATE:
        raise InputError(
            "rate: out of range",
            wanted=f"0 (nothing passes), or {format_rate(LEAST_RATE)} to {format_rate(MOST_RATE)}",
            found=text[:40], where=where, remedy="mind the unit" if value >= MOST_RATE else "write 0 for an outage",
        )  # fmt: skip
    if column.name == "delay" and value > LONGEST_DELAY:
        raise InputError(
            "delay: out of range", wanted=f"at most {format_duration(LONGEST_DELAY)}", found=text[:40], where=where,
            remedy="mind the unit",
        )  # fmt: skip
    return value


def _in_order(at: float, before: Sequence[Step], where: str) -> None:
    if not before and at != 0:
        raise InputError(
            "the trace does not begin at 0", wanted="t = 0 in the first row", found=f"{at:g}", where=where,
            remedy=f"subtract {at:g} from each time, or add a row '0' for the time before",
        )  # fmt: skip
    if before and at <= before[-1].at:
        problem = "stands still" if at == before[-1].at else "runs backwards"
        raise InputError(
            f"time {problem}", wanted=f"more than {before[-1].at:g}", found=f"{at:g}", where=where,
            remedy="sort the rows by t, one row a moment",
        )  # fmt: skip
    if before and at - before[-1].at < SHORTEST * (1 - 1e-9):
        raise InputError(
            "two rows are closer than a link can follow", wanted=f"at least {format_duration(SHORTEST)} between them",
            found=f"{at:g} after {before[-1].at:g}", where=where,
            remedy="take rows out; a column of milliseconds is called t_ms",
        )  # fmt: skip
    if at > LONGEST:
        raise InputError(
            "the trace is too long", wanted=f"at most {LONGEST:g} s", found=f"{at:g}", where=where,
            remedy="times are seconds since the beginning; a column of milliseconds is called t_ms",
        )  # fmt: skip


def _cells(line: str, where: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line.strip("\r")], strict=True))]
    except (csv.Error, StopIteration) as error:
        raise InputError(
            f"this is not CSV: {error}", wanted=WANTED, found=line.strip()[:80], where=where,
            remedy="take out quotes and control characters",
        ) from None  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        bare_number(text)
    except ValueError:
        return False
    return True


def _is_zero(text: str) -> bool:
    """``0``, with a unit of rates or without."""
    match = re.fullmatch(rf"\s*\+?0*\.?0*\s*({'|'.join(RATE_UNITS)})?\s*", text)
    return match is not None and "0" in text


def _number(text: str) -> float:
    number = bare_number(text)
    if not math.isfinite(number) or number < 0:
        problem = "negative" if number < 0 else "no finite number"
        raise UnitError(f"this is {problem}", wanted="a number from 0 on, such as 12.5", found=text,
                        remedy="correct the value, or take the row out")  # fmt: skip
    return number
