"""Movements of ns-2: where nodes are at first, and where they are sent.

    $node_(0) set X_ 150.0
    $node_(0) set Y_ 93.98
    $ns_ at 50.0 "$node_(0) setdest 300.0 200.0 10.0"

What ``setdest``, BonnMotion's ``NSFile`` and SUMO's ``traceExporter.py`` write. A node sent to a place goes there
straight at that speed and stays; sent elsewhere before it is there, it turns where it is. Rows are the corners of its
way: its beginning, where it was when it was sent, where it arrived. Distances between nodes (``$god_``) and heights
are left out; any other line of Tcl is refused, as it cannot be run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.errors import InputError
from testbed.mobility.readers._format import Checked, Format, Head, no_rows, number
from testbed.mobility.readers._source import Source
from testbed.mobility.row import Row

_NODE = r"\$node_?\(\s*\"?([^()\"]+?)\"?\s*\)"
_AT_FIRST = re.compile(rf"{_NODE}\s+set\s+([XYZ])_\s+([^\s;]+)\s*;?")
_SENT = re.compile(rf"\$ns_?\s+at\s+(\S+)\s+\"\s*{_NODE}\s+setdest\s+(\S+)\s+(\S+)\s+([^\s\"]+)\s*\"\s*;?")
_LEFT_OUT = re.compile(r"(#.*|\$god_.*|set\s+god_.*|\$ns_?\s+at\s+\S+\s+\"\s*\$god_.*)?")
_LONGEST = 1000
"""Characters in a line at most."""
_WANTED = '$node_(0) set X_ 1.5, or $ns_ at 2.0 "$node_(0) setdest x y speed"'


@dataclass
class _Way:
    """Where a node is and goes.

    Attributes:
        first: X and Y that it is told to begin at.
        t: Time of its last corner. x: Its place then. y: Likewise.
        to: Where it goes from there.
        arrives: When it gets there.
        line: Line that said so last.
        sent: Whether it was sent anywhere yet.
    """

    first: dict[str, float]
    line: int
    sent: bool = False
    t: float = 0.0
    x: float = 0.0
    y: float = 0.0
    to: tuple[float, float] | None = None
    arrives: float = 0.0

    def corners(self, until: float) -> Iterator[tuple[float, float, float]]:
        """What is left of its way up to a time, with its place then."""
        if self.to is not None and self.arrives <= until:
            self.t, (self.x, self.y), self.to = self.arrives, self.to, None
            yield self.t, self.x, self.y
        if not math.isfinite(until) or until <= self.t:
            return
        if self.to is not None:
            share = (until - self.t) / (self.arrives - self.t)
            self.x, self.y = self.x + share * (self.to[0] - self.x), self.y + share * (self.to[1] - self.y)
        self.t = until
        yield self.t, self.x, self.y


def matches(head: Head) -> bool:
    """Whether one of the first lines places or sends a node."""
    lines = (line for line in map(_stripped, head.text.splitlines()) if not _LEFT_OUT.fullmatch(line))
    first = next(lines, "")
    return bool(_AT_FIRST.match(first) or _SENT.match(first))


def read(source: Source) -> Iterator[Row]:
    """The rows of a file: of each node in order of time; those of different nodes are mixed as in the file."""
    checked = Checked(source)
    ways: dict[str, _Way] = {}
    waiting: dict[str, _Way] = {}  # placed, in that order, and not begun: nobody was sent since
    told = 0
    source.line = lambda: told
    for line, raw in enumerate(source.text(), 1):
        text, where = _stripped(raw), source.at(line)
        if _LEFT_OUT.fullmatch(text):
            continue
        if placed := _AT_FIRST.fullmatch(text):
            _place(ways, waiting, placed, line, where)
        elif sent := _SENT.fullmatch(text):
            for placing, row in _begin(waiting, checked):
                told = placing
                yield row
            told = line
            yield from _send(ways, sent, checked, line, where)
        else:
            raise InputError(
                "this is no line of movements", wanted=_WANTED, found=text.strip()[:80], where=where,
                remedy="leave in the file what places and sends nodes; other Tcl is not run",
            )  # fmt: skip
    for placing, row in _begin(waiting, checked):
        told = placing
        yield row
    for node, way in ways.items():
        told = way.line
        _check_placed(node, way, source.at(told))
        for corner in way.corners(math.inf):
            yield checked.row(told, Row(corner[0], node, *corner[1:]))
    if not ways:
        raise no_rows(source, _WANTED)


def _stripped(line: str) -> str:
    """A line without blanks around it; one that is too long is cut, and matches nothing."""
    return line.strip() if len(line) <= _LONGEST else line[:_LONGEST].strip() + " …"


def _place(
    ways: dict[str, _Way], waiting: dict[str, _Way], placed: re.Match[str], line: int, where: str
) -> None:
    node, axis, text = placed.groups()
    way = ways.setdefault(node, _Way({}, line))
    if way.sent or axis in way.first:
        raise InputError(f"node {node!r} has two beginnings", wanted=f"{axis}_ set once, before it is sent",
                         found=placed[0].strip()[:80], where=where, remedy="take one of them out")  # fmt: skip
    way.first[axis] = number(text, f"{axis}_", where)
    if axis != "Z" and {"X", "Y"} <= way.first.keys():
        way.x, way.y = way.first["X"], way.first["Y"]
        waiting[node] = way


def _begin(waiting: dict[str, _Way], checked: Checked) -> Iterator[tuple[int, Row]]:
    """Lines and rows of beginnings, in order of placing, so that it does not matter who is sent first."""
    for node, way in waiting.items():
        yield way.line, checked.row(way.line, Row(0.0, node, way.x, way.y))
    waiting.clear()


def _check_placed(node: str, way: _Way, where: str) -> None:
    if not {"X", "Y"} <= way.first.keys():
        raise InputError(
            f"node {node!r} is nowhere at first", wanted=f"$node_({node}) set X_ … and set Y_ … before",
            found=", ".join(f"{axis}_" for axis in way.first) or "neither", where=where, remedy="add them",
        )  # fmt: skip


def _send(ways: dict[str, _Way], sent: re.Match[str], checked: Checked, line: int, where: str) -> Iterator[Row]:
    node = sent[2]
    way = ways.setdefault(node, _Way({}, line))
    _check_placed(node, way, where)
    way.sent = True
    t, x, y, speed = (number(sent[i], name, where) for i, name in ((1, "t"), (3, "x"), (4, "y"), (5, "speed")))
    if speed < 0:
        raise InputError("the speed is negative", wanted="0 m/s or more", found=sent[5], where=where,
                         remedy="a speed of 0 stands still")  # fmt: skip
    if t < way.t:
        raise InputError(f"time runs backwards for {node!r}", wanted=f"at least {way.t:.10g}", found=sent[1],
                         where=where, remedy="sort the lines of each node by time")  # fmt: skip
    for corner in way.corners(t):
        yield checked.row(line, Row(corner[0], node, *corner[1:]))
    way.line = line
    distance = math.dist((way.x, way.y), (x, y))
    way.to = (x, y) if speed > 0 and distance > 0 else None
    way.arrives = t + distance / speed if speed > 0 else t
    if way.arrives <= t:  # too near for a time of its own
        way.to = None


FORMAT = Format("ns-2 movements (setdest)", matches, read, waypoints=True)
