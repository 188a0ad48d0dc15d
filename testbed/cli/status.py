"""``testbed status [RUN]``: how far tasks of a run are."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.cli.options import Format, FormatOption, print_json


def command(
    run: Annotated[
        str | None, typer.Argument(envvar="ROAMBED_RUN", help="Run; may be left out if only one takes tasks.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Show the tasks of a run of the serverless platform: those that came, and those that are still to come."""
    from testbed.run.platform.desk import ask

    answer = ask(run, {"do": "status"})
    if format_ is Format.json:
        print_json(answer)
        return
    table = Table("task", "state", "round", "accuracy", "best", "since", "why", title=f"at {answer['at_s']:.1f} s")
    for row in answer["tasks"]:
        table.add_row(row["task"], row["state"], _rounds(row), _percent(row["accuracy"]), _percent(row["best"]),
                      "" if row["since_s"] is None else f"{row['since_s']:.1f} s", Text(row["reason"]))  # fmt: skip
    Console().print(table)


def _rounds(row: dict[str, Any]) -> str:
    return "" if row["rounds"] is None else f"{row['round']}/{row['rounds']}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
