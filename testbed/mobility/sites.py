"""Positions of sites from a table.

CSV with a header: a name (``site``, ``name``, ``id`` or ``SITE_ID``), and ``x,y`` in metres or ``lat,lon``
(``LATITUDE,LONGITUDE``) in degrees: the EUA data set's columns are among them. Columns are found whatever their case;
others are left out. Text is UTF-8, or Latin-1 where it is not (as EUA's is).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import InputError
from testbed.mobility.project import Plane
from testbed.mobility.readers._format import check_name, number
from testbed.mobility.readers._source import opened
from testbed.mobility.readers.fcd_xml import projected

NAMES = ("site", "site_id", "id", "name")
PLACES = (("x", "y"), ("x_m", "y_m"))
DEGREES = (("lat", "lon"), ("latitude", "longitude"))
MOST_SITES = 100_000
MOST_BYTES = 64 << 20
WANTED = "site,x,y or site,lat,lon (or EUA's SITE_ID,LATITUDE,LONGITUDE)"


@dataclass(frozen=True)
class SiteRow:
    """A site of a table.

    Attributes:
        name: As the table has it.
        x: Metres to the east.
        y: Metres to the north.
        line: Line of the file.
    """

    name: str
    x: float
    y: float
    line: int


@dataclass(frozen=True)
class Sites:
    """Sites of a table, in its order.

    Attributes:
        rows: Them.
        plane: Where latitudes and longitudes went, for traces of the same place; None if they were metres.
        others: Names of those that were not to be taken.
    """

    rows: tuple[SiteRow, ...]
    plane: Plane | None
    others: tuple[str, ...] = ()


def read(
    path: Path, *, named_at: str | None = None, plane: Plane | None = None, only: Collection[str] | None = None
) -> Sites:
    """The sites of a file.

    Args:
        path: CSV; plain, gzip, xz or zip.
        named_at: Place that names it, for the error if there is no such file.
        plane: Where latitudes and longitudes go; None: the first site is the origin.
        only: Names of the sites that are taken, as far as they are there; None: all.

    Raises:
        InputError: It cannot be read or breaks the format.
    """
    with opened(path, named_at=named_at, plane=plane) as source:
        data = bytearray()
        while chunk := source.read1(1 << 16):
            data += chunk
            if len(data) > MOST_BYTES:
                raise InputError("the table of sites is too large", wanted=f"at most {MOST_BYTES >> 20} MiB",
                                 where=source.at(source.lines), remedy="take a part of it")  # fmt: skip
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            raise InputError(f"this is not CSV: {error}", wanted=WANTED, where=source.at(reader.line_num),
                             remedy="take out quotes and control characters") from None  # fmt: skip
        lines = [(line, cells) for line, cells in lines if any(cells) and not cells[0].startswith("#")]
        if not lines:
            raise InputError("the table of sites is empty", wanted=WANTED, found="no rows", where=source.at(1),
                             remedy="name another file")  # fmt: skip
        name_at, place_at, degrees = _columns(lines[0][1], source.at(lines[0][0]))
        found: dict[str, SiteRow] = {}
        others: list[str] = []
        for line, name, x, y in _rows(lines, name_at, place_at, str(path)):
            if name in found:
                raise InputError(f"site {name!r} is there twice", wanted="one row a site", where=source.at(line),
                                 found=f"line {found[name].line} as well", remedy="take one out")  # fmt: skip
            if only is not None and name not in only:
                others.append(name)
                continue
            if degrees:
                x, y = projected(source, x, y, source.at(line))
            found[name] = SiteRow(name, x, y, line)
        return Sites(tuple(found.values()), source.plane if degrees else None, tuple(others))


def _rows(
    lines: Sequence[tuple[int, list[str]]], name_at: int, place_at: tuple[int, int], path: str
) -> Iterator[tuple[int, str, float, float]]:
    (_, header), *rows = lines
    if not rows or len(rows) > MOST_SITES:
        raise InputError("there are no sites" if not rows else "there are too many sites",
                         wanted=f"1 to {MOST_SITES} rows after the header", found=str(len(rows)),
                         where=f"{path}:{lines[0][0]}", remedy="name another file, or a part of it")  # fmt: skip
    for line, cells in rows:
        where = f"{path}:{line}"
        if len(cells) != len(header):
            raise InputError(f"a row has {len(header)} values, as the header", wanted=",".join(header)[:80],
                             found=f"{len(cells)}: {','.join(cells)[:60]}", where=where,
                             remedy="put names with commas into quotes")  # fmt: skip
        check_name(cells[name_at], 0, where)
        x, y = (number(cells[i], header[i], where) for i in place_at)
        yield line, cells[name_at], x, y


def _columns(header: Sequence[str], where: str) -> tuple[int, tuple[int, int], bool]:
    names = [cell.casefold() for cell in header]
    name = next((names.index(n) for n in NAMES if n in names), None)
    for pairs, degrees in ((PLACES, False), (DEGREES, True)):
        for a, b in pairs:
            if name is not None and a in names and b in names:
                return name, (names.index(a), names.index(b)), degrees
    raise InputError("the table of sites has no header that is known", wanted=WANTED, found=",".join(header)[:80],
                     where=where, remedy="make 'site,x,y' its first line")  # fmt: skip
