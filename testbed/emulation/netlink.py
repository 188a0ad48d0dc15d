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
from testbed.emulation.netlink_requests import (
    RTA_METRICS,
    RTA_OIF,
    RTAX_RTO_MIN,
    Request,
    add_address,
    create_bridge,
    create_veth,
    delete_forward,
    delete_link,
    limit_retransmission,
    quiet_port,
    set_forward,
    set_link,
    set_neighbour,
)
from testbed.errors import EmulationError

__all__ = [
    "Forward",
    "Interface",
    "Netlink",
    "Queue",
    "Request",
    "add_address",
    "create_bridge",
    "create_veth",
    "delete_forward",
    "delete_link",
    "limit_retransmission",
    "quiet_port",
    "set_forward",
    "set_link",
    "set_neighbour",
]

_GETLINK, _GETROUTE, _GETNEIGH, _GETQDISC = 18, 26, 30, 38
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_CAPPED, _ACK_TLVS = 0x100, 0x200
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_IFALIAS, _IFLA_STATS64 = 1, 3, 4, 10, 20, 23
_NDA_LLADDR, _NDA_MASTER = 2, 9
_TCA_KIND, _TCA_STATS2, _STATS_BASIC, _STATS_QUEUE = 1, 7, 1, 3
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_IFF_UP = 0x1
_AF_BRIDGE = getattr(socket, "AF_BRIDGE", 7)

_BATCH = 100  # requests a send: their acknowledgements must fit into the receive buffer


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


@dataclass(frozen=True)
class Queue:
    """A queueing discipline and its counters: bytes and packets sent, packets dropped, bytes waiting."""

    kind: str
    bytes: int
    packets: int
    drops: int
    backlog: int


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

    def retransmission(self, index: int, family: int = socket.AF_INET) -> float | None:
        """TCP's least retransmission timeout by a family's routes to an interface, s; None where none says one."""
        asked = struct.pack("=BBBBBBBBI", family, *bytes(7), 0)
        with self._guard:
            routes = [_attributes(body[12:]) for body in self._dump(_GETROUTE, asked)]
        for route in routes:
            metrics = _attributes(route.get(RTA_METRICS, b""))
            if route.get(RTA_OIF) == struct.pack("=I", index) and RTAX_RTO_MIN in metrics:
                return float(struct.unpack("=I", metrics[RTAX_RTO_MIN])[0]) / 1000
        return None

    def queues(self) -> dict[int, list[Queue]]:
        """The queueing disciplines of the namespace's interfaces, by their index."""
        found: dict[int, list[Queue]] = {}
        with self._guard:
            for body in self._dump(_GETQDISC, struct.pack("=BxHiIII", 0, 0, 0, 0, 0, 0)):
                found.setdefault(struct.unpack_from("=4xi", body)[0], []).append(_queue(body))
        return found

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


def _queue(body: bytes) -> Queue:
    seen = _attributes(body[20:])
    counted = _attributes(seen.get(_TCA_STATS2, b""))
    size, packets = struct.unpack_from("=QI", counted.get(_STATS_BASIC, bytes(12)))
    _, backlog, drops = struct.unpack_from("=3I", counted.get(_STATS_QUEUE, bytes(12)))
    return Queue(seen[_TCA_KIND].rstrip(b"\0").decode(), size, packets, drops, backlog)


def _forward(body: bytes) -> Forward | None:
    _, _, port, state, _, _ = struct.unpack_from("=BxHiHBB", body)
    seen = _attributes(body[12:])
    if state & _NUD_PERMANENT or _NDA_LLADDR not in seen:
        return None
    bridge = struct.unpack("=I", seen.get(_NDA_MASTER, bytes(4)))[0]
    return Forward(seen[_NDA_LLADDR].hex(":"), port, bridge, bool(state & _NUD_NOARP))
