from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from testbed.report.load import load
from testbed.report.tables import comparison_table, print_summary

RunOf = Callable[..., Path]


def printed(run: Path) -> str:
    console = Console(width=150, record=True, quiet=False, file=None)
    with console.capture() as capture:
        print_summary(load(run), console)
    return capture.get()


def test_what_a_demo_ends_with(both: Path) -> None:
    text = printed(both)
    for said in ("Restarting against moving the state", "splitfed / fedfly", "9f3a61c07be2", "91.9 %", "south, ",
                 "520 ms", "round 4", "verdict: ok"):  # fmt: skip
        assert said in text, said


def test_one_scheme_has_no_comparison(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    assert comparison_table(load(run)) is None
    assert "Restarting" not in printed(run)


def test_reasons_and_what_is_missing_are_said(run_of: RunOf) -> None:
    run = run_of(missed=True)
    (run / "manifest.json").unlink()
    text = printed(run)
    assert "verdict: invalid" in text
    assert "6.0 % off 100 Mbit/s" in text
    assert "manifest.json: not there" in text


def test_brackets_in_reasons_are_not_markup(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"scheme": "fedfly", "verdict": "invalid", "reasons": ["[/bold] [red]x"]}')
    assert "[/bold] [red]x" in printed(tmp_path)
