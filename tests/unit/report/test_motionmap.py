"""The map with its slider: what was planned beside what a run did."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.mobility import map as maps
from testbed.mobility.overview import Device, Dwell, Handover, Outage, Overview
from testbed.report import became, motiongrids, motionmap
from testbed.report.html import render
from testbed.report.load import load
from testbed.report.style import EDGES
from testbed.report.timeline import edge_colours
from tests.unit.report.sample import make_run
from tests.unit.report.test_html import Page

SITES = {"north": (0.0, 0.0), "south": (200.0, 60.0)}
END = 30.0


def device(name: str, to: float | None, phase: float, gone: tuple[Outage, ...] = ()) -> Device:
    path = tuple((float(t), 200 / END * t, 30 + 25 * math.sin(t / 4 + phase)) for t in range(int(END) + 1))
    cuts = [(0.0, END, "north")] if to is None else [(0.0, to, "north"), (to, END, "south")]
    dwells = tuple(Dwell(site, begin, end, end - begin, 20e6, 40e6) for begin, end, site in cuts)
    return Device(name, "north", path, dwells, gone)


OVERVIEW = Overview(
    "fedfly", END, SITES, 130.0,
    (device("pi3-1", 9.0, 0.0), device("pi3-2", None, 1.0, (Outage(4.0, 7.5, "out of coverage"),)),
     device("pi4-1", 12.0, 2.0), device("pi4-2", 29.0, 3.0, (Outage(0.0, 3.0, "absent"),))),
    (Handover("pi3-1", 9.0, "north", "south", "9 s", 60.0, 45.0),
     Handover("pi4-1", 12.0, "north", "south", "12 s", 80.0, 20.0),
     Handover("pi4-2", 29.0, "north", "south", "29 s", 193.0, 30.0)),
    {"policy": "linear, 5 s ahead", "hits": 2, "misses": 1, "wrong": 0, "late": 1, "unforeseen": 0, "false_alarms": 3,
     "mean_lead": 3.2}, 0.5,
)  # fmt: skip


def run_with(base: Path, overview: Overview = OVERVIEW) -> Path:
    path = make_run(base)
    (path / "mobility.json").write_text(json.dumps(overview.as_json()))
    summary = json.loads((path / "summary.json").read_text())
    for row in summary["results"]:
        for move, due in zip(row["moves"], (9.0, 12.0), strict=True):
            move |= {"due_s": due, "late_s": 0.004 if due == 9 else 0.15}
        row["mobility"] = {
            "handovers": {"planned": 2, "carried_out": 2, "late_max_s": 0.15, "late_median_s": 0.077,
                          "latest": "pi4-1 to south"},
            "outages": {"pi3-2": {"times": 1, "out_of_coverage_s": 3.5, "absent_s": 0, "interrupted_s": 0,
                                  "planned_s": 3.5}},
            "prediction": {"policy": "linear, 5 s ahead", "hits": 1, "misses": 1, "wrong": 0, "late": 1,
                           "unforeseen": 0, "false_alarms": 2, "mean_lead": 2.5},
        }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_with(tmp_path_factory.mktemp("moving"))


@pytest.fixture(scope="module")
def drawn(run: Path) -> str:
    return render(load(run))


def test_it_needs_nothing_from_elsewhere(drawn: str) -> None:
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", drawn))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of formats only"
    page = Page(drawn)
    assert page.tags["script"] == 2
    assert page.tags["input"] == 1
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert all(count == 1 for count in page.ids.values())


def test_every_handover_stands_beside_what_each_run_made_of_it(run: Path) -> None:
    grid = motiongrids.handover_grid(load(run))
    rows = [[cell.text for cell in row] for row in grid.rows]
    assert rows[0][:4] == ["pi3-1", "north", "south", "9 s"]
    assert rows[0][5] == "4.00 ms"
    assert [cell.mark for cell in grid.rows[1]][5] == "bad", "later than 100 ms"
    assert rows[2][4] == "training had ended"


def test_a_move_that_was_due_otherwise_is_not_taken_for_it(run: Path) -> None:
    record = load(run)
    scheme = record.schemes[0]
    moved = replace(OVERVIEW, handovers=(replace(OVERVIEW.handovers[0], at=8.0),))
    first, *others = became.pairs(moved, scheme)
    assert first.move is None
    assert [p.planned for p in others] == [None, None]


def test_tables_tell_outages_predictions_and_the_worst_lateness(drawn: str) -> None:
    text = Page(drawn).text
    for words in ("worst lateness", "150 ms", "3.50 s", "linear, 5 s ahead", "false alarms", "replayed 2 times faster"):
        assert words in text, words


def test_without_a_timeline_there_is_no_map(tmp_path: Path) -> None:
    record = load(make_run(tmp_path))
    assert motionmap.block(record) is None
    assert motiongrids.notes(record) == []
    assert not any("mobility" in what for what in record.missing)


def test_where_nobody_moves_it_is_shown_who_comes_and_goes(tmp_path: Path) -> None:
    still = tuple(replace(d, path=()) for d in OVERVIEW.devices)
    away = replace(OVERVIEW, devices=still, handovers=(), score=None)
    text = str(motionmap.block(load(run_with(tmp_path, away))))
    assert "link down: absent, 0.0 to 3.0 s" in text
    always = replace(away, devices=tuple(replace(d, outages=()) for d in still))
    assert motionmap.block(load(run_with(tmp_path / "always", always))) is None


def test_a_broken_timeline_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    (path / "mobility.json").write_text('{"name": "x", "end"')
    record = load(path)
    assert any("mobility.json" in what for what in record.missing)
    assert "Timeline" in render(record)
    (path / "mobility.json").write_text('{"name": "x"}')
    assert "mobility.json: cannot be read, so no map" in load(path).missing


def test_places_on_the_drawing_are_those_of_its_marks() -> None:
    """The sites' triangles are where `Frame.point` has them."""
    frame = maps.frame(OVERVIEW)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', frame.svg).groups())
    marks = {(float(x), float(y)) for x, y in re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', frame.svg)}
    for at in SITES.values():
        x, y = frame.point(*at)
        assert 0 < x < width
        assert 0 < y < height
        assert any(math.dist((x, y), mark) < 0.01 for mark in marks)


def test_names_cannot_leave_the_data(tmp_path: Path) -> None:
    odd = replace(OVERVIEW, devices=(replace(OVERVIEW.devices[0], name="</script><b>&"),), handovers=())
    text = str(motionmap.block(load(run_with(tmp_path, odd))))
    assert "</script><b>" not in text
    data = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert json.loads(data.group(1))["devices"][0]["name"] == "</script><b>&"


def test_who_is_where_between_positions() -> None:
    walker = OVERVIEW.devices[0]
    x, _ = became.place(walker, 4.5)
    assert x == pytest.approx(30)
    assert became.place(walker, 99)[0] == pytest.approx(200)
    assert list(became.spans([(0.0, "a"), (5.0, "b")], 8)) == [(0.0, 5.0, "a"), (5.0, 8, "b")]
    assert list(became.spans([(0.0, "a"), (9.0, "b")], 8)) == [(0.0, 8, "a")]


def test_faults_and_what_was_done_about_them_are_told_in_order(tmp_path: Path) -> None:
    path = run_with(tmp_path)
    summary = json.loads((path / "summary.json").read_text())
    summary["results"][0] |= {
        "faults": [{"kind": "kill", "target": "edge-north", "at_s": 4.0, "mended_s": None},
                   {"kind": "cut", "target": "north -- south", "at_s": 1.0, "mended_s": 2.5}],
        "notes": [{"at_s": 7.0, "node": "pi3-1", "text": "no copy of <it> is left"}],
        "standbys": {"made": 2, "bytes": 3_000_000, "edge_s": 0.5, "unused_bytes": 1_000_000, "unused_edge_s": 0.2},
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary))
    record = load(path)
    rows = [[cell.text for cell in row] for row in motiongrids.fault_grid(record).rows]
    assert [row[2] for row in rows] == [
        "north -- south was cut, and mended at 2.50 s", "edge-north was killed", "pi3-1: no copy of <it> is left"
    ]
    [row] = motiongrids.standby_grid(record).rows
    assert row[1].text == "2"
    html = render(record)
    assert "edge-north was killed" in html
    assert "no copy of &lt;it&gt; is left" in html


def test_who_died_is_told_and_its_handovers_are_not_missed(tmp_path: Path) -> None:
    path = run_with(tmp_path)
    summary = json.loads((path / "summary.json").read_text())
    row = summary["results"][0]
    device = OVERVIEW.handovers[0].device
    row["moves"] = []
    row["deaths"] = [{"node": device, "kind": "device", "at_s": 0.5, "how": "died (exit code 137)", "asked": True,
                      "rounds_without": [2, 3, 4]}]  # fmt: skip
    row["mobility"] = {"handovers": {"planned": 1, "carried_out": 0, "died_before": 1}}
    (path / "summary.json").write_text(json.dumps(summary))
    record = load(path)
    told = [cells[2].text for cells in motiongrids.fault_grid(record).rows]
    assert told == [f"{device} died (exit code 137), as asked; averaged without it: rounds 2 to 4"]
    assert motiongrids.sums_grid(record).rows[0][3].text == "1"
    scheme = record.schemes[0]
    cells = [cell.text for row in motiongrids.handover_grid(record).rows for cell in row[4:6] if row[0].text == device]
    assert cells[0] == "its device had died"
    assert scheme.died(device) == 0.5
    assert "its device had died" in render(record)


def test_an_edge_server_has_the_colour_of_its_site(run: Path) -> None:
    record = load(run)
    assert record.motion is not None
    swapped = replace(record.motion, sites=dict(reversed(SITES.items())))
    for overview in (record.motion, swapped):
        colours = edge_colours(replace(record, motion=overview))
        for i, site in enumerate(overview.sites):
            assert colours[f"edge-{site}"] == EDGES[i]


def test_the_last_time_of_the_lanes_is_not_cut_off(drawn: str) -> None:
    assert 'text-anchor="end">30 s</text>' in drawn
