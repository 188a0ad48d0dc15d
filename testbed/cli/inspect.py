"""``testbed inspect [NODE]``: what is in force on a topology that stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.exec import RunOption
from testbed.cli.options import Format, FormatOption, print_json
from testbed.cli.show import describe, plain

if TYPE_CHECKING:
    from testbed.emulation.attach import AttachedBed
    from testbed.emulation.record import LinkRecord

_NOTABLE = 0.01  # of a quota: the kernel's grain is less


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
        links = [link for link in bed.record.links.values() if node in (None, link.a, link.b)]
    if format_ is Format.json:
        rows = [link_row(link) for link in links]
        print_json({"run": bed.record.run_id, "source": bed.record.source, "nodes": nodes, "links": rows})
        return
    Console().print(*tables(nodes, links))
    for line in oom_lines(nodes):  # a column more would cut the names off on a narrow screen
        Console().print(line, markup=False)
    if any(governed(row) for row in nodes):
        Console().print(
            "CPU is the quota asked for as a guard; what is read back otherwise is a governor's, which keeps programs "
            "at the node's speed (docs/speed.md)"
        )


def tables(nodes: Sequence[Mapping[str, Any]], links: Sequence[LinkRecord]) -> tuple[Table, Table]:
    """Nodes and links, for a screen."""
    table = Table("node", "kind", "at")
    table.add_column("address", no_wrap=True, min_width=len("10.77.0.10"))
    for heading in ("pid", "speed", "CPU", "read back", "MiB", "read back", "used"):
        table.add_column(heading, overflow="fold")  # a number that is cut off is another
    for row in nodes:
        asked, found = row["asked"], row["read_back"] or {}
        addresses = "\n".join(address for address in (row["ip"], row["ip6"]) if address)
        speed = "" if asked["speed"] is None else f"{asked['speed']:.3g}"
        table.add_row(
            row["node"], row["kind"], row["site"] or "", addresses, str(row["pid"]) if row["running"] else "ended",
            speed, _cores(asked["cpus"]), _cores(found.get("cpus")), _mib(asked["memory"]), _mib(found.get("memory")),
            _mib(row["memory_used"]),
        )  # fmt: skip
    ways = Table("link", "kind", "ends", "there", "back")
    for link in links:
        there, back = describe(link.ab, link.ab_trace), describe(link.ba, link.ba_trace)
        ways.add_row(link.name, link.kind, f"{link.a} -- {link.b}", there, back)
    return table, ways


def governed(row: Mapping[str, Any]) -> bool:
    """Whether the quota in force is another than the guard asked for."""
    found = (row["read_back"] or {}).get("cpus")
    return found is not None and abs(found - row["asked"]["cpus"]) > _NOTABLE * float(row["asked"]["cpus"])


def oom_lines(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is told of nodes of which the kernel has killed processes for want of memory."""
    return [
        f"{row['node']}: {row['oom_kills']} killed of its processes for want of memory so far: set "
        f"profiles.{row['profile']}.memory higher, or have it use less"
        for row in nodes if row["oom_kills"]
    ]  # fmt: skip


def _node(bed: AttachedBed, name: str, running: bool) -> dict[str, Any]:
    node = bed.record.node(name)
    row: dict[str, Any] = {
        "node": name,
        "kind": node.kind,
        "profile": node.profile,
        "site": node.site,
        "ip": node.ip,
        "ip6": node.ip6,
        "mac": node.mac,
        "container": node.container,
        "pid": node.pid,
        "running": running,
        "asked": {"speed": node.speed, "cpus": node.cpus, "period": node.period, "memory": node.memory},
        "read_back": None,
        "memory_used": None,
        "oom_kills": None,
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
        row["oom_kills"] = bed.oom_kills(name)
        row["cpu_s"] = bed.cpu(name).usage_s
    return row


def link_row(link: LinkRecord) -> dict[str, Any]:
    """What is told of a link as plain data."""
    return {
        "link": link.name,
        "kind": link.kind,
        "a": link.a,
        "b": link.b,
        "interfaces": [link.a_ifname, link.b_ifname],
        "there": plain(link.ab),
        "back": plain(link.ba),
        "there_trace": link.ab_trace and asdict(link.ab_trace),
        "back_trace": link.ba_trace and asdict(link.ba_trace),
    }


def _cores(cpus: float | None) -> str:
    return "unlimited" if cpus is None else f"{cpus:.3g}"


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / (1 << 20):.0f}"
