"""``testbed down [RUN]``: end a topology that stands."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import Format, FormatOption, print_json

_PATIENCE_S = 20.0


def command(
    run: Annotated[str | None, typer.Argument(help="Run to end; may be left out if only one stands.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="End every run that stands.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """End a topology that stands (or a run that goes on), and remove what it made."""
    from testbed.emulation import clean, rundirs
    from testbed.emulation.ledger import Ledger
    from testbed.errors import InputError

    standing = [r.run_id for r in rundirs.runs()]
    if run is not None:
        Ledger.open(run)  # says which runs stand if this one does not
        chosen = [run]
    elif all_ or len(standing) <= 1:
        chosen = standing
    else:
        raise InputError(
            "several runs stand", found=", ".join(standing), remedy="name one: testbed down RUN, or all of them: --all"
        )
    for name in chosen:
        for entry in Ledger.open(name).entries():
            if entry.kind == "process" and entry.name == "controller":
                entry.process().end(patience=_PATIENCE_S)
    # What an ended controller could not remove, or one that had died before.
    if chosen:
        clean.clean(chosen)
    if format_ is Format.json:
        print_json({"ended": chosen})
    else:
        Console().print(f"ended {', '.join(chosen)}" if chosen else "nothing stands", highlight=False)
