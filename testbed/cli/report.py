"""``testbed report [RUN]``: draw a run's report again."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.options import RUNS, Format, FormatOption, RunsOption, print_json


def command(
    run: Annotated[
        str | None, typer.Argument(help="Id or directory of a run, or RUN/SCHEME.", show_default="the newest")
    ] = None,
    runs: RunsOption = RUNS,
    format_: FormatOption = Format.table,
) -> None:
    """Draw report.html of a run from what its directory holds, and print its path."""
    from testbed.report import write_report
    from testbed.report.find import find_run, newest_run

    path = write_report(find_run(run, runs) if run else newest_run(runs))
    if format_ is Format.json:
        print_json({"run": path.parent.name, "report": str(path)})
    else:
        typer.echo(path)
