"""From latitude and longitude to metres on a plane, and back.

The plane touches the WGS 84 ellipsoid at an origin: x is metres to the east of it and y to the north, of the position
brought to earth-centred coordinates and turned into the origin's frame (east, north, up), heights left out:

    N(φ) = a / √(1 - e² sin²φ)
    (X, Y, Z) = (N cosφ cosλ, N cosφ sinλ, N (1 - e²) sinφ)
    x = -sinλ₀ ΔX + cosλ₀ ΔY
    y = -sinφ₀ cosλ₀ ΔX - sinφ₀ sinλ₀ ΔY + cosφ₀ ΔZ

Distances on the plane are short of those on the ground by about d²/(6 R²): 4 mm at 10 km from the origin, 4 m at
100 km. Beyond `REACH` the plane is no map any more, and positions are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

A = 6378137.0
"""Semi-major axis of WGS 84, m."""
F = 1 / 298.257223563
"""Flattening of WGS 84."""
E2 = F * (2 - F)
REACH = 500e3
"""Metres from the origin within which positions are taken; lengths are short by at most 0.1 % there."""


@dataclass(frozen=True)
class Plane:
    """The plane that touches the Earth at an origin (degrees; ValueError if there is no such place)."""

    latitude: float
    longitude: float
    _frame: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(self.latitude, self.longitude)
        lat, lon = math.radians(self.latitude), math.radians(self.longitude)
        sines = (math.sin(lat), math.cos(lat), math.sin(lon), math.cos(lon))
        object.__setattr__(self, "_frame", (*sines, *_centred(lat, lon)))

    def to_metres(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Metres to the east and north of the origin (ValueError: no such place, or too far away)."""
        check(latitude, longitude)
        sin_lat, cos_lat, sin_lon, cos_lon, x0, y0, z0 = self._frame
        x, y, z = _centred(math.radians(latitude), math.radians(longitude))
        dx, dy, dz = x - x0, y - y0, z - z0
        if dx * dx + dy * dy + dz * dz > REACH * REACH:
            raise ValueError(f"more than {REACH / 1000:g} km from the origin {self.latitude:g}, {self.longitude:g}")
        east = cos_lon * dy - sin_lon * dx
        return east, cos_lat * dz - sin_lat * (cos_lon * dx + sin_lon * dy)

    def to_degrees(self, x: float, y: float) -> tuple[float, float]:
        """Latitude and longitude of a place on the plane (ValueError: too far away)."""
        if not math.hypot(x, y) <= REACH:
            raise ValueError(f"more than {REACH / 1000:g} km from the origin")
        latitude, longitude = self.latitude, self.longitude
        for _ in range(20):  # each step leaves about a hundredth of the error, and 1e-12 degrees is a micrometre
            here_x, here_y = self.to_metres(latitude, longitude)
            north = (y - here_y) / math.radians(1) / A
            east = (x - here_x) / math.radians(1) / A / max(math.cos(math.radians(latitude)), 1e-6)
            latitude, longitude = min(90.0, max(-90.0, latitude + north)), (longitude + east + 180) % 360 - 180
            if abs(north) < 1e-13 and abs(east) < 1e-13:
                break
        return latitude, longitude


def check(latitude: float, longitude: float) -> None:
    """Refuse what is no place on Earth (ValueError)."""
    if not -90 <= latitude <= 90:
        raise ValueError(f"the latitude {latitude:g} is not within -90 to 90 degrees")
    if not -180 <= longitude <= 180:
        raise ValueError(f"the longitude {longitude:g} is not within -180 to 180 degrees")


def _centred(lat: float, lon: float) -> tuple[float, float, float]:
    """Earth-centred coordinates of a place on the ellipsoid, m."""
    sin_lat, cos_lat = math.sin(lat), math.cos(lat)
    n = A / math.sqrt(1 - E2 * sin_lat * sin_lat)
    return n * cos_lat * math.cos(lon), n * cos_lat * math.sin(lon), n * (1 - E2) * sin_lat
