"""``testbed inspect [NODE]``: what is in force on a topology that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.exec import RunOption
from testbed.cli.options import Format, FormatOption, print_json
from testbed.cli.plan import describe, plain

if TYPE_CHECKING:
    from testbed.emulation.attach import AttachedBed


def command(
    node: Annotated[str | None, typer.Argument(help="Only this node.")] = None,
    run: RunOption = None,
    format_: FormatOption = Format.table,
) -> None:
    """Show nodes with their address and limits (asked for and read back), and links, of a run that stands."""
    from testbed.emulation.attach import attach

    with attach(run) as bed:
        names = [bed.record.node(node).name] if node else list(bed.record.nodes)
        running = bed.running()
        nodes = [_node(bed, name, running[name]) for name in names]
        links = [_link(bed, name) for name in bed.record.links]
    if node:
        links = [link for link in links if node in (link["a"], link["b"])]
    if format_ is Format.json:
        print_json({"run": bed.record.run_id, "source": bed.record.source, "nodes": nodes, "links": links})
        return
    table = Table("node", "kind", "at", "address", "pid", "CPU", "read back", "memory", "read back", "used")
    for row in nodes:
        asked, found = row["asked"], row["read_back"] or {}
        table.add_row(
            row["node"], row["kind"], row["site"] or "", row["ip"], str(row["pid"]) if row["running"] else "ended",
            _cores(asked["cpus"]), _cores(found.get("cpus")), _mib(asked["memory"]), _mib(found.get("memory")),
            _mib(row["memory_used"]),
        )  # fmt: skip
    ways = Table("link", "kind", "ends", "there", "back")
    for row in links:
        ways.add_row(
            row["link"], row["kind"], f"{row['a']} -- {row['b']}",
            describe(bed.record.links[row["link"]].ab), describe(bed.record.links[row["link"]].ba),
        )  # fmt: skip
    Console().print(table, ways)


def _node(bed: AttachedBed, name: str, running: bool) -> dict[str, Any]:
    node = bed.record.node(name)
    row: dict[str, Any] = {
        "node": name,
        "kind": node.kind,
        "profile": node.profile,
        "site": node.site,
        "ip": node.ip,
        "mac": node.mac,
        "container": node.container,
        "pid": node.pid,
        "running": running,
        "asked": {"cpus": node.cpus, "period": node.period, "memory": node.memory},
        "read_back": None,
        "memory_used": None,
        "cpu_s": None,
    }
    if running:
        limits = bed.limits(name)
        row["read_back"] = {
            "cpus": limits.cpus,
            "period": limits.period,
            "memory": limits.memory,
            "memory_swap": limits.memory_swap,
        }
        row["memory_used"] = bed.memory(name).working
        row["cpu_s"] = bed.cpu(name).usage_s
    return row


def _link(bed: AttachedBed, name: str) -> dict[str, Any]:
    link = bed.record.links[name]
    return {
        "link": name,
        "kind": link.kind,
        "a": link.a,
        "b": link.b,
        "interfaces": [link.a_ifname, link.b_ifname],
        "there": plain(link.ab),
        "back": plain(link.ba),
    }


def _cores(cpus: float | None) -> str:
    return "unlimited" if cpus is None else f"{cpus:.3g}"


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / (1 << 20):.0f} MiB"
