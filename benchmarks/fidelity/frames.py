"""Numbered frames from one end of a link to the other, with the kernel's time of each arrival."""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from testbed.emulation import netns
from testbed.emulation.links.shape import MTU_FRAME, LinkEnd

TYPE = 0x88B7
_NOBODY = "02:52:42:fd:00:02"
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 35, 33, 32
_BUFFER = 64 << 20
_HEAD = 14
_TICK = 0.0005


@dataclass(frozen=True)
class Arrival:
    """A frame's number, when the kernel took it in (CLOCK_MONOTONIC, s), and its size in bytes."""

    number: int
    at: float
    size: int


class Receiver:
    """Sees the frames that come in at an end."""

    def __init__(self, end: LinkEnd) -> None:
        self._socket = netns.inside(
            end.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(TYPE))
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((end.ifname, TYPE))

    def until(self, enough: Callable[[list[Arrival]], bool], silence: float, longest: float) -> list[Arrival]:
        """All that arrives until it is enough, or nothing came for ``silence`` s, or ``longest`` s are over."""
        offset = time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()
        deadline = time.monotonic() + longest
        self._socket.settimeout(silence)
        found: list[Arrival] = []
        while not enough(found) and time.monotonic() < deadline:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(64, 64, socket.MSG_TRUNC)
            except TimeoutError:
                break
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2][:16])
            number, size = struct.unpack_from("!II", data, _HEAD)
            found.append(Arrival(number, seconds + nanoseconds / 1e9 - offset, size))
        return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sender:
    """Sends numbered frames from an end."""

    def __init__(self, end: LinkEnd, size: int = MTU_FRAME) -> None:
        self._socket = netns.inside(end.netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
        self._socket.bind((end.ifname, 0))
        head = bytes.fromhex((_NOBODY + end.mac).replace(":", "")) + TYPE.to_bytes(2, "big")
        self._frame = bytearray(head.ljust(size, b"\0"))
        self.size = size
        self.sent = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, number: int) -> None:
        """Some frames at once."""
        for _ in range(number):
            struct.pack_into("!II", self._frame, _HEAD, self.sent, self.size)
            self._socket.send(self._frame)
            self.sent += 1

    def offer(self, rate: float, most: float = math.inf) -> None:
        """Send at that rate (bit/s) in a thread of its own, until closed or that many frames are out."""

        def work() -> None:
            ahead()
            begin = time.monotonic()
            while self.sent < most and not self._stop.is_set():
                due = min((time.monotonic() - begin) * rate / 8 / self.size, most)
                self.send(int(due) - self.sent)
                time.sleep(_TICK)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ahead() -> None:
    """Run the calling thread ahead of others, below relay and probe, where that is allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    except OSError:
        return
