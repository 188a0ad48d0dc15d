"""What grids have in common: the page and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid import command
from benchmarks.grid.command import DOCS, arguments, main, wanted
from benchmarks.grid.page import counted
from tests.unit.benchmarks.toy_grid import CELLS, GRID, HERE, PAGE, Beds, Bench, Cell, Found, told


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Bench.failing, Bench.tried = (), ()


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
