"""``testbed cancel TASK [RUN]``: a task is not wanted any more."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import Format, FormatOption, print_json


def command(
    task: Annotated[str, typer.Argument(help="Task, as testbed status names it.")],
    run: Annotated[
        str | None, typer.Argument(envvar="ROAMBED_RUN", help="Run; may be left out if only one takes tasks.")
    ] = None,
    format_: FormatOption = Format.table,
) -> None:
    """Cancel a task of a run of the serverless platform; its best model so far is kept, and other tasks go on."""
    from testbed.run.platform.desk import ask

    answer = ask(run, {"do": "cancel", "task": task})
    if format_ is Format.json:
        print_json(answer)
        return
    Console().print(f"{answer['cancelled']} is cancelled (it was {answer['was']})", highlight=False)
