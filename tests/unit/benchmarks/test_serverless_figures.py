"""The arithmetic of the serverless platform's benchmark."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid.figures import held
from benchmarks.orchestrator.measure import Judged, proved
from benchmarks.serverless import compared, small, store
from benchmarks.serverless.cells import PACK, Cell, run
from benchmarks.serverless.compared import against, cost
from benchmarks.serverless.figures import LIMITS, as_json, figures
from benchmarks.serverless.lessons import ALL, LESSONS
from benchmarks.serverless.page import PAGE
from benchmarks.serverless.scenarios import ABSENT, GREEDY, SCENARIOS
from benchmarks.serverless.store import Found
from nodes.policies.requests import Decision, Placement
from tests.unit.benchmarks import stores
from tests.unit.benchmarks.serverless_results import (
    FULL,
    HERE,
    LESS,
    QUICK,
    RULE,
    ran,
    recorded,
    result,
    small_case,
    task,
    trained,
)


def test_a_run_that_keeps_every_promise_has_every_figure() -> None:
    found = figures(recorded(QUICK), QUICK)
    assert all(held(LIMITS, name, found[name]) for name in LIMITS), found
    assert found["greedy_gap_pct_p95"] == pytest.approx(1.0)
    assert found["decide_10k_s"] == 0.6
    assert found["blind_beaten"] is True
    assert found["worst_against_baseline_pct"] < 0
    assert found["prediction_error_pct"] == pytest.approx(10.0)
    assert found["small_data_time_ratio"] == found["small_data_bytes_ratio"] == pytest.approx(1 / LESS, abs=1e-3)
    assert found["small_data_accuracy_delta"] == pytest.approx(-1.5)
    assert found["random_accuracy_delta"] == pytest.approx(-3.0)
    by = dict.fromkeys(("images", "passages", "text"), pytest.approx(-1.5))
    assert found["small_data_accuracy_delta_by"] == by


def test_figures_are_of_the_worst_embedded_task_and_of_no_other() -> None:
    found = recorded(FULL)
    for seed in range(1, 6):
        worse = Cell("accuracy", "passages", rule=LESSONS["passages"].rule, seed=seed)
        found[worse.name] = replace(found[worse.name], rows=[{**found[worse.name].row, "accuracy": [0.5]}])
        other = Cell("accuracy", "motion", rule=RULE, seed=seed)
        found[other.name] = replace(found[other.name], rows=[{**found[other.name].row, "accuracy": [0.0]}])
        slow = Cell("small", "motion", "splitfed", RULE, seed)
        found[slow.name] = replace(found[slow.name], rows=[{**found[slow.name].row, "busy_s": 1000.0}])
    told = figures(found, FULL)
    assert told["small_data_accuracy_delta"] == pytest.approx(-40.3)
    assert told["small_data_accuracy_delta_by"]["images"] == pytest.approx(-1.5)
    assert told["small_data_time_ratio"] == pytest.approx(1 / LESS, abs=1e-3)
    assert not held(LIMITS, "small_data_accuracy_delta", told["small_data_accuracy_delta"])


def test_a_task_with_too_few_samples_is_told_and_no_figure_is_of_its_accuracy() -> None:
    found = recorded(QUICK)
    worse = Cell("accuracy", "text", rule=LESSONS["text"].rule)
    found[worse.name] = replace(found[worse.name], rows=[{**found[worse.name].row, "accuracy": [0.5]}])
    told = figures(found, QUICK)
    assert told["small_data_accuracy_delta"] == pytest.approx(-1.5)
    assert told["small_data_accuracy_delta_by"]["text"] == pytest.approx(-40.1)
    text = PAGE.text(found, QUICK, HERE, [], quick=True, data="x")
    assert "four packages of the library and not twelve" in text
    assert "-40.1" in text


def test_bytes_count_where_the_model_is_split() -> None:
    """A whole model on the device sends the same weights whatever it is trained on."""
    found = recorded(QUICK)
    cell = Cell("small", "images", "fedavg", LESSONS["images"].rule)
    found[cell.name] = replace(found[cell.name], rows=[{**found[cell.name].row, "sent_bytes": 10**7}])
    assert figures(found, QUICK)["small_data_bytes_ratio"] == pytest.approx(1 / LESS, abs=1e-3)


def test_differences_are_paired_by_seed() -> None:
    listed = [Cell("accuracy", "images", rule=rule, seed=seed) for seed in (1, 2) for rule in (ALL, RULE)]
    last = {(ALL, 1): 0.5, (RULE, 1): 0.45, (ALL, 2): 0.9, (RULE, 2): 0.89}
    found = {
        cell.name: replace(result(cell), rows=[{"accuracy": [last[cell.rule, cell.seed]]}]) for cell in listed
    }  # fmt: skip
    mine = [cell for cell in listed if cell.rule == RULE]
    assert small.deltas(found, mine) == [pytest.approx(-5), pytest.approx(-1)]
    assert small.deltas(found, [*mine, Cell("accuracy", "images", rule=RULE, seed=3)]) is None


def test_a_case_that_greedy_missed_counts() -> None:
    found = recorded(QUICK)
    missed = {**small_case(0), "greedy": asdict(Judged(math.inf, "memory"))}
    rows = [missed] * PACK
    found["gap/0"] = replace(found["gap/0"], rows=rows)
    assert figures(found, QUICK)["greedy_gap_pct_p95"] is None
    [told] = [case for case in as_json(found, QUICK)["cases"] if case["name"] == "gap/0"]
    assert (told["missed"], set(told["gaps_pct"])) == (PACK, {None})
    nothing = {**missed, "exact": asdict(Judged(math.inf, "memory"))}
    found["gap/0"] = replace(found["gap/0"], rows=[nothing] * PACK)
    assert figures(found, QUICK)["greedy_gap_pct_p95"] == pytest.approx(1.0)


def test_what_exact_has_not_proved_is_no_exact_objective() -> None:
    """Greedy is then held against what is proved: 101 above 80, and not above the 100 that was there in time."""
    found = recorded(QUICK)
    rows = [{**small_case(i), "proved": False, "bound": 80.0} for i in range(PACK)]
    found["gap/0"] = replace(found["gap/0"], rows=rows)
    assert figures(found, QUICK)["greedy_gap_pct_p95"] == pytest.approx(26.25)
    nothing = {"exact": asdict(Judged(math.inf, "time")), "proved": False, "bound": -math.inf}
    found["gap/0"] = replace(found["gap/0"], rows=[{**row, **nothing} for row in rows])
    assert figures(found, QUICK)["greedy_gap_pct_p95"] is None
    assert not proved(Decision("exact", None, math.inf, {"": ("time",)}))
    assert proved(Decision("exact", None, math.inf, {"": ("memory",)}))
    assert not proved(Decision("exact", Placement({}), 100.0, {}, 80.0))


def test_a_run_that_is_not_to_be_trusted_is_told() -> None:
    found = recorded(QUICK)
    assert figures(found, QUICK)["invalid"] == 0
    names = ["small/images/splitfed/hard", "platform/one/greedy/all"]
    for name in names:
        row = {**found[name].row, "verdict": "invalid", "reasons": ["cloud was starved"]}
        found[name] = replace(found[name], rows=[row])
    assert figures(found, QUICK)["invalid"] == 2
    assert as_json(found, QUICK)["invalid_cells"] == names
    text = PAGE.text(found, QUICK, HERE, [], quick=True, data="x")
    assert f"2 with the verdict `invalid`**, which count in the figures: `{names[0]}`, `{names[1]}`" in text


def test_errors_of_predictions_make_good_for_no_others() -> None:
    """A round too long and one too short, a task too dear and one too cheap: each is wrong."""
    listed = [run("many", GREEDY, 1)]

    def rounds(*pairs: tuple[float, float, float, float]) -> dict[str, Any]:
        keys = ("predicted_s", "measured_s", "predicted_j", "measured_j")
        return task(round_rows=[{**task()["round_rows"][0], **dict(zip(keys, pair, strict=True))} for pair in pairs])

    tasks = {"images": rounds((12.0, 10.0, 5.0, 10.0)), "text": rounds((8.0, 10.0, 15.0, 10.0), (4.0, 5.0, 10.0, 10.0))}
    found = {listed[0].name: replace(result(listed[0]), rows=[{**ran(listed[0]), "tasks": tasks}])}
    assert compared.errors(found, listed[0]) == {"s": pytest.approx(0.2), "j": pytest.approx(0.375)}
    told = figures(found, listed)
    assert told["prediction_error_by_pct"] == {"many, seconds": 20.0, "many, joules": 37.5}
    assert told["prediction_error_pct"] == 37.5
    assert not held(LIMITS, "prediction_error_pct", told["prediction_error_pct"])


def test_a_decision_that_is_none_has_no_time() -> None:
    found = recorded(QUICK)
    row = {**found["decide/10000"].row, "why_not": "memory"}
    found["decide/10000"] = replace(found["decide/10000"], rows=[row])
    assert figures(found, QUICK)["decide_10k_s"] is None


def test_a_figure_without_all_that_it_stands_on_is_none() -> None:
    for missing in QUICK:
        found = recorded(QUICK)
        found[missing.name] = Found(missing.name, "m", failed="the machine went down")
        told = figures(found, QUICK)
        assert told["blind_beaten_by_pct"]
        by = told["small_data_accuracy_delta_by"], told["random_accuracy_delta_by"]
        assert None in [*told.values(), *(value for one in by for value in one.values())], missing.name
    nothing = figures({}, QUICK)
    assert {nothing[name] for name in LIMITS} == {None}


def test_a_training_is_held_against_the_one_in_memory() -> None:
    listed = [Cell("small", "images", "splitfed", RULE), Cell("accuracy", "images", rule=RULE)]
    found = recorded(listed)
    assert small.again(found, listed[0]) is True
    found[listed[0].name] = replace(found[listed[0].name], rows=[{**trained(RULE, 1), "accuracy": [0.21, 0.31]}])
    assert small.again(found, listed[0]) is False
    assert small.again({listed[0].name: found[listed[0].name]}, listed[0]) is None
    part = [replace(cell, setting="passages") for cell in listed]
    assert small.again(recorded(part), part[0]) is None  # of fewer samples


def test_a_training_is_kept_as_sums_over_its_devices() -> None:
    node = dict.fromkeys(store.ENERGY, 2.0)
    summary = {
        "devices": {"dev-1": [{"time_s": 1.0, "batches": 7}], "dev-2": [{"time_s": 3.0, "batches": 7}]},
        "energy": {"nodes": {"dev-1": node, "dev-2": node, "cloud": node}, "bytes_from": "links"},
        "selection": {"time_s": 0.5, "kept": 9}, "accuracy_by_round": [0.5], "verdict": "ok", "reasons": [],
        "duration_s": 4.0,
    }  # fmt: skip
    row = store.trained(summary)
    assert json.loads(json.dumps(row)) == row
    assert (row["busy_s"], row["active_j"], row["round_s"], row["batches"]) == (4.0, 4.0, 2.0, 14)
    assert (row["select_s"], row["kept"]) == (0.5, 9)
    del summary["selection"]
    assert (store.trained(summary)["select_s"], store.trained(summary)["kept"]) == (0.0, None)


# --- orchestrators ------------------------------------------------------------------------------------------


def test_an_objective_is_of_all_that_a_run_came_to() -> None:
    one = SCENARIOS["one"]
    time_w, energy_w, price_w = one.weights
    found = cost(one, {"tasks": {"images": task(dropped={"2": 1})}})
    assert found.objective == pytest.approx(time_w * 15 + energy_w * 30 + price_w * 0.01 + ABSENT)
    assert (found.absent, found.cold, found.warm) == (1, 6, 14)


def test_rounds_that_were_not_done_count_as_left_out() -> None:
    """A task that gave up early is not cheaper for it; one that is done before its last round is."""
    one = SCENARIOS["one"]
    short = {**task(1), "rounds": 3, "ended_s": 9.0}
    failed = cost(one, {"tasks": {"images": {**short, "state": "failed"}}})
    assert failed.absent == 6
    assert failed.seconds == 8.0
    done = cost(one, {"tasks": {"images": short}})
    assert (done.absent, done.seconds) == (0, 5.0)
    nothing = {"state": "refused", "began_s": None, "rounds_done": 0, "round_rows": [], "active_j": 0.0, "price": 0.0}
    refused = cost(one, {"tasks": {"images": {**short, **nothing}}})
    assert refused.objective == 9 * ABSENT
    assert min(refused.objective, failed.objective) > cost(one, {"tasks": {"images": task()}}).objective


def test_a_baseline_is_beaten_only_outside_the_interval() -> None:
    listed = [run("one", who, seed) for seed in (1, 2, 3) for who in (GREEDY, "blind-speed")]
    found = recorded(listed)
    sure = against(found, listed, "one", "blind-speed")
    assert sure is not None
    assert sure.beaten
    assert sure.above_pct == pytest.approx(100 * (1 / 1.2 - 1), rel=0.3)
    slow = run("one", GREEDY, 3)
    found[slow.name] = replace(found[slow.name], rows=[{**ran(slow), "tasks": {"images": task(2, 7.0)}}])
    unsure = against(found, listed, "one", "blind-speed")
    assert unsure is not None
    assert not unsure.beaten
    assert unsure.less_pct[0] > 0
    alone = [run("one", who, 1) for who in (GREEDY, "blind-speed")]
    once = against(found, alone, "one", "blind-speed")
    assert once is not None
    assert not once.beaten
    del found[slow.name]
    assert against(found, listed, "one", "blind-speed") is None


def test_the_worst_baseline_counts() -> None:
    found = recorded(QUICK)
    better = run("one", "all-edge", 1)
    found[better.name] = replace(found[better.name], rows=[{**ran(better), "tasks": {"images": task(2, 4.0)}}])
    told = figures(found, QUICK)
    ours = compared.costs(found, run("one", GREEDY, 1))
    assert ours is not None
    other = compared.costs(found, better)
    assert other is not None
    assert told["worst_against_baseline_pct"] == pytest.approx(100 * (ours.objective / other.objective - 1), abs=1e-3)
    assert not held(LIMITS, "worst_against_baseline_pct", told["worst_against_baseline_pct"])
    assert "**missed**" in PAGE.text(found, QUICK, HERE, [], quick=True, data="x")


def test_a_run_is_kept_as_what_is_needed_of_it() -> None:
    row = task()
    told = {
        **{key: row[key] for key in store.TASK}, "dropped": [{"round": 2, "devices": ["dev-1"]}], "devices": {},
        "round_rows": [{**one, "began_s": 0.0} for one in row["round_rows"]],
        "energy": {"dev-1": {"active_j": 10.0, "compute_j": 9.0}},
    }  # fmt: skip
    battery = {"least_j": 210.0, "reserve_j": 200.0}
    summary = {
        "tasks": {"images": told}, "moves": [{"task": "images"}, {"task": None}], "verdict": "ok", "reasons": [],
        "placements": [{"decided_s": 0.2, "unmet": ["battery"]}, {"decided_s": 0.1, "unmet": []}], "duration_s": 9.0,
        "energy": {"nodes": {"dev-1": {"battery": battery}, "dev-2": {}}},
    }  # fmt: skip
    kept = store.ran(summary)
    assert json.loads(json.dumps(kept)) == kept
    assert kept["tasks"]["images"] == {**row, "dropped": {"2": 1}, "energy": {"dev-1": 10.0}}
    assert (kept["decided_s"], kept["unmet"], kept["handovers"]) == (0.2, ["battery"], 1)
    assert kept["batteries"] == {"dev-1": 10.0}


def test_time_to_an_accuracy() -> None:
    assert compared.reached(task(), 0.2) == 10.0
    assert compared.reached(task(), 0.9) is None


def test_figures_are_the_same_from_what_was_kept(tmp_path: Path) -> None:
    read = stores.kept(tmp_path / "cells.jsonl", Found, recorded(QUICK).values())
    assert figures(read, QUICK) == figures(recorded(QUICK), QUICK)


def test_the_figures_that_are_wanted_are_all_there() -> None:
    keys = ("worst_against_baseline_pct", "blind_beaten", "greedy_gap_pct_p95", "decide_10k_s",
            "small_data_time_ratio", "small_data_energy_ratio",
            "small_data_bytes_ratio", "small_data_accuracy_delta", "random_accuracy_delta", "cases")  # fmt: skip
    assert set(keys) <= set(as_json(recorded(QUICK), QUICK))
    assert len(as_json({}, QUICK)["cases"]) == len(QUICK)
