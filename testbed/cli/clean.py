"""``testbed clean [RUN]...``: take away what dead runs left."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import Format, FormatOption, print_json


def command(
    runs: Annotated[list[str] | None, typer.Argument(help="Only these runs, be they alive or dead.")] = None,
    force: Annotated[bool, typer.Option("--force", help="End and remove runs that are alive, too.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Remove what runs left behind: containers, namespaces, processes. Live runs and results stay."""
    from testbed.emulation.clean import clean
    from testbed.errors import EmulationError, InputError

    report = clean(runs or None, force)
    if report.unknown:
        raise InputError(f"no run {', '.join(report.unknown)} here", remedy="testbed ls shows those that are")
    if format_ is Format.json:
        print_json(asdict(report))
    else:
        console = Console(highlight=False)
        for run in report.removed:
            things = [
                f"{kind} {', '.join(names)}"
                for kind, names in (
                    ("containers", run.containers),
                    ("namespace", run.namespaces),
                    ("processes", run.processes),
                )
                if names
            ]
            console.print(f"{run.run_id}: removed {'; '.join(things) or 'its directory'}")
        if not report.removed:
            console.print("nothing to remove")
        if report.left_alone:
            console.print(f"left alone, alive: {', '.join(report.left_alone)}")
    if not report.clean:
        problems = [*report.problems, *(f"{run.run_id}: {text}" for run in report.removed for text in run.problems)]
        raise EmulationError("not everything could be removed", found="; ".join(problems), remedy="testbed doctor")
