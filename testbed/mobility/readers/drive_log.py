"""Drive logs of a phone: position, measured rate, round-trip time and cell, a line a second or so.

The columns of G-NetTrack, as in the 4G and 5G data sets of UCC: ``Timestamp`` (``2019.12.16_14.23.32``, local time),
``Longitude``, ``Latitude``, ``Speed`` (km/h), ``DL_bitrate`` (kbit/s), ``State`` (``I``: nothing was being received, so
the rate says nothing), ``PINGAVG`` (ms), ``RAWCELLID`` or ``CellID``. ``-`` is no value. Other columns are left out,
``UL_bitrate`` with them: it counts what happened to be sent, not what the link could carry.

The first line is time 0; the one node is called by the file's name. Times are whole seconds: lines of the same second,
or of the one before (clocks are set), make one row, with the last position, cell and round-trip time and the mean rate.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from testbed.errors import InputError
from testbed.mobility.readers._format import Checked, Format, Head, no_rows, number
from testbed.mobility.readers._source import Source
from testbed.mobility.readers._table import cells_of
from testbed.mobility.readers.fcd_xml import projected
from testbed.mobility.row import Row

NEEDED = ("timestamp", "longitude", "latitude")
CLOCK_STEP = 1.0
"""Seconds that a clock may be set back."""
NONE = ("", "-")


@dataclass
class _Second:
    """Lines of one second.

    Attributes:
        t: Seconds after the first line.
        place: Latitude and longitude.
        rates: Measured rates, bit/s.
        line: The last one's number.
    """

    t: float
    place: tuple[float, float]
    line: int
    speed: float | None = None
    rtt: float | None = None
    cell: str | None = None
    rates: list[float] = field(default_factory=list)


def matches(head: Head) -> bool:
    """Whether the header names a time stamp and a position."""
    return set(NEEDED) <= set(_header(head))


def read(source: Source) -> Iterator[Row]:
    """The rows of a file."""
    head = Head(source.head)
    at = {name: i for i, name in enumerate(_header(head))}
    checked = Checked(source)
    node = re.sub(r"\.(csv|txt|log)?(\.gz|\.xz|\.zip)?$", "", source.path.name, flags=re.IGNORECASE)
    second: _Second | None = None
    source.line = lambda: second.line if second else 1
    for following in _seconds(source, at, head.number):
        if second is not None and following is not second:
            yield _row(source, checked, node, second)
        second = following
    if second is None:
        raise no_rows(source, ",".join(NEEDED))
    yield _row(source, checked, node, second)


def _row(source: Source, checked: Checked, node: str, second: _Second) -> Row:
    x, y = projected(source, *second.place, source.at(second.line))
    rate = sum(second.rates) / len(second.rates) if second.rates else None
    return checked.row(
        second.line, Row(second.t, node, x, y, speed=second.speed, rate=rate, rtt=second.rtt, cell=second.cell)
    )


def _seconds(source: Source, at: Mapping[str, int], header_line: int) -> Iterator[_Second]:
    """For each line, the second that it belongs to: the one before again, or a new one."""
    text = source.text()
    for _ in range(header_line):
        text.readline()
    begin: datetime | None = None
    now: _Second | None = None
    for line, raw in enumerate(text, header_line + 1):
        where = source.at(line)
        if not raw.strip():
            continue
        cells = _cells(raw, len(at), where)
        moment = _moment(cells[at["timestamp"]], where)
        begin = begin or moment
        t = (moment - begin).total_seconds()
        place = (number(cells[at["latitude"]], "Latitude", where), number(cells[at["longitude"]], "Longitude", where))
        if now is None or t > now.t:
            now = _Second(t, place, line)
        elif t < now.t - CLOCK_STEP:
            raise InputError(
                "time runs backwards", wanted=f"at most {CLOCK_STEP:g} s before {now.t:g} s", found=f"{t:g} s",
                where=where, remedy="sort the lines by Timestamp, or cut the log there",
            )  # fmt: skip
        now.place, now.line = place, line
        _measured(now, cells, at, where)
        yield now


def _measured(now: _Second, cells: Sequence[str], at: Mapping[str, int], where: str) -> None:
    def value(name: str) -> float | None:
        text = cells[at[name]] if name in at else ""
        if text in NONE:
            return None
        found = number(text, name, where)
        if found < 0:
            raise InputError(f"{name} is negative", wanted="0 or more", found=text, where=where,
                             remedy="correct it, or write '-'")  # fmt: skip
        return found

    speed, rate, rtt = value("speed"), value("dl_bitrate"), value("pingavg")
    now.speed = speed / 3.6 if speed is not None else now.speed
    idle = "state" in at and cells[at["state"]].upper() == "I"
    if rate is not None and not idle:
        now.rates.append(rate * 1e3)
    now.rtt = rtt / 1e3 if rtt is not None else now.rtt
    cell = next((cells[at[name]] for name in ("rawcellid", "cellid") if name in at), "-")
    now.cell = cell if cell not in NONE else now.cell


def _moment(text: str, where: str) -> datetime:
    for form in ("%Y.%m.%d_%H.%M.%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise InputError("this is no time", wanted="2019.12.16_14.23.32", found=text[:60] or "nothing", where=where,
                     remedy="correct it, or take the line out")  # fmt: skip


def _cells(line: str, width: int, where: str) -> list[str]:
    try:
        cells = cells_of(line, ",")
    except csv.Error as error:
        raise InputError(f"this is not CSV: {error}", found=line.strip()[:80], where=where,
                         remedy="take out quotes and control characters") from None  # fmt: skip
    if len(cells) != width:
        raise InputError(f"a line has {width} values, as the header", wanted=f"{width} values", found=f"{len(cells)}",
                         where=where, remedy="is the file cut off?")  # fmt: skip
    return cells


def _header(head: Head) -> list[str]:
    try:
        return [cell.casefold() for cell in cells_of(head.line, ",")]
    except csv.Error:
        return []


FORMAT = Format("drive log (G-NetTrack)", matches, read)
