"""``testbed validate FILE``: check an experiment file without making anything."""

from __future__ import annotations

from typing import Annotated

import typer

from testbed.cli.options import FileArgument, Format, FormatOption, NoMovesOption, SchemeOption, SetOption


def command(
    file: FileArgument,
    set_: SetOption = None,
    scheme: SchemeOption = None,
    no_moves: NoMovesOption = False,
    here: Annotated[bool, typer.Option("--here", help="Also check that it fits this machine.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Check an experiment file and print its plan; nothing is made."""
    import os

    from testbed.cli.plan import show
    from testbed.experiment import check_capacity, load_plan
    from testbed.experiment.capacity import RESERVE
    from testbed.experiment.dilate import dilated, settled

    plan = load_plan(file, set_ or [], schemes=scheme or None, no_moves=no_moves)
    if here:
        cores = os.cpu_count() or 1
        real = dilated(settled(plan, cores - RESERVE))
        check_capacity(real, cores, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    show(plan, format_)
