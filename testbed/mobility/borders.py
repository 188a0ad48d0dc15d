"""Who is nearest along a way of straight pieces: a device changes its site at the moment it crosses the border.

Where two sites are equally near is a straight line (an edge of their Voronoi diagram), so on each piece of the way that
moment is a quotient: how finely the way was recorded does not matter. A site's cell is convex, so a piece that begins
and ends in it does not leave it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nodes.policies.association import nearest

DIGITS = 6
"""Of the seconds of a change: rounding errors of differently recorded ways are far below a microsecond."""

Places = Sequence[tuple[str, float, float]]
"""Sites: name, and position in m."""


class Way:
    """One node's way from place to place, and where it changed its site; what is kept of the way is its last place.

    A node stays until another site is strictly nearer: who touches the border and turns back has not changed.

    Attributes:
        first: Site at the start, of equally near ones the first by name; empty as long as there is no place.
        changes: When, in s, and to which site, ascending; one a moment.
    """

    __slots__ = ("_about", "_begin", "_last", "_places", "changes", "first")

    def __init__(self, places: Places) -> None:
        self.first = ""
        self.changes: list[tuple[float, str]] = []
        self._places = places
        self._begin = 0.0
        self._last = (0.0, 0.0, 0.0)
        self._about = (0.0, 0.0, -1.0)  # a circle within the present site's cell: x, y, radius

    @property
    def here(self) -> str:
        """Site at the last place."""
        return self.changes[-1][1] if self.changes else self.first

    def to(self, t: float, x: float, y: float) -> None:
        """Go straight and evenly to the next place, in m, and be there at ``t``, in s: later than at the last."""
        if not self.first:
            self.first = nearest((x, y), {name: (px, py) for name, px, py in self._places})
            self._begin = round(t, DIGITS)
        else:
            cx, cy, radius = self._about
            if math.hypot(x - cx, y - cy) >= radius and not self._stays(x, y):
                t0, x0, y0 = self._last
                for share, site in crossings((x0, y0), (x, y), self.here, self._places):
                    self._change(round(t0 + share * (t - t0), DIGITS), site)
        self._last = (t, x, y)

    def _stays(self, x: float, y: float) -> bool:
        """Whether no other site is as near here; the circle moves along then."""
        here = self.here
        mine = other = math.inf
        for name, px, py in self._places:
            distance = math.hypot(px - x, py - y)
            if name == here:
                mine = distance
            elif distance < other:
                other = distance
        # Every place within half of what the next best is further away is nearer to this one (triangle inequality);
        # a little less, for rounding.
        self._about = (x, y, (other - mine) / 2 - 1e-6 if other > mine else -1.0)
        return other > mine

    def _change(self, t: float, site: str) -> None:
        if not self.changes and t <= self._begin:  # it began on a border, and went off to one side
            self.first = site
            return
        if self.changes and self.changes[-1][0] == t:  # through a corner of cells
            self.changes.pop()
        if site != self.here:
            self.changes.append((t, site))


def crossings(
    begin: tuple[float, float], end: tuple[float, float], here: str, places: Places
) -> list[tuple[float, str]]:
    """Changes of the nearest site on a straight piece of way: the share of the piece (0 to 1), and the site from there.

    Args:
        begin: Where the piece begins, m.
        end: Where it ends, m.
        here: The nearest site at its beginning, or one of those.
        places: All sites.
    """
    (x, y), (dx, dy) = begin, (end[0] - begin[0], end[1] - begin[1])
    hx, hy = next((px, py) for name, px, py in places if name == here)
    found: list[tuple[float, str]] = []
    share, left = 0.0, {here}  # a convex cell that was left is not entered again
    while True:
        best: tuple[float, float, str, float, float] | None = None
        for name, px, py in places:
            if name in left:
                continue
            # By how much the squared distance to this site is smaller: linear on the way, from `gain` by `slope`.
            ax, ay = px - hx, py - hy
            gain = 2 * ((x - (px + hx) / 2) * ax + (y - (py + hy) / 2) * ay)
            slope = 2 * (dx * ax + dy * ay)
            if gain + slope > 0:
                at = max(share, 0.0 if gain >= 0 else -gain / slope)
                if best is None or (at, -slope, name) < best[:3]:
                    best = at, -slope, name, px, py
        if best is None:
            return found
        share, _, name, hx, hy = best
        left.add(name)
        found.append((share, name))


def places_of(points: Mapping[str, tuple[float, float]]) -> Places:
    """Sites as `Way` wants them."""
    return tuple((name, x, y) for name, (x, y) in points.items())
