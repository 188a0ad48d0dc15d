"""Interfaces, bridges, forwarding and neighbour entries through one rtnetlink socket in a namespace.

A handover is a handful of requests. Sent as one batch over a socket that is open already they take well under
a millisecond; starting ``ip`` and ``bridge`` for each would take tens. Every request is acknowledged by the
kernel, and one that is refused raises.

This module covers what the fabric needs and no more. Link shaping belongs to ``links``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.emulation import netns
from testbed.errors import EmulationError

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _NEWNEIGH, _DELNEIGH, _GETNEIGH = 20, 28, 29, 30
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
_CAPPED, _ACK_TLVS = 0x100, 0x200
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO = 1, 3, 4, 10, 12
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_STATS64, _IFLA_NET_NS_FD = 18, 20, 23, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23
_BRPORT_LEARNING, _BRPORT_UNICAST_FLOOD, _BRPORT_MCAST_FLOOD, _BRPORT_BCAST_FLOOD = 8, 9, 27, 30
_NESTED = 0x8000
_NDA_DST, _NDA_LLADDR = 1, 2
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NUD_NOARP, _NUD_PERMANENT, _NTF_MASTER = 0x40, 0x80, 0x04
_IFF_UP = 0x1
_AF_BRIDGE = getattr(socket, "AF_BRIDGE", 7)

_BATCH = 100  # requests a send: their acknowledgements must fit into the receive buffer


@dataclass(frozen=True)
class Request:
    """One thing to ask of the kernel; ``what`` says it in words, for errors."""

    what: str
    kind: int
    flags: int
    body: bytes
    absent_is_fine: bool = False


@dataclass(frozen=True)
class Interface:
    """An interface as the kernel describes it."""

    index: int
    name: str
    up: bool
    mac: str
    mtu: int
    master: int
    alias: str
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True)
class Forward:
    """A forwarding entry of a bridge: frames to ``mac`` leave by the port of index ``port``."""

    mac: str
    port: int
    bridge: int
    static: bool


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
    """Give an interface an IPv4 address."""
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBi", socket.AF_INET, prefix, 0, 0, index)
    body += _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return Request(f"add address {address}/{prefix}", _NEWADDR, _CREATE | _REPLACE, body)


def set_neighbour(index: int, address: str, mac: str) -> Request:
    """Write down for good which Ethernet address an IPv4 address has."""
    body = struct.pack("=BxHiHBB", socket.AF_INET, 0, index, _NUD_PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, socket.inet_aton(address)) + _attribute(_NDA_LLADDR, _mac(mac))
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


class Netlink:
    """An rtnetlink socket that lives in a network namespace. Safe to use from several threads."""

    def __init__(self, path: str) -> None:
        self._where = path
        self._sequence = 0
        self._guard = threading.Lock()
        self._socket = netns.inside(path, _open)

    def run(self, requests: Sequence[Request]) -> None:
        """Have the kernel do all of it, in order, in as few system calls as there are batches.

        Raises:
            EmulationError: The kernel refused one; those after it in its batch were tried all the same.
        """
        with self._guard:
            for start in range(0, len(requests), _BATCH):
                self._run(requests[start : start + _BATCH])

    def interfaces(self) -> dict[str, Interface]:
        """Every interface of the namespace by its name."""
        with self._guard:
            found = [_interface(body) for body in self._dump(_GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0))]
        return {interface.name: interface for interface in found}

    def forwards(self) -> list[Forward]:
        """Every forwarding entry of the namespace's bridges, without those for their own addresses."""
        body = struct.pack("=BxHiII", _AF_BRIDGE, 0, 0, 0, 0)
        with self._guard:
            found = [_forward(entry) for entry in self._dump(_GETNEIGH, body)]
        return [entry for entry in found if entry is not None]

    def close(self) -> None:
        """Close the socket; closing twice is fine."""
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, requests: Sequence[Request]) -> None:
        first = self._sequence + 1
        message = b""
        for request in requests:
            self._sequence += 1
            message += _message(request.kind, request.flags | _REQUEST | _ACK, self._sequence, request.body)
        self._socket.send(message)
        failed: EmulationError | None = None
        waiting = len(requests)
        while waiting:
            for kind, flags, sequence, body in self._receive():
                if kind != _ERROR or not first <= sequence <= self._sequence:
                    continue
                waiting -= 1
                code = -struct.unpack_from("=i", body)[0]
                request = requests[sequence - first]
                if code and not (request.absent_is_fine and code in (errno.ENOENT, errno.ENODEV)):
                    failed = failed or _refused(request, code, flags, body, self._where)
        if failed:
            raise failed

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        self._sequence += 1
        self._socket.send(_message(kind, _REQUEST | _DUMP, self._sequence, body))
        found: list[bytes] = []
        while True:
            for reply, _, sequence, content in self._receive():
                if sequence != self._sequence:
                    continue
                if reply == _DONE:
                    return found
                if reply == _ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    raise EmulationError("cannot list interfaces", found=os.strerror(code), where=self._where)
                found.append(content)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        try:
            data = self._socket.recv(1 << 18)
        except TimeoutError as error:
            raise EmulationError("the kernel did not answer over netlink", where=self._where) from error
        while len(data) >= 16:
            length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
            yield kind, flags, sequence, data[16:length]
            data = data[(length + 3) & ~3 :]


def _open() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
    made.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    made.settimeout(10)
    made.bind((0, 0))
    return made


def _refused(request: Request, code: int, flags: int, body: bytes, where: str) -> EmulationError:
    reason = os.strerror(code)
    if flags & _ACK_TLVS:
        skip = 20 if flags & _CAPPED else 4 + struct.unpack_from("=I", body, 4)[0]
        said = _attributes(body[skip:]).get(1)  # NLMSGERR_ATTR_MSG
        if said:
            reason += f" ({said.rstrip(bytes(1)).decode(errors='replace')})"
    return EmulationError(f"the kernel refused to {request.what}", found=reason, where=where)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    padded = body + bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + padded


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


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _interface(body: bytes) -> Interface:
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    seen = _attributes(body[16:])
    counters = struct.unpack_from("=4Q", seen.get(_IFLA_STATS64, bytes(32)))
    return Interface(
        index=index,
        name=seen[_IFLA_IFNAME].rstrip(b"\0").decode(),
        up=bool(flags & _IFF_UP),
        mac=seen.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=struct.unpack("=I", seen.get(_IFLA_MTU, bytes(4)))[0],
        master=struct.unpack("=I", seen.get(_IFLA_MASTER, bytes(4)))[0],
        alias=seen.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
        rx_packets=counters[0],
        tx_packets=counters[1],
        rx_bytes=counters[2],
        tx_bytes=counters[3],
    )


def _forward(body: bytes) -> Forward | None:
    _, _, port, state, _, _ = struct.unpack_from("=BxHiHBB", body)
    seen = _attributes(body[12:])
    if state & _NUD_PERMANENT or _NDA_LLADDR not in seen:
        return None
    bridge = struct.unpack("=I", seen.get(9, bytes(4)))[0]  # NDA_MASTER
    return Forward(seen[_NDA_LLADDR].hex(":"), port, bridge, bool(state & _NUD_NOARP))
