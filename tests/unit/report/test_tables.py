from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from nodes.events import Span
from testbed.report.grids import accuracy_grid
from testbed.report.load import load
from testbed.report.records import RunRecord, SchemeRecord
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


def test_rounds_that_went_on_without_a_device_are_told(tmp_path: Path) -> None:
    late = Span(kind="accuracy", node="cloud", begin=1.0, end=1.0, round=2, attrs={"accuracy": 0.5, "missing": ["d2"]})
    calm = Span(kind="accuracy", node="cloud", begin=0.5, end=0.5, round=1, attrs={"accuracy": 0.4})
    scheme = SchemeRecord("fedfly", accuracy=(0.4, 0.5), rounds=2, spans=(calm, late))
    note = accuracy_grid(RunRecord(tmp_path, "r", "x", "ok", schemes=(scheme,))).note
    assert note == "fedfly: round 2 was averaged without d2, too late."
    death = {"node": "d2", "kind": "device", "rounds_without": [2]}
    attrs = {"accuracy": 0.5, "missing": ["d1", "d2"], "dead": ["d2"]}
    dead = Span(kind="accuracy", node="cloud", begin=1.0, end=1.0, round=2, attrs=attrs)
    both = replace(scheme, spans=(calm, dead), deaths=(death,))
    assert accuracy_grid(RunRecord(tmp_path, "r", "x", "ok", schemes=(both,))).note == (
        "fedfly: round 2 was averaged without d1, too late. fedfly: round 2 was averaged without d2, which had died."
    )
    alone = replace(scheme, spans=(calm,))
    assert not accuracy_grid(RunRecord(tmp_path, "r", "x", "ok", schemes=(alone,))).note
