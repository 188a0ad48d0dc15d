"""Taking of a trace what an experiment uses: a time, an area, some nodes; resampled, scaled, under devices' names.

In this order: time, resampling, area, nodes, scaling. Everything before scaling is in the trace's own seconds and
metres. Rows come one at a time; what is kept is a row a node.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import InputError
from testbed.mobility.clip import SAME, clipped
from testbed.mobility.names import Names
from testbed.mobility.project import Plane
from testbed.mobility.readers import opened_trace
from testbed.mobility.row import Row, between
from testbed.mobility.selection import WHOLE, Selection


def read(
    path: Path, devices: Sequence[str], selection: Selection = WHOLE, *, named_at: str | None = None,
    plane: Plane | None = None,
) -> Iterator[Row]:  # fmt: skip
    """What a selection takes of a trace, under devices' names; those of one device go forward in time.

    Args:
        path: The file, in any format.
        devices: Names in the order in which nodes become them.
        selection: What is taken.
        named_at: Place that names the trace, for errors about the file as a whole.
        plane: Where latitudes and longitudes go; None: the first position is the origin.

    Raises:
        InputError: The file breaks its format, or does not have what is asked of it.
    """
    with opened_trace(path, named_at=named_at, plane=plane) as trace:
        names = Names(devices, selection, own=trace.format.own_names)
        names.check_map(named_at or str(path))
        rows, first = trace.rows(), selection.begin
        head = next(rows, None)
        if first is None:
            first = head.t if head is not None and trace.format.own_clock else 0.0
        cut = _Cut(selection, first, stays=trace.format.waypoints)
        found = False
        for row in names.named(cut.rows(_chain(head, rows)), trace.where):
            found = True
            yield _scaled(row, selection, first)
        if not found:
            if names.met:  # if nothing is left of the cut, that is what is wrong, and not the map
                names.check_seen(named_at or str(path))
            raise InputError(
                "nothing of the trace is left", wanted="rows within from, to, area and map",
                found=f"{cut.seen} rows, from {cut.least:g} s to {cut.most:g} s" if cut.seen else "no rows",
                where=named_at or str(path), remedy="times and areas are the trace's own, before scaling",
            )  # fmt: skip
        names.check_seen(named_at or str(path))


def presence(rows: Iterable[Row], gap: float) -> dict[str, tuple[tuple[float, float], ...]]:
    """Intervals in which each node is there, s: from its first row on, until none follows within ``gap`` seconds."""
    found: dict[str, list[list[float]]] = {}
    for row in rows:
        spans = found.setdefault(row.node, [])
        if spans and row.t - spans[-1][1] <= gap + 1e-9:
            spans[-1][1] = row.t
        else:
            spans.append([row.t, row.t])
    return {node: tuple((begin, end) for begin, end in spans) for node, spans in found.items()}


def _chain(head: Row | None, rows: Iterator[Row]) -> Iterator[Row]:
    if head is not None:
        yield head
        yield from rows


def _scaled(row: Row, selection: Selection, first: float) -> Row:
    space, time = selection.space, selection.time
    if space == time == 1 and first == 0:
        return row
    t, node, x, y, speed, *more = row
    speed = speed * space / time if speed is not None else None
    return tuple.__new__(Row, ((t - first) * time, node, x * space, y * space, speed, *more))


@dataclass
class _Cut:
    """Cuts rows to a time and an area, and resamples them; at the time's ends places are interpolated."""

    selection: Selection
    first: float
    stays: bool
    seen: int = 0
    least: float = math.inf
    most: float = -math.inf
    _last: dict[str, Row] = field(default_factory=dict)

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """What is left of rows."""
        area = self.selection.area
        if area is not None and self.stays and self.selection.every is None:
            yield from clipped(self._in_time(rows), area, self.selection.gap or math.inf)
            return
        for row in self._in_time(rows):
            if area is None or (area[0] <= row.x <= area[2] and area[1] <= row.y <= area[3]):
                yield row

    def _in_time(self, rows: Iterable[Row]) -> Iterator[Row]:
        every, gap = self.selection.every, self.selection.gap or math.inf
        end = math.inf if self.selection.end is None else self.selection.end
        first, last = self.first, self._last
        whole = first == 0 and end == math.inf and every is None
        for row in rows:
            t, node = row[0], row[1]
            self.seen += 1
            if t < self.least:
                self.least = t
            if t > self.most:
                self.most = t
            if whole:
                yield row
                continue
            before = last.get(node)
            last[node] = row
            if every is not None:
                yield from self._grid(before, row, every, end)
                continue
            if before is not None and t - before[0] > gap:
                before = None
            if before is not None and (before[0] >= end or t < first):
                continue
            if before is not None and before.t < first < t:
                yield between(before, row, first)
            if first <= t <= end:
                yield row
            elif before is not None and t > end:
                yield between(before, row, end)
        for row in last.values() if self.stays else ():  # it stays where its way ended
            if row.t < first:
                yield row._replace(t=first)
            elif every is not None and row.t < end:
                k = self._moments(row.t, every)
                if row.t - self._moment(k, every) > SAME and self._moment(k + 1, every) <= end + SAME:
                    yield row._replace(t=self._moment(k + 1, every))

    def _grid(self, before: Row | None, row: Row, every: float, end: float) -> Iterator[Row]:
        """Rows at whole multiples of ``every`` after the beginning, after the one before and up to this one."""
        if row.t < self.first or (before is not None and before.t >= end):
            return
        last = self._moments(min(row.t, end), every)
        k = 0 if before is None or before.t < self.first else self._moments(before.t, every) + 1
        if before is None or row.t - before.t > (self.selection.gap or math.inf):
            if abs(self._moment(last, every) - row.t) > SAME:
                return  # its first moment comes with its next row
            k, before = max(k, last), None
        while k <= last:
            t = self._moment(k, every)
            yield row._replace(t=t) if before is None or t >= row.t else between(before, row, t)
            k += 1

    def _moment(self, k: int, every: float) -> float:
        return self.first + k * every

    def _moments(self, t: float, every: float) -> int:
        """Which moment of the grid is the last up to a time; judged here alone, so that none comes twice."""
        return math.floor((t - self.first + SAME) / every)
