"""What an experiment comes to, for ``run --dry-run`` and ``validate``."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from testbed.cli.options import Format, print_json
from testbed.emulation.links.shape import Shape
from testbed.experiment.plan import Move, Plan


def show(plan: Plan, format_: Format) -> None:
    """Print the plan on stdout."""
    if format_ is Format.json:
        print_json(asdict(plan))
        return
    console = Console()
    work = plan.workload
    console.print(
        f"[bold]{plan.name}[/bold]: {', '.join(work.schemes)} with {work.model} cut at {work.cut} on {work.data.set}, "
        f"{work.rounds} rounds of batch {work.batch}, seed {plan.seed}",
        highlight=False,
    )
    nodes = Table("node", "kind", "profile", "speed", "CPU guard", "memory", "at", title="nodes")
    for node in plan.nodes:
        where = node.site or node.bridge
        memory = f"{node.memory >> 20} MiB"
        nodes.add_row(node.name, node.kind, node.profile, f"{node.speed:g}", f"{node.cpus:g}", memory, where)
    links = Table("link", "ends", "there", "back", title="links")
    for link in plan.links:
        links.add_row(link.name, f"{link.a} -- {link.b}", describe(link.ab), describe(link.ba))
    console.print(nodes, links)
    for move in plan.moves:
        console.print(f"  {move.device} moves to {move.to} {when(move)}", highlight=False)
    total = sum(n.speed for n in plan.nodes)
    console.print(f"  {total:g} cores of training speed in all", highlight=False)


def describe(shape: Shape) -> str:
    """One direction of a link in words."""
    parts = [f"{shape.rate / 1e6:g} Mbit/s" if shape.rate else "unshaped"]
    if shape.delay:
        parts.append(f"{shape.delay * 1e3:g} ms" + (f" ± {shape.jitter * 1e3:g}" if shape.jitter else ""))
    if shape.loss:
        parts.append(f"loss {shape.loss:.2%}")
    return ", ".join(parts)


def when(move: Move) -> str:
    """When a move is due, in words."""
    if move.at is not None:
        return f"at {move.at:g} s"
    return f"at {move.progress:.0%} of round {move.round}"
