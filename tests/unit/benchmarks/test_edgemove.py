"""The benchmark of EdgeMove's pipelines: its arithmetic on events and results, its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.edgemove import cells, timing
from benchmarks.edgemove.cells import Cell
from benchmarks.edgemove.figures import (
    LIMITS,
    as_json,
    bound,
    chosen,
    figures,
    moving,
    parts,
    seconds,
    speedup,
    stall_against,
)
from benchmarks.edgemove.page import PAGE
from benchmarks.edgemove.settings import DEVICE, GOODPUT, SETTINGS
from benchmarks.edgemove.store import Found, row
from benchmarks.grid.figures import held
from tests.unit.benchmarks import pages, stores
from tests.unit.benchmarks.edgemove_results import PIPELINE_S, recorded, result, trained

QUICK = cells.quick()


def work(kind: str, batch: int, begin: float, end: float, node: str = DEVICE, stage: int = 0, **more: Any) -> Any:
    return {
        "kind": kind, "node": node, "part": f"edgemove:stage{stage}:dev", "round": 1, "batch": batch, "begin": begin,
        "end": end, "attrs": {"stage": stage}, **more,
    }  # fmt: skip


# --- events -------------------------------------------------------------------------------------------------


def test_a_batch_ends_with_the_devices_last_work_for_it() -> None:
    events = [
        work("forward", 0, 0.0, 1.0), work("tail-step", 0, 1.0, 9.0, "edge-north", 1), work("forward", 1, 1.0, 2.0),
        work("backward", 0, 2.0, 3.0), work("update", 0, 3.0, 3.5), work("backward", 1, 4.0, 5.0),
        work("update", 0, 20.0, 21.0, round=2), {"kind": "evaluate", "node": DEVICE, "begin": 0, "end": 50},
    ]  # fmt: skip
    assert timing.ends(events, DEVICE) == {1: [3.5, 5.0], 2: [21.0]}
    assert timing.begins(events, DEVICE) == {1: 0.0, 2: 20.0}


def test_fill_and_drain_are_left_out() -> None:
    assert timing.steady([5.0, 6.0, 7.0, 8.0, 20.0]) == 1.0
    assert timing.steady([5.0, 6.0, 7.0]) is None


def test_a_stage_takes_its_work_both_ways_and_its_share_of_an_update() -> None:
    events = [
        *(work("forward", b, 10 * b, 10 * b + 1) for b in range(3)),
        *(work("backward", b, 10 * b + 3, 10 * b + 5) for b in range(3)),
        *(work("update", b, 10 * b + 5, 10 * b + 5.4) for b in range(3)),
        work("backward", 3, 50, 90),  # one that went wrong moves no median
        *(work("tail-step", b, 10 * b + 1, 10 * b + 3, "edge-north", 1) for b in range(3)),
    ]  # fmt: skip
    assert timing.stages(events, 4) == {
        0: {"node": DEVICE, "s": pytest.approx(3.1)}, 1: {"node": "edge-north", "s": 2.0}
    }  # fmt: skip


def test_crossings_are_told_by_direction() -> None:
    def sent(node: str, peer: str, size: int, took: float, message: str) -> dict[str, Any]:
        return {"kind": "send", "node": node, "peer": peer, "bytes": size, "begin": 1.0, "end": 1.0 + took,
                "attrs": {"message": message}}  # fmt: skip

    events = [
        sent(DEVICE, "edge-north", 100, 0.5, "activations"), sent(DEVICE, "edge-north", 100, 0.7, "activations"),
        sent("edge-north", DEVICE, 40, 0.25, "gradients"), sent(DEVICE, "cloud", 999, 9.0, "update"),
    ]  # fmt: skip
    found = timing.crossings(events)
    assert set(found) == {"dev -> edge-north", "edge-north -> dev"}
    assert found["dev -> edge-north"] == {"bytes": 100, "s": pytest.approx(0.6)}


def test_a_stall_is_what_batches_near_a_handover_took_beyond_the_usual() -> None:
    ends = [float(i) for i in range(1, 11)] + [13.0, 14.5] + [14.5 + i for i in range(1, 20)]
    done = {1: ends, 2: [60.0, 90.0]}
    moved = [(10.5, 10.6)]
    assert timing.undisturbed({1: ends}, moved) == 1.0
    assert timing.stalls(done, moved, 1.0) == [pytest.approx(2.5)]
    twice = timing.stalls(done, [(10.5, 10.6), (13.2, 13.3)], 1.0)
    assert twice == [pytest.approx(2.0), pytest.approx(0.5)]  # near each other: each batch once
    assert timing.stalls(done, [(28.0, 28.1)], 1.0) == [0.0]
    assert timing.undisturbed({1: [1.0, 2.0]}, [(1.5, 1.6)]) is None
    rounds = {1: [1.0, 2.0], 2: [4.0, 5.0], 3: [7.5, 8.5], 4: [10.5, 11.5]}  # pauses of 2, 2.5 and 2 s
    assert timing.stalls(rounds, [(6.0, 6.1)], 1.0) == [pytest.approx(0.5)]


def test_a_training_is_kept_as_plain_data() -> None:
    events = [
        *(work("update", b, b, b + 0.5) for b in range(6)),
        {"kind": "pipeline", "node": DEVICE, "attrs": {"stage": 0, "layers": [0, 2], "depth": 3, "bubble": 0.2,
                                                       "staleness": 0.5, "staleness_most": 1}},
        {"kind": "handover", "begin": 3.0, "end": 3.1, "attrs": {"device": DEVICE}},
    ]  # fmt: skip
    told = {"probes": 3, "probe_time_share": 0.01, "probe_bytes_share": None, "changes": {"relay": 1, "reopen": 1}}
    summary = {"accuracy_by_round": [0.5], "begin": 0.0, "weights_sha256": "a", "verdict": "ok", "reasons": [],
               "duration_s": 6.0, "pipeline": {DEVICE: told}}  # fmt: skip
    staging = {"nodes": [DEVICE, "e"], "bounds": [0, 2, 7], "depths": [3, 1], "chosen": True, "over_turns_bound": 2.0,
               "prediction": {"seconds": 1.0, "bound": 0.2, "bottleneck": "e"}}  # fmt: skip
    kept = row("chosen", events, summary, staging, 4, 64)
    assert json.loads(json.dumps(kept)) == kept | {"parts": {"0": kept["parts"][0]}, "gaps": {"0": kept["gaps"][0]}}
    assert kept["rounds"] == [{"batches": 6, "steady_s": 1.0, "s": 5.5}]
    assert kept["predicted"] == {"batch_s": 1.0, "bound_s": 0.8, "bottleneck": "e"}
    assert (kept["handovers"], kept["changes"]) == (1, 2)
    assert kept["probes"] == {"count": 3, "time_share": 0.01, "bytes_share": 0.0}


# --- arithmetic ---------------------------------------------------------------------------------------------


def test_a_run_that_keeps_every_promise_has_every_figure() -> None:
    found = figures(recorded(QUICK), QUICK)
    assert all(held(LIMITS, name, found[name]) for name in LIMITS), found
    assert found["speedup_over_split_max"] == pytest.approx(2.4)
    assert found["bound_efficiency_min"] == pytest.approx(0.97, abs=1e-3)
    assert found["plans_within_5pct"] == found["plans_settings"] == 10
    assert found["stall_over_reactive"] == pytest.approx(0.1)
    assert found["slower_overall_pct"] < 0


def test_the_issues_figures_are_all_there() -> None:
    keys = ("speedup_over_split_max", "speedup_shortfalls", "bound_efficiency_min", "plans_within_5pct",
            "probe_share_max", "stall_over_reactive", "cases")  # fmt: skip
    assert set(keys) <= set(as_json(recorded(QUICK), QUICK))
    assert len(as_json({}, QUICK)["cases"]) == len(QUICK)


def test_what_bounds_is_what_it_is_said_to_be() -> None:
    found = recorded(QUICK)
    for cell in [c for c in QUICK if c.kind == "bound" and c.way == "1f1b"]:
        one = bound(found, cell)
        assert one is not None
        slowest = {DEVICE: "device", "edge-north": "server", "dev up": "link"}[one.slowest]
        assert slowest == cell.on.slowest
        assert one.wanted == (0.95 if slowest == "link" else 0.9)
        assert bound(found, cell.beside("sync")).wanted == 0.85  # type: ignore[union-attr]


def test_all_that_goes_over_the_devices_link_shares_it() -> None:
    setting = replace(SETTINGS["device-bound"], micro=2)
    mbit, _ = setting.bed.access[0]
    one = {"parts": {}, "micro": 2, "crossings": {
        "dev -> edge-north": {"bytes": 10**6, "s": 1}, "dev -> edge-south": {"bytes": 10**6, "s": 1},
        "edge-north -> edge-south": {"bytes": 10**6, "s": 1}}}  # fmt: skip
    found = parts(setting, one)
    assert found["dev up"] == pytest.approx(2 * 2 * 8e6 / (mbit * 1e6 * GOODPUT))
    assert found["edge-north -> edge-south"] == pytest.approx(2 * 8e6 / (setting.bed.backhaul * 1e6 * GOODPUT))


def test_figures_tell_what_was_missed() -> None:
    found = recorded(QUICK)
    auto = next(c for c in QUICK if c.kind == "steady" and c.way == "auto")
    slow = trained(auto, "auto", 1.0, predicted={"batch_s": 0.5, "bound_s": 0.5, "bottleneck": DEVICE})
    found[auto.name] = replace(found[auto.name], rows=[slow])
    plan = next(c for c in QUICK if c.kind == "plans")
    worse = [trained(plan, "chosen again", 0.6), trained(plan, "best again", 0.5)]
    found[plan.name] = replace(found[plan.name], rows=worse)
    told = figures(found, QUICK)
    assert told["speedup_shortfalls"] == 1
    assert told["plans_within_5pct"] == 9
    one = speedup(found, auto)
    assert one is not None
    assert one.falls_short
    assert (one.gained, one.bound, one.overlap) == (pytest.approx(1.2), pytest.approx(2.4), pytest.approx(1.1))
    assert chosen(found, plan).ratio == pytest.approx(1.2)  # type: ignore[union-attr]


def test_the_faster_of_the_two_without_a_pipeline_counts() -> None:
    found = recorded(QUICK)
    auto = next(c for c in QUICK if c.kind == "steady" and c.way == "auto")
    split = auto.beside("cuts", "split")
    rows = [*found[split.name].rows[:-1], trained(split, "splitfed", 0.9)]
    found[split.name] = replace(found[split.name], rows=rows)
    assert speedup(found, auto).gained == pytest.approx(0.9 / PIPELINE_S)  # type: ignore[union-attr]


def test_medians_are_not_moved_by_one_bad_round() -> None:
    one = trained(QUICK[0], "x", 0.5)
    rounds = [*one["rounds"][:2], {"batches": 8, "steady_s": 7.0, "s": 60.0}]
    assert seconds(one | {"rounds": rounds}) == 0.5


def test_a_figure_without_all_that_it_stands_on_is_none() -> None:
    for missing in QUICK:
        found = recorded(QUICK)
        found[missing.name] = Found(missing.name, "m", failed="the machine went down")
        if missing.kind == "steady" and missing.way == "sequential":
            continue  # stands beside, and no figure on it
        told = figures(found, QUICK)
        assert None in told.values() or None in told["bound_efficiency"].values(), missing.name
    nothing = figures({}, QUICK)
    assert {nothing[name] for name in LIMITS} == {None}


def test_stalls_are_compared_by_seed() -> None:
    listed = [Cell("moving", "walk", way, seed) for way in cells.ADAPTS for seed in (1, 2)]
    found = recorded(listed)
    alone = Cell("moving", "walk", "proactive", 3)
    found[alone.name] = replace(result(alone), rows=[trained(alone, "x", 0.5, stalls=[50.0])])
    assert stall_against(found, listed[0], "reactive") == pytest.approx(0.1)
    assert moving(found, alone).stall_s == 50  # type: ignore[union-attr]
    assert stall_against({}, listed[0], "reactive") is None


# --- memory and page ----------------------------------------------------------------------------------------


def test_figures_are_the_same_from_what_was_kept(tmp_path: Path) -> None:
    read = stores.kept(tmp_path / "cells.jsonl", Found, recorded(QUICK).values())
    assert figures(read, QUICK) == figures(recorded(QUICK), QUICK)


def test_the_page_has_every_figure_and_every_cell(tmp_path: Path) -> None:
    grid = cells.full([1, 2], traces=True)
    pages.require_whole(PAGE, tmp_path, recorded(grid), grid)


def test_a_table_has_as_many_columns_in_each_line() -> None:
    pages.require_even_tables(PAGE, recorded(QUICK), QUICK)


def test_the_page_says_what_was_not_measured() -> None:
    pages.require_unmeasured(PAGE, QUICK)
