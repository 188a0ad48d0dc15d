"""Which access point a device is on."""

from __future__ import annotations

from collections.abc import Mapping


def nearest(position: tuple[float, float], access_points: Mapping[str, tuple[float, float]]) -> str:
    """Name of the nearest access point; of equally near ones the first by name (ValueError if there are none)."""
    x, y = position

    def rank(name: str) -> tuple[float, str]:
        ax, ay = access_points[name]
        return ((ax - x) ** 2 + (ay - y) ** 2, name)

    return min(access_points, key=rank)
