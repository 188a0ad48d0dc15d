"""``testbed run FILE``: run an experiment and report on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import (
    RUNS,
    FileArgument,
    Format,
    FormatOption,
    NoMovesOption,
    QuietOption,
    RunsOption,
    SchemeOption,
    SetOption,
    print_json,
)


def command(
    file: FileArgument,
    set_: SetOption = None,
    scheme: SchemeOption = None,
    no_moves: NoMovesOption = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Use this seed instead of the file's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 5 when the verdict is invalid.")] = False,
    decisions: Annotated[
        str | None,
        typer.Option("--decisions", metavar="RUN", help="Have pipelines do again what they decided in this run, by its "
                     "id or directory, or in this decisions.jsonl."),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write results as JUnit XML here.")] = None,
    runs: RunsOption = RUNS,
    format_: FormatOption = Format.table,
    quiet: QuietOption = False,
) -> None:
    """Run an experiment: containers, shaped links, training, mobility; then a report in runs/<id>/."""
    from testbed.experiment import load_plan
    from testbed.run.live import Live

    overrides = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    plan = load_plan(file, overrides, schemes=scheme or None, no_moves=no_moves)
    plan.require_training()
    if decisions is not None:
        from testbed.run import again

        plan = again.replayed(plan, *again.load(decisions, runs))
    if dry_run:
        from testbed.cli.show import show

        show(plan, format_)
        return
    from testbed.run.runner import run

    live = Live(quiet=quiet)
    result = run(plan, runs, live, sys.argv[1:])
    from testbed.report.junit import write_junit
    from testbed.report.load import load
    from testbed.report.tables import print_summary

    record = load(result.directory)
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        write_junit(record, junit)
    if format_ is Format.json:
        print_json(result.summary)
    else:
        print_summary(record, Console())
    live.say(f"  report: {result.directory / 'report.html'}")
    if result.failure is not None:
        raise result.failure
    if result.interrupted:
        raise typer.Exit(130)
    if strict and result.summary["verdict"] != "ok":
        raise typer.Exit(5)
