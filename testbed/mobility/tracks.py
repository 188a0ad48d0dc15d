"""Tracks: where one node is over time, straight and even from each position to the next."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

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
    """

    t: Array
    x: Array
    y: Array
    told: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.t), len(self.x), len(self.y), len(self.told) or len(self.t)}
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


def of_rows(rows: Iterable[Row]) -> dict[str, Track]:
    """Tracks of a trace's rows, by node. What is kept of a row is 24 bytes."""
    columns: dict[str, tuple[array[float], array[float], array[float]]] = {}
    for row in rows:
        node = columns.get(row.node)
        if node is None:
            node = columns[row.node] = (array("d"), array("d"), array("d"))
        for column, value in zip(node, (row.t, row.x, row.y), strict=True):
            column.append(value)
    return {
        name: Track(np.frombuffer(t, dtype=float), np.frombuffer(x, dtype=float), np.frombuffer(y, dtype=float))
        for name, (t, x, y) in columns.items()
    }
