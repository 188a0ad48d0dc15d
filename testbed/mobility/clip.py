"""Ways between corners, cut to an area: rows where a node comes in and goes out, wherever its corners are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from testbed.mobility.row import Row, between

SAME = 1e-6
"""Seconds within which two moments are one: handovers are told to the microsecond as well."""

Area = tuple[float, float, float, float]


def clipped(rows: Iterable[Row], area: Area, gap: float) -> Iterator[Row]:
    """What is within an area of the ways that rows are the corners of; in between, nodes move straight and evenly.

    A row on the border is left out where it would be within a microsecond of another one.

    Args:
        rows: Those of one node in order of time.
        area: ``x0, y0, x1, y1``, m; its borders are within.
        gap: Seconds between two corners over which nothing is said of the way.
    """
    last: dict[str, Row] = {}
    given: dict[str, float] = {}  # each node's last time that was
    for row in rows:
        before = last.get(row.node)
        last[row.node] = row
        inside = area[0] <= row.x <= area[2] and area[1] <= row.y <= area[3]
        if before is not None and row.t - before.t <= gap:
            for share in within((before.x, before.y), (row.x, row.y), area) or ():
                border = between(before, row, before.t + share * (row.t - before.t))
                if given.get(row.node, -1.0) + SAME < border.t <= row.t - inside * SAME:
                    given[row.node] = border.t
                    yield border._replace(
                        x=min(max(border.x, area[0]), area[2]), y=min(max(border.y, area[1]), area[3])
                    )
        if inside:
            given[row.node] = row.t
            yield row


def within(begin: tuple[float, float], end: tuple[float, float], area: Area) -> tuple[float, float] | None:
    """The shares of a straight piece between which it is within an area (Liang and Barsky); None: nowhere."""
    first, last = 0.0, 1.0
    for axis in (0, 1):
        at, step = begin[axis], end[axis] - begin[axis]
        low, high = area[axis], area[axis + 2]
        if step == 0:
            if not low <= at <= high:
                return None
            continue
        near, far = sorted(((low - at) / step, (high - at) / step))
        first, last = max(first, near), min(last, far)
    return (first, last) if first <= last else None
