"""What grids have in common: bring-ups and failures, memory, arithmetic."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.grid import bench
from benchmarks.grid.command import by_bed
from benchmarks.grid.figures import count, held, interval, least, most
from benchmarks.grid.page import plus_minus
from benchmarks.grid.store import Store, mark
from testbed.errors import EmulationError
from tests.unit.benchmarks.toy_grid import CELLS, Beds, Bench, Cell, Found, made


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Bench.failing, Bench.tried = (), ()


# --- going through the beds ---------------------------------------------------------------------------------


def test_cells_share_a_bring_up_and_go_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beds, Bench.failing = Beds(monkeypatch), {"bb"}
    found = made(tmp_path).bed(CELLS[:3])
    assert beds.brought_up == 2
    assert Bench.tried == ["a", "bb", "ccc"]
    assert {name: one.failed for name, one in found.items()} == {"a": "", "bb": "it fell | over", "ccc": ""}
    assert all(one.took_s > 0 for one in found.values())

    after, Bench.failing, Bench.tried = Beds(monkeypatch), (), ()
    assert not any(one.failed for one in made(tmp_path).bed(CELLS[:3]).values())
    assert (after.brought_up, Bench.tried) == (1, ["bb"])

    none = Beds(monkeypatch)
    assert {one.value for one in made(tmp_path).bed(CELLS[:3]).values()} == {1, 2, 3}
    assert none.brought_up == 0


def test_what_was_measured_with_other_data_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Beds(monkeypatch)
    made(tmp_path).bed(CELLS[:1])
    store = Store(tmp_path / "cells.jsonl", Found)
    assert Bench(store, lambda *_: None, "/files").found(CELLS[0]) is None
    assert Bench(store, lambda *_: None).found(CELLS[0]) is not None


def test_a_bed_that_cannot_be_brought_up_fails_its_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beds, said = Beds(monkeypatch, broken=True), []
    made(tmp_path, lambda cell, found: said.append((cell.name, found.failed))).bed(CELLS[:3])
    assert beds.brought_up == 1
    assert said == [(cell.name, "no engine") for cell in CELLS[:3]]


def test_a_bed_that_cannot_be_taken_down_costs_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beds, Bench.failing = Beds(monkeypatch, stuck=True), {"a"}
    found = made(tmp_path).bed(CELLS[:3])
    assert {name: bool(one.failed) for name, one in found.items()} == {"a": True, "bb": False, "ccc": False}
    assert beds.brought_up == 2


def test_an_interruption_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Beds(monkeypatch)

    def tell(cell: Cell, found: Found) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, tell).bed(CELLS[:3])
    assert [made(tmp_path).found(cell) is not None for cell in CELLS[:3]] == [True, False, False]


def test_a_training_has_its_plan_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, failures = SimpleNamespace(), [None, EmulationError("it fell over")]

    def train(session: Any, names: Any, split: Any, directory: Any, *_: Any) -> list[Any]:
        directory.path.mkdir(parents=True, exist_ok=True)
        (directory.path / "events.jsonl").write_text('{"clock": 1}\n{"kind": "send"}\n')
        (directory.path / "manifest.json").write_text('{"stages": {}}')
        return [SimpleNamespace(row={"schemes": names}, failure=failures.pop(0))]

    monkeypatch.setattr(bench, "train", train)
    monkeypatch.setattr(bench, "data", SimpleNamespace(split=lambda plan: None))
    plan: Any = SimpleNamespace(name="toy", dilation=1)
    done = bench.trained(session, plan, "fedfly", tmp_path)
    assert (session.plan, session.real) == (plan, plan)
    assert (done.summary, done.events, done.manifest) == (
        {"schemes": ("fedfly",)}, [{"kind": "send"}], {"stages": {}}
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EmulationError, match="fell over"):
        bench.trained(session, plan, "fedfly", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cells_come_by_bed_in_order() -> None:
    assert by_bed([*CELLS, Cell("f")], lambda cell: cell.bed) == {"small": [*CELLS[:3], Cell("f")], "large": CELLS[3:]}


# --- memory -------------------------------------------------------------------------------------------------


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "toy" / "cells.jsonl"
    kept, mine = Store(path, Found), Found("a", "m", 1.5)
    kept.add(mine)
    kept.add(Found("other", "m", failed="no"))
    again = Store(path, Found)
    assert again.get("a", "m") == mine
    assert again.get("a", "of another code") is None
    assert again.get("other", "m") is None  # what failed is tried again


def test_a_line_cut_off_costs_that_cell_only(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    kept = Store(path, Found)
    kept.add(Found("a", "m"))
    with path.open("a") as file:
        file.write('{"cell": "half a li')
    again = Store(path, Found)
    assert again.get("a", "m") is not None
    again.add(Found("b", "m"))
    assert Store(path, Found).get("b", "m") is not None


def test_what_is_on_a_page_is_measured_anew_and_the_rest_stays(tmp_path: Path) -> None:
    kept = Store(tmp_path / "cells.jsonl", Found)
    for name in "abc":
        kept.add(Found(name, "m"))
    kept.forget(["a", "b"])
    again = Store(tmp_path / "cells.jsonl", Found)
    for one in (kept, again):
        assert [one.get(name, "m") is not None for name in "abc"] == [False, False, True]
    Store(tmp_path / "none" / "cells.jsonl", Found).forget(["x"])


def test_a_mark_is_of_all_that_it_is_given() -> None:
    assert mark({"b": 1, "a": 2}, "code") == mark({"a": 2, "b": 1}, "code")
    assert len({mark("a", "b"), mark("ab"), mark("b", "a"), mark(["a", "b"])}) == 4


# --- arithmetic ---------------------------------------------------------------------------------------------


def test_a_limit_is_met_on_its_own_side() -> None:
    limits = {"most": ("at most", 2.0), "least": ("at least", 2.0)}
    assert [held(limits, "most", value) for value in (1.9, 2.0, 2.1, None)] == [True, True, False, None]
    assert [held(limits, "least", value) for value in (1.9, 2.0, 2.1, None)] == [False, True, True, None]
    assert held(limits, "other", 1.0) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(0, 99))
def test_a_figure_without_all_that_it_stands_on_is_none(values: list[float], at: int) -> None:
    assert most(values) == round(max(values), 4)
    assert least(values, 2) == round(min(values), 2)
    assert count(value > 0 for value in values) == sum(value > 0 for value in values)
    missing: list[Any] = list(values)
    missing.insert(at % (len(values) + 1), None)
    assert [most(missing), least(missing), count(missing), most([]), count([])] == [None] * 5


def test_confidence_is_students() -> None:
    middle, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert middle == 3
    assert half == pytest.approx(2.7764 * math.sqrt(2.5) / math.sqrt(5), rel=1e-4)
    assert interval([2.0]) == (2.0, None)
    assert (plus_minus([2.0], 1), plus_minus([1.0, 2.0, 3.0, 4.0, 5.0], 2)) == ("2.0", "3.00 ± 1.96")
