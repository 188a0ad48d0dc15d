"""One position of one node, and how far numbers of a trace may go."""

from __future__ import annotations

from typing import NamedTuple

FAR = 1e9
"""Metres and seconds that no trace goes beyond; distances stay finite."""


class Row(NamedTuple):
    """Where a node is at a time, and what was recorded with it.

    Attributes:
        t: Seconds.
        node: Its name in the trace.
        x: Metres to the east.
        y: Metres to the north.
        speed: As the trace has it, m/s; None where it says nothing.
        kind: What moves (car, bus, pedestrian …).
        rate: Measured rate towards the node, bit/s.
        rtt: Measured round-trip time, s.
        cell: Cell or access point that it was on.
    """

    t: float
    node: str
    x: float
    y: float
    speed: float | None = None
    kind: str | None = None
    rate: float | None = None
    rtt: float | None = None
    cell: str | None = None


def between(before: Row, after: Row, t: float) -> Row:
    """A node's row at a time between two of its rows: its place straight between, all else as it was before."""
    t0, node, x0, y0, *more = before
    share = (t - t0) / (after[0] - t0)
    return tuple.__new__(Row, (t, node, x0 + share * (after[2] - x0), y0 + share * (after[3] - y0), *more))
