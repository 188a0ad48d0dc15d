"""SUMO's floating-car data as CSV.

What ``sumo --fcd-output x.csv`` and ``xml2csv.py`` write (``timestep_time;vehicle_id;vehicle_x;vehicle_y;…`` in any
order, persons in columns of their own), and tables made of it (``t_s,id,kind,x_m,y_m,speed_mps``). Between cells may
be ``;``, ``,`` or a tab. Rows in which nobody is are skipped, as are columns that say nothing of where one is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from testbed.errors import InputError
from testbed.mobility.readers._format import Format, Head
from testbed.mobility.readers._source import Source
from testbed.mobility.readers._table import Columns, cells_of, rows
from testbed.mobility.row import Row

TIMES = ("timestep_time", "time", "t_s")
KINDS = ("vehicle", "person", "container")


def matches(head: Head) -> bool:
    """Whether the first line names a time and places in SUMO's words."""
    header = _header(head)
    return bool(header) and bool(_kinds(header))


def read(source: Source) -> Iterator[Row]:
    """The rows of a file."""
    head = Head(source.head)
    header = _header(head)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice:
        raise InputError(f"column {twice!r} is there twice", found=",".join(header)[:80],
                         where=source.at(head.number), remedy="take one of them out")  # fmt: skip
    return rows(source, head.number, header, _kinds(header), _delimiter(head.line))


def _kinds(header: Sequence[str]) -> list[Columns]:
    at = {name: i for i, name in enumerate(header)}
    time = next((at[name] for name in TIMES if name in at), None)
    if time is None:
        return []
    found = []
    for kind in KINDS:
        x, y = at.get(f"{kind}_x"), at.get(f"{kind}_y")
        if f"{kind}_id" in at and x is not None and y is not None:
            node, speed, type_ = at[f"{kind}_id"], at.get(f"{kind}_speed"), at.get(f"{kind}_type")
            found.append(Columns(time, node, (x, y), speed, type_, kind_else=kind))
    if "id" in at and {"x_m", "y_m"} <= at.keys():
        found.append(Columns(time, at["id"], (at["x_m"], at["y_m"]), at.get("speed_mps"), at.get("kind")))
    return found


def _delimiter(line: str) -> str:
    return max(";,\t", key=line.count)


def _header(head: Head) -> list[str]:
    try:
        return cells_of(head.line, _delimiter(head.line))
    except csv.Error:
        return []


FORMAT = Format("SUMO FCD CSV", matches, read, own_clock=True)
