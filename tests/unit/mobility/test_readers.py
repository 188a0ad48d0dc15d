"""Every format: the same motion gives the same rows, and files of the original tools are read."""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import InputError
from testbed.mobility import trace
from testbed.mobility.build import Settings as Timelines
from testbed.mobility.build import timeline_of
from testbed.mobility.readers import formats, opened_trace
from testbed.mobility.row import Row, between
from testbed.mobility.select import read as selected
from testbed.mobility.selection import Selection
from testbed.mobility.tracks import of_rows
from tests.unit.mobility.writers import PLANE, READER, WRITERS

DATA = Path(__file__).parent / "data"
MOTION = {"0": [(0.0, 0.0), (3.5, 4.25), (3.5, 4.25), (-20.0, 8.0)], "1": [(500.25, -70.0), (490.0, -70.0)]}


def rows(path: Path, **more) -> list[Row]:
    with opened_trace(path, **more) as found:
        return list(found.rows())


def told(path: Path) -> str:
    with opened_trace(path) as found:
        return next(name for name, format_ in formats().items() if format_ is found.format)


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes, name: str = "trace.dat") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


place = st.tuples(*[st.integers(-500_000, 500_000).map(lambda cm: cm / 100)] * 2)
motions = st.lists(st.lists(place, min_size=2, max_size=6), min_size=1, max_size=3).map(
    lambda ways: {str(i): way for i, way in enumerate(ways)}
)


@pytest.mark.parametrize("writer", WRITERS)
@given(motion=motions)
@settings(max_examples=25, deadline=None)
def test_the_same_motion_gives_the_same_rows(tmp_path_factory, writer, motion):
    if writer == "drive_log":
        motion = {"0": motion["0"]}
    path = tmp_path_factory.mktemp("trace") / "0"  # drive logs call their node by the file's name
    path.write_text(WRITERS[writer](motion), encoding="utf-8")
    found = of_rows(selected(path, list(motion), Selection(every=1.0), plane=PLANE))
    assert found.keys() == motion.keys()
    for node, places in motion.items():
        times = np.arange(len(places), dtype=float)
        if not formats()[told(path)].waypoints:  # otherwise, who does not move any more needs no row
            assert found[node].t == pytest.approx(times)
        x, y = found[node].at(times)
        assert np.column_stack([x, y]) == pytest.approx(np.array(places), abs=2e-4)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("packing", ["plain", "gz", "xz", "zip"])
def test_a_format_is_told_by_content(written, writer, packing):
    text = WRITERS[writer](MOTION).encode()
    path = written(_packed(text, packing), "x.csv")
    assert told(path) == READER.get(writer, writer)
    assert rows(path) == rows(_plain(path, text))


def _plain(path: Path, text: bytes) -> Path:
    (path.parent / "y").mkdir(exist_ok=True)
    other = path.parent / "y" / path.name
    other.write_bytes(text)
    return other


def _packed(text: bytes, packing: str) -> bytes:
    if packing == "gz":
        return gzip.compress(text)
    if packing == "xz":
        return lzma.compress(text)
    if packing == "plain":
        return text
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/x.csv", b"no trace")
        archive.writestr("x.csv", text)
    return out.getvalue()


def test_a_member_is_named_as_if_the_archive_were_a_directory(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/one.csv", WRITERS["own"](MOTION))
        archive.writestr("a/two.xml", WRITERS["fcd_xml"](MOTION))
    assert told(tmp_path / "two.zip" / "a" / "two.xml") == "fcd_xml"
    with pytest.raises(InputError, match="several files") as caught:
        told(tmp_path / "two.zip")
    assert "two.zip/a/one.csv" in (caught.value.remedy or "")
    with pytest.raises(InputError, match="has no file 'b'"):
        told(tmp_path / "two.zip" / "b")


def test_sumo_writes_the_same_thrice():
    xml, plain, converted = (rows(DATA / f"sumo-{n}.gz") for n in ("fcd.xml", "fcd.csv", "xml2csv.csv"))
    assert len(xml) == 110
    assert xml == plain
    assert sorted(xml) == sorted(converted)
    assert xml[0] == Row(0.0, "0", -1.6, 229.7, 13.89, "DEFAULT_VEHTYPE")
    assert {row.kind for row in xml} == {"DEFAULT_VEHTYPE", "DEFAULT_PEDTYPE"}


def test_sumo_for_ns2_is_what_it_was_a_second_before():
    """The exporter sends a vehicle to where it is: it is there about a second later, at most (in whole speeds)."""
    there = {(r.t, r.node): r for r in rows(DATA / "sumo-fcd.xml.gz")}
    with opened_trace(DATA / "sumo-ns2.tcl") as found:
        ns2 = [r for r in found.rows() if r.node == "0"]
    assert told(DATA / "sumo-ns2.tcl") == "setdest"
    assert (ns2[0].x, ns2[0].y) == (there[0.0, "0"].x, there[0.0, "0"].y)
    for before, after in itertools.pairwise(ns2):
        assert before.t < after.t


def test_ns2_itself():
    """Nodes of `setdest` reach where they are sent when its own file says that they pause there."""
    found = rows(DATA / "ns2-setdest.tcl")
    first = [r for r in found if r.node == "1"]
    assert (first[0].t, first[0].x, first[0].y) == (0.0, 79.484069122161, 103.476455277554)
    assert (first[1].t, first[1].x) == (2.0, 79.484069122161)  # waits until it is sent
    arrived = next(r for r in first if r.t > 2.0)
    assert (arrived.t, arrived.x, arrived.y) == pytest.approx((25.164264787921, 138.634000936493, 96.072113090893))
    assert {r.node for r in found} == {"0", "1", "2"}


def test_sent_elsewhere_on_the_way(written):
    text = '$node_(a) set X_ 0\n$node_(a) set Y_ 0\n$ns_ at 1.0 "$node_(a) setdest 100 0 10"\n'
    found = rows(written(text + '$ns_ at 6.0 "$node_(a) setdest 50 20 5.0"\n'))
    assert [(r.t, r.x, r.y) for r in found] == [(0, 0, 0), (1, 0, 0), (6, 50, 0), (10, 50, 20)]


def _placed(node: int, axes: str = "XY") -> str:
    return "".join(f"$node_({node}) set {axis}_ {node}.0\n" for axis in axes)


def _sent(node: int, t: float) -> str:
    return f'$ns_ at {t} "$node_({node}) setdest 50 {node} 10"\n'


@pytest.mark.parametrize("sent", [_sent(1, 1.0), _sent(1, 1.0) + _sent(0, 2.0), _sent(1, 1.0) + _placed(0, "Z"), ""])
def test_nodes_appear_in_the_order_in_which_they_are_placed(written, sent):
    path = written(_placed(0) + _placed(1) + sent)
    assert list(dict.fromkeys(r.node for r in rows(path))) == ["0", "1"]
    assert next(r.node for r in selected(path, ["dev-1", "dev-2"]) if r.x == 1) == "dev-2"


def test_nodes_that_are_placed_after_others_are_sent(written):
    text = _placed(0, "X") + _placed(1) + _sent(1, 1.0) + _placed(0, "Y") + _placed(2)
    path = written(text + _sent(2, 2.0) + _sent(1, 3.0))
    found = rows(path)
    assert list(dict.fromkeys(r.node for r in found)) == ["1", "0", "2"]
    assert [r.t for r in found if r.node == "1"] == [0, 1, 3, pytest.approx(5.9)]
    with opened_trace(path) as trace_:
        begun = {r.node: trace_.where().rpartition(":")[2] for r in trace_.rows() if r.t == 0}
    assert begun == {"1": "2", "0": "1", "2": "6"}  # the lines that place them


def test_bonnmotion_tells_its_dimensions(written):
    flat = rows(written("0 1 2 5 3 4\n\n0 0 0\n"))
    assert [(r.t, r.node, r.x, r.y) for r in flat] == [(0, "0", 1, 2), (5, "0", 3, 4), (0, "1", 0, 0)]
    deep = rows(written("0 1 2 9 5 3 4 9\n0 0 0 0\n"))
    assert [(r.t, r.node, r.x, r.y) for r in deep] == [(0, "0", 1, 2), (5, "0", 3, 4), (0, "1", 0, 0)]
    ambiguous = "0 1 2 3 4 5 6 7 8 9 10 11\n"
    with pytest.raises(InputError, match="two or of three dimensions") as caught:
        rows(written(ambiguous))
    assert "# 3D" in (caught.value.remedy or "")
    assert [r.t for r in rows(written("# 3D\n" + ambiguous))] == [0, 4, 8]


LOG = """\
Timestamp,Longitude,Latitude,Speed,CellID,RAWCELLID,DL_bitrate,UL_bitrate,State,PINGAVG
2019.12.16_14.23.32,-8.395234,51.886583,0,11,801,100,66,D,-
2019.12.16_14.23.32,-8.395234,51.886583,36,11,801,300,66,D,73.0
2019.12.16_14.23.34,-8.395234,51.886683,36,12,-,0,66,I,-
2019.12.16_14.23.33,-8.395234,51.886783,18,12,802,7000,66,D,-
"""


def test_a_drive_log(written):
    first, second = rows(written(LOG, "drive.csv"))
    assert first == Row(0, "drive", 0.0, 0.0, speed=10.0, rate=200e3, rtt=0.073, cell="801")
    assert (second.t, second.speed, second.rate, second.rtt, second.cell) == (2, 5.0, 7e6, None, "802")
    assert (second.x, second.y) == pytest.approx((0, 22.25), abs=0.01)


def test_idle_says_nothing_of_the_rate(written):
    text = LOG.splitlines()
    found = rows(written("\n".join([text[0], text[3]]) + "\n"))
    assert [(r.rate, r.cell) for r in found] == [(None, None)]


def test_own_csv_with_more(written):
    found = rows(written("t,node,x,y,speed,kind,cell\n0,a,1,2,3.5,car,x1\n1,a,1,2,,,\n"))
    assert found == [Row(0, "a", 1, 2, 3.5, "car", None, None, "x1"), Row(1, "a", 1, 2)]


def test_blanks_around_cells_are_none_of_their_names(written):
    found = rows(written("t, node, x, y, cell\n0, a, 0, 0, north\n1, a, 0, 0, south \n2, a, 0, 0, \n"))
    assert [r.cell for r in found] == ["north", "south", None]


def test_sumo_with_degrees_says_so(written):
    comment = '<!-- <fcd-output.geo value="true"/> -->\n'
    body = '<fcd-export><timestep time="0"><vehicle id="a" x="11.34" y="44.5"/></timestep></fcd-export>'
    found = rows(written(comment + body), plane=PLANE)
    assert (found[0].x, found[0].y) == pytest.approx(PLANE.to_metres(44.5, 11.34))


def test_tracks_of_two_receivers(written):
    point = '<trkpt lat="44.49" lon="11.34"><time>{}</time></trkpt>'
    track = "<trk>{}<trkseg>{}</trkseg></trk>"
    late, early = point.format("2026-05-01T10:00:10Z"), point.format("2026-05-01T12:00:00.500+02:00")
    text = f"<gpx><wpt lat='0' lon='0'/>{track.format('<name> b </name>', late)}{track.format('', early)}</gpx>"
    assert [(r.t, r.node) for r in rows(written(text))] == [(9.5, "b"), (0.0, "track-2")]


def test_rows_come_one_at_a_time(written):
    for writer in ("own", "fcd_csv", "setdest", "drive_log"):
        text = WRITERS[writer](MOTION)
        with opened_trace(written(text + "\nnonsense\n")) as found:
            assert next(found.rows()).node  # what is wrong further on is not met yet


def test_where_rows_come_from(written):
    with opened_trace(written("# c\nt,node,x,y\n\n0,a,0,0\n1,a,0,0\n")) as found:
        assert [found.where().rpartition(":")[2] for _ in found.rows()] == ["4", "5"]
    text = WRITERS["fcd_xml"](MOTION)
    with opened_trace(written(text)) as found:
        for row in found.rows():
            line = text.splitlines()[int(found.where().rpartition(":")[2]) - 1]
            assert f'time="{row.t:.2f}"' in line


def test_any_format_will_do_for_devices(written):
    path = written(WRITERS["fcd_xml"](MOTION))
    assert len(list(trace.read(path, ["0", "1"]))) == 6
    with pytest.raises(InputError, match="names '1'") as caught:
        list(trace.read(path, ["0"]))
    assert caught.value.where == f"{path}:4"


WALK = {"0": [(x * 40.0, 5.0) for x in range(9)], "1": [(330.0 - x * 30.0, -8.0) for x in range(9)]}
SITES = {"west": (0.0, 0.0), "middle": (155.0, 0.0), "east": (310.0, 0.0)}


@pytest.mark.parametrize("writer", [w for w in WRITERS if w != "drive_log"])
def test_the_same_motion_gives_the_same_timeline(written, writer):
    def timeline(name: str):
        found = of_rows(selected(written(WRITERS[name](WALK)), list(WALK), plane=PLANE))
        return timeline_of(found, SITES, Timelines())

    asked, found = timeline("own"), timeline(writer)
    assert len(asked.moves) == 3
    assert (found.starts, found.moves) == (asked.starts, asked.moves)


def test_a_drive_log_of_the_same_motion_gives_the_same_timeline_of_its_one_node(written):
    """Its positions are degrees; its speeds and cells say no more about where it is."""
    alone = {"0": WALK["0"]}

    def timeline(name: str):
        found = of_rows(selected(written(WRITERS[name](alone)), ["0"], plane=PLANE))
        return timeline_of(found, SITES, Timelines())

    asked, found = timeline("own"), timeline("drive_log")
    assert len(asked.moves) == 2
    assert (found.starts, found.moves) == (asked.starts, asked.moves)


def test_no_format_is_left_out_of_these():
    assert {READER.get(name, name) for name in WRITERS} == set(formats())


def test_a_long_trace_takes_no_room(written):
    text = WRITERS["own"]({str(n): [(float(t % 997), float(n)) for t in range(5000)] for n in range(10)})
    path = written(gzip.compress(text.encode()))
    assert sum(1 for _ in selected(path, [str(n) for n in range(10)])) == 50_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in selected(path, [str(n) for n in range(10)], Selection(every=2.0))) == 25_000
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_between():
    before, after = Row(1, "a", 0, 0, rate=5.0, cell="x"), Row(3, "a", 10, -10, rate=7.0)
    assert between(before, after, 1.5) == Row(1.5, "a", 2.5, -2.5, rate=5.0, cell="x")
