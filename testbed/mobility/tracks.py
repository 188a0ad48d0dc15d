"""Tracks: where one node is over time, straight and even from each position to the next."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from testbed.mobility.trace import Row

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """Positions of one node.

    Attributes:
        t: Seconds after the start of training, ascending. x: Metres. y: Metres.
        told: Site or cell that it is on from each position on, where that was recorded; empty otherwise.
        rate: bit/s towards it that were recorded with each position (NaN where none was); empty for none at all.
        rtt: Round-trip time likewise, s.
    """

    t: Array
    x: Array
    y: Array
    told: tuple[str | None, ...] = ()
    rate: Array = field(default_factory=lambda: np.empty(0))
    rtt: Array = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        lengths = {len(self.t), len(self.x), len(self.y)}
        lengths |= {len(values) or len(self.t) for values in (self.told, self.rate, self.rtt)}
        if len(lengths) > 1 or not len(self.t):
            raise ValueError("a track has as many times as places, and one at least")
        if np.any(np.diff(self.t) <= 0):
            raise ValueError("a track's times ascend")

    def at(self, times: Array) -> tuple[Array, Array]:
        """Places at these times; before the first position and after the last, those."""
        return np.interp(times, self.t, self.x), np.interp(times, self.t, self.y)

    def told_at(self, times: Array) -> list[str | None]:
        """What was recorded of its site or cell last, at each of these times."""
        if not self.told:
            return [None] * len(times)
        return [self.told[max(0, i)] for i in np.searchsorted(self.t, times, side="right") - 1]

    def present(self, gap: float | None = None) -> tuple[tuple[float, float], ...]:
        """Intervals in which there are positions, none more than ``gap`` seconds (None: however long) after another."""
        if gap is None:
            return ((float(self.t[0]), float(self.t[-1])),)
        ends = np.flatnonzero(np.diff(self.t) > gap + 1e-9)
        starts = np.concatenate(([0], ends + 1))
        return tuple(zip(self.t[starts].tolist(), self.t[[*ends, len(self.t) - 1]].tolist(), strict=True))


def track(points: Iterable[tuple[float, float, float]]) -> Track:
    """A track of (t, x, y)."""
    t, x, y = zip(*points, strict=True)
    return Track(np.array(t, dtype=float), np.array(x, dtype=float), np.array(y, dtype=float))


def of_rows(rows: Iterable[Row], cells: Mapping[str, str] | None = None) -> dict[str, Track]:
    """Tracks of a trace's rows, by node. What is kept of a row is 24 bytes, and what was recorded with it.

    Args:
        rows: Those of one node in order of time.
        cells: Name to keep of each cell; None keeps them as they are, and leaves out what is not named.
    """
    columns: dict[str, _Columns] = {}
    for row in rows:
        node = columns.get(row.node)
        if node is None:
            node = columns[row.node] = _Columns()
        node.add(row, cells)
    return {name: node.track() for name, node in columns.items()}


class _Columns:
    """Values of one node's rows; what no row has is not kept."""

    def __init__(self) -> None:
        self._numbers: dict[str, array[float]] = {name: array("d") for name in ("t", "x", "y", "rate", "rtt")}
        self._cells: list[str | None] = []

    def add(self, row: Row, cells: Mapping[str, str] | None) -> None:
        count = len(self._numbers["t"])
        for name in ("t", "x", "y"):
            self._numbers[name].append(getattr(row, name))
        for name in ("rate", "rtt"):
            value, column = getattr(row, name), self._numbers[name]
            if value is not None and not column:
                column.extend([math.nan] * count)
            if value is not None or column:
                column.append(math.nan if value is None else value)
        cell = row.cell if cells is None or row.cell is None else cells.get(row.cell)
        if cell is not None and not self._cells:
            self._cells = [None] * count
        if cell is not None or self._cells:
            self._cells.append(cell)

    def track(self) -> Track:
        t, x, y, rate, rtt = (np.frombuffer(column, dtype=float) for column in self._numbers.values())
        return Track(t, x, y, tuple(self._cells), rate, rtt)
