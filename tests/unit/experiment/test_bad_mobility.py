"""Bad input of movement, through the experiment file: each is refused with a file and a line, and never a traceback."""

from __future__ import annotations

import gzip
import zlib

import pytest

from testbed.errors import InputError
from testbed.experiment import load_plan
from tests.unit.experiment.test_motion import BASE

CSV = "t,node,x,y\n0,a,0,0\n0,b,99,0\n"
LONG = "t,node,x,y\n" + "".join(f"{t},a,{t % 97},{t * t % 89}\n" for t in range(5000))
PACKED = gzip.compress(LONG.encode(), mtime=0)
BOMB = '<?xml version="1.0"?>\n<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>\n<fcd-export>&b;</fcd-export>'
ENTITY = '<fcd-export>\n<timestep time="0">\n<vehicle id="&xxe;" x="0" y="0"/></timestep></fcd-export>'

# The trace, the line of it that is named, what the message says.
TRACES = {
    "gz that is cut off": (PACKED[: len(PACKED) // 2], None, "cut off"),
    "gz that is none": (b"\x1f\x8b\x08\x00" + b"nonsense" * 9, 1, "the packed file is"),
    "gz with a wrong checksum": (PACKED[:-8] + b"\0" * 8, None, "packed file is broken"),
    "gz of something else": (gzip.compress(b"\x7fELF\0\0\0\0"), 1, "not text"),
    "xml bomb": (BOMB, 2, "no document type"),
    "xml entity": (ENTITY, 3, "undefined entity"),
    "NaN": (CSV + "1,a,nan,0\n", 4, "x is not a finite number"),
    "infinite": (CSV + "1,a,0,inf\n", 4, "y is not a finite number"),
    "absurd": (CSV + "1,a,1e12,0\n", 4, "x is out of range"),
    "no such latitude": ("t,node,lat,lon\n0,a,123,0\n", 2, "latitude 123 is not within"),
    "unknown id": (CSV + "1,stranger,0,0\n", 4, "names 'stranger', which is no device"),
    "the same moment twice": (CSV + "1,a,0,0\n1,a,5,0\n", 5, "time stands still for 'a'"),
    "backwards": (CSV + "5,a,0,0\n4,a,5,0\n", 5, "time runs backwards for 'a'"),
}


@pytest.fixture
def refused(tmp_path):
    def load(mobility: str = "", base: str = BASE, **files: str | bytes) -> tuple[InputError, str]:
        for name, content in files.items():
            path = tmp_path / f"{name}.csv"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path = tmp_path / "exp.yaml"
        path.write_text(base + "".join(f"  {line}\n" for line in mobility.splitlines()))
        with pytest.raises(InputError) as caught:
            load_plan(path)
        error = getattr(caught.value, "problems", [caught.value])[0]
        return error, str(tmp_path)

    return load


@pytest.mark.parametrize("case", TRACES)
@pytest.mark.parametrize("more", ["", "association: {strongest: {}}\nradio: wifi"], ids=["rows", "tracks"])
def test_bad_traces(refused, case, more):
    content, line, message = TRACES[case]
    error, base = refused(f"trace: t.csv\n{more}", t=content)
    assert message in error.message
    file, _, number = str(error.where).rpartition(":")
    assert file == f"{base}/t.csv"
    assert int(number) == line or (line is None and int(number) > 0)
    assert error.remedy


# What stands under `mobility:`, the line of the file that is named, what the message says.
KEYS = {
    "hysteresis below 0": ("trace: t.csv\nassociation: {strongest: {hysteresis: -3dB}}", 10, "hysteresis: below 0"),
    "margin below 0": ("trace: t.csv\nassociation: {least-loaded: {margin: -1dB}}", 10, "margin: below 0"),
    "to where it is": ("moves: [a to west at 50% of round 2]", 9, "'a' is at 'west' already"),
    "to where it is then": ("moves:\n  - a to east at 50% of round 2\n  - a to east at 50% of round 3", 11, "already"),
    "to where it is, repeated": ("moves: [a to west every 5 rounds]", 9, "is at 'west' already"),
    "nobody": ("moves: [stranger to west at 50% of round 2]", 9, "stranger"),
    "nowhere": ("moves: [a to nowhere at 50% of round 2]", 9, "nowhere"),
    "sites far from the area": ("model: {gauss-markov: {area: [[900000, 0], [900100, 100]]}}", 9, "far outside"),
}


@pytest.mark.parametrize("case", KEYS)
def test_bad_keys(refused, case):
    mobility, line, message = KEYS[case]
    error, base = refused(mobility, t=CSV)
    assert message in error.message
    assert error.where == f"{base}/exp.yaml:{line}"
    assert error.remedy or error.wanted


CORNERS = {
    "BonnMotion": "0 0 0 10 100 0\n0 99 0\n",
    "ns-2": "".join(f"$node_({n}) set {axis}_ 0\n" for n in "ab" for axis in "XY"),
}


@pytest.mark.parametrize("case", CORNERS)
@pytest.mark.parametrize("every", ["", ", every: 1s"])
def test_corners_do_not_say_when_a_node_is_gone(refused, case, every):
    error, base = refused(f"trace: {{file: t.csv{every}}}\npresence: trace\ngap: 5s", t=CORNERS[case])
    assert error.message == "the trace does not say when nodes are gone"
    assert case in str(error.found)
    assert "presence: always" in str(error.remedy)
    assert error.where == f"{base}/exp.yaml:10"


def test_a_trace_that_is_not_there_is_that_with_presence_as_well(refused):
    error, base = refused("trace: t.csv\npresence: trace")
    assert "cannot be read" in error.message
    assert error.where == f"{base}/exp.yaml:9"


def test_a_remedy_has_its_unit(refused):
    error, base = refused("trace: t.csv\nradio: {wifi: {interval: 1us}}", t=CSV)
    assert "interval: this is too short: links would change all the time" in error.message
    assert (error.wanted, error.found) == ("100ms or more", "1us")
    assert error.remedy == "write 100ms or more, or leave it out"
    assert error.where == f"{base}/exp.yaml:10"


@pytest.mark.parametrize("more", ["", "association: {strongest: {}}"], ids=["rows", "tracks"])
def test_a_map_of_a_node_that_is_not_in_the_trace_names_it(refused, more):
    error, base = refused(f"trace: {{file: t.csv, map: {{ghost: b}}}}\n{more}", t=CSV)
    assert error.message == "map: the trace does not name 'ghost'"
    assert (error.wanted, error.found) == ("a, b", "ghost")
    assert error.where == f"{base}/exp.yaml:9"


@pytest.mark.parametrize("more", ["", "association: {strongest: {}}"], ids=["rows", "tracks"])
def test_sites_far_from_the_trace(refused, more):
    error, base = refused(f"trace: t.csv\n{more}", t="t,node,x,y\n0,a,1e6,0\n0,b,0,0\n")
    assert "all sites are far outside" in error.message
    assert "1000 km away" in error.found
    assert error.where == f"{base}/exp.yaml:9"


def test_sites_outside_the_area_of_the_trace_count_all_the_same(tmp_path):
    """A site is not in the trace: the area says which positions count, not which sites."""
    (tmp_path / "t.csv").write_text("t,node,x,y\n0,a,40,0\n0,b,60,0\n9,a,60,0\n")
    path = tmp_path / "exp.yaml"
    path.write_text(BASE + "  trace: {file: t.csv, area: [[30, -5], [70, 5]]}\n")
    assert {n.name: n.site for n in load_plan(path).nodes if n.kind == "device"} == {"a": "west", "b": "east"}


def test_absurd_places_of_sites(refused):
    for place in ("[1e12, 0]", "[.inf, 0]", "[.nan, 0]"):
        error, base = refused("moves: []", BASE.replace("[100, 0]", place))
        assert "sites.east.at" in error.message
        assert error.where == f"{base}/exp.yaml:1"


def test_bytes_of_any_kind_are_no_traceback(refused):
    """Whatever a packed file is broken by, it is an error with a place."""
    good = gzip.compress(CSV.encode(), mtime=0)
    for at in range(10, len(good)):
        broken = good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]
        try:
            same = gzip.decompress(broken) == CSV.encode()
        except (OSError, EOFError, zlib.error):
            same = False
        if not same:
            error, base = refused("trace: t.csv", t=broken)
            assert str(error.where).startswith(f"{base}/")
