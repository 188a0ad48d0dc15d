"""Long tracks with few positions, made while a trace is read: what a drawing needs, and exact where it matters."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from testbed.mobility.row import Row
from testbed.mobility.tracks import Track


def thinned(rows: Iterable[Row], moments: Mapping[str, Sequence[float]], most: int) -> dict[str, Track]:
    """Tracks of a trace's rows, by node, of every k-th row: k is 1, and doubles whenever more than ``most`` are kept.

    First and last rows are kept, and those around the moments that are given: there, places are those of all rows.

    Args:
        rows: Those of one node in order of time.
        moments: By node, times at which places are to be exact, s.
        most: Rows to keep of each node, besides the last and those around moments.
    """
    if most < 2:
        raise ValueError("a track needs two positions to be one")
    nodes: dict[str, _Thinned] = {}
    for row in rows:
        node = nodes.get(row.node)
        if node is None:
            node = nodes[row.node] = _Thinned(sorted(moments.get(row.node, ())), most)
        node.add(row)
    return {name: node.track() for name, node in nodes.items()}


class _Thinned:
    """What is kept of one node's rows."""

    __slots__ = ("_around", "_every", "_kept", "_last", "_moments", "_most", "_next", "_seen")

    def __init__(self, moments: Sequence[float], most: int) -> None:
        self._most = most
        self._moments = iter(moments)
        self._next = next(self._moments, math.inf)
        self._kept = array("d")  # t, x, y, t, x, y, …
        self._around = array("d")  # likewise
        self._every = 1
        self._seen = 0
        self._last = (0.0, 0.0, 0.0)

    def add(self, row: Row) -> None:
        here = (row.t, row.x, row.y)
        if row.t > self._next:
            if self._seen:
                self._around.extend(self._last)
            self._around.extend(here)
            while self._next < row.t:
                self._next = next(self._moments, math.inf)
        if self._seen % self._every == 0:
            self._kept.extend(here)
            if len(self._kept) > 3 * self._most:
                self._every *= 2
                self._kept = array("d", np.frombuffer(self._kept).reshape(-1, 3)[::2].tobytes())
        self._seen += 1
        self._last = here

    def track(self) -> Track:
        kept = (self._kept, self._around, array("d", self._last))
        found = np.concatenate([np.frombuffer(part).reshape(-1, 3) for part in kept])
        _, first = np.unique(found[:, 0], return_index=True)
        t, x, y = np.ascontiguousarray(found[first].T)
        return Track(t, x, y)
