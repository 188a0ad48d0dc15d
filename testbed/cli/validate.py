"""``testbed validate FILE``: check an experiment file without making anything."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from testbed.cli.options import FileArgument, Format, FormatOption, NoMovesOption, SchemeOption, SetOption


def command(
    file: FileArgument,
    set_: SetOption = None,
    scheme: SchemeOption = None,
    no_moves: NoMovesOption = False,
    here: Annotated[bool, typer.Option("--here", help="Also check that this machine can: CPU, memory, links.")] = False,
    format_: FormatOption = Format.table,
) -> None:
    """Check an experiment file and print its plan; nothing is made."""
    import os

    from testbed.cli.show import show
    from testbed.emulation.carry import require_playable
    from testbed.experiment import check_capacity, load_plan
    from testbed.experiment.capacity import RESERVE
    from testbed.experiment.dilate import dilated, settled

    plan = load_plan(file, set_ or [], schemes=scheme or None, no_moves=no_moves)
    if here:
        cores = os.cpu_count() or 1
        real = dilated(settled(plan, cores - RESERVE))
        check_capacity(real, cores, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        if os.geteuid() == 0:
            require_playable(real)
        else:
            Console(stderr=True).print("not root: whether the kernel can do what links are asked for was not tried")
    show(plan, format_)
