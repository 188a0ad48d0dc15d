"""The orchestrator's benchmark: its cases come from seeds, its bound is one, its page says what was found."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.grid.machine import Machine
from benchmarks.orchestrator import __main__ as command
from benchmarks.orchestrator.bound import bound
from benchmarks.orchestrator.cases import many, sized, small
from benchmarks.orchestrator.measure import Judged, Large, Small, figures, gap_p95, judge, one_small
from benchmarks.orchestrator.page import write
from nodes.policies.greedy import greedy
from nodes.policies.requests import Decision


def case(greedy: float, exact: float = 100.0, seed: int = 0) -> Small:
    return Small(seed, 4, 1, Judged(exact), Judged(greedy), True, 0.5, 0.1)


def test_cases_come_from_seeds():
    assert small(5) == small(5) != small(6)
    assert many(40, 1) == many(40, 1)
    assert len(many(40, 1).units) == 40
    assert sized(10_000).units == 10_000


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_below_what_is_found(seed: int):
    problem = small(seed)
    assert 0 < bound(problem) <= greedy(problem).objective


def test_what_breaks_something_is_worth_nothing():
    problem = small(0)
    placed = greedy(problem)
    assert judge(problem, placed).objective == pytest.approx(placed.objective, rel=1e-6)
    crowded = type(problem)({**problem.units, **{name: type(unit)(**{**vars(unit), "memory": 0})
                                                  for name, unit in problem.units.items()}},
                            problem.paths, problem.requests, problem.weights, problem.shared)  # fmt: skip
    assert judge(crowded, placed) == Judged(math.inf, "breaks memory")
    assert judge(problem, Decision("x", None, math.inf, {"t": ("battery",)})) == Judged(math.inf, "battery")


def test_the_gap_counts_what_was_missed():
    """19 of 20 at 1 %: the 95th percentile is the worst one's neighbour or the worst one, never in between."""
    gaps = [case(101.0)] * 19
    assert gap_p95([*gaps, case(101.0)]) == pytest.approx(1.0)
    assert gap_p95([*gaps, case(math.inf)]) == math.inf
    assert gap_p95([*gaps, case(math.inf, math.inf)]) == pytest.approx(1.0)


def test_the_page_has_the_figures(tmp_path: Path):
    large = Large(10_000, 9_000, 67, (0.5, 0.7), Judged(110.0), 100.0, {})
    names = one_small(1).baselines
    smalls = [Small(0, 4, 1, Judged(100.0), Judged(104.0), True, 0.5, 0.1, names)]
    write(tmp_path, smalls, [Large(**{**vars(large), "baselines": names})], Machine((("date", "now"),)), quick=True)
    found = json.loads((tmp_path / "orchestrator.json").read_text())
    assert (found["greedy_gap_pct_p95"], found["decide_10k_s"]) == (4.0, 0.7)
    page = (tmp_path / "orchestrator.md").read_text()
    assert "| `decide_10k_s` | longest of the decisions on 10,000 units [s] | 0.7 | 1 |" in page
    assert "missed" not in page
    assert figures(smalls, [])["decide_10k_s"] is None


def test_the_command_measures_and_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(command, "measured", lambda cases, sizes, tell: asked.append(cases) or ([case(101.0)], []))
    monkeypatch.setattr("sys.argv", ["orchestrator", "--quick", "--out", str(tmp_path)])
    assert command.main() == 0
    assert asked == [command.QUICK]
    rows = (tmp_path / "orchestrator.md").read_text().splitlines()
    assert [row for row in rows if row.startswith("| by | Python ")]
    assert [row for row in rows if row.startswith("| machine | ")]
