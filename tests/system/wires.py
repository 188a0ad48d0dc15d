"""Links between namespaces made for a test, and frames to send through them that can be told apart."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.emulation import netlink, netns
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.relay_words import words
from testbed.emulation.links.shape import LinkEnd, Shape

SOL_PACKET, PACKET_VNET_HDR = 263, 15
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
MAC_A, MAC_B = "02:00:00:00:00:01", "02:00:00:00:00:02"
FLOOD = """
import socket, sys, time
rate, frame = float(sys.argv[1]), bytes.fromhex(sys.argv[2])
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((sys.argv[3], 0))
begin, sent = time.monotonic(), 0
while True:
    due = (time.monotonic() - begin) * rate
    while sent < due:
        sender.send(frame)
        sent += 1
    time.sleep(0.001)
"""
"""Program that sends a frame so many times a second."""


def up(*ends: LinkEnd) -> None:
    for end in ends:
        netns.write_sysctls(end.netns, {"net.ipv6.conf.all.disable_ipv6": "1"})
        with netlink.Netlink(end.netns) as handle:
            handle.run([netlink.set_link(end.ifname, up=True)])


Places = Callable[[], str]
Ends = tuple[LinkEnd, LinkEnd]


def wire(emulator: Emulator, places: Places, shape: Shape, back: Shape | None = None, name: str = "l") -> Ends:
    """A link whose ends are up, in namespaces of their own."""
    ends = LinkEnd(places(), "eth0", MAC_A), LinkEnd(places(), "eth0", MAC_B)
    emulator.add(name, *ends, shape, back or shape)
    up(*ends)
    return ends


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def repeat(attempt: Callable[[], None]) -> None:
    """Three times at most: a machine that is busy with something else for some ms spoils a figure, not all three."""
    for left in (2, 1, 0):
        try:
            return attempt()
        except AssertionError:
            if not left:
                raise


@dataclass(frozen=True)
class Seen:
    """A frame that came in: its number, when (CLOCK_MONOTONIC, s), and all of it."""

    number: int
    at: float
    data: bytes


class Receiver:
    """Sees frames of `send_numbered` come in at an end."""

    TYPE = 0x88B6
    ALL = 0x0003

    def __init__(self, end: LinkEnd, kind: int = TYPE) -> None:
        self._socket = netns.inside(
            end.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(kind))
        )
        self._socket.bind((end.ifname, kind))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def frames(self, patience: float = 0.2, until: float = float("inf")) -> list[Seen]:
        """All that come until nothing does for so long, or what comes is later than that (CLOCK_MONOTONIC, s)."""
        found = []
        self._socket.settimeout(patience)
        ahead = time.time() - time.monotonic()
        while True:
            try:
                data, more, *_ = self._socket.recvmsg(1 << 16, 64)
            except TimeoutError:
                return found
            seconds, nanoseconds = struct.unpack("=qq", more[0][2])
            at = seconds + nanoseconds / 1e9 - ahead
            if at > until:
                return found
            found.append(Seen(int.from_bytes(data[14:18], "big"), at, data))

    def numbers(self) -> list[int]:
        """Their numbers alone."""
        return [frame.number for frame in self.frames()]

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def raw_socket(end: LinkEnd) -> socket.socket:
    """Sends whole frames from an end."""
    sender = netns.inside(end.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    sender.bind((end.ifname, 0))
    return sender


def numbered(end: LinkEnd, number: int, size: int = 100) -> bytes:
    header = bytes.fromhex("0252ff000001" + end.mac.replace(":", "")) + Receiver.TYPE.to_bytes(2, "big")
    return (header + number.to_bytes(4, "big")).ljust(size, b"\0")


def send_numbered(end: LinkEnd, numbers: Iterable[int], size: int = 100) -> None:
    with raw_socket(end) as sender:
        for number in numbers:
            sender.send(numbered(end, number, size))


@contextmanager
def flood(end: LinkEnd, rate: float, size: int = 1514) -> Iterator[None]:
    """Meanwhile frames of `send_numbered` leave an end, so many bit/s of them, evenly."""
    program = [sys.executable, "-c", FLOOD, str(rate / 8 / size), numbered(end, 0, size).hex(), end.ifname]
    with subprocess.Popen(["nsenter", f"--net={end.netns}", "--", *program]) as process:
        try:
            yield
        finally:
            process.kill()


def ones_sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_sum(ip: bytes, length: int) -> int:
    """What stands in the checksum field of a TCP segment whose checksum is left to be completed."""
    return ones_sum(ip[12:20] + struct.pack("!HH", 6, length))


def send_large(end: LinkEnd, segments: int, more: int = 0, linear: int = 54) -> None:
    """One TCP frame of many segments, as the kernel hands it to an interface that does segmentation.

    Args:
        end: Where it leaves.
        segments: Full ones. more: Bytes of payload behind them.
        linear: Bytes that the kernel is to have in one piece.
    """
    mss = 1460
    payload = segments * mss + more
    ip = bytearray(20)
    struct.pack_into("!BxHHxxBB2x4s4s", ip, 0, 0x45, 40 + payload, 1, 64, 6, b"\x0a\x09\0\1", b"\x0a\x09\0\2")
    struct.pack_into("!H", ip, 10, ~ones_sum(bytes(ip)) & 0xFFFF)
    tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 5 << 4, 0x10, 0, pseudo_sum(bytes(ip), 20 + payload), 0)
    ethernet = bytes.fromhex("0252ff000001" + end.mac.replace(":", "")) + b"\x08\0"
    offload = struct.pack("=BBHHHH", 1, 1, linear, mss, 34, 16)  # checksum to be completed; TCP over IPv4
    with netns.inside(end.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sender.bind((end.ifname, 0))
        sender.send(offload + ethernet + bytes(ip) + tcp + bytes(payload))


def counters(emulator: RelayEmulator, link: str = "l", direction: str = "ab") -> dict[str, int]:
    """All that the relay counts of a direction."""
    answer = emulator._ask(link, "stats", emulator._numbers[link], direction)
    return {name: int(value) for name, value in words(answer).items()}


def carry(ends: Ends, megabytes: int, family: int = socket.AF_INET) -> bool:
    """Send so much over TCP from the first end to the second; whether every byte arrived as it went in."""
    addresses = ("10.9.0.1", "10.9.0.2") if family == socket.AF_INET else ("fd00:9::1", "fd00:9::2")
    width = 24 if family == socket.AF_INET else 64
    for end, address in zip(ends, addresses, strict=True):
        more = [] if family == socket.AF_INET else ["nodad"]
        netns.write_sysctls(end.netns, {"net.ipv6.conf.all.disable_ipv6": str(int(family == socket.AF_INET))})
        within(end, "ip", "address", "replace", f"{address}/{width}", "dev", end.ifname, *more)
        within(end, "ip", "link", "set", "dev", end.ifname, "up")
    data, received = os.urandom(1 << 20) * megabytes, hashlib.sha256()
    with netns.inside(ends[1].netns, lambda: _listen(family, addresses[1])) as server:
        server.settimeout(40)

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(40)
                while chunk := connection.recv(1 << 16):
                    received.update(chunk)

        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        with netns.inside(ends[0].netns, lambda: socket.socket(family, socket.SOCK_STREAM)) as client:
            client.settimeout(40)
            client.connect((addresses[1], 5001))
            client.sendall(data)
        taker.join(40)
    return received.digest() == hashlib.sha256(data).digest()


def _listen(family: int, address: str) -> socket.socket:
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((address, 5001))
    server.listen(1)
    return server


def within(end: LinkEnd, *argv: str) -> None:
    """Run a command in an end's namespace."""
    subprocess.run(["nsenter", f"--net={end.netns}", "--", *argv], check=True, capture_output=True)
