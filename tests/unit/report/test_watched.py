"""What the watch recorded, in the report: series, sums, plots, tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.report import watched, watchgrids, write_report
from testbed.report.html import render
from testbed.report.linkqueues import lateness, queue_plot
from testbed.report.load import load
from testbed.report.nodeuse import EXPLAINED, node_plots
from testbed.report.watched import Series

RunOf = Callable[..., Path]


def test_series_follow_each_other_and_gaps_are_zero() -> None:
    series = Series()
    series.add(0.0, 1.0, {"got": 0.5, "missed": 0.25})
    series.add(1.0, 2.0, {"got": 0.25, "missed": 0.5})
    series.add(4.0, 5.0, {"got": 1.0, "missed": 0.0})
    assert series.edges == [0.0, 1.0, 2.0, 4.0, 5.0]
    assert series.values["got"] == [0.5, 0.25, 0.0, 1.0]
    assert series.most("got", "missed") == 1.0


def test_nodes_by_second(both: Path) -> None:
    scheme = load(both).schemes[0]
    series = watched.node_series(scheme)
    one = series["pi3-1"]
    assert one.edges[0] == pytest.approx(0.0)
    assert one.values["got"][2] == pytest.approx(0.08)
    assert one.values["by_others"][2] == pytest.approx(0.54)
    assert one.values["crowded"][2] == pytest.approx(0.06)
    assert one.values["memory"][2] == 210 << 20
    assert series[""].values["others"][2] == pytest.approx(1.2)
    assert watched.cores(scheme) == 2
    assert watched.quota(scheme, "pi3-1") == pytest.approx(0.12)
    assert watched.memory_limit(scheme, "pi3-1") == 512 << 20


def test_links_summed_up(both: Path) -> None:
    sums = watched.link_sums(load(both).schemes[0])
    one = sums["edge:edge-north"]
    assert (one.carried, one.dropped, one.lost, one.queue, one.late_s) == (9000, 2, 1, 48_000, 0.0004)
    assert sums["access:pi3-1"].late_s is None
    assert len(one.drops) == 1


def test_the_page_shows_and_explains_starvation(both: Path) -> None:
    record = load(both)
    text = write_report(both).read_text()
    assert 'id="nodes"' in text
    assert EXPLAINED.replace("'", "&#39;") in text
    plots = node_plots(record)
    assert len(plots) == len(record.schemes)
    assert "starved by others" in plots[0][1]
    assert "of 512 MiB" in plots[0][1]
    drawn = queue_plot(record) or ""
    assert "edge:edge-north" in drawn
    assert "2 dropped" in re.sub(r"\s+", " ", drawn) or "4 dropped" in drawn
    assert "lateness" in drawn
    assert lateness(record.schemes[0])[0][2] == 0.0002


def test_tables_mark_what_is_not_tolerated(both: Path) -> None:
    record = load(both)
    rows = {(row[0].text, row[-1].text): row for row in watchgrids.node_grid(record).rows}
    scheme = record.schemes[0].name
    bad, good = rows["pi3-1", scheme], rows["pi4-1", scheme]
    assert (bad[5].text, bad[5].mark) == ("3.0 %", "bad")
    assert (good[5].text, good[5].mark) == ("0.0 %", "")
    assert rows["edge-south", scheme][8].mark == "bad"
    assert good[6].text == "240 MiB"
    links = {row[0].text: row for row in watchgrids.link_grid(record).rows}
    assert [cell.text for cell in links["edge:edge-north"][1:7]] == ["9 kB", "2", "1", "3", "48 kB", "0.40 ms"]
    assert links["access:pi3-1"][6].text == "–"  # noqa: RUF001


def test_a_run_that_nobody_watched_has_none_of_it(both: Path) -> None:
    record = load(both)
    schemes = tuple(
        replace(
            scheme, spans=tuple(s for s in scheme.spans if s.kind not in ("watch", "link")),
            nodes={name: {k: v for k, v in node.items() if k != "watch"} for name, node in scheme.nodes.items()},
        )
        for scheme in record.schemes
    )  # fmt: skip
    text = render(replace(record, schemes=schemes))
    assert 'id="nodes"' not in text
    assert "What the links did" not in text
