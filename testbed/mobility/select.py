"""Taking of a trace what an experiment uses: a time, an area, some nodes; resampled, scaled, under devices' names.

In this order: time, resampling, area, nodes, scaling. Everything before scaling is in the trace's own seconds and
metres. Rows come one at a time; what is kept is a row a node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean
from testbed.mobility.project import Plane
from testbed.mobility.readers import opened_trace
from testbed.mobility.row import Row
from testbed.mobility.trace import unknown

Where = Callable[[], str]


@dataclass(frozen=True)
class Selection:
    """What of a trace is used (ValueError if it is nothing; the message begins with the setting).

    Attributes:
        begin: Trace's time that becomes 0, s; None: 0, or for formats with a clock of their own that of the first row.
        end: Trace's time after which nothing counts, s.
        area: ``x0, y0, x1, y1``: rows outside do not count, m.
        nodes: Only so many nodes: those that appear first.
        every: Resample to one position of each node every so many seconds, straight between rows.
        gap: Seconds without a row over which nothing is filled in, and after which a node counts as gone; None: any.
        space: Factor on places, about (0, 0), and on speeds.
        time: Factor on times: 2 makes everything last twice as long, and half as fast.
        map: Devices by the trace's names; nodes that are not in it do not count. ``order``: devices by order of first
            appearance. None: by name if the first node is called as a device is, otherwise by order.
    """

    begin: float | None = None
    end: float | None = None
    area: tuple[float, float, float, float] | None = None
    nodes: int | None = None
    every: float | None = None
    gap: float | None = None
    space: float = 1.0
    time: float = 1.0
    map: Mapping[str, str] | str | None = None

    def __post_init__(self) -> None:
        if self.begin is not None and not self.begin >= 0:
            raise ValueError("from: is before the trace's time 0")
        if self.end is not None and not self.end > (self.begin or 0.0):
            raise ValueError("to: is no later than from")
        if self.area is not None and not (self.area[0] < self.area[2] and self.area[1] < self.area[3]):
            raise ValueError("area: is empty; it is [x0, y0, x1, y1] with x0 < x1 and y0 < y1")
        if self.nodes is not None and self.nodes < 1:
            raise ValueError("nodes: there must be one at least")
        if self.every is not None and not 1e-3 <= self.every <= 3600:
            raise ValueError("every: must be from 1 ms to 1 h")
        if self.gap is not None and not self.gap > 0:
            raise ValueError("gap: must be more than 0")
        for name, factor in (("space", self.space), ("time", self.time)):
            if not 1e-3 <= factor <= 1e3:
                raise ValueError(f"scale: {name} must be from 0.001 to 1000")
        if isinstance(self.map, str) and self.map != "order":
            raise ValueError("map: must be names to names, or 'order'")


WHOLE = Selection()


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
            if before is not None and t - before[0] > gap:
                before = None
            if before is not None and (before[0] >= end or t < first):
                continue
            if every is not None:
                yield from self._grid(before, row, every, end)
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
                t = first + math.ceil((row.t - first) / every - 1e-9) * every
                if t > row.t + 1e-9 * max(1.0, row.t) and t <= end:
                    yield row._replace(t=t)

    def _grid(self, before: Row | None, row: Row, every: float, end: float) -> Iterator[Row]:
        """Rows at whole multiples of ``every`` after the beginning, after the one before and up to this one."""
        if row.t < self.first:
            return
        k = math.ceil((row.t - self.first) / every - 1e-9)
        if before is not None:
            k = max(0, math.floor((before.t - self.first) / every + 1e-9) + 1)
        elif abs(self.first + k * every - row.t) > 1e-9 * max(1.0, row.t):
            return  # its first moment comes with its next row
        while (t := self.first + k * every) <= min(row.t + 1e-9 * max(1.0, row.t), end):
            yield row._replace(t=t) if before is None or t >= row.t else between(before, row, t)
            k += 1


def between(before: Row, after: Row, t: float) -> Row:
    """A node's row at a time between two of its rows: its place straight between, all else as it was before."""
    t0, node, x0, y0, *more = before
    share = (t - t0) / (after[0] - t0)
    return tuple.__new__(Row, (t, node, x0 + share * (after[2] - x0), y0 + share * (after[3] - y0), *more))


class Names:
    """Which device a node of the trace is.

    Args:
        devices: Names in order.
        selection: Its ``map`` and ``nodes``.
        own: The trace's nodes are called as devices are, unless ``map`` says otherwise.
    """

    def __init__(self, devices: Sequence[str], selection: Selection, *, own: bool = False) -> None:
        self._devices = devices
        self._map = selection.map
        self._most = selection.nodes
        self._own = own
        self._found: dict[str, str | None] = {}
        self._followed = 0

    def check_map(self, where: str) -> None:
        """Refuse a map to what are no devices, or of two nodes to one (InputError)."""
        if self._map is None or isinstance(self._map, str):
            return
        taken: dict[str, str] = {}
        for node, device in self._map.items():
            if device not in self._devices:
                raise InputError(
                    f"map: {device!r} is no device of the experiment", wanted=", ".join(self._devices), found=device,
                    where=where, remedy=did_you_mean(device, self._devices) or "name a device",
                )  # fmt: skip
            if device in taken:
                raise InputError(f"map: two nodes are to be {device!r}", wanted="one", where=where,
                                 found=f"{taken[device]}, {node}", remedy="take one of them out")  # fmt: skip
            taken[device] = node

    @property
    def met(self) -> bool:
        """Whether any node of the trace came by, under whatever name."""
        return bool(self._found)

    def check_seen(self, where: str) -> None:
        """Refuse a map of nodes that the trace does not have (InputError)."""
        if self._map is None or isinstance(self._map, str):
            return
        for node in self._map:
            if node not in self._found:
                raise InputError(
                    f"map: the trace does not name {node!r}", wanted=", ".join(sorted(self._found)[:8]), found=node,
                    where=where, remedy=did_you_mean(node, self._found) or "is it there within from, to and area?",
                )  # fmt: skip

    def named(self, rows: Iterable[Row], where: Where) -> Iterator[Row]:
        """Rows under devices' names; those of nodes that do not count are left out.

        Args:
            rows: Of the trace.
            where: Gives the place of the row that came last.

        Raises:
            InputError: A node is no device, or there are more nodes than devices.
        """
        found, make = self._found, tuple.__new__
        for row in rows:
            try:
                device = found[row[1]]
            except KeyError:
                device = found[row[1]] = self._device(row[1], where)
            if device is not None:  # _replace would take most of the time there is
                yield row if device == row[1] else make(Row, (row[0], device, *row[2:]))

    def _device(self, node: str, where: Where) -> str | None:
        if isinstance(self._map, Mapping):
            device = self._map.get(node)
            if device is None:
                return None
        elif self._most is not None and self._followed >= self._most:
            return None
        else:
            device = self._by_name_or_order(node, where)
        if self._most is not None and self._followed >= self._most:
            return None
        self._followed += 1
        return device

    def _by_name_or_order(self, node: str, where: Where) -> str:
        if self._map is None and not self._followed:  # the first one decides
            self._own = self._own or node in self._devices
        if self._map is None and self._own:
            if node not in self._devices:
                raise unknown(node, self._devices, where())
            return node
        if self._map is None and node in self._devices:
            raise InputError(
                f"the trace names {node!r}, a device, after nodes that are none", wanted="all names or none",
                found=node, where=where(), remedy="say who is who with map, or 'map: order'",
            )  # fmt: skip
        if self._followed >= len(self._devices):
            raise InputError(
                "the trace has more nodes than the experiment has devices", wanted=f"at most {len(self._devices)}",
                found=f"{node!r} as well", where=where(),
                remedy=f"add devices, or follow only some with 'nodes: {len(self._devices)}' or map",
            )  # fmt: skip
        return self._devices[self._followed]
