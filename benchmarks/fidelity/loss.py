"""What is lost: how many, and in bursts of what length, by probes and by TCP's own counts."""

from __future__ import annotations

import math
import time

from benchmarks.fidelity.frames import Arrival, Receiver, Sender
from benchmarks.fidelity.tcp import Connection, Segments
from benchmarks.fidelity.wires import Wire
from testbed.errors import EmulationError

SIGMAS = 4
_BATCH = 50
_SILENCE = 0.7


def allowed(share: float, number: int, sigmas: float = SIGMAS) -> float:
    """How far a count of independent losses may be off, as a share."""
    return sigmas * math.sqrt(share * (1 - share) / number) if number else 0.0


def lost_runs(arrivals: list[Arrival], sent: int) -> list[int]:
    """Lengths of all runs of lost frames."""
    runs, expected = [], 0
    for arrival in arrivals:
        if arrival.number > expected:
            runs.append(arrival.number - expected)
        expected = max(expected, arrival.number + 1)
    if sent > expected:
        runs.append(sent - expected)
    return runs


def numbered(wire: Wire, frames: int, rate: float, size: int = 100) -> tuple[list[Arrival], int]:
    """Send that many numbered frames at that rate (bit/s); what arrived, and how many were sent."""
    with Receiver(wire.b) as receiver, Sender(wire.a, size) as sender:
        sender.offer(rate, most=frames)
        longest = frames * size * 8 / rate + 10
        found = receiver.until(lambda seen: bool(seen) and seen[-1].number >= frames - 1, _SILENCE, longest)
        deadline = time.monotonic() + 5
        while sender.sent < frames and time.monotonic() < deadline:
            time.sleep(0.01)
        if sender.sent < frames:
            raise EmulationError("the sender cannot keep up", wanted=f"{frames} frames", found=str(sender.sent))
        return found, sender.sent


def tcp_segments(wire: Wire, least: int, longest: float) -> Segments:
    """Send until that many segments are out, then let all arrive: what was sent and what was received."""
    with Connection(wire) as connection:
        deadline = time.monotonic() + longest
        while connection.segments().sent < least and time.monotonic() < deadline:
            connection.run(0, 0.05)
        return connection.settle()
