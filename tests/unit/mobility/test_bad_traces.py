"""What is wrong with a trace is told with its line, what was wanted, and what to do."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.mobility.readers import _source, _xml, opened_trace
from tests.unit.mobility.writers import WRITERS

FCD = "timestep_time;vehicle_id;vehicle_x;vehicle_y\n"
LOG = "Timestamp,Longitude,Latitude\n2019.12.16_14.23.32,-8,51\n"
SET = "$node_(a) set X_ 0\n$node_(a) set Y_ 0\n"
BOMB = """\
<?xml version="1.0"?>
<!DOCTYPE lolz [
 <!ENTITY lol "lol">
 <!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
]>
<fcd-export><timestep time="0"><vehicle id="&lol2;" x="0" y="0"/></timestep></fcd-export>
"""
GPX = '<gpx><trk><trkseg>\n<trkpt lat="{}" lon="{}"><time>{}</time></trkpt>\n{}</trkseg></trk></gpx>'
WHEN = "2026-05-01T10:00:00Z"
AGAIN = f'<trkpt lat="1" lon="1"><time>{WHEN}</time></trkpt>'


def _steps(*vehicles: str) -> str:
    return "<fcd-export>\n<timestep time='0'>\n" + "\n".join(vehicles) + "\n</timestep></fcd-export>"


BAD = {
    "empty": ("", 1, "empty"),
    "blank": ("\n\n", 1, "no header that is known"),
    "something else": ("\nhello world\n", 2, "no header that is known"),
    "a link trace": ("0\n1\n", 1, "no header that is known"),
    "binary": ("\x7fELF\0\0\0", 1, "not text"),
    "other XML": ("<?xml version='1.0'?>\n<!-- <gpx> -->\n<kml></kml>", 1, "no trace"),
    "csv: no rows": ("t,node,x,y\n", 1, "holds no rows"),
    "csv: unknown column": ("# c\nt,node,x,y,sped\n0,a,0,0,0\n", 2, "unknown column 'sped'"),
    "csv: column twice": ("t,node,x,y,kind,kind\n", 1, "'kind' is there twice"),
    "csv: speed of words": ("t,node,x,y,speed\n0,a,0,0,1\n1,a,0,0,fast\n", 3, "speed is not a finite number"),
    "csv: speed NaN": ("t,node,x,y,speed\n0,a,0,0,1\n1,a,0,0,nan\n", 3, "speed is not a finite number"),
    "csv: known node, NaN": ("t,node,x,y\n0,a,0,0\n1,a,0,nan\n", 3, "y is not a finite number"),
    "csv: known node, infinite": ("t,node,x,y\n0,a,0,0\ninf,a,0,0\n", 3, "t is not a finite number"),
    "csv: new node, infinite": ("t,node,x,y\n0,a,-inf,0\n", 2, "x is not a finite number"),
    "csv: underscore in a time": ("t,node,x,y\n0,a,0,0\n1_0,a,0,0\n", 3, "t is not a finite number"),
    "csv: underscore in a place": ("t,node,x,y\n0,a,0,0\n1,a,1_0,0\n", 3, "x is not a finite number"),
    "csv: underscore, new node": ("t,node,x,y\n0,a,0,1_0\n", 2, "y is not a finite number"),
    "csv: underscore in a speed": ("t,node,x,y,speed\n0,a,0,0,1\n1,a,0,0,1_0\n", 3, "speed is not a finite number"),
    "csv: far": ("t,node,x,y\n0,a,0,0\n1,a,-2e9,0\n", 3, "x is out of range"),
    "csv: too few for a known node": ("t,node,x,y\n0,a,0,0\n1,a,0\n", 3, "a row has 4 values"),
    "csv: too many for a known node": ("t,node,x,y\n0,a,0,0\n1,a,0,0,0\n", 3, "a row has 4 values"),
    "csv: same node with blanks": ("t,node,x,y\n1,a,0,0\n1, a ,0,0\n", 3, "time stands still for 'a'"),
    "csv: no name": ("t,node,x,y\n0, ,0,0\n", 2, "no usable name"),
    "csv: bell": ("t,node,x,y\n0,\a,0,0\n", 2, "no usable name"),
    "csv: long name": (f"t,node,x,y\n0,{'a' * 201},0,0\n", 2, "no usable name"),
    "csv: quote over lines": ('t,node,x,y\n0,a,0,0\n1,"a\n2,b",0,0\n', 4, "quote is not closed"),
    "csv: comment with a quote": ('t,node,x,y\n0,a,0,0\n# x,"\n1,a,9,9\n# y,"\n', 5, "quote is not closed"),
    "csv: open quote and much after it": ('t,node,x,y\n0,a,0,0\n1,"' + "x,\n" * 99_999, 3, "not CSV"),
    "csv: no such place": ("t,node,lat,lon\n0,a,91,0\n", 2, "latitude 91 is not within"),
    "csv: too far from the first": ("t,node,lat,lon\n0,a,0,0\n1,a,0,9\n", 3, "more than 500 km"),
    "fcd csv: twice": (FCD + "0;a;0;0\n0;a;1;0\n", 3, "time stands still for 'a'"),
    "fcd csv: NaN": (FCD + "0;a;0;0\n1;a;nan;0\n", 3, "vehicle_x is not a finite number"),
    "fcd csv: underscore": (FCD + "0;a;0;0\n1;a;0;1_0\n", 3, "vehicle_y is not a finite number"),
    "fcd csv: backwards": (FCD + "5;a;0;0\n1;a;1;0\n", 3, "time runs backwards for 'a'"),
    "fcd csv: place of nobody": (FCD + "0;;3;4\n", 2, "no usable name"),
    "fcd csv: only empty steps": (FCD + "0;;;\n1;;;\n", 1, "holds no rows"),
    "fcd csv: column twice": ("timestep_time;vehicle_id;vehicle_x;vehicle_y;vehicle_x\n", 1, "is there twice"),
    "xml: bomb": (BOMB, 2, "no document type"),
    "xml: outside entity": ('<!DOCTYPE gpx SYSTEM "file:///etc/passwd">\n<gpx/>', 1, "no document type"),
    "xml: two bytes a letter": ('<?xml version="1.0" encoding="GBK"?>\n<gpx/>', 1, "encoding that is not read"),
    "xml: no such encoding": ('<?xml version="1.0" encoding="UTF-9"?>\n<gpx/>', 1, "encoding that is not read"),
    "xml: encoding of domain names": ("<?xml version='1.0' encoding='punycode'?>\n<fcd-export/>", 1, "not read"),
    "xml: cut off": ("<fcd-export>\n<timestep time='0'>\n<vehicle id='a' x='0' y='0'", 3, "not well-formed"),
    "xml: not closed": ("<fcd-export>\n<timestep time='0'>\n<vehicle id='a' x='0' y='0'/>\n", 4, "not well-formed"),
    "xml: malformed": ("<fcd-export>\n<timestep time=0>", 2, "not well-formed"),
    "xml: undefined entity": (_steps("<vehicle id='&a;' x='0' y='0'/>"), 3, "undefined entity"),
    "xml: deep": ("<fcd-export>\n" + "<a>" * 70, 2, "nested too deeply"),
    "xml: NaN": (_steps("<vehicle id='a' x='nan' y='0'/>"), 3, "x is not a finite number"),
    "xml: infinite": (_steps("<vehicle id='a' x='0' y='inf'/>"), 3, "y is not a finite number"),
    "xml: underscore": (_steps("<vehicle id='a' x='1_0' y='0'/>"), 3, "x is not a finite number"),
    "xml: underscore in a speed": (_steps("<vehicle id='a' x='0' y='0' speed='1_0'/>"), 3, "speed is not a finite"),
    "xml: underscore in a time": ("<fcd-export>\n<timestep time='1_0'>", 2, "time is not a finite number"),
    "xml: far": (_steps("<vehicle id='a' x='1' y='-1e10'/>"), 3, "y is out of range"),
    "xml: no place": (_steps("<vehicle id='a' x='1'/>"), 3, "y is not a finite number"),
    "xml: no name": (_steps("<vehicle x='1' y='0'/>"), 3, "no usable name"),
    "xml: twice": (_steps("<vehicle id='a' x='1' y='0'/>", "<person id='a' x='1' y='0'/>"), 4, "time stands still"),
    "xml: no time": ("<fcd-export>\n<timestep>", 2, "time is not a finite number"),
    "xml: no timestep": ("<fcd-export>\n<vehicle id='a' x='0' y='0'/></fcd-export>", 2, "in no timestep"),
    "xml: nobody": ("<fcd-export><timestep time='0'/></fcd-export>", 1, "holds no rows"),
    "gpx: no such latitude": (GPX.format(90.5, 0, WHEN, ""), 2, "latitude 90.5 is not within"),
    "gpx: no such longitude": (GPX.format(0, -181, WHEN, ""), 2, "longitude -181 is not within"),
    "gpx: NaN": (GPX.format("nan", 0, WHEN, ""), 2, "lat is not a finite number"),
    "gpx: underscore": (GPX.format(0, "1_0", WHEN, ""), 2, "lon is not a finite number"),
    "gpx: no time of day": (GPX.format(1, 1, "yesterday", ""), 2, "no time"),
    "gpx: no time": ("<gpx><trk><trkseg>\n<trkpt lat='0' lon='0'/></trkseg></trk></gpx>", 2, "has no time"),
    "gpx: twice": (GPX.format(1, 1, WHEN, AGAIN), 3, "time stands still for 'track-1'"),
    "gpx: only a route": ("<gpx><rte><rtept lat='0' lon='0'/></rte></gpx>", 1, "holds no rows"),
    "ns-2: other Tcl": (SET + "exec rm -rf /\n", 3, "no line of movements"),
    "ns-2: long line": (SET + f"# {'x' * 2000}\n{SET.splitlines()[0]}{' ' * 2000}\n", 4, "no line of movements"),
    "ns-2: sent from nowhere": ('$ns_ at 1 "$node_(a) setdest 1 1 1"\n', 1, "nowhere at first"),
    "ns-2: half a place": ("$node_(a) set X_ 0\n", 1, "nowhere at first"),
    "ns-2: placed twice": (SET + "$node_(a) set X_ 1\n", 3, "two beginnings"),
    "ns-2: backwards": (SET + '$ns_ at 5 "$node_(a) setdest 1 1 1"\n$ns_ at 4 "$node_(a) setdest 1 1 1"\n', 4,
                        "time runs backwards for 'a'"),
    "ns-2: negative speed": (SET + '$ns_ at 5 "$node_(a) setdest 1 1 -1"\n', 3, "speed is negative"),
    "ns-2: NaN": (SET + '$ns_ at 5 "$node_(a) setdest nan 1 1"\n', 3, "x is not a finite number"),
    "ns-2: underscore": (SET + '$ns_ at 1_0 "$node_(a) setdest 1 1 1"\n', 3, "t is not a finite number"),
    "ns-2: underscore at first": ("$node_(a) set X_ 1_0\n", 1, "X_ is not a finite number"),
    "ns-2: negative time": (SET + '$ns_ at -5 "$node_(a) setdest 1 1 1"\n', 3, "time runs backwards"),
    "ns-2: never there": (SET + '$ns_ at 5 "$node_(a) setdest 1 1 1e-300"\n', 3, "t is out of range"),
    "bonnmotion: cut off": ("0 1 2 3 4 5\n0 1 2 3 4\n", 2, "cut off"),
    "bonnmotion: words": ("0 1 2 3 4 5\n0 1 two\n", 2, "y is not a finite number"),
    "bonnmotion: backwards": ("# 2D\n0 1 2 5 4 5 3 4 5\n", 2, "time runs backwards for '0'"),
    "bonnmotion: same time elsewhere": ("# 2D\n0 1 2 0 4 5\n", 2, "time stands still for '0'"),
    "bonnmotion: infinite": ("# 2D\n0 inf 2\n", 2, "x is not a finite number"),
    "bonnmotion: underscore": ("# 2D\n0 1_0 2\n", 2, "x is not a finite number"),
    "bonnmotion: far": ("# 2D\n0 1e10 2\n", 2, "x is out of range"),
    "drive log: no rows": (LOG.splitlines()[0] + "\n", 1, "holds no rows"),
    "drive log: no position": (LOG + "2019.12.16_14.23.33,-,51\n", 3, "Longitude is not a finite number"),
    "drive log: underscore": (LOG + "2019.12.16_14.23.33,-8,5_1\n", 3, "Latitude is not a finite number"),
    "drive log: absurd": (LOG + "2019.12.16_14.23.33,-8,99\n", 3, "latitude 99 is not within"),
    "drive log: no time": (LOG + "now,-8,51\n", 3, "no time"),
    "drive log: backwards": (LOG + "2019.12.16_14.23.30,-8,51\n", 3, "time runs backwards"),
    "drive log: cut off": (LOG + "2019.12.16_14.23.33,-8", 3, "a line has 3 values"),
}  # fmt: skip


def problem(path: Path) -> InputError:
    with pytest.raises(InputError) as caught, opened_trace(path) as found:
        list(found.rows())
    return caught.value


@pytest.mark.parametrize("case", BAD)
def test_bad_traces(tmp_path, case):
    text, line, message = BAD[case]
    path = tmp_path / "trace"
    path.write_text(text, encoding="utf-8", newline="")
    error = problem(path)
    assert message in error.message
    assert error.where == f"{path}:{line}"
    assert error.remedy


def big(rows: int = 20_000) -> bytes:
    return b"t,node,x,y\n" + b"".join(b"%d,a,%d,7\n" % (t, t * 7919 % 997) for t in range(rows))


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gz"), (lzma.compress, "xz")])
def test_a_packed_file_that_is_cut_off(tmp_path, pack, name):
    path = tmp_path / f"t.csv.{name}"
    path.write_bytes(pack(big())[: len(pack(big())) * 3 // 4])
    error = problem(path)
    assert "cut off" in error.message
    assert int((error.where or "").rpartition(":")[2]) > 1000  # as far as it went
    path.write_bytes(pack(big())[:20])
    assert "cut off" in problem(path).message


def test_a_packed_file_that_is_broken(tmp_path):
    path = tmp_path / "t.csv"
    packed = bytearray(gzip.compress(big()))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    assert problem(path).where.startswith(f"{path}:")
    path.write_bytes(gzip.compress(big(10))[:-6] + b"\0" * 6)  # a wrong sum
    assert "broken" in problem(path).message
    path.write_bytes(b"PK\x03\x04 not really")
    assert "archive cannot be opened" in problem(path).message


def test_a_broken_member(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("t.csv", big(10))
    path = tmp_path / "t.zip"
    path.write_bytes(out.getvalue().replace(b"5,a,", b"6,a,", 1))
    assert "broken" in problem(path).message or "stands still" in problem(path).message


def test_text_that_is_none_is_placed(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(big() + b"30000,\xff,0,0\n" + b"30001,a,0,0\n")
    error = problem(path)
    assert (error.message, error.where) == ("the trace is not UTF-8 text", f"{path}:20002")


def test_bounds(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"t,node,x,y\n0,a,0," + b"0" * (9 << 20)))
    error = problem(path)
    assert (error.message, error.where) == ("a line is too long", f"{path}:2")
    path.write_text("<fcd-export><timestep time='0'><vehicle id='" + "x" * (2 << 20) + "'/>")
    assert "piece of the XML is too long" in problem(path).message
    monkeypatch.setattr(_source, "MOST_BYTES", 100_000)
    path.write_bytes(gzip.compress(big()))
    assert "too large" in problem(path).message
    monkeypatch.setattr(_xml, "DEEPEST", 2)
    path.write_text(WRITERS["fcd_xml"]({"0": [(0.0, 0.0)] * 2}))
    assert "nested" in problem(path).message


def test_what_is_no_file(tmp_path):
    assert "not a file" in problem(Path("/dev/zero")).message
    assert "not a file" in problem(tmp_path).message
    assert "cannot be read" in problem(tmp_path / "none").message
    assert "cannot be read" in problem(Path("a\0b")).message


SAMPLES = [writer({"0": [(0.0, 0.0), (3.0, 4.0)]}).encode() for writer in WRITERS.values()]


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), min_size=1, max_size=3),
    st.sampled_from([lambda data: data, gzip.compress]),
)
@settings(max_examples=300, deadline=None)
@example(BOMB.encode(), [(0.0, b"")], gzip.compress)
def test_whatever_is_in_a_file_nothing_else_is_raised(tmp_path_factory, sample, changes, pack):
    data = bytearray(sample)
    for share, new in changes:
        at = int(share * len(data))
        data[at : at + len(new)] = new
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(pack(bytes(data)))
    error = outcome(path)
    if error is not None:
        assert (error.where or "").startswith(f"{path}:")
        assert error.remedy


def outcome(path: Path) -> InputError | None:
    try:
        with opened_trace(path) as found:
            for row in found.rows():
                assert row.t >= 0
                assert max(abs(row.x), abs(row.y), row.t) <= 1e9
    except InputError as error:
        return error
    return None


@pytest.mark.parametrize("error", [ValueError, KeyError])
def test_what_a_reader_gets_wrong_is_not_taken_for_an_encoding(tmp_path, error):
    path = tmp_path / "trace"
    path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n<gpx/>')

    def begin(*_: object) -> None:
        raise error("of the reader")

    with _source.opened(path) as source, pytest.raises(error, match="of the reader"):
        list(_xml.stream(_xml.Elements(source), begin))
