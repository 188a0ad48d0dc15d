"""Small data in reports: what each rule kept, against its random control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.report import words
from testbed.report.html import render
from testbed.report.records import DeviceRound, MoveRecord, RunRecord, SchemeRecord
from testbed.report.saving import savings
from testbed.report.selectiongrids import device_grid, rule_grid

ROW = {"samples": 100, "kept": 30, "by_class": [10, 0, 20], "time_s": 0.5, "cpu_s": 0.1, "of_compute": 0.021}


def scheme(name: str, accuracy: float | None, rule: str, **more: Any) -> SchemeRecord:
    found = {"rule": rule, "share": 0.3, "kept": 60, "samples": 200, "devices": {"dev-1": ROW}, **more}
    return SchemeRecord(name, accuracy=(None, accuracy), selection=found)


def run(*schemes: SchemeRecord) -> RunRecord:
    return RunRecord(Path(), "r", "e", "ok", schemes=schemes)


def texts(grid: Any) -> list[list[str]]:
    return [[cell.text for cell in row] for row in grid.rows]


HARD = scheme("fedfly", 0.9, "hard", by="centroid", features="half", control="fedfly-random")
CONTROL = scheme("fedfly-random", 0.93, "random", control_of="fedfly")


def test_a_rule_stands_against_its_control() -> None:
    grid = rule_grid(run(HARD, CONTROL))
    ours, control = texts(grid)
    assert ours == ["fedfly", "hard", "centroid, device half", "30 %", "60 of 200", "90.0 %", "93.0 %", "-3.0 points"]
    assert grid.rows[0][-1].mark == "bad"
    assert control[1:3] == ["random", words.DASH]
    assert grid.note == "fedfly-random is the control of fedfly: as many samples, at random."


def test_a_control_that_is_missing_is_named() -> None:
    alone = scheme("fedfly", 0.9, "hard", no_control="the experiment says control: no")
    assert rule_grid(run(alone)).note == "fedfly has no random control: the experiment says control: no."
    assert rule_grid(run(HARD)).note == "fedfly has no random control: fedfly-random was not run."
    assert texts(rule_grid(run(HARD)))[0][-1] == words.DASH


def test_counts_by_class_and_cost_by_device() -> None:
    [row, _] = texts(device_grid(run(HARD, CONTROL)))
    assert row[:5] == ["dev-1", "fedfly", "30", "100", "10 0 20"]
    assert row[-1] == "2.10 %"
    page = render(run(HARD, CONTROL))
    assert "Selection of data" in page
    assert "10 0 20" in page


def test_runs_that_trained_on_all_have_no_such_tables() -> None:
    plain = run(SchemeRecord("fedfly", accuracy=(0.9,)))
    assert not rule_grid(plain).rows
    assert not device_grid(plain).rows
    assert "Selection of data" not in render(plain)


def test_moves_are_compared_on_the_same_samples_alone() -> None:
    def moved(name: str, rule: str, strategy: str, time_s: float) -> SchemeRecord:
        move = MoveRecord.of({"device": "d", "strategy": strategy, "round": 2, "progress": 0.5, "downtime_s": 0.1})
        rounds = {"d": (DeviceRound(2, time_s),)}
        return SchemeRecord(name, devices=rounds, moves=(move,), selection={"rule": rule})

    found = savings(
        run(
            moved("splitfed", "hard", "restart", 15.0), moved("splitfed-random", "random", "restart", 15.0),
            moved("fedfly", "hard", "migrate", 10.0), moved("fedfly-random", "random", "migrate", 10.0),
        )
    )  # fmt: skip
    assert [(row.base, row.other) for row in found] == [("splitfed", "fedfly"), ("splitfed-random", "fedfly-random")]
