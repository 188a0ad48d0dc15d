"""Entry point of ``testbed``: wires the verbs, and turns our errors into one screen and an exit code.

Exit codes: 0 done; 1 a run failed, or ``compare`` found a difference; 2 the input is wrong; 3 this machine cannot;
4 something could not be emulated as asked; 5 the verdict is ``invalid`` and ``--strict`` was given; 130 interrupted.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys

import typer
from rich.console import Console

from testbed.errors import RoambedError

app = typer.Typer(
    name="testbed",
    help="Roambed: a testbed for mobile edge learning on one Linux machine.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 3 machine cannot, 4 not emulated as asked, "
    "5 verdict invalid (--strict), 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VERBS = (
    "doctor", "validate", "plan", "mobility", "up", "down", "ls", "inspect", "exec", "shell", "run", "submit", "status",
    "cancel", "report", "compare", "clean",
)  # fmt: skip

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of what the output goes to, standard output or a file: not ours."""


def _wire() -> None:
    for verb in VERBS:
        module = importlib.import_module(f"testbed.cli.{verb}")
        settings = getattr(module, "SETTINGS", {})
        app.command(name=verb, **settings)(module.command)


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:  # it was closed for us (>&-)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    _wire()
    try:
        sys.exit(_exit_code())
    except RoambedError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="bold")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (| head): not an error, and nothing more can be written.
        _write_no_more()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _write_no_more()
        _complain(RoambedError(
            "the output cannot be written", found=error.strerror, where=error.filename,
            remedy="free some space where it goes, or have it go elsewhere",
        ))  # fmt: skip
        sys.exit(RoambedError.exit_code)


def _exit_code() -> int | str | None:
    """Run a verb, and write what is left of its output while it can still be told that this fails."""
    code: int | str | None = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()  # and the verb has ended as it has
    return code


def _write_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: RoambedError) -> None:
    Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
