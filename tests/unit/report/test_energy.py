"""Energy, batteries and cost in the report, on the terminal and in comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodes.events import Span
from nodes.policies.units import Battery, Power
from testbed.experiment.plan import Price
from testbed.report import energygrids, grids, words, write_report
from testbed.report.batteries import battery_plot, curve
from testbed.report.compare import compare, comparison_grids
from testbed.report.html import render
from testbed.report.load import load
from testbed.report.tables import summary_table
from testbed.run import energy
from tests import support
from tests.unit.report.sample import write

RunOf = Callable[..., Path]


def drawn(busy: float = 3.0, reserve: float = 30.0) -> dict[str, Any]:
    """What a run writes: two devices, the first with a battery, the second without figures of power."""
    plan = support.loop_plan()
    first = {"power": Power(2.7, 6.4, 4.2, 3.9), "battery": Battery(100.0, 60.0, reserve)}
    own: dict[str, dict[str, Any]] = {"dev-1": first, "edge-north": {"price": Price(2.0, 3.0)}}
    plan = replace(plan, nodes=tuple(replace(node, **own.get(node.name, {})) for node in plan.nodes))
    spans = [
        Span(kind="step", node="dev-1", begin=1.0, end=1.0 + busy),
        Span(kind="tail-step", node="edge-north", begin=1.0, end=3.0),
        Span(kind="link", node="", begin=2.0, end=3.0, attrs={"link": "access:dev-1", "ab_bytes": 500_000}),
    ]
    used, known_from = energy.measured(plan, spans, 0.0, 10.0)
    return {"energy": energy.section(plan, used, known_from), "cost": energy.cost(plan, used)}


@pytest.fixture
def run(run_of: RunOf) -> Path:
    return with_energy(run_of(schemes=["fedfly"]), drawn())


def with_energy(path: Path, found: dict[str, Any]) -> Path:
    write(path / "summary.json", json.loads((path / "summary.json").read_text()) | found)
    return path


def test_tables_say_what_was_drawn(run: Path) -> None:
    record = load(run)
    grid = energygrids.energy_grid(record)
    [row] = [[cell.text for cell in row] for row in grid.rows]
    assert row == ["dev-1", "3.00 s", "200 ms", "0 s", "11.1 J", "300 mJ", "0 J", "11.4 J", "27 J", "38.4 J", "fedfly"]
    assert "not known of dev-2" in grid.note
    assert "link's own counters" in grid.note
    [row] = [[cell.text for cell in row] for row in energygrids.battery_grid(record).rows]
    assert row[:7] == ["dev-1", "100 J", "60.0 %", "21.6 %", "21.6 %", "30.0 %", "0 J"]
    assert row[7] == words.seconds(record.schemes[0].energy["nodes"]["dev-1"]["battery"]["reserve_s"])
    assert row[8] == words.DASH
    costs = [[cell.text for cell in row] for row in energygrids.cost_grid(record).rows]
    assert costs == [["edge-north", "0.537", "0 B", "1.07", "fedfly"]]


def test_a_battery_at_its_reserve_is_marked(run: Path) -> None:
    bad, good = energygrids.battery_grid(load(run)).rows[0][7:9]
    assert (bad.mark, good.mark) == ("bad", "")


def test_several_devices_are_summed_up(run: Path) -> None:
    record = load(run)
    scheme = record.schemes[0]
    rows = scheme.energy["nodes"]
    both = {**scheme.energy, "nodes": rows | {"dev-2": rows["dev-1"]}, "active_j": 22.5}
    record = replace(record, schemes=(replace(scheme, energy=both),))
    last = [cell.text for cell in energygrids.energy_grid(record).rows[-1]]
    assert (last[0], last[7]) == ("all devices", "22.5 J")


def test_the_page_shows_the_curve(run: Path) -> None:
    text = write_report(run).read_text()
    assert 'id="energy"' in text
    assert "dev-1 under fedfly from 60.0 % to 21.6 %" in text
    assert "reserve" in (battery_plot(load(run)) or "")
    points, reserve = curve(load(run).schemes[0], "dev-1")
    assert (points[0], reserve) == ((0.0, 0.6), pytest.approx(0.3))


def test_the_terminal_and_comparisons_tell_active_energy(run: Path, run_of: RunOf) -> None:
    record = load(run)
    grid = grids.scheme_grid(record)
    assert grid.rows[0][grid.head.index("energy")].text == "11.4 J"
    assert summary_table(record)
    other = with_energy(run_of("fedfly-1121-024500-0f", schemes=["fedfly"]), drawn(busy=4.0))
    found = compare(run, other)
    assert found.same, "energy does not decide whether two runs are the same"
    assert found.as_dict()["schemes"][0]["active_j_b"] == pytest.approx(15.1)
    table = comparison_grids(found)[0]
    assert table.rows[0][table.head.index("active energy")].text == "11.4 J, 15.1 J"


def test_runs_of_earlier_versions_have_none_of_it(both: Path) -> None:
    record = load(both)
    assert 'id="energy"' not in render(record)
    assert "energy" not in grids.scheme_grid(record).head
    assert battery_plot(record) is None
    assert record.schemes[0].active_j is None


def test_what_servers_alone_draw_is_not_told_as_that_of_devices(run_of: RunOf) -> None:
    drawn = {"energy": {"nodes": {"edge-north": {"kind": "edge", "active_j": 3.0}}, "active_j": 0}, "cost": {}}
    assert load(with_energy(run_of(schemes=["fedfly"]), drawn)).schemes[0].active_j is None


@pytest.mark.parametrize(
    "broken",
    [
        {"energy": 3, "cost": []}, {"energy": {"nodes": {"dev-1": 7}, "unknown": 3}, "cost": {"nodes": {"x": None}}},
        {"energy": {"nodes": {"dev-1": {"battery": {"capacity_j": 1, "curve": [[1], None, ["x", 2]]}}}}},
        {"energy": {"nodes": {"dev-1": {"battery": {"capacity_j": 0, "curve": [[0, 1]]}}}, "active_j": "much"}},
    ],
)  # fmt: skip
def test_a_broken_summary_still_makes_a_page(run_of: RunOf, broken: dict[str, Any]) -> None:
    assert write_report(with_energy(run_of(schemes=["fedfly"]), broken)).exists()


@pytest.mark.parametrize(
    ("joules", "said"),
    [(None, words.DASH), (0.0, "0 J"), (0.0123, "12.3 mJ"), (0.9996, "1 J"), (54e3, "54 kJ"), (2.5e6, "2.5 MJ")],
)
def test_joules_in_words(joules: float | None, said: str) -> None:
    assert words.joules(joules) == said
