"""``testbed exec NODE -- CMD``: run a command in a node's container."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

SETTINGS: dict[str, Any] = {"context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False}}

RunOption = Annotated[
    str | None, typer.Option("--run", "-r", envvar="ROAMBED_RUN", help="Run, if several stand.", metavar="RUN")
]


def command(
    node: Annotated[str, typer.Argument(help="Node to run it in.")],
    argv: Annotated[list[str], typer.Argument(help="Command and its arguments.", metavar="-- CMD [ARG]...")],
    run: RunOption = None,
) -> None:
    """Run a command in a node's container, on this terminal; exits with the command's code."""
    from testbed.emulation import execute
    from testbed.emulation.attach import attach

    # Options stop at NODE, so that those of the command are its own; then "--" is not swallowed either.
    words = argv[1:] if argv[0] == "--" else argv
    if not words:
        raise typer.BadParameter("a command is missing", param_hint="CMD")
    with attach(run) as bed:
        watch = bed.oom_watch(node)
        code = execute.interactive(bed.record.node(node).container_id, words)
        note = watch.note(watch.kills())
    if note:
        Console(stderr=True).print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)
