from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from nodes.policies.association import Strongest
from nodes.policies.radio import wifi
from testbed.emulation.links.shape import Shape
from testbed.errors import InputError
from testbed.experiment.changes import Move
from testbed.mobility import map as drawn
from testbed.mobility.build import Settings, timeline_of
from testbed.mobility.foresee import Oracle
from testbed.mobility.overview import Overview, overview, reach
from testbed.mobility.timeline import Timeline
from testbed.mobility.tracks import track

POINTS = {"west": (0.0, 0.0), "east <&>": (150.0, 0.0)}
LINKS = {name: (Shape(rate=5e6), Shape(rate=50e6)) for name in POINTS}
RADIO = wifi(shadowing=0)
WALK = {"walker": track([(0, 0, 5), (100, 150, 5)])}


@pytest.fixture(scope="module")
def seen() -> Overview:
    timeline = timeline_of(WALK, POINTS, Settings(Strongest(), RADIO, predictor=Oracle(60)), LINKS)
    return overview("walk", timeline, POINTS, LINKS, WALK, RADIO, predictor="oracle, 5 s ahead")


def test_the_overview_tells_all(seen):
    (walker,) = seen.devices
    (outage,) = walker.outages
    (handover,) = seen.handovers
    assert (handover.source, handover.to, handover.at) == ("west", "east <&>", outage.end)
    assert handover.x == pytest.approx(1.5 * handover.at, abs=0.01)
    west, east = walker.dwells
    assert west.connected == pytest.approx(outage.begin)
    assert west.up < 5e6  # its rate falls, and it is out of coverage in the end
    assert 5e6 < east.down < 50e6
    assert seen.score["hits"] == 1
    assert {0.0, outage.begin, outage.end, 100.0} <= {t for t, _, _ in walker.path}


def test_the_overview_goes_through_json(seen):
    assert Overview.from_json(json.loads(json.dumps(seen.as_json()))) == seen


def test_reach_is_where_coverage_ends(seen):
    (walker,) = seen.devices
    left = next(x for t, x, _ in walker.path if t == walker.outages[0].begin)
    assert reach(RADIO) == pytest.approx(left, abs=0.5)


def test_a_map_on_file(seen, tmp_path):
    for name in ("m.svg", "m.PNG"):
        drawn.save(seen, tmp_path / name)
    words = "".join(ET.parse(tmp_path / "m.svg").getroot().itertext())
    for word in ("walker", "west", "east <&>", "out of coverage", "handover (1)", "usual reach"):
        assert word in words
    assert (tmp_path / "m.PNG").read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "again.svg"
    drawn.save(seen, again)
    assert again.read_bytes() == (tmp_path / "m.svg").read_bytes()


def test_a_map_in_a_page_follows_the_pages_ink(seen):
    text = drawn.page(seen)
    assert text.startswith("<svg")
    assert "var(--ink)" in text
    assert "1 devices over 100 s with 1 handovers" in text


def test_no_other_files(seen, tmp_path):
    with pytest.raises(InputError, match="SVG or PNG"):
        drawn.save(seen, tmp_path / "m.pdf")
    with pytest.raises(InputError, match="cannot be written"):
        drawn.save(seen, tmp_path / "none" / "m.svg")


def test_without_paths_arrows_go_from_site_to_site(tmp_path):
    timeline = Timeline({"d": "west"}, (Move("d", "east <&>", round=2, progress=0.5),))
    found = overview("scripted", timeline, POINTS, LINKS)
    assert [h.due for h in found.handovers] == ["50% of round 2"]
    drawn.save(found, tmp_path / "m.svg")
    assert "handover (1)" in (tmp_path / "m.svg").read_text()
