from __future__ import annotations

import pytest

from testbed.errors import InputError
from testbed.mobility.project import Plane
from testbed.mobility.sites import read

EUA = "SITE_ID,LATITUDE,LONGITUDE,NAME,STATE\n10003026,-37.81517,144.97476,\"Spring, corner\",VIC\n"


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "sites.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_metres(table):
    sites = read(table("# mine\nname,x,y,note\nnorth,0,10.5,\n\nsouth,-3,0,far\n"))
    assert [(s.name, s.x, s.y, s.line) for s in sites.rows] == [("north", 0, 10.5, 3), ("south", -3, 0, 5)]
    assert sites.plane is None


def test_eua_columns_in_latin_1(table):
    text = EUA.encode() + "10003027,-37.81524,144.95256,Caf\xe9,VIC\n".encode("latin-1")
    first, second = read(table(text)).rows
    assert (first.name, first.x, first.y) == ("10003026", 0, 0)
    assert (second.x, second.y) == pytest.approx((-1954.76, -8.0), abs=0.01)
    plane = Plane(-37.8, 144.9)
    assert read(table(text), plane=plane).plane == plane
    assert read(table(text)).plane == Plane(-37.81517, 144.97476)


BAD = {
    "empty": ("", 1, "empty"),
    "only a header": ("site,x,y\n", 1, "no sites"),
    "no header": ("north,0,0\n", 1, "no header that is known"),
    "no names": ("Latitude,Longitude\n1,1\n", 1, "no header that is known"),
    "twice": ("site,x,y\na,0,0\na,1,1\n", 3, "'a' is there twice"),
    "NaN": ("site,x,y\na,0,nan\n", 2, "y is not a finite number"),
    "infinite": ("site,x,y\na,inf,0\n", 2, "x is not a finite number"),
    "underscore": ("site,x,y\na,0,1_0\n", 2, "y is not a finite number"),
    "nowhere": ("site,lat,lon\na,95,0\n", 2, "latitude 95"),
    "no name": ("site,x,y\n,0,1\n", 2, "no usable name"),
    "too few": ("site,x,y\na,0\n", 2, "a row has 3 values"),
    "open quote": ('site,x,y\n"a,0,1\n', 2, "not CSV"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(table, case):
    text, line, message = BAD[case]
    path = table(text)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.remedy
