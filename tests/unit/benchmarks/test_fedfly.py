"""The benchmark of FedFly's experiment: its arithmetic and its page on recorded results, its cells, its memory."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fedfly import cells, measure, store
from benchmarks.fedfly.__main__ import GRID
from benchmarks.fedfly.cells import FRACTIONS, Cell
from benchmarks.fedfly.figures import (
    LIMITS,
    against,
    as_json,
    figures,
    law,
    same_weights,
    state,
    state_limit,
)
from benchmarks.fedfly.page import PAGE
from benchmarks.fedfly.plots import plots
from benchmarks.fedfly.settings import SETTINGS, experiment
from benchmarks.fedfly.store import Found, of_run, standbys
from benchmarks.grid.command import arguments, main, wanted
from benchmarks.grid.figures import held
from benchmarks.grid.machine import Machine
from testbed.experiment import load_plan
from tests.unit.benchmarks import fingerprints

T, DOWN = 7.0, 0.14
BYTES = 4_771_000


def move(device: str, **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(store.MOVE_KEYS), "device": device, "state_bytes": 0, **more}


def result(cell: Cell, **more: Any) -> Found:
    """As a run that follows the law to the letter has it."""
    found = Found(cell.name, "m", weights_sha256=f"{cell.seed}" * 64, accuracy=0.5, verdict="ok")
    if cell.kind == "state":
        rate = cell.bed.backhaul * 1e6
        takes = BYTES * 8 / rate + 0.012
        if cell.strategy == "migrate":
            rows = [move("dev-1", state_s=takes * 1.1, state_bytes=BYTES, limit_s=takes, handover_gap_s=0.004)] * 10
        else:
            share = {"right": 0.2, "wrong": 1.05}.get(cell.forecast, 0.0)
            rows = [move("dev-1", state_s=takes * 1.1 * share)] * 10 if cell.strategy == "shadow" else []
        return replace(found, rounds={"dev-1": [43.0]}, moves=rows, standby_bytes=50_000_000, standby_s=2.0, **more)
    if cell.kind == "whole":
        rows = [move("dev-1", downtime_s=0.5, lost_s=2.0), move("dev-1")] if cell.strategy != "none" else []
        return replace(found, moves=rows, duration_s=900.0, **more)
    rounds, rows = {}, []
    for device, f in FRACTIONS.items():
        lost = {"none": 0.0, "restart": f * T}.get(cell.strategy, DOWN)
        rounds[device] = [T + lost] * cell.rounds
        if cell.strategy != "none":
            row = move(device, progress=f, downtime_s=DOWN, state_s=DOWN, state_bytes=BYTES, limit_s=0.11)
            rows += [row] * cell.rounds
    return replace(found, rounds=rounds, moves=rows, **more)


def recorded(listed: list[Cell]) -> dict[str, Found]:
    return {cell.name: result(cell) for cell in listed}


QUICK = cells.quick()
HERE = Machine((("machine", "a test"),))


# --- arithmetic ---------------------------------------------------------------------------------------------


def test_a_run_that_follows_the_law_has_every_figure() -> None:
    found = figures(recorded(QUICK), QUICK)
    for f in (0.1, 0.5, 0.9):
        expected = (f - DOWN / T) / (1 + f)
        assert found["saving_expected"][f"{f:g}"] == pytest.approx(expected, abs=1e-4)
        assert found["saving"][f"{f:g}"] == pytest.approx(expected, abs=1e-4)
    assert found["law_error_pct_max"] == 0
    assert found["saving_error_points_max"] == 0
    assert found["round_over_downtime_min"] == 50
    assert found["shadow_over_migrate"] == pytest.approx(0.2)
    assert found["shadow_wrong_over_migrate"] == pytest.approx(1.05)
    assert found["digests_equal"] is True
    assert found["accuracy_delta_max"] == 0
    assert found["state_over_limit_max"] < 1
    assert all(held(LIMITS, name, found[name]) for name in LIMITS)


def test_figures_tell_what_went_wrong() -> None:
    found = recorded(QUICK)
    restart = next(c for c in QUICK if c.strategy == "restart")
    slow = {device: [time * 1.08 for time in times] for device, times in found[restart.name].rounds.items()}
    found[restart.name] = replace(found[restart.name], rounds=slow)
    relay = next(c for c in QUICK if c.strategy == "relay")
    found[relay.name] = replace(found[relay.name], weights_sha256="f" * 64, accuracy=0.48)
    told = figures(found, QUICK)
    assert told["law_error_pct_max"] == pytest.approx(8)
    assert held(LIMITS, "law_error_pct_max", told["law_error_pct_max"]) is False
    assert told["digests_equal"] is False
    assert told["accuracy_delta_max"] == pytest.approx(0.02)


def test_medians_are_not_moved_by_one_bad_round() -> None:
    found = recorded(QUICK)
    cell = next(c for c in QUICK if c.rounds > 1 and c.strategy == "migrate")
    rounds = {device: [*times[:-1], 99.0] for device, times in found[cell.name].rounds.items()}
    found[cell.name] = replace(found[cell.name], rounds=rounds)
    row = law(found, cell, "dev-2")
    assert row is not None
    assert row.moving == pytest.approx(T + DOWN)
    assert row.n == 5


def test_a_figure_without_all_that_it_stands_on_is_none() -> None:
    for missing in QUICK:
        found = recorded(QUICK)
        found[missing.name] = Found(missing.name, "m", failed="the machine went down")
        told = figures(found, QUICK)
        assert None in told.values() or None in told["saving"].values(), missing.name
    assert figures({}, QUICK)["digests_equal"] is None


def test_different_weights_are_told_even_if_others_are_missing() -> None:
    found = recorded(QUICK)
    relay, wrong = (next(c for c in QUICK if c.strategy == s) for s in ("relay", "migrate"))
    found[relay.name] = replace(found[relay.name], weights_sha256="0" * 64)
    found[wrong.name] = Found(wrong.name, "m", failed="no")
    assert same_weights(found, wrong) is None
    assert figures(found, QUICK)["digests_equal"] is False


def test_the_limit_of_the_state_is_of_goodput() -> None:
    rate, rtt = 100e6, 0.01
    wire = BYTES * 8 / rate
    assert state_limit(BYTES, wire + rtt, rate) == pytest.approx(1.15 * (wire * 1514 / 1448 + rtt) + 0.02)
    assert state_limit(BYTES, wire + rtt, rate) == pytest.approx(0.490, abs=0.001)


def test_the_state_counts_moves_that_could_be_timed() -> None:
    cell = Cell("state", "state-100", "migrate")
    found = result(cell)
    some = replace(found, moves=[*found.moves[:4], move("dev-1")])
    timed = state(cell, some)
    assert timed is not None
    assert timed.n == 4
    assert timed.over is not None
    assert timed.over == pytest.approx(timed.state_s / timed.limit)  # type: ignore[operator]
    assert state(cell, replace(found, moves=[move("dev-1")])) is None


def test_a_standby_is_held_against_copying_over_the_same_backhaul() -> None:
    found = recorded(QUICK)
    right = [c for c in QUICK if c.forecast == "right"]
    assert [c.setting for c in right] == ["state-100", "state-20"]
    assert [against(found, c) for c in right] == [pytest.approx(0.2)] * 2


# --- cells --------------------------------------------------------------------------------------------------


def test_the_quick_list_is_of_at_least_twelve_cells_and_has_what_they_are_compared_to() -> None:
    names = [cell.name for cell in QUICK]
    assert len(names) >= 12
    assert len(set(names)) == len(names)
    assert {cell.base.name for cell in QUICK} <= set(names)


def test_the_grid_is_whole_and_has_the_quick_list() -> None:
    grid = cells.full([1, 2])
    names = {cell.name for cell in grid}
    assert {cell.name for cell in QUICK} <= names
    assert {cell.base.name for cell in grid} <= names
    assert len(names) == len(grid)
    for seed in (1, 2):
        there = {(c.split, c.cut, c.strategy) for c in grid if c.setting == "device-bound" and c.seed == seed}
        assert {(s, c, x) for s in cells.SPLITS for c in cells.CUTS for x in cells.STRATEGIES} <= there
    order = [cell.setting for cell in grid]
    assert order == sorted(order, key=list(SETTINGS).index)  # each bed is brought up once


@pytest.mark.parametrize("cell", cells.full([1]), ids=lambda c: c.name)
def test_moves_go_somewhere_else_each_time(cell: Cell) -> None:
    at = dict.fromkeys(cell.devices, "north")
    for one in cells.moves(cell):
        assert one.to != at[one.device]
        at[one.device] = one.to
    assert bool(cells.moves(cell)) is (cell.strategy != "none")


def test_devices_hear_of_moves_one_batch_before_their_fraction() -> None:
    assert [one.progress for one in cells.moves(Cell("law", "device-bound", "restart"))] == [
        pytest.approx(f - 1 / 40) for f in (0.1, 0.5, 0.9)
    ]
    uneven = cells.moves(Cell("law", "device-bound", "restart", split="imbalanced"))
    assert [one.progress for one in uneven] == [pytest.approx(f - 1 / n) for f, n in ((0.1, 24), (0.5, 36), (0.9, 60))]


def test_forecasts_come_before_their_moves_and_after_the_ones_before() -> None:
    for cell in [c for c in QUICK if c.forecast]:
        moves, said = cells.moves(cell), cells.predictions(cell)
        assert len(moves) == len(said) == 10
        before = 0.0
        for one, prediction in zip(moves, said, strict=True):
            assert one.at is not None
            assert before < prediction.made < one.at
            assert prediction.guess is not None
            assert (prediction.guess.to == one.to) is (cell.forecast == "right")
            before = one.at


def test_a_fingerprint_is_of_all_that_a_result_depends_on() -> None:
    cell = QUICK[1]
    fingerprints.require_of_all(cells.fingerprint, cell, replace(cell, strategy="relay"), "digits")


BEDS = [setting for setting in SETTINGS.values() if not setting.trace]


@pytest.mark.parametrize("setting", BEDS, ids=lambda s: s.name)
def test_every_bed_is_an_experiment_that_fits_on_two_cores(setting: Any, tmp_path: Path) -> None:
    path = tmp_path / "bed.yaml"
    path.write_text(experiment(setting))
    plan = load_plan(path, [])
    assert sum(node.speed for node in plan.nodes) <= 1.7
    cell = next(c for c in cells.full([3]) if c.setting == setting.name and c.strategy != "none")
    mine = measure.plan_of(plan, cell)
    assert (mine.seed, mine.workload.strategy, mine.workload.cut) == (cell.seed, cell.strategy, 4)
    assert mine.moves == cells.moves(cell)
    assert {node.speed for node in plan.nodes if node.kind == "edge"} == {setting.edge}


def test_a_bed_along_a_trace_has_the_traces_moves(tmp_path: Path) -> None:
    setting = SETTINGS["bologna"]
    trace = tmp_path / setting.trace
    trace.parent.mkdir()
    rows = [f"{t},veh-{n},{x},{900}" for t, x in ((0, 1500), (60, 2000)) for n in range(20)]
    trace.with_suffix("").write_text("t_s,id,x_m,y_m\n" + "\n".join(rows) + "\n")
    trace.with_suffix("").rename(trace)  # formats are told by content, not by name
    path = tmp_path / "bed.yaml"
    path.write_text(experiment(setting, None, str(tmp_path)))
    plan = load_plan(path, [])
    assert sum(node.speed for node in plan.nodes) <= 1.7
    still, moving = (measure.plan_of(plan, Cell("whole", "bologna", how, rounds=3)) for how in ("none", "shadow"))
    assert (still.moves, still.predictions) == ((), ())
    assert len(moving.moves) == 20
    assert len(moving.predictions) >= 20
    assert moving.workload.rounds == 3


def test_cifar10_is_read_from_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "bed.yaml"
    path.write_text(experiment(SETTINGS["device-bound"], str(tmp_path)))
    asked = load_plan(path, []).workload.data
    assert (asked.set, asked.dir, asked.train_samples) == ("cifar10", str(tmp_path), 960)


# --- what is kept -------------------------------------------------------------------------------------------


def test_standbys_that_nobody_came_to_are_counted_too() -> None:
    events: list[dict[str, Any]] = [
        {"kind": "transfer", "bytes": 100, "attrs": {"message": "standby"}, "begin": 0, "end": 1},
        {"kind": "send", "bytes": 20, "attrs": {"message": "replay"}, "begin": 0, "end": 1},
        {"kind": "send", "bytes": 7, "attrs": {"message": "gradients"}, "begin": 0, "end": 1},
        {"kind": "replay-step", "begin": 1.0, "end": 1.5},
        {"kind": "tail-step", "begin": 1.0, "end": 1.5},
    ]
    assert standbys(events) == (120, 0.5)
    summary = {
        "devices": {"dev-1": [{"time_s": 2.0, "batches": 3}]}, "moves": [{"device": "dev-1", "more": 1}],
        "weights_sha256": "a", "accuracy": 0.5, "verdict": "invalid", "reasons": ["busy"],
        "duration_s": 2.5,
    }  # fmt: skip
    found = of_run("cell", "m", summary, events)
    assert (found.standby_bytes, found.standby_s, found.duration_s) == (120, 0.5, 2.5)
    assert (found.rounds, found.batches) == ({"dev-1": [2.0]}, {"dev-1": 3})
    assert set(found.moves[0]) == set(store.MOVE_KEYS)


# --- page ---------------------------------------------------------------------------------------------------


def test_the_page_has_figures_tables_and_plots(tmp_path: Path) -> None:
    PAGE.write(tmp_path, recorded(QUICK), QUICK, HERE, quick=True, data="digits (embedded)")
    text = (tmp_path / "fedfly.md").read_text()
    told = json.loads((tmp_path / "fedfly.json").read_text())
    assert {"saving", "saving_expected", "law_error_pct_max", "state_over_limit_max", "shadow_over_migrate",
            "digests_equal", "accuracy_delta_max", "cases"} <= set(told)  # fmt: skip
    assert [case["name"] for case in told["cases"]] == [cell.name for cell in QUICK]
    assert "**missed**" not in text
    assert "not measured" not in text  # "Not measured" is of whole runs
    assert "QUICK=1" in text
    assert "| 90% | 45 % | 47.4% | 46.3% | 46.3% | 0.140 s |" in text
    for name in ("fedfly-saving", "fedfly-state"):
        assert f"]({name}.svg)" in text
        ET.parse(tmp_path / f"{name}.svg")
    for table in [block for block in text.split("\n\n") if block.startswith("| ")]:
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1, table[:200]


def test_the_page_says_what_is_missing_missed_or_doubtful(tmp_path: Path) -> None:
    found = recorded(QUICK)
    found[QUICK[1].name] = Found(QUICK[1].name, "m", failed="edge-north died | oddly")
    found[QUICK[4].name] = replace(found[QUICK[4].name], weights_sha256="f" * 64)
    found[QUICK[5].name] = replace(found[QUICK[5].name], verdict="invalid", reasons=["dev-1 was starved"])
    del found[QUICK[-1].name]
    text = PAGE.text(found, QUICK, HERE, [], quick=False, data="CIFAR-10")
    assert "edge-north died / oddly" in text
    assert "**not reached**" in text
    assert "false **missed**" in text
    assert "dev-1 was starved" in text
    assert "**2 failed**" in text
    assert "not measured" in text
    json.dumps(as_json(found, QUICK), allow_nan=False)


def test_the_grid_is_of_means_over_seeds() -> None:
    grid = cells.full([1, 2, 3])
    found = recorded(grid)
    text = PAGE.text(found, grid, HERE, [], quick=False, data="digits (embedded)")
    line = next(row for row in text.splitlines() if row.startswith("| Device-bound | imbalanced | SP3 | migrate |"))
    assert line.count("±") == 4
    assert "3 of 3" in line
    assert plots(found, grid).keys() == {"fedfly-saving", "fedfly-state"}


def test_whole_runs_are_told_with_what_they_lost() -> None:
    grid = cells.full([1], traces=True)
    assert {c.setting for c in grid if c.kind == "whole"} == {"bologna", "drive"}
    text = PAGE.text(recorded(grid), grid, HERE, [], quick=False, data="digits (embedded)")
    assert "| A drive log | restart | 100 | 2 | 900 s | 0.5 s | 2.0 s | 0.5000 | same |" in text
    assert "TRACES=DIR" not in text


def test_nothing_measured_is_still_a_page() -> None:
    text = PAGE.text({}, QUICK, HERE, list(plots({}, QUICK)), quick=True, data="digits (embedded)")
    assert "not measured" in text


# --- command ------------------------------------------------------------------------------------------------


def test_a_part_comes_with_what_it_is_compared_to() -> None:
    chosen = wanted(GRID, arguments(GRID, ["--quick", "--only", "relay"]))
    assert [cell.strategy for cell in chosen] == ["none", "relay"]


def test_bad_directories_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for option, remedy in (("--data", "DATA=DIR"), ("--traces", "TRACES=DIR")):
        assert main(GRID, [option, "/none"]) == 2
        assert remedy in capsys.readouterr().err
