from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.mobility.project import REACH, Plane

planes = st.builds(Plane, st.floats(-89, 89), st.floats(-180, 180))


def test_a_degree_at_the_equator():
    """Of longitude: 111319.49 m of arc, 111313.8 m on the plane; of latitude 110574.3 m of arc (WGS 84)."""
    x, y = Plane(0, 0).to_metres(0, 1)
    assert (x, y) == pytest.approx((6378137 * math.sin(math.radians(1)), 0), abs=1e-6)
    assert Plane(0, 0).to_metres(1, 0) == pytest.approx((0, 110568.7), abs=0.1)


def test_melbourne():
    """Two sites of the city's middle; 6359.5 km and 6386.2 km are the radii of curvature at that latitude.

    The parallel bends away from the plane's x axis towards the pole, by x² tanφ / 2N.
    """
    x, y = Plane(-37.81517, 144.97476).to_metres(-37.81524, 144.95256)
    east = math.radians(144.95256 - 144.97476) * 6386.2e3 * math.cos(math.radians(-37.81517))
    north = math.radians(-0.00007) * 6359.5e3 + east**2 * math.tan(math.radians(-37.81517)) / 2 / 6386.2e3
    assert (x, y) == pytest.approx((east, north), abs=0.02)


@given(planes, st.floats(0, 50e3), st.floats(0, 2 * math.pi))
def test_there_and_back(plane, distance, angle):
    x, y = distance * math.cos(angle), distance * math.sin(angle)
    assert plane.to_metres(*plane.to_degrees(x, y)) == pytest.approx((x, y), abs=1e-3)


def test_across_the_date_line():
    plane = Plane(10, 179.99)
    x, _ = plane.to_metres(10, -179.99)
    assert x == pytest.approx(2192.7, abs=0.5)
    assert plane.to_degrees(x, 0)[1] == pytest.approx(-179.99, abs=1e-9)


@pytest.mark.parametrize("place", [(90.1, 0), (-91, 0), (0, 180.1), (math.nan, 0), (0, math.inf)])
def test_no_such_place(place):
    with pytest.raises(ValueError, match="is not within"):
        Plane(0, 0).to_metres(*place)
    with pytest.raises(ValueError, match="is not within"):
        Plane(*place)


def test_too_far():
    with pytest.raises(ValueError, match="more than 500 km"):
        Plane(0, 0).to_metres(0, 180)
    with pytest.raises(ValueError, match="more than 500 km"):
        Plane(0, 0).to_degrees(REACH, 1)
