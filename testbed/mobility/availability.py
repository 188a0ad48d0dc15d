"""Availability traces: when devices are there, from a table.

CSV with a header: ``device`` (or ``node``), ``joins`` and ``leaves`` (or ``begin`` and ``end``), in any order and
whatever their case; other columns are left out. Times are seconds after the start of training, in the experiment's own
time; ``leaves`` may be empty: to the end. A device may have several rows, and a group's name is each of its devices.
Blank lines and lines that begin with ``#`` are skipped. Who is not named is always there.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean
from testbed.mobility.associate import Presence
from testbed.mobility.build import LONGEST
from testbed.mobility.readers._format import negative_time, number
from testbed.mobility.readers._source import Source, opened
from testbed.mobility.timeline import ABSENT, Down, merged

MOST_BYTES = 16 << 20
SHORTEST = 0.1
"""Seconds that a device is there, or away, at least: moving devices are looked at so often."""
COLUMNS = (("device", "node"), ("joins", "begin"), ("leaves", "end"))
WANTED = "device,joins,leaves"


@dataclass(frozen=True)
class _Stay:
    """A row: a device is there from ``joins`` until ``leaves`` (infinite: to the end)."""

    joins: float
    leaves: float
    line: int


def read(path: Path, names: Mapping[str, Sequence[str]], *, named_at: str | None = None) -> Presence:
    """When devices are there, as a table says.

    Args:
        path: CSV; plain, gzip, xz or zip.
        names: Devices that each name stands for: their own, and those of groups.
        named_at: Place that names the file, for the error if there is no such file.

    Returns:
        Of each device that is named its intervals, in order, those that touch as one.

    Raises:
        InputError: It cannot be read or breaks the format.
    """
    with opened(path, named_at=named_at) as source:
        lines = _lines(source)
        header = next(lines, None)
        if header is None:
            raise _no_rows("the availability trace is empty", source.at(1))
        columns = _columns(header[1], source.at(header[0]))
        found: dict[str, list[_Stay]] = {}
        for line, cells in lines:
            where = source.at(line)
            if len(cells) != len(header[1]):
                raise InputError(
                    f"a row has {len(header[1])} values, as the header", wanted=",".join(header[1])[:80],
                    found=f"{len(cells)}: {','.join(cells)[:60]}", where=where,
                    remedy="leave 'leaves' empty for one that stays to the end, but keep its comma",
                )  # fmt: skip
            name, joins, leaves = (cells[i] for i in columns)
            if name not in names:
                raise InputError(
                    f"there is no device {name!r}", wanted=", ".join(names)[:200], found=name[:60] or "nothing",
                    where=where, remedy=did_you_mean(name, names) or "take the row out, or add it under 'devices:'",
                )  # fmt: skip
            stay = _Stay(_time(joins, "joins", where), _time(leaves, "leaves", where) if leaves else math.inf, line)
            if stay.leaves <= stay.joins:
                raise InputError(
                    f"{name!r} leaves before it joins" if stay.leaves < stay.joins else f"{name!r} leaves as it joins",
                    wanted=f"leaves after {stay.joins:.10g}", found=f"{stay.leaves:.10g}", where=where,
                    remedy="leave 'leaves' empty for one that stays to the end",
                )  # fmt: skip
            for device in names[name]:
                found.setdefault(device, []).append(stay)
        if not found:
            raise _no_rows("the availability trace holds no rows", source.at(header[0]))
        return {device: _joined(device, stays, source) for device, stays in found.items()}


def absences(presence: Presence) -> dict[str, tuple[Down, ...]]:
    """When devices are not there, for those for which that ever is: all but their intervals from 0 on."""
    found = {}
    for device, stays in presence.items():
        edges = [0.0, *(edge for stay in stays for edge in stay), math.inf]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        if downs := merged(Down(begin, end, ABSENT) for begin, end in pairs):
            found[device] = downs
    return found


def _lines(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The lines that are neither blank nor comments, as cells, each with its number."""
    data = bytearray()
    while chunk := source.read1(1 << 16):
        data += chunk
        if len(data) > MOST_BYTES:
            raise InputError("the availability trace is too large", wanted=f"at most {MOST_BYTES >> 20} MiB",
                             where=source.at(source.lines), remedy="take a part of it")  # fmt: skip
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        broken = data.count(b"\n", 0, error.start) + 1
        raise InputError("the availability trace is not UTF-8 text", wanted=WANTED, where=source.at(broken),
                         remedy="save it as plain text") from None  # fmt: skip
    for at, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line.rstrip("\r")], strict=True))]
        except (csv.Error, StopIteration) as error:
            raise InputError(f"this is not CSV: {error}", wanted=WANTED, found=line.strip()[:80],
                             where=source.at(at), remedy="take out quotes and control characters",
                             ) from None  # fmt: skip
        if any(cells):
            yield at, cells


def _columns(header: Sequence[str], where: str) -> list[int]:
    names = [cell.casefold() for cell in header]
    found = []
    for known in COLUMNS:
        at = [i for i, name in enumerate(names) if name in known]
        if not at:
            raise InputError(f"the availability trace has no column {known[0]!r}", wanted=f"the header {WANTED}",
                             found=",".join(header)[:80], where=where,
                             remedy=f"make {WANTED!r} its first line")  # fmt: skip
        if len(at) > 1:
            raise InputError(f"the availability trace has two columns for {known[0]!r}", wanted=f"the header {WANTED}",
                             found=", ".join(header[i] for i in at)[:80], where=where,
                             remedy="take one of them out")  # fmt: skip
        found.append(at[0])
    return found


def _time(text: str, name: str, where: str) -> float:
    value = number(text, name, where)
    if value < 0:
        raise negative_time(value, where)
    if value > LONGEST:
        raise InputError(f"{name} is out of range", wanted=f"at most {LONGEST:g} s", found=f"{value:.10g}", where=where,
                         remedy="times are seconds after the start of training; an empty 'leaves' is to the end",
                         )  # fmt: skip
    return value


def _joined(device: str, stays: Iterable[_Stay], source: Source) -> tuple[tuple[float, float], ...]:
    """A device's intervals in order, those that touch as one (InputError: they overlap, or are too short)."""
    inorder = sorted(stays, key=lambda s: (s.joins, s.leaves))
    for stay, after in pairwise(inorder):
        if after.joins < stay.leaves:
            late, other = (after, stay) if after.line > stay.line else (stay, after)
            raise InputError(
                f"two rows of {device!r} overlap", wanted="one row for each time that it is there",
                found=f"{late.joins:.10g} to {late.leaves:.10g}, and line {other.line}: {other.joins:.10g} to "
                f"{other.leaves:.10g}", where=source.at(late.line), remedy="join them, or take one out",
            )  # fmt: skip
        if 0 < after.joins - stay.leaves < SHORTEST - 1e-9:
            raise _too_short(f"{device!r} is away", after.joins - stay.leaves, source.at(after.line))
    found: list[_Stay] = []
    for stay in inorder:
        begin = found.pop().joins if found and found[-1].leaves == stay.joins else stay.joins
        found.append(_Stay(begin, stay.leaves, stay.line))
    if 0 < found[0].joins < SHORTEST - 1e-9:
        raise _too_short(f"{device!r} is away", found[0].joins, source.at(found[0].line))
    for stay in found:
        if stay.leaves - stay.joins < SHORTEST - 1e-9:
            raise _too_short(f"{device!r} is there", stay.leaves - stay.joins, source.at(stay.line))
    return tuple((stay.joins, stay.leaves) for stay in found)


def _too_short(what: str, seconds: float, where: str) -> InputError:
    return InputError(f"{what} for too short a time", wanted=f"at least {SHORTEST:g} s", found=f"{seconds:.10g} s",
                      where=where, remedy="join the rows, or take one out; times are seconds")  # fmt: skip


def _no_rows(problem: str, where: str) -> InputError:
    return InputError(problem, wanted=f"the header {WANTED}, and a row for each time that a device is there",
                      found="none", where=where, remedy="add a row, or name another file")  # fmt: skip
