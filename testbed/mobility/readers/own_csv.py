"""Our own CSV: ``t,node,x,y``, and any of ``speed``, ``kind``, ``cell`` after them.

Seconds after the start of training, metres, m/s. ``lat,lon`` in place of ``x,y`` are degrees (WGS 84). Lines that begin
with ``#`` and blank lines are skipped. Rows of different nodes may be mixed; those of one node go forward in time.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean
from testbed.mobility.readers._format import Format, Head
from testbed.mobility.readers._source import Source
from testbed.mobility.readers._table import Columns, cells_of, rows
from testbed.mobility.row import Row

HEADER = ("t", "node", "x", "y")
DEGREES = ("t", "node", "lat", "lon")
MORE = ("speed", "kind", "cell")


def matches(head: Head) -> bool:
    """Whether the first line is our header's beginning."""
    return tuple(_cells(head))[:4] in (HEADER, DEGREES)


def read(source: Source) -> Iterator[Row]:
    """The rows of a file."""
    head = Head(source.head)
    header = _cells(head)
    where = source.at(head.number)
    for name in header[4:]:
        if name not in MORE:
            raise InputError(
                f"unknown column {name!r}", wanted=", ".join(MORE), found=name[:40], where=where,
                remedy=did_you_mean(name, MORE) or "take the column out",
            )  # fmt: skip
        if header.count(name) > 1:
            raise InputError(f"column {name!r} is there twice", found=",".join(header)[:80], where=where,
                             remedy="take one of them out")  # fmt: skip
    more = {name: header.index(name) for name in header[4:]}
    degrees = tuple(header[:4]) == DEGREES
    columns = Columns(0, 1, (2, 3), more.get("speed"), more.get("kind"), more.get("cell"), degrees)
    return rows(source, head.number, header, [columns], ",")


def _cells(head: Head) -> list[str]:
    try:
        return cells_of(head.line, ",")
    except csv.Error:
        return []


FORMAT = Format("our CSV (t,node,x,y)", matches, read, own_names=True)
