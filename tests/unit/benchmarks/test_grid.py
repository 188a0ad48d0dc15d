"""What grids have in common: bring-ups and failures, memory, the command, the page; on a small grid of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.grid import bench, command
from benchmarks.grid.command import DOCS, Directory, Grid, arguments, by_bed, main, wanted
from benchmarks.grid.figures import as_json, count, held, interval, least, measured, most
from benchmarks.grid.machine import Machine
from benchmarks.grid.page import Page, counted, every, plus_minus, verdict
from benchmarks.grid.store import Store, mark
from testbed.errors import EmulationError


@dataclass(frozen=True)
class Cell:
    name: str
    bed: str = "small"


@dataclass(frozen=True)
class Found:
    cell: str
    mark: str
    value: float | None = None
    verdict: str = ""
    failed: str = ""
    took_s: float = 0.0


class Bench(bench.Bench[Cell, Found]):
    """Whose cells come to the length of their names; those in ``failing`` fail."""

    name = "toy"
    failing: Collection[str] = ()
    tried: Sequence[str] = ()

    def mark(self, cell: Cell) -> str:
        return mark(cell.name, cell.bed, self.data)

    def plan(self, cell: Cell, scratch: Path) -> Any:
        return f"plan of {cell.bed}"

    def measure(self, session: Any, standing: Any, cell: Cell, scratch: Path) -> Found:
        assert standing == f"plan of {cell.bed}"
        session.plan = "the cell's own"
        type(self).tried = [*self.tried, cell.name]
        if cell.name in self.failing:
            raise EmulationError("it fell | over")
        return Found(cell.name, self.mark(cell), float(len(cell.name)), "ok")


class Beds:
    """In place of real ones: counts bring-ups; they fail while ``broken``, and being taken down while ``stuck``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: bool = False, stuck: bool = False) -> None:
        self.brought_up = 0
        self._broken, self._stuck = broken, stuck
        monkeypatch.setattr(bench, "Experiment", self._of)

    def _of(self, plan: str) -> Beds:
        self.session = SimpleNamespace(plan=plan)
        return self

    def up(self, runs: Path) -> Beds:
        return self

    def __enter__(self) -> Beds:
        self.brought_up += 1
        if self._broken:
            raise RuntimeError("no engine")
        return self

    def __exit__(self, *_: object) -> None:
        if self._stuck:
            raise RuntimeError("a container stays")


CELLS = [Cell("a"), Cell("bb"), Cell("ccc"), Cell("dddd", "large"), Cell("eeeee", "large")]
HERE = Machine((("machine", "a test"),))


def figures(results: Any, cells: Any) -> dict[str, Any]:
    found = {cell.name: measured(results, cell) for cell in cells}
    values = {name: None if one is None else one.value for name, one in found.items()}
    return {"largest": most(values.values()), "by_cell": values, "all_there": None not in values.values(), "none": None}


def told(results: Any, cells: Any) -> dict[str, Any]:
    about = figures(results, cells)
    return as_json(about, results, cells, lambda cell: {"name": cell.name}, lambda _, found: {"value": found.value})


def row(found: Found) -> tuple[str, ...]:
    return f"{found.value:g}", verdict(found.verdict), "why | so"


PAGE = Page(
    name="toy",
    title="A toy",
    meaning={"largest": "the largest", "by_cell": "each", "all_there": "whether", "none": "nothing"},
    limits={"largest": ("at most", 3.0), "none": ("at least", 1.0)},
    true=("all_there",),
    how="How.",
    about={"Cells": ("About cells.", "")},
    figures=figures,
    as_json=told,
    plots=lambda results, cells: {"toy-plot": "<svg/>"},
    parts=lambda results, cells: (("Empty", ()), ("Cells", every(results, cells, ("value", "verdict"), row))),
)
GRID = Grid(
    about="a toy",
    page=PAGE,
    bench=Bench,
    kind=Found,
    said=lambda found: f"{found.value:g}",
    quick=lambda: CELLS[:3],
    full=lambda seeds, traces: CELLS if traces else CELLS[: 3 + len(seeds)],
    bed=lambda cell: cell.bed,
    beside=lambda cell: CELLS[:1] if cell.name == "ccc" else (),
    given="files",
    data=Directory("files", "DATA=DIR with files"),
    traces=Directory("movement", "TRACES=DIR with movement"),
    seeds=2,
)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Bench.failing, Bench.tried = (), ()


def made(tmp_path: Path, tell: Any = lambda *_: None) -> Bench:
    return Bench(Store(tmp_path / "cells.jsonl", Found), tell)


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


# --- page ---------------------------------------------------------------------------------------------------


def test_the_page_says_what_is_missed_missing_or_doubtful() -> None:
    results = {
        "a": Found("a", "m", 4.0, "ok", took_s=1.0), "bb": Found("bb", "m", 2.0, "invalid", took_s=2.0),
        "dddd": Found("dddd", "m", failed="it fell | over", took_s=3.0),
    }  # fmt: skip
    text = PAGE.text(results, CELLS[:2], HERE, ["toy-plot"], quick=True, data="digits")
    for line in (
        "# A toy", "| machine | a test |", "| data | digits |", "| cells | 2 of 2 measured |", "How.",
        "| `largest` | the largest | 4 **missed** | at most 3 |", "| `by_cell` | each | a: 4.000, bb: 2.000 | |",
        "| `all_there` | whether | true | true |", "| `none` | nothing | not measured | at least 1 |",
        "![toy-plot](toy-plot.svg)", "About cells.", "| cell | value | verdict | took | |",
        "| `a` | 4 | ok | 1 s | why / so |", "| `bb` | 2 | **invalid** | 2 s | why / so |",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "A quick run" in text
    assert "## Empty" not in text

    text = PAGE.text(results, CELLS[2:4], HERE, [], quick=False, data="digits")
    for line in (
        "| cells | 0 of 2 measured, **2 failed** |", "| `all_there` | whether | false **missed** | true |",
        "| `by_cell` | each | ccc: not measured, dddd: not measured | |",
        "| `ccc` | | **not reached** | | |", "| `dddd` | | **failed** | 3 s | it fell / over |",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "A quick run" not in text
    assert {line.count("|") for line in text.split("## Cells")[1].splitlines() if line.startswith("|")} == {6}


def test_every_cell_is_beside_the_figures() -> None:
    results = {"a": Found("a", "m", 1.0), "bb": Found("bb", "m", failed="no")}
    assert told(results, CELLS[:3])["cases"] == [
        {"name": "a", "failed": "", "value": 1.0}, {"name": "bb", "failed": "no"},
        {"name": "ccc", "failed": "not reached"},
    ]  # fmt: skip
    assert counted(results, CELLS[:1]) == "1 of 1 measured"


# --- command ------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> int:
    monkeypatch.setattr(command, "machine", lambda links: HERE)
    monkeypatch.setattr(command.os, "geteuid", lambda: 0)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    return main(GRID, ["--out", str(tmp_path / "out"), "--store", str(tmp_path / "kept"), *words])


def test_the_same_command_tries_again_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Beds(monkeypatch)
    Bench.failing = {"bb"}
    assert run(monkeypatch, tmp_path, "--quick") == 1
    said = capsys.readouterr()
    assert "not measured: bb: it fell | over" in said.err
    assert "bb  0 s  FAILED: it fell | over" in said.out
    assert "ccc  0 s  3" in said.out
    assert "**1 failed**" in (tmp_path / "out" / "toy.md").read_text()

    Bench.failing, Bench.tried = (), ()
    assert run(monkeypatch, tmp_path, "--quick") == 0
    assert Bench.tried == ["bb"]
    page = (tmp_path / "out" / "toy.md").read_text()
    assert "3 of 3 measured" in page
    assert "| data | digits (embedded) |" in page
    assert json.loads((tmp_path / "out" / "toy.json").read_text())["largest"] == 3
    assert (tmp_path / "out" / "toy-plot.svg").read_text() == "<svg/>"

    assert run(monkeypatch, tmp_path, "--quick") == 0  # all of it was on the page: measured anew
    assert Bench.tried == ["bb", "a", "bb", "ccc"]
    assert (tmp_path / "out" / "toy.md").read_text() == page


def test_what_an_interrupted_run_has_left_is_kept_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Beds(monkeypatch)

    def interrupted(self: Bench, session: Any, standing: Any, cell: Cell, scratch: Path) -> Found:
        if cell.name == "bb":
            raise KeyboardInterrupt
        return measure(self, session, standing, cell, scratch)

    measure = Bench.measure
    with monkeypatch.context() as patch:
        patch.setattr(Bench, "measure", interrupted)
        assert run(monkeypatch, tmp_path, "--quick") == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(monkeypatch, tmp_path, "--quick", "--only", "a", "--fresh") == 0
    assert Bench.tried == ["a", "a"]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--seeds", "0"], "SEEDS=1"), (["--data", "/none"], "DATA=DIR"), (["--traces", "/none"], "TRACES=DIR"),
        (["--only", "no such cell"], "--list"), (["--only", "a"], "elsewhere than docs/"),
        (["--only", "a", "--out", f"{DOCS}/../docs"], "elsewhere than docs/"), ([], "make bench-toy"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    words: list[str], remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.os, "geteuid", lambda: 1000)
    assert main(GRID, words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert remedy in said.partition("remedy: ")[2]
    assert Bench.tried == ()


def test_cells_are_listed_and_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, names in (
        (["--quick"], "a bb ccc"), (["--seeds", "1"], "a bb ccc dddd"), (["--traces", str(tmp_path)], None),
        (["--only", "b"], "bb"), (["--only", "cc"], "a ccc"),
    ):  # fmt: skip
        assert main(GRID, [*words, "--list"]) == 0
        every_one = " ".join(cell.name for cell in CELLS)
        assert capsys.readouterr().out.split() == (names or every_one).split()
    assert Bench.tried == ()


def test_a_benchmark_has_only_the_options_that_it_says() -> None:
    bare = replace(GRID, seeds=0, data=None, traces=None)
    assert [cell.name for cell in wanted(bare, arguments(bare, []))] == ["a", "bb", "ccc"]
    for words in (["--seeds", "2"], ["--data", "."], ["--traces", "."]):
        with pytest.raises(SystemExit):
            arguments(bare, words)
