"""The fabric: a run's bridges in a network namespace of its own, and the frames' way through them.

Bridges do not learn, flood or run a spanning tree: forwarding is computed (``forwarding``) and written as static
entries, as are the nodes' neighbours. So loops are legal, nothing storms, and no packet waits for ARP (or, where nodes
have IPv6 addresses too, for a neighbour's answer). A handover
moves the device's port from one bridge to another and rewrites only what changes, over a socket that is open.

A namespace of its own keeps the engine's firewall rules off bridged packets, names of two runs apart, and makes
removal one act.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testbed.emulation import forwarding, netlink, netns, rundirs
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import LinkEnd
from testbed.errors import EmulationError, NotAppliedError
from testbed.experiment.plan import LinkPlan, NodePlan

PREFIX_LENGTH = 16
PREFIX_LENGTH_6 = 64
MTU = 1500
NODE_INTERFACE = "eth0"
LABEL = "roambed:"
_MOST_NODES = 65_000
_CONGESTION_CONTROL = ("cubic", "reno")
_RTO_MIN = 0.2  # s; TCP's least retransmission timeout on Linux unless a route says another
_PING_FOR_ALL = {"net.ipv4.ping_group_range": "0 2147483647"}  # nodes have no right to raw sockets
# What one connection saw of a path shall not slow down the next one, nor what an acknowledgement that was merely
# delayed made of it: a tail loss probe without an answer halves the window, and Reno takes minutes to come back.
_TCP = {"net.ipv4.tcp_no_metrics_save": "1", "net.ipv4.tcp_early_retrans": "0"}
_NO_IPV6 = {f"net.ipv6.conf.{scope}.disable_ipv6": "1" for scope in ("all", "default")}
# An interface with the one address it is given, that asks nobody for others. Written before it is switched on.
_QUIET_IPV6 = {
    "addr_gen_mode": "1", "accept_ra": "0", "autoconf": "0", "router_solicitations": "0", "dad_transmits": "0",
    "accept_dad": "0", "disable_ipv6": "0",
}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Addresses of a node: they follow from its place in the plan and stay with it wherever it goes."""

    ip: str
    mac: str
    ip6: str | None = None


def address(index: int, ipv6: bool = False) -> Address:
    """Addresses of the node of that index, from 1."""
    if not 1 <= index <= _MOST_NODES:
        raise EmulationError("too many nodes", wanted=f"at most {_MOST_NODES}", found=str(index))
    return Address(f"10.77.{index >> 8}.{index & 255}", _mac(0, index), f"fd77::{index:x}" if ipv6 else None)


def port_mac(index: int, side: str) -> str:
    """Ethernet address of a link's end in the fabric (it never shows in a frame)."""
    return _mac(1 if side == "a" else 2, index)


def label(run_id: str) -> str:
    """Alias of the fabric's loopback interface: by it a namespace is known as ours if its ledger is lost."""
    return f"{LABEL}{rundirs.root()}:{run_id}"


class Fabric:
    """Bridges, ports and forwarding of one run."""

    def __init__(
        self, run_id: str, bridges: Iterable[str], links: Iterable[LinkPlan], dilation: float = 1.0
    ) -> None:
        self.name = netns.name_of(run_id)
        self.path = netns.path_of(self.name)
        self.bridges = {bridge: f"br{index}" for index, bridge in enumerate(bridges)}
        self.links = {link.name: link for link in links}
        self.table: forwarding.Table = {}
        self._label = label(run_id)
        self._dilation = dilation
        self._numbers = {name: index for index, name in enumerate(self.links)}
        self._attached = forwarding.attachments(self.links.values())
        self._down: set[str] = set()
        self._graph = forwarding.graph(self.bridges, self.links.values())
        self._macs: dict[str, str] = {}
        self._indices: dict[str, int] = {}
        self._socket: netlink.Netlink | None = None
        self._made = False

    def create(self) -> None:
        """Make the namespace and the bridges."""
        netns.create(self.name)
        self._made = True
        netns.write_sysctls(self.path, _NO_IPV6)
        self._socket = netlink.Netlink(self.path)
        requests = [netlink.set_link("lo", up=True, alias=self._label)]
        for index, ifname in enumerate(self.bridges.values()):
            requests.append(netlink.create_bridge(ifname, _mac(3, index)))
        self._socket.run(requests)

    def add_links(self, emulator: Emulator, pids: dict[str, int], macs: dict[str, str]) -> None:
        """Have the emulator make every link, and make the ends in the fabric ports of their bridges.

        Args:
            emulator: Makes the links.
            pids: A process in each node's namespace.
            macs: Each node's Ethernet address.
        """
        self._macs = dict(macs)
        for link in self.links.values():
            ends = []
            for side, owner in (("a", link.a), ("b", link.b)):
                ifname = self.interface(link, side)
                if owner in self.bridges:
                    ends.append(LinkEnd(self.path, ifname, port_mac(self._numbers[link.name], side)))
                else:
                    ends.append(LinkEnd(netns.of_pid(pids[owner]), ifname, macs[owner]))
            emulator.add(link.name, ends[0], ends[1], link.ab, link.ba)
        found = self._netlink.interfaces()
        self._indices = {name: interface.index for name, interface in found.items()}
        requests = []
        for link in self.links.values():
            for side, owner in (("a", link.a), ("b", link.b)):
                if owner in self.bridges:
                    requests += self._enslave(self.interface(link, side), owner)
        self._netlink.run(requests)

    def forward(self) -> None:
        """Compute the forwarding of all nodes and write it into the bridges."""
        at = {node: (link.b, link.name) for node, link in self._attached.items()}
        self.table = forwarding.table(self._graph, at)
        self._netlink.run(
            [
                netlink.set_forward(self._port(link, bridge), self._macs[node])
                for node, column in self.table.items()
                for bridge, link in column.items()
            ]
        )

    def configure_node(self, name: str, pid: int, addresses: dict[str, Address]) -> str | None:
        """Give a node's interface its addresses, and write down all its neighbours.

        Returns:
            The TCP congestion control that was set; None if this kernel lets none be set.
        """
        path = netns.of_pid(pid)
        own = addresses[name]
        netns.write_sysctls(path, {**(_NO_IPV6 if own.ip6 is None else _ipv6()), **_PING_FOR_ALL, **_TCP})
        with netlink.Netlink(path) as inner:
            interface = inner.interfaces().get(NODE_INTERFACE)
            if interface is None:
                raise EmulationError(f"the emulator made no {NODE_INTERFACE}", where=name)
            networks = {own.ip: PREFIX_LENGTH} | ({own.ip6: PREFIX_LENGTH_6} if own.ip6 else {})
            inner.run(
                [
                    netlink.set_link("lo", up=True),
                    netlink.set_link(NODE_INTERFACE, up=True, mtu=MTU),
                    *(netlink.add_address(interface.index, ip, length) for ip, length in networks.items()),
                    *(
                        netlink.set_neighbour(interface.index, ip, other.mac)
                        for peer, other in addresses.items()
                        for ip in (other.ip, other.ip6)
                        if peer != name and ip is not None
                    ),
                ]
            )
            if self._dilation != 1:
                for ip, length in networks.items():
                    self._stretch(inner, interface.index, ip, length, name)
        for wanted in _CONGESTION_CONTROL:
            if not netns.write_sysctls(path, {"net.ipv4.tcp_congestion_control": wanted}):
                return wanted
        return None

    def _stretch(self, inner: netlink.Netlink, index: int, ip: str, length: int, name: str) -> None:
        """Where time runs slower, TCP must be as much more patient before it sends again."""
        wanted = _RTO_MIN * self._dilation
        network = ipaddress.ip_interface(f"{ip}/{length}").network
        inner.run([netlink.limit_retransmission(index, str(network.network_address), length, ip, wanted)])
        found = inner.retransmission(index, socket.AF_INET if network.version == 4 else socket.AF_INET6)
        if found is None or abs(found - wanted) > 0.001:
            raise NotAppliedError(
                "TCP's least retransmission timeout is not as set",
                wanted=f"{wanted:g} s",
                found=f"{found} s",
                where=name,
            )

    def move(self, device: str, bridge: str) -> LinkPlan:
        """Make the port of a device's access link a port of another bridge, and send its frames there.

        Returns:
            The access link as it is now.
        """
        link = self._attached[device]
        old = self.table[device]
        new = forwarding.column(self._graph, bridge, link.name)
        ifname = self.interface(link, "b")
        join, silence = self._enslave(ifname, bridge)
        requests = [join]
        moved = LinkPlan(link.name, link.kind, device, bridge, link.ab, link.ba)
        for change in forwarding.changes(device, old, new, port_left=link.b):
            leaving = change.link or old[change.bridge]
            port = self._indices[ifname] if leaving == link.name else self._port(leaving, change.bridge)
            write = netlink.delete_forward if change.link is None else netlink.set_forward
            requests.append(write(port, self._macs[device]))
        # Last, as the device hears nothing until its entries are there, and one port that floods makes no loop.
        self._netlink.run([*requests, silence])
        self.table[device] = new
        self.links[link.name] = self._attached[device] = moved
        return moved

    def without(self, down: Iterable[str]) -> None:
        """Send frames around the backhaul links in ``down`` from now on; those left out are used again."""
        self._down = set(down)
        self._graph = forwarding.graph(self.bridges, self.links.values(), self._down)
        requests = []
        for node, old in self.table.items():
            link = self._attached[node]
            new = forwarding.column(self._graph, link.b, link.name)
            for change in forwarding.changes(node, old, new):
                port = self._port(change.link or old[change.bridge], change.bridge)
                write = netlink.delete_forward if change.link is None else netlink.set_forward
                requests.append(write(port, self._macs[node]))
            self.table[node] = new
        self._netlink.run(requests)

    def interface(self, link: LinkPlan, side: str) -> str:
        """Name of a link's interface: ``eth0`` in a node, ``p<k>a`` and ``p<k>b`` in the fabric."""
        owner = link.a if side == "a" else link.b
        return f"p{self._numbers[link.name]}{side}" if owner in self.bridges else NODE_INTERFACE

    def interfaces(self) -> dict[str, netlink.Interface]:
        """Interfaces in the fabric with their counters."""
        return self._netlink.interfaces()

    def close(self) -> None:
        """Close the socket and delete the namespace with all in it; closing twice is fine."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._made:  # a namespace of this name that somebody else made stays
            netns.delete(self.name)
            self._made = False

    @property
    def _netlink(self) -> netlink.Netlink:
        if self._socket is None:
            raise EmulationError("the fabric is not up", where=self.name)
        return self._socket

    def _enslave(self, ifname: str, bridge: str) -> list[netlink.Request]:
        # A port that joins a bridge starts with learning and flooding on: both go in the same batch.
        return [
            netlink.set_link(ifname, up=True, mtu=MTU, master=self._indices[self.bridges[bridge]]),
            netlink.quiet_port(self._indices[ifname]),
        ]

    def _port(self, name: str, bridge: str) -> int:
        link = self.links[name]
        return self._indices[self.interface(link, "a" if link.a == bridge else "b")]


def _mac(group: int, index: int) -> str:
    return f"02:52:42:{group:02x}:{index >> 8:02x}:{index & 255:02x}"


def _ipv6() -> dict[str, str]:
    """Sysctls by which a node has IPv6. Switched on in `all` too, where programs look whether there is any."""
    quiet = {f"net.ipv6.conf.{NODE_INTERFACE}.{key}": value for key, value in _QUIET_IPV6.items()}
    return {**quiet, "net.ipv6.conf.lo.disable_ipv6": "0", "net.ipv6.conf.all.disable_ipv6": "0"}


def plan_addresses(nodes: Iterable[NodePlan], ipv6: bool = False) -> dict[str, Address]:
    """Addresses of all nodes, by their place in the plan."""
    return {node.name: address(index, ipv6) for index, node in enumerate(nodes, start=1)}


def known_hosts(addresses: Mapping[str, Address]) -> list[tuple[str, str]]:
    """Names of all nodes and what each stands for: IPv4 addresses first, then those of IPv6."""
    found = [(name, own.ip) for name, own in addresses.items()]
    return found + [(name, own.ip6) for name, own in addresses.items() if own.ip6 is not None]


def owner_of(path: str) -> str | None:
    """The alias by which a namespace says whose it is; None if it says nothing or cannot be asked."""
    try:
        with netlink.Netlink(path) as inner:
            return inner.interfaces()["lo"].alias or None
    except (EmulationError, OSError, KeyError):
        return None
