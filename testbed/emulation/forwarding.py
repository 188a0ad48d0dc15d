"""Forwarding, computed: which link each bridge sends each node's frames to. Pure functions, no kernel.

Bridges of a run neither learn nor flood, so the backhaul may hold loops. Paths are the shortest by delay, then
by hops, then by name; for one destination they form a tree, along which no frame can go round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import networkx as nx

from testbed.errors import EmulationError
from testbed.experiment.plan import LinkPlan

_NANO = 1e9
_HOP_SCALE = 1 << 20  # delays in ns outweigh any number of hops


@dataclass(frozen=True)
class Change:
    """On ``bridge``, frames to ``node`` now leave by ``link`` (None: nowhere any more)."""

    bridge: str
    node: str
    link: str | None


Column = dict[str, str]  # bridge -> link, for one destination
Table = dict[str, Column]  # node -> column


def attachments(links: Iterable[LinkPlan]) -> dict[str, LinkPlan]:
    """The link by which each node hangs on its bridge.

    Raises:
        EmulationError: A node has more than one: containers have one interface.
    """
    found: dict[str, LinkPlan] = {}
    for link in links:
        if link.kind == "backhaul":
            continue
        if link.a in found:
            raise EmulationError(
                f"node {link.a} has two links",
                wanted="one link from each node to its bridge",
                found=f"{found[link.a].name}, {link.name}",
                where=link.a,
            )
        found[link.a] = link
    return found


def graph(bridges: Iterable[str], links: Iterable[LinkPlan], down: Iterable[str] = ()) -> nx.DiGraph[str]:
    """The backhaul as a directed graph: each direction weighs its own delay. Links in ``down`` are left out."""
    cut = set(down)
    net: nx.DiGraph[str] = nx.DiGraph()
    net.add_nodes_from(sorted(bridges))
    for link in sorted(links, key=lambda link: link.name):
        if link.kind != "backhaul" or link.name in cut:
            continue
        for here, there, shape in ((link.a, link.b, link.ab), (link.b, link.a, link.ba)):
            weight = round(shape.delay * _NANO) * _HOP_SCALE + 1
            if not net.has_edge(here, there) or weight < net[here][there]["weight"]:
                net.add_edge(here, there, weight=weight, link=link.name)
    return net


def column(net: nx.DiGraph[str], bridge: str, access: str) -> Column:
    """Where every bridge sends frames for a node that hangs on ``bridge`` by the link ``access``.

    The entries are ordered from the node outward. Applied in this order at a handover, each bridge points to one
    that is right already, so that no frame goes round while only some of them have changed. Bridges that have
    no way to the node have no entry: frames to it end there.
    """
    distance: dict[str, int]
    paths: dict[str, list[str]]
    distance, paths = nx.single_source_dijkstra(net.reverse(copy=False), bridge)  # type: ignore[assignment]
    found = {bridge: access}
    for other in sorted(distance, key=lambda name: (distance[name], name)):
        if other != bridge:
            towards = paths[other][-2]
            found[other] = net[other][towards]["link"]
    return found


def table(net: nx.DiGraph[str], at: Mapping[str, tuple[str, str]]) -> Table:
    """Forwarding for all nodes; ``at`` says for each its bridge and its access link."""
    return {node: column(net, bridge, access) for node, (bridge, access) in sorted(at.items())}


def changes(node: str, old: Column, new: Column, port_left: str | None = None) -> list[Change]:
    """What to rewrite when a node's column changes, in an order that is safe on the way.

    Args:
        node: The destination.
        old: Its column before.
        new: Its column after.
        port_left: Bridge that lost the node's own port, and with it (the kernel does that) the entry.
    """
    found = [
        Change(bridge, node, link) for bridge, link in new.items() if old.get(bridge) != link or bridge == port_left
    ]
    found += [Change(bridge, node, None) for bridge in old if bridge not in new and bridge != port_left]
    return found


def path(forwarding: Table, links: Mapping[str, LinkPlan], start: str, node: str) -> list[str]:
    """Bridges that a frame to ``node`` passes from bridge ``start`` on; empty if it does not arrive."""
    entries = forwarding[node]
    passed: list[str] = []
    here = start
    while here not in passed:
        passed.append(here)
        link = links.get(entries.get(here, ""))
        if link is None:
            return []
        if link.kind != "backhaul":
            return passed
        here = link.b if link.a == here else link.a
    return []
