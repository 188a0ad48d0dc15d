"""Beds for system tests, and traffic on them from sockets that live in their containers' namespaces."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from testbed.emulation import netns
from testbed.emulation.bed import Bed
from testbed.emulation.ledger import Ledger
from testbed.emulation.links.base import Emulator
from testbed.experiment.plan import Plan
from tests.support import IDLE, VethEmulator, loop_plan, run_id


@contextmanager
def standing(plan: Plan | None = None, name: str | None = None, emulator: Emulator | None = None) -> Iterator[Bed]:
    name = name or run_id()
    with Ledger.create(name) as book:
        bed = Bed(plan or loop_plan(), name, book, lambda _: IDLE, emulator or VethEmulator())
        bed.up()
        try:
            yield bed
        finally:
            bed.down()


def open_socket(bed: Bed, node: str, kind: socket.SocketKind) -> socket.socket:
    """A socket that lives in a node's network namespace."""
    made = netns.inside(netns.of_pid(bed.pid(node)), lambda: socket.socket(socket.AF_INET, kind))
    made.settimeout(5)
    return made


def ip_of(bed: Bed, node: str) -> str:
    return bed.record.nodes[node].ip


@contextmanager
def connection(bed: Bed, client: str, server: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection between two nodes."""
    with open_socket(bed, server, socket.SOCK_STREAM) as listening, open_socket(bed, client, socket.SOCK_STREAM) as out:
        listening.bind((ip_of(bed, server), 0))
        listening.listen()
        out.connect(listening.getsockname())
        inward, _ = listening.accept()
        with inward:
            inward.settimeout(5)
            yield out, inward


@dataclass
class Stream:
    """Numbered datagrams at a steady pace to a node that sends nothing; when each of them came."""

    period: float = 0.002
    sent: int = 0
    came: list[tuple[int, float]] = field(default_factory=list)

    @contextmanager
    def running(self, bed: Bed, source: str, destination: str) -> Iterator[None]:
        over = threading.Event()
        with (
            open_socket(bed, source, socket.SOCK_DGRAM) as out,
            open_socket(bed, destination, socket.SOCK_DGRAM) as inward,
        ):
            inward.bind((ip_of(bed, destination), 0))
            inward.settimeout(0.2)
            target = inward.getsockname()

            def send() -> None:
                due = time.monotonic()
                while not over.wait(max(0.0, due - time.monotonic())):
                    out.sendto(struct.pack("!Q", self.sent), target)
                    self.sent += 1
                    due += self.period

            def receive() -> None:
                while True:
                    try:
                        data = inward.recv(64)
                    except TimeoutError:
                        if over.is_set():
                            return
                        continue
                    self.came.append((struct.unpack("!Q", data)[0], time.monotonic()))

            threads = [threading.Thread(target=send), threading.Thread(target=receive)]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                over.set()
                for thread in threads:
                    thread.join()

    def longest_gap(self) -> float:
        times = [when for _, when in self.came]
        return max(b - a for a, b in pairwise(times))

    def lost(self) -> int:
        return self.sent - len({number for number, _ in self.came})


def exchange(out: socket.socket, inward: socket.socket, count: int = 1) -> None:
    """Send something there and back."""
    for number in range(count):
        message = struct.pack("!Q", number)
        out.sendall(message)
        assert inward.recv(8, socket.MSG_WAITALL) == message
        inward.sendall(message)
        assert out.recv(8, socket.MSG_WAITALL) == message
