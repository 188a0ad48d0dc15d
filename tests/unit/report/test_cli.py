from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from testbed.cli import compare, report
from testbed.errors import InputError

RunOf = Callable[..., Path]
A, B = "fedfly-1121-023000-a3", "fedfly-1121-024500-0f"
SMALL = {"rounds": 2, "batches": 4, "moves": ()}


def call(verb: Callable[..., None], *arguments: str, runs: Path) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(verb)
    return CliRunner().invoke(app, [*arguments, "--runs", str(runs)], env={"COLUMNS": "140"})


def test_report_prints_the_path(run_of: RunOf) -> None:
    run = run_of(A, **SMALL)
    for arguments in ((A,), (str(run),), ()):
        (run / "report.html").unlink(missing_ok=True)
        result = call(report.command, *arguments, runs=run.parent)
        assert result.exit_code == 0
        assert result.stdout.strip() == str(run / "report.html")
        assert (run / "report.html").exists()


def test_report_as_json(run_of: RunOf) -> None:
    run = run_of(A, **SMALL)
    result = call(report.command, A, "--format", "json", runs=run.parent)
    assert json.loads(result.stdout) == {"run": A, "report": str(run / "report.html")}


def test_report_of_an_unknown_run(run_of: RunOf) -> None:
    result = call(report.command, "nope", runs=run_of(A, **SMALL).parent)
    assert isinstance(result.exception, InputError)


@pytest.mark.parametrize(
    ("factor", "arguments", "code"),
    [(1.0, (), 0), (1.08, (), 1), (1.08, ("--tolerance", "10%"), 0), (1.08, ("--tolerance", "0.1"), 0)],
)
def test_compare_exits_by_what_it_finds(run_of: RunOf, factor: float, arguments: tuple[str, ...], code: int) -> None:
    run = run_of(A, **SMALL)
    run_of(B, factor=factor, **SMALL)
    result = call(compare.command, A, B, *arguments, runs=run.parent)
    assert result.exit_code == code
    assert ("the same" if code == 0 else "they differ") in result.stdout
    as_json = call(compare.command, A, B, *arguments, "--format", "json", runs=run.parent)
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)["same"] is (code == 0)


@pytest.mark.parametrize("tolerance", ["5ms", "-1%", "x", "500%", "nan"])
def test_compare_refuses_a_tolerance_that_is_none(run_of: RunOf, tolerance: str) -> None:
    run = run_of(A, **SMALL)
    result = call(compare.command, A, A, "--tolerance", tolerance, runs=run.parent)
    assert isinstance(result.exception, InputError)
    assert result.exception.where == "--tolerance"
