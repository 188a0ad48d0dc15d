"""Entry point of ``testbed``: wires the verbs, and turns our errors into one screen and an exit code.

Exit codes: 0 done; 1 a run failed, or ``compare`` found a difference; 2 the input is wrong; 3 this machine cannot;
4 something could not be emulated as asked; 5 the verdict is ``invalid`` and ``--strict`` was given; 130 interrupted.
"""

from __future__ import annotations

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
    "doctor", "validate", "mobility", "up", "down", "ls", "inspect", "exec", "shell", "run", "report", "compare",
    "clean",
)  # fmt: skip


def _wire() -> None:
    for verb in VERBS:
        module = importlib.import_module(f"testbed.cli.{verb}")
        settings = getattr(module, "SETTINGS", {})
        app.command(name=verb, **settings)(module.command)


def main() -> None:
    """Run the command line."""
    _wire()
    try:
        app()
    except RoambedError as error:
        Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="bold")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (| head): not an error, and nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
