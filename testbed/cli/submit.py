"""``testbed submit FILE|NAME``: have a task come to a run of the serverless platform."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import Format, FormatOption, print_json

ToOption = Annotated[
    str | None, typer.Option("--to", "-r", envvar="ROAMBED_RUN", help="Run, if several take tasks.", metavar="RUN")
]


def command(
    what: Annotated[str, typer.Argument(help="A task of the run's file, or a file of tasks.", metavar="FILE|NAME")],
    to: ToOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Have a task come to a run: one more of its file's, or those of another file (which has `tasks:` alone)."""
    from testbed.run.platform.desk import ask

    # What looks like a path is one; a task's name has neither dots nor slashes.
    path = Path(what)
    by_file = path.suffix in (".yaml", ".yml") or "/" in what or os.path.isfile(what)  # which takes names of any length
    answer = ask(to, {"do": "submit", **({"file": str(path.resolve())} if by_file else {"name": what})})
    if format_ is Format.json:
        print_json(answer)
        return
    Console().print(f"submitted {', '.join(answer['submitted'])} at {answer['at_s']:.1f} s", highlight=False)
    Console(stderr=True).print("testbed status shows how far it is", style="dim")
