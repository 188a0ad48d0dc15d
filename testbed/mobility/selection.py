"""What an experiment uses of a movement trace, as settings; `select` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
