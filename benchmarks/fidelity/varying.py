"""Links whose rate varies: is every step of a trace what it says, do a Mahimahi trace's chances carry what they may?"""

from __future__ import annotations

import bisect
import math
import random
import time

import numpy as np

from benchmarks.fidelity.frames import Arrival, Receiver, Sender
from benchmarks.fidelity.wires import Wire
from testbed.emulation.links.shape import Schedule

STEP_S = 0.25
LOWEST, HIGHEST = 5e6, 50e6
CHANCE = 1500
_MAHIMAHI_LOW, _MAHIMAHI_HIGH = 2e6, 30e6
_LEAD = 0.3
_GOLDEN = 0.381966  # of a turn from step to step: small changes and large ones, up and down
_OVERLOAD = 1.3
_CLOCKS = 0.0003  # s by which the two clocks may seem apart: a chance at a second's begin is that second's


def sine_lines(steps: int) -> list[str]:
    """A CSV trace whose rate goes up and down between 5 and 50 Mbit/s, every step another one."""
    middle, swing = (LOWEST + HIGHEST) / 2, (HIGHEST - LOWEST) / 2
    turns = [i / steps + i * _GOLDEN for i in range(steps)]
    rates = [round(middle + swing * math.sin(2 * math.pi * turn)) for turn in turns]
    return ["t,rate_bit", *(f"{i * STEP_S:g},{rate}" for i, rate in enumerate(rates))]


def mahimahi_lines(seconds: int, seed: int = 3) -> list[str]:
    """A Mahimahi trace of a rate that wanders between 2 and 30 Mbit/s: a line each chance, as long as its last."""
    wander = random.Random(seed)
    rate, owed, made = 10e6, 0.0, []
    for ms in range(1, seconds * 1000 + 1):
        if ms % 100 == 1:
            rate = min(_MAHIMAHI_HIGH, max(_MAHIMAHI_LOW, rate * math.exp(wander.gauss(0, 0.25))))
        owed += rate / 8 / 1000 / CHANCE
        made += [ms] * int(owed)
        owed -= int(owed)
    if made[-1] != seconds * 1000:
        made.append(seconds * 1000)
    return [str(ms) for ms in made]


def played(wire: Wire, schedule: Schedule, highest: float) -> tuple[list[Arrival], float]:
    """Keep a link's queue full while a schedule plays; what arrived, and when the schedule began."""
    assert wire.emulator is not None
    with Receiver(wire.b) as receiver, Sender(wire.a) as sender:
        begin = time.monotonic() + _LEAD
        wire.emulator.play(wire.name, begin, ab=schedule)
        sender.offer(highest * _OVERLOAD)
        end = begin + schedule.length
        found = receiver.until(lambda seen: bool(seen) and seen[-1].at > end, 1.0, schedule.length + _LEAD + 5)
        wire.emulator.rest(wire.name)
        return found, begin


def carried(arrivals: list[Arrival], times: list[float]) -> list[float]:
    """Bytes that a link had carried by each time; a frame is carried evenly from the one before it on."""
    at = [arrival.at for arrival in arrivals]
    total = [0.0, *np.cumsum([arrival.size for arrival in arrivals[1:]])]
    found = []
    for moment in times:
        i = bisect.bisect_right(at, moment)
        if i == 0:
            found.append(0.0)
        elif i == len(at):
            found.append(total[-1])
        else:
            part = (moment - at[i - 1]) / (at[i] - at[i - 1]) if at[i] > at[i - 1] else 1.0
            found.append(total[i - 1] + part * (total[i] - total[i - 1]))
    return found


def step_rates(arrivals: list[Arrival], begin: float, schedule: Schedule, delay: float) -> list[float]:
    """Rate measured in each step, bit/s."""
    edges = [begin + delay + step.at for step in schedule.steps] + [begin + delay + schedule.length]
    by = carried(arrivals, edges)
    return [(b - a) * 8 / (t - s) for a, b, s, t in zip(by, by[1:], edges, edges[1:], strict=False)]


def per_second(arrivals: list[Arrival], begin: float, delay: float, seconds: int) -> list[int]:
    """Frames that arrived in each second."""
    counts = [0] * seconds
    for arrival in arrivals:
        second = math.floor(arrival.at - begin - delay + _CLOCKS)
        if 0 <= second < seconds:
            counts[second] += 1
    return counts


def chances_per_second(deliveries: tuple[int, ...], seconds: int) -> list[int]:
    """Chances of each second of a trace."""
    counts = [0] * seconds
    for ms in deliveries:
        if ms < seconds * 1000:
            counts[ms // 1000] += 1
    return counts


def correlation(one: list[int], other: list[int]) -> float:
    """Pearson's."""
    return float(np.corrcoef(one, other)[0, 1])
