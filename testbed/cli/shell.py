"""``testbed shell [RUN]``: Mininet's command line on a topology that stands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def command(
    run: Annotated[str | None, typer.Argument(help="Run; may be left out if only one stands.")] = None,
) -> None:
    """Mininet's own command line: nodes, net, dump, pingall, NODE CMD, exit. Leaving it changes nothing."""
    from testbed.emulation.attach import attach

    with attach(run) as bed:
        from testbed.emulation.nodes import RunCLI, speak

        speak(sys.stdout)
        RunCLI(bed.net)
