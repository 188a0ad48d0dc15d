"""``testbed doctor``: what this machine can do, and what to do about the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.options import Format, FormatOption, print_json

_MARKS = {True: "[green]ok[/green]", None: "[yellow]![/yellow]", False: "[red]no[/red]"}


def command(format_: FormatOption = Format.table) -> None:
    """Check this machine: what a run needs, what is here, what to do. Exit code 3 if a run could not work."""
    from testbed.emulation.host import facts
    from testbed.run import reference

    checks = facts()
    works = all(check.ok is not False for check in checks)
    stored = _stored(reference.path())
    if format_ is Format.json:
        rows = [asdict(check) for check in checks]
        print_json({"ok": works, "checks": rows, "reference": {"file": str(reference.path()), "times": stored}})
    else:
        table = Table("", "what", "found", "needed")
        for check in checks:
            table.add_row(_MARKS[check.ok], check.name, check.found, check.needed)
        console = Console(highlight=False)
        console.print(table)
        for check in checks:
            if check.ok is not True and check.remedy:
                console.print(f"{_MARKS[check.ok]} {check.name}: {check.remedy}")
        console.print(f"reference times: {len(stored)} sets in {reference.path()}")
        console.print("a run works here" if works else "a run cannot work here as it stands")
    if not works:
        raise typer.Exit(3)


def _stored(file: Path) -> dict[str, Any]:
    """The stored reference times. A file that cannot be read counts as none: a run says so, with a remedy."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
