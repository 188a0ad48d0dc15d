"""What the fabric asks of the kernel over rtnetlink, as requests that `netlink.Netlink` sends in batches."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_NEWLINK, _DELLINK, _SETLINK = 16, 17, 19
_NEWADDR, _NEWROUTE, _NEWNEIGH, _DELNEIGH = 20, 24, 28, 29
_REPLACE, _EXCL, _CREATE = 0x100, 0x200, 0x400

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO = 1, 3, 4, 10, 12
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 18, 20, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23
_BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD, _BRPORT_MCAST_FLOOD, _BRPORT_BCAST_FLOOD = 8, 9, 27, 30
_NESTED = 0x8000
_NDA_DST, _NDA_LLADDR = 1, 2
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_NUD_NOARP, _NUD_PERMANENT, _NTF_MASTER = 0x40, 0x80, 0x04
_IFF_UP = 0x1
_AF_BRIDGE = getattr(socket, "AF_BRIDGE", 7)
_TABLE_MAIN, _PROTO_KERNEL, _SCOPE_LINK, _UNICAST = 254, 2, 253, 1
RTA_DST, RTA_OIF, _RTA_PRIORITY, _RTA_PREFSRC, RTA_METRICS, RTAX_RTO_MIN = 1, 4, 6, 7, 8, 13
_PRIORITY_OF_ADDRESSES = 256  # of the routes that the kernel makes for IPv6 addresses


@dataclass(frozen=True)
class Request:
    """One thing to ask of the kernel; ``what`` says it in words, for errors."""

    what: str
    kind: int
    flags: int
    body: bytes
    absent_is_fine: bool = False


def create_bridge(name: str, mac: str) -> Request:
    """A bridge that computes nothing by itself: no spanning tree, no snooping, no forwarding delay."""
    data = _u32(_BR_FORWARD_DELAY, 0) + _u32(_BR_STP_STATE, 0) + _attribute(_BR_MCAST_SNOOPING, struct.pack("=B", 0))
    info = _attribute(_INFO_KIND, b"bridge") + _attribute(_INFO_DATA, data)
    attributes = _text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, _mac(mac)) + _attribute(_IFLA_LINKINFO, info)
    return Request(f"make bridge {name}", _NEWLINK, _CREATE | _EXCL, _link(up=True) + attributes)


def create_veth(name: str, mac: str, peer: str, peer_mac: str, peer_netns: int) -> Request:
    """A veth pair; ``peer`` goes into the namespace open as file descriptor ``peer_netns``."""
    other = (
        _link()
        + _text(_IFLA_IFNAME, peer)
        + _attribute(_IFLA_ADDRESS, _mac(peer_mac))
        + _u32(_IFLA_NET_NS_FD, peer_netns)
    )
    info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, other))
    attributes = _text(_IFLA_IFNAME, name) + _attribute(_IFLA_ADDRESS, _mac(mac)) + _attribute(_IFLA_LINKINFO, info)
    return Request(f"make veth {name} to {peer}", _NEWLINK, _CREATE | _EXCL, _link() + attributes)


def delete_link(name: str) -> Request:
    """Delete an interface; an absent one is fine."""
    return Request(f"delete {name}", _DELLINK, 0, _link() + _text(_IFLA_IFNAME, name), absent_is_fine=True)


def set_link(
    name: str, *, up: bool | None = None, master: int | None = None, mtu: int | None = None, alias: str = ""
) -> Request:
    """Change an interface: up or down, the bridge it is a port of, its MTU, its alias."""
    attributes = _text(_IFLA_IFNAME, name)
    if master is not None:
        attributes += _u32(_IFLA_MASTER, master)
    if mtu is not None:
        attributes += _u32(_IFLA_MTU, mtu)
    if alias:
        attributes += _attribute(_IFLA_IFALIAS, alias.encode())
    return Request(f"set {name}", _NEWLINK, 0, _link(up=up) + attributes)


def quiet_port(index: int) -> Request:
    """A bridge port that neither learns nor gets frames whose destination is not in the table."""
    flags = b"".join(
        _attribute(flag, b"\0")
        for flag in (_BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD, _BRPORT_MCAST_FLOOD, _BRPORT_BCAST_FLOOD)
    )
    body = _link(index=index, family=_AF_BRIDGE) + _attribute(_IFLA_PROTINFO | _NESTED, flags)
    return Request(f"set flags of port {index}", _SETLINK, 0, body)


def add_address(index: int, address: str, prefix: int) -> Request:
    """Give an interface an address; an IPv6 one is in force at once, without asking whether others have it."""
    family, packed = _packed(address)
    body = struct.pack("=BBBBi", family, prefix, _IFA_F_NODAD if family == socket.AF_INET6 else 0, 0, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return Request(f"add address {address}/{prefix}", _NEWADDR, _CREATE | _REPLACE, body)


def set_neighbour(index: int, address: str, mac: str) -> Request:
    """Write down for good which Ethernet address an IPv4 or IPv6 address has."""
    family, packed = _packed(address)
    body = struct.pack("=BxHiHBB", family, 0, index, _NUD_PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, packed) + _attribute(_NDA_LLADDR, _mac(mac))
    return Request(f"set neighbour {address}", _NEWNEIGH, _CREATE | _REPLACE, body)


def set_forward(port: int, mac: str) -> Request:
    """On the bridge that ``port`` belongs to, send frames to ``mac`` out of it (moves an entry in place)."""
    body = struct.pack("=BxHiHBB", _AF_BRIDGE, 0, port, _NUD_NOARP, _NTF_MASTER, 0)
    body += _attribute(_NDA_LLADDR, _mac(mac))
    return Request(f"forward {mac} to port {port}", _NEWNEIGH, _CREATE | _REPLACE, body)


def delete_forward(port: int, mac: str) -> Request:
    """Forget a forwarding entry; an absent one is fine."""
    body = struct.pack("=BxHiHBB", _AF_BRIDGE, 0, port, _NUD_NOARP, _NTF_MASTER, 0)
    body += _attribute(_NDA_LLADDR, _mac(mac))
    return Request(f"stop forwarding {mac} to port {port}", _DELNEIGH, 0, body, absent_is_fine=True)


def limit_retransmission(index: int, network: str, prefix: int, source: str, least: float) -> Request:
    """Have TCP wait ``least`` seconds or more before it sends again, by the route to the interface's own network."""
    family, packed = _packed(network)
    six = family == socket.AF_INET6
    scope = 0 if six else _SCOPE_LINK  # IPv6 knows none
    body = struct.pack("=BBBBBBBBI", family, prefix, 0, 0, _TABLE_MAIN, _PROTO_KERNEL, scope, _UNICAST, 0)
    body += _attribute(RTA_DST, packed) + _u32(RTA_OIF, index)
    if six:
        body += _u32(_RTA_PRIORITY, _PRIORITY_OF_ADDRESSES)
    else:
        body += _attribute(_RTA_PREFSRC, _packed(source)[1])
    body += _attribute(RTA_METRICS, _u32(RTAX_RTO_MIN, round(least * 1000)))
    return Request(f"set the retransmission timeout of {network}/{prefix}", _NEWROUTE, _CREATE | _REPLACE, body)


def _packed(address: str) -> tuple[int, bytes]:
    """An address's family and its bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def _link(*, index: int = 0, family: int = 0, up: bool | None = None) -> bytes:
    return struct.pack("=BxHiII", family, 0, index, _IFF_UP if up else 0, 0 if up is None else _IFF_UP)
