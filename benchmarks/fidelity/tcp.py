"""Goodput of TCP over a link: payload that arrives, per second, once slow start is over.

Sender and receiver are threads here with sockets that were opened in the link's namespaces: a call moves some hundred
kilobytes outside of Python, which costs a few per cent of a core at 1 Gbit/s.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.fidelity.wires import ADDRESSES, Wire
from testbed.emulation import netlink, netns
from testbed.errors import EmulationError

IDEAL = 1448 / 1514
"""Payload of a full segment (with timestamps) over its layer-2 frame."""
PORT = 5001
_CHUNK = 1 << 18
_PATIENCE = 10.0
_SILENCE = 3.0  # s without a byte after which a connection is given up
_INFO = 232
_UNACKED, _SACKED, _LOST, _NOT_SENT, _BYTES_SENT = 24, 28, 32, 144, 200  # offsets in struct tcp_info
_MSS, _HEADERS = 1448, 66
_OVERTIME = 1.0


@dataclass(frozen=True)
class Segments:
    """Full segments that were sent, retransmissions too, and that came in at the other end."""

    sent: int
    received: int


@dataclass(frozen=True)
class Bulk:
    """What a connection did.

    Attributes:
        marks: (time, bytes so far) of every read in the window. Reads while something was missing before what had
            arrived already are not among them: a window that begins with a hole would count what is not its own.
        congestion: The algorithm's name.
    """

    marks: list[tuple[float, int]]
    congestion: str

    @property
    def goodput(self) -> float:
        """Bits per second between the first and the last arrival of the window: what has begun is not cut."""
        return goodput(self.marks)


def goodput(marks: list[tuple[float, int]]) -> float:
    """Bits per second of (time, bytes so far) marks."""
    if len(marks) < 2 or marks[-1][0] <= marks[0][0]:
        raise EmulationError("nothing arrived to measure the goodput by", found=f"{len(marks)} reads")
    return (marks[-1][1] - marks[0][1]) * 8 / (marks[-1][0] - marks[0][0])


class Connection:
    """A connection from end a to end b of a link, with a thread that sends as much as will go."""

    def __init__(self, wire: Wire, congestion: str = "cubic") -> None:
        with ExitStack() as undo:
            server = netns.inside(wire.b.netns, lambda: socket.create_server((ADDRESSES[1], PORT)))
            with server:
                server.settimeout(_PATIENCE)
                self._out = netns.inside(wire.a.netns, lambda: socket.socket())
                undo.callback(self._out.close)
                with contextlib.suppress(OSError):  # what this kernel has not: its own choice is told then
                    self._out.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
                self._out.settimeout(_PATIENCE)
                self._out.connect((ADDRESSES[1], PORT))
                self._in, _ = server.accept()
            undo.pop_all()
        self._end = wire.b
        with netlink.Netlink(wire.b.netns) as handle:
            self._before = handle.interfaces()[wire.b.ifname]
        found = self._out.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        self.congestion = found.rstrip(b"\0").decode()
        self._in.settimeout(_SILENCE)
        self._out.settimeout(None)
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def run(self, warmup: float, window: float, at_begin: Callable[[], None] | None = None) -> Bulk:
        """Receive for a while; ``at_begin`` is called as the warm-up is over."""
        buffer = memoryview(bytearray(1 << 20))
        begin = time.monotonic()
        marks: list[tuple[float, int]] = []
        total = 0
        while True:
            total += self._read(buffer)
            now = time.monotonic()
            if now < begin + warmup:
                continue
            if at_begin is not None:
                at_begin()
                at_begin = None
            if self._whole():
                marks.append((now, total))
            if now >= begin + warmup + window and (self._whole() or now > begin + warmup + window + _OVERTIME):
                return Bulk(marks, self.congestion)

    def segments(self) -> Segments:
        """So far, by bytes: what arrives in one piece is one packet to the kernel, however many segments it holds."""
        sent = _info(self._out, _BYTES_SENT, "Q")
        with netlink.Netlink(self._end.netns) as handle:
            seen = handle.interfaces()[self._end.ifname]
        frames = seen.rx_packets - self._before.rx_packets
        received = seen.rx_bytes - self._before.rx_bytes - frames * _HEADERS
        return Segments(round(sent / _MSS), round(received / _MSS))

    def _whole(self) -> bool:
        """Whether nothing is known to be missing between what has arrived."""
        return not _info(self._out, _SACKED) and not _info(self._out, _LOST)

    def settle(self) -> Segments:
        """Send no more, let all that is out arrive, and count."""
        self._stop.set()
        buffer = memoryview(bytearray(1 << 20))
        deadline = time.monotonic() + _PATIENCE
        while self._sender.is_alive() or _info(self._out, _UNACKED) or _info(self._out, _NOT_SENT):
            if time.monotonic() > deadline:
                raise EmulationError("a TCP connection does not come to rest")
            self._in.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                self._in.recv_into(buffer)
        return self.segments()

    def _read(self, buffer: memoryview) -> int:
        try:
            got = self._in.recv_into(buffer)
        except TimeoutError as error:
            raise EmulationError("nothing comes over a TCP connection", found=f"{_SILENCE:g} s of silence") from error
        if not got:
            raise EmulationError("a TCP connection has ended by itself")
        return got

    def _send(self) -> None:
        chunk = bytes(_CHUNK)
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                self._out.sendall(chunk)

    def close(self) -> None:
        for end in (self._out, self._in):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # nobody waits for the rest
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._sender.join(5)
        for end in (self._out, self._in):
            end.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _info(end: socket.socket, at: int, kind: str = "I") -> int:
    """A field of the kernel's account of a connection."""
    data = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO)
    return int(struct.unpack_from(f"={kind}", data, at)[0])


def several(wires: list[Wire], warmup: float, window: float) -> list[Bulk]:
    """The same over several links at once."""
    found: list[Bulk | BaseException] = [EmulationError("a connection did not end")] * len(wires)

    def work(index: int, connection: Connection) -> None:
        try:
            found[index] = connection.run(warmup, window)
        except Exception as error:
            found[index] = error

    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(wire)) for wire in wires]
        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(warmup + window + _PATIENCE)
    bulks = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        bulks.append(one)
    return bulks
