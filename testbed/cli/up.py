"""``testbed up FILE``: build a topology and leave it standing."""

from __future__ import annotations

from rich.console import Console

from testbed.cli.options import FileArgument, Format, FormatOption, SetOption, print_json


def command(file: FileArgument, set_: SetOption = None, format_: FormatOption = Format.table) -> None:
    """Build a topology and leave it standing, without training; ``testbed down`` ends it."""
    from testbed.emulation.host import preflight
    from testbed.run.keeper import spawn

    preflight()
    console = Console(stderr=True)
    with console.status("bringing the topology up ..."):
        said = spawn(file, set_ or [], lambda text: console.print(text, highlight=False))
    if format_ is Format.json:
        print_json(said)
        return
    for problem in said["problems"]:
        console.print(f"! {problem}", style="yellow", highlight=False)
    out = Console()
    out.print(f"[bold]{said['run']}[/bold] stands with {said['nodes']} nodes. Now try", highlight=False)
    for line in ("inspect", "exec NODE -- ping -c 3 OTHER", "shell", "down"):
        out.print(f"  testbed {line}", highlight=False)
