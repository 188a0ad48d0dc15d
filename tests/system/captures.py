"""Everything that leaves a node, as the other end of its link sees it come in: frames of ZeroMQ, by kind and size.

Contents are encrypted, sizes are not. ZMTP (rfc.zeromq.org/spec/23) opens a connection with a greeting of 64 bytes;
then come frames, each with flags, its size in one byte or eight, and its body. With CURVE (rfc.zeromq.org/spec/26) a
body begins with the name of a command; `MESSAGE` has a nonce, a tag and flags besides the frame that it wraps up.
Where nodes encrypt nothing (`tests.system.test_tasks_private`), contents can be kept instead.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from types import TracebackType

from testbed.emulation import netns
from testbed.emulation.bed import Bed
from tests.system.wires import SO_RCVBUFFORCE, SOL_PACKET

ETH_P_ALL, PACKET_OUTGOING, PACKET_STATISTICS = 3, 4, 6
SYN = 0x02
GREETING = 64
LONG = 0x02
WRAPPED = 33
"""Bytes that CURVE adds to a frame."""

Frame = tuple[str, int]
"""First seven letters of a command's name, and its bytes without what CURVE adds to a message."""


class Capture:
    """Captures what a device sends, wherever it is: its access link's port in the fabric moves along with it.

    Args:
        bed: What stands. device: Whose link.
        contents: Keep what is said on each connection, instead of telling frames apart.

    Attributes:
        frames: What left, by kind and size; what TCP sent again counts once.
        payload: Bytes of TCP payload, likewise.
        missed: Bytes of TCP payload that must have gone by unseen: gaps in the sequence numbers.
        dropped: Packets that came faster than they were read.
        others: Packets that are not TCP over IPv4.
    """

    def __init__(self, bed: Bed, device: str, *, contents: bool = False) -> None:
        self._contents = contents
        link = next(link for link in bed.record.links.values() if link.a == device)
        fabric = netns.path_of(netns.name_of(bed.record.run_id))
        self.frames: Counter[Frame] = Counter()
        self.payload = self.missed = self.dropped = 0
        self.others: list[bytes] = []
        self._connections: dict[bytes, _Connection] = {}
        self._over = threading.Event()
        self._socket = netns.inside(fabric, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self._socket.bind((link.b_ifname, ETH_P_ALL))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        found = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.dropped = struct.unpack("=II", found)[1]
        self._socket.close()

    def contents(self) -> list[bytes]:
        """The payload of each connection, in the order of its bytes."""
        return [bytes(connection.kept) for connection in self._connections.values()]

    def _read(self) -> None:
        while True:
            try:
                packet, (_, _, direction, *_) = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            if direction != PACKET_OUTGOING:  # that is what goes to the device
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        ip = packet[14:]
        if packet[12:14] != b"\x08\x00" or ip[9] != socket.IPPROTO_TCP:
            self.others.append(packet)
            return
        (total,) = struct.unpack_from("!H", ip, 2)
        tcp = ip[4 * (ip[0] & 15) : total]
        (number,), flags = struct.unpack_from("!I", tcp, 4), tcp[13]
        made = _Connection(None if self._contents else self.frames)
        connection = self._connections.setdefault(ip[12:20] + tcp[:4], made)
        if flags & SYN:
            connection.begin(number + 1)
        new, missed = connection.take(number, tcp[4 * (tcp[12] >> 4) :])
        self.payload += new
        self.missed += missed


class _Connection:
    """One way of a TCP connection; its frames are counted as they begin, or (None) its bytes are kept."""

    def __init__(self, frames: Counter[Frame] | None) -> None:
        self._frames = frames
        self.kept = bytearray()
        self._next: int | None = None  # sequence number of the byte that comes next
        self._skip = 0  # bytes up to the next frame
        self._head = b""

    def begin(self, number: int) -> None:
        """It is opened: its first byte has this number."""
        self._next, self._skip, self._head = number, GREETING, b""

    def take(self, number: int, data: bytes) -> tuple[int, int]:
        """Take a segment; how many bytes of it are new, and how many before them are missing."""
        if self._next is None:
            self._next = number  # it was open before, and idle: this is the begin of a frame
        ahead = (number - self._next + (1 << 31)) % (1 << 32) - (1 << 31)
        data = data[max(0, -ahead) :]
        if data:
            self._next = (number + max(0, -ahead) + len(data)) % (1 << 32)
            if self._frames is None:
                self.kept += data
            else:
                self._parse(data, self._frames)
        return len(data), max(0, ahead) if data else 0

    def _parse(self, data: bytes, frames: Counter[Frame]) -> None:
        while data:
            if self._skip:
                data, self._skip = data[self._skip :], max(0, self._skip - len(data))
                continue
            wanted = 17 - len(self._head)  # flags, size and name; no frame is shorter
            self._head, data = self._head + data[:wanted], data[wanted:]
            if len(self._head) == 17:
                begin = 9 if self._head[0] & LONG else 2
                size, length = int.from_bytes(self._head[1:begin], "big"), min(self._head[begin], 7)
                name = self._head[begin + 1 : begin + 1 + length].decode()
                frames[name, size - WRAPPED * (name == "MESSAGE")] += 1
                self._skip, self._head = begin + size - 17, b""
