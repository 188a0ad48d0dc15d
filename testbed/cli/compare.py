"""``testbed compare A B``: are two runs the same?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import RUNS, Format, FormatOption, RunsOption, print_json


def command(
    a: Annotated[str, typer.Argument(help="Id or directory of a run, or RUN/SCHEME.", metavar="A")],
    b: Annotated[str, typer.Argument(help="The run to compare it with.", metavar="B")],
    tolerance: Annotated[
        str, typer.Option("--tolerance", help="How far apart the times of a round may be: 5% or 0.05.")
    ] = "5%",
    runs: RunsOption = RUNS,
    format_: FormatOption = Format.table,
) -> None:
    """Compare two runs: weights, accuracy, round times, conditions. Exit 0: the same; 1: they differ."""
    from testbed.errors import InputError
    from testbed.experiment.units import UnitError, parse_fraction
    from testbed.report.compare import compare, comparison_grids
    from testbed.report.find import find_run
    from testbed.report.tables import rich_table

    try:
        allowed = parse_fraction(tolerance)
    except UnitError as error:
        raise InputError(
            error.message, wanted=error.wanted, found=error.found, where="--tolerance", remedy=error.remedy
        ) from None
    found = compare(find_run(a, runs), find_run(b, runs), allowed)
    if format_ is Format.json:
        print_json(found.as_dict())
    else:
        console = Console()
        for grid in comparison_grids(found):
            console.print(rich_table(grid))
        for line in found.experiment_diff:
            console.print(line, style="dim", markup=False, highlight=False)
        console.print("the same" if found.same else "they differ", style="bold green" if found.same else "bold red")
        for reason in found.reasons:
            console.print(f"  {reason}", markup=False, highlight=False)
    raise typer.Exit(0 if found.same else 1)
