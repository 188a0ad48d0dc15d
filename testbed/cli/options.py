"""Options that several verbs share, each also an environment variable."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """How results are printed on stdout; logs and progress always go to stderr."""

    table = "table"
    json = "json"


FileArgument = Annotated[Path, typer.Argument(help="Experiment file (YAML).", metavar="FILE")]
FormatOption = Annotated[Format, typer.Option("--format", envvar="ROAMBED_FORMAT", help="table, or json on stdout.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the file: workload.rounds=2. Repeatable."),
]
SchemeOption = Annotated[
    list[str] | None, typer.Option("--scheme", help="Run this scheme instead of the file's. Repeatable.")
]
NoMovesOption = Annotated[bool, typer.Option("--no-moves", help="Leave all mobility out.")]
RunsOption = Annotated[
    Path, typer.Option("--runs", envvar="ROAMBED_RUNS", help="Where run directories are.", show_default="runs")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RUNS = Path("runs")


def print_json(content: Any) -> None:
    """Machine-readable output, alone on stdout."""
    json.dump(content, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
