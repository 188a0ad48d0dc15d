from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.report import grids
from testbed.report.junit import cases
from testbed.report.load import load
from testbed.report.saving import savings
from tests.unit.report.sample import DIGEST, write

RunOf = Callable[..., Path]


def test_two_schemes(both: Path) -> None:
    record = load(both)
    assert (record.run, record.experiment, record.verdict, record.seed) == ("fedfly-1121-023000-a3", "fedfly", "ok", 7)
    assert record.missing == ()
    assert [s.name for s in record.schemes] == ["splitfed", "fedfly"]
    fedfly = record.schemes[1]
    assert fedfly.weights_sha256 == DIGEST
    assert fedfly.rounds == len(fedfly.accuracy) == 4
    assert fedfly.time_of("pi3-1", 2) == pytest.approx((fedfly.time_of("pi3-1", 1) or 0) + 0.52, abs=0.05)
    assert [m.strategy for m in fedfly.moves] == ["migrate", "migrate"]
    assert fedfly.begin > record.schemes[0].begin
    assert min(s.begin for s in fedfly.spans if s.kind == "forward") >= fedfly.begin
    assert record.devices == ("pi3-1", "pi4-1", "pi3-2", "pi4-2"), "those that moved come first"
    assert record.tolerances == {
        "rate": 0.02, "rtt": 0.0005, "late_steps": 0.05, "starved": 0.02, "link_late": 0.005,
    }  # fmt: skip
    assert [c.link for c in record.calibration][-2:] == ["north--south", "wire:cloud"]


def test_one_scheme_stands_in_the_run_directory(run_of: RunOf) -> None:
    record = load(run_of(schemes=["fedfly"]))
    assert record.missing == ()
    assert [s.name for s in record.schemes] == ["fedfly"]
    assert record.schemes[0].spans
    assert record.verdict == "ok"


def test_the_directory_of_one_scheme_shares_what_the_run_has(both: Path) -> None:
    record = load(both / "fedfly")
    assert [s.name for s in record.schemes] == ["fedfly"]
    assert record.manifest["kernel"] == "6.18.5"
    assert record.calibration
    assert record.missing == ()


def test_a_run_killed_in_its_first_scheme_keeps_what_was_measured(run_of: RunOf) -> None:
    run = run_of()
    shutil.rmtree(run / "fedfly")
    for name in ("summary.json", "splitfed/summary.json", "splitfed/metrics.csv"):
        (run / name).unlink()
    events = run / "splitfed" / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    events.write_bytes(b"".join(lines[:half]) + lines[half][:20])
    record = load(run)
    (splitfed,) = record.schemes
    assert record.verdict == "unknown"
    assert splitfed.name == "splitfed"
    assert splitfed.time_of("pi3-1", 1) is not None, "from the events"
    assert splitfed.accuracy[0] is not None
    assert splitfed.time_of("pi3-1", 4) is None
    said = "\n".join(record.missing)
    assert "fedfly: was not run" in said
    assert "summary.json: not there" in said
    assert "lines unreadable" in said


def test_events_alone_tell_the_same_times_as_the_summary(run_of: RunOf) -> None:
    run = run_of(schemes=["splitfed"])
    told = load(run).schemes[0].devices
    for name in ("summary.json", "metrics.csv"):
        (run / name).unlink()
    found = load(run).schemes[0].devices
    assert {d: [r.time_s for r in rows] for d, rows in found.items()} == {
        d: pytest.approx([r.time_s for r in rows]) for d, rows in told.items()
    }


def test_a_move_without_downtime_counts_by_what_came_after(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    content = json.loads((run / "summary.json").read_text()) | {"weights_sha256": None}
    content["moves"] = [m | {"downtime_s": None} for m in content["moves"]]
    content["moves"][1]["at_s"] = content["duration_s"] + 1
    write(run / "summary.json", content)
    (scheme,) = load(run).schemes
    assert [scheme.went_on(m) for m in scheme.moves] == [True, False]


def test_a_single_scheme_killed_is_found_without_its_summary(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    (run / "summary.json").unlink()
    record = load(run)
    assert [s.name for s in record.schemes] == ["fedfly"]
    assert record.schemes[0].time_of("pi4-1", 3) is not None, "from the metrics"


@pytest.mark.parametrize("name", ["experiment.yaml", "manifest.json", "calibration.json", "summary.json",
                                  "fedfly/events.jsonl", "fedfly/metrics.csv", "fedfly/summary.json"])  # fmt: skip
@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", "[[1, 2]]", "\x00"])
def test_any_file_may_be_missing_or_broken(run_of: RunOf, name: str, content: str | None) -> None:
    run = run_of(rounds=2, batches=4, devices=["pi3-1", "pi4-1"])
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    record = load(run)
    all_tables(record)
    assert {s.name for s in record.schemes} == {"splitfed", "fedfly"}
    if content is None and name != "fedfly/summary.json":  # the run's own summary has it all
        assert any(name.rpartition("/")[2] in what for what in record.missing)


def test_an_empty_directory(tmp_path: Path) -> None:
    record = load(tmp_path)
    assert record.schemes == ()
    assert record.verdict == "unknown"
    assert len(record.missing) == 4
    all_tables(record)


def leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    elif isinstance(content, list) and content:
        yield from leaves(content[0], (*path, 0))


def test_any_value_of_a_summary_may_be_null_or_nan(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"], rounds=2, batches=4, devices=["pi3-1"], moves=[("pi3-1", 1, 0.5, "south")])
    whole = json.loads((run / "summary.json").read_text())
    tried = 0
    for path in leaves(whole):
        if path:
            for value in (None, math.nan):
                content = json.loads(json.dumps(whole))
                inside = content
                for key in path[:-1]:
                    inside = inside[key]
                inside[path[-1]] = value
                write(run / "summary.json", content)
                all_tables(load(run))
                tried += 1
    assert tried > 100


def test_nan_is_shown_as_not_measured(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    content = json.loads((run / "summary.json").read_text())
    content["moves"][0] |= {"downtime_s": math.nan, "handover_gap_s": None}
    content["accuracy_by_round"][1] = None
    write(run / "summary.json", content)
    record = load(run)
    move = record.schemes[0].moves[0]
    assert move.downtime_s is None
    assert record.schemes[0].accuracy[1] is None
    assert record.schemes[0].final_accuracy == pytest.approx(content["accuracy_by_round"][-1])
    texts = [cell.text for row in grids.moves_grid(record).rows for cell in row]
    assert "nan" not in texts
    assert "None" not in texts


def test_events_of_a_newer_version_are_told(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    with (run / "events.jsonl").open("a") as file:
        file.write('{"v": 2, "kind": "new-thing", "node": "x", "begin": 1.0, "end": 2.0, "unknown": [1]}\n')
    assert any("1 events of a newer version" in what for what in load(run).missing)


def all_tables(record: Any) -> None:
    for grid in (grids.scheme_grid, grids.rounds_grid, grids.accuracy_grid, grids.moves_grid, grids.calibration_grid,
                 grids.limits_grid):  # fmt: skip
        made = grid(record)
        assert all(len(row) == len(made.head) for row in made.rows)
        assert not any(cell.text in ("nan", "None") for row in made.rows for cell in row)
    grids.comparison_grid(record)
    savings(record)
    cases(record)
