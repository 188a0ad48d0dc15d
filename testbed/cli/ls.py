"""``testbed ls``: runs that stand."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from testbed.cli.options import Format, FormatOption, print_json


def command(format_: FormatOption = Format.table) -> None:
    """List runs on this machine: those that stand, those coming up or going down, and what dead ones left."""
    from testbed.emulation import rundirs
    from testbed.emulation.record import BedRecord
    from testbed.errors import InputError

    rows = []
    for run in rundirs.runs():
        try:
            record = BedRecord.load(run.directory)
            name, nodes, source, run_dir = record.name, len(record.nodes), record.source, record.run_dir
            state = "stands" if run.alive else "dead"
        except InputError:
            name, nodes, source, run_dir = "", 0, "", ""
            state = "changing" if run.alive else "dead"
        rows.append(
            {
                "run": run.run_id,
                "name": name,
                "nodes": nodes,
                "age_s": round(time.time() - run.created, 1),
                "state": state,
                "source": source,
                "results": run_dir,
            }
        )
    if format_ is Format.json:
        print_json(rows)
        return
    if not rows:
        Console(stderr=True).print("no runs; testbed up FILE puts one up")
        return
    table = Table("run", "name", "nodes", "age", "state")
    for row in rows:
        age = _age(float(str(row["age_s"])))
        table.add_row(str(row["run"]), str(row["name"]), str(row["nodes"]), age, str(row["state"]))
    Console().print(table)
    if any(row["state"] == "dead" for row in rows):
        Console(stderr=True).print("testbed clean removes what dead runs left")


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
