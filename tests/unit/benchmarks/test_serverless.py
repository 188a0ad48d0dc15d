"""The benchmark of the serverless platform: what it keeps, its page, its command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.grid.command import main
from benchmarks.grid.store import Store
from benchmarks.serverless import alone, cells, measure
from benchmarks.serverless.__main__ import GRID
from benchmarks.serverless.cells import Cell
from benchmarks.serverless.lessons import ALL, LESSONS
from benchmarks.serverless.page import PAGE
from benchmarks.serverless.store import Found
from tests.unit.benchmarks import fingerprints, pages
from tests.unit.benchmarks.serverless_results import FULL, QUICK, RULE, recorded


def test_a_fingerprint_is_of_all_that_a_result_depends_on() -> None:
    cell = Cell("small", "images", "splitfed", RULE)
    fingerprints.require_of_all(cells.fingerprint, cell, cell.by(ALL), "embedded")


# --- measuring ----------------------------------------------------------------------------------------------


def test_what_needs_no_containers_goes_on_when_a_cell_fails(tmp_path: Path) -> None:
    """In processes of its own: what failed is told, what was measured is kept, and not measured again."""
    told: list[str] = []
    kept = Store(tmp_path / "cells.jsonl", Found)
    bench = measure.Bench(kept, lambda cell, found: told.append(cell.name))
    listed = [Cell("decide", "20"), Cell("decide", "none")]
    found = bench.bed(listed)
    assert not found["decide/20"].failed
    assert max(found["decide/20"].row["seconds"]) > 0
    assert "none" in found["decide/none"].failed
    assert sorted(told) == ["decide/20", "decide/none"]
    again = measure.Bench(Store(tmp_path / "cells.jsonl", Found), lambda cell, found: told.append(cell.name))
    assert again.bed(listed[:1])["decide/20"] == found["decide/20"]
    assert len(told) == 2


def test_a_training_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = replace(LESSONS["images"], rounds=1)
    monkeypatch.setitem(LESSONS, "images", lesson)
    every, part = (alone.measure(Cell("accuracy", "images", rule=rule))[0][0] for rule in (ALL, RULE))
    assert len(every["accuracy"]) == len(part["accuracy"]) == 1
    assert part["batches"] == pytest.approx(0.3 * every["batches"], rel=0.1)
    assert (every["select_s"], part["select_s"] > 0) == (0.0, True)


# --- memory and page ----------------------------------------------------------------------------------------


def test_the_page_has_every_figure_and_every_cell(tmp_path: Path) -> None:
    pages.require_whole(PAGE, tmp_path, recorded(FULL), FULL)
    assert len(list(tmp_path.glob("*.svg"))) >= 2


def test_a_table_has_as_many_columns_in_each_line() -> None:
    pages.require_even_tables(PAGE, recorded(FULL), FULL)


def test_the_page_says_what_was_not_measured() -> None:
    pages.require_unmeasured(PAGE, QUICK)


def test_the_command_lists_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GRID, ["--quick", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [cell.name for cell in QUICK]
    assert main(GRID, ["--data", "/nowhere"]) == 2
    assert "CIFAR-10" in capsys.readouterr().err
