"""One-way delays: small probes far below the rate, their arrival stamped by the kernel, all on one clock."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.fidelity.wires import Wire
from testbed.emulation import native
from testbed.emulation.links.shape import Spread
from testbed.errors import EmulationError

PROBE_BITS = 60 * 8
_PROBABILITIES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
_TABLE_UNIT = 8192
_SPIN = "import os\np = os.getppid()\nwhile os.getppid() == p:\n    for _ in range(1000000): pass"


@dataclass(frozen=True)
class Delays:
    """Of one direction, s."""

    p10: float
    p50: float
    p90: float
    p99: float
    sd: float
    sent: int
    received: int
    reordered: int
    overruns: int


def stream(wire: Wire, count: int, interval: float, burst: int = 1, patience: float = 0.5) -> tuple[Delays, Delays]:
    """Probes both ways; `testbed.emulation.measure` keeps less of what the probe says.

    Args:
        wire: Over which link.
        count: Bursts a direction.
        interval: Seconds from one to the next.
        burst: Frames in each, the first of which tells the delay.
        patience: Seconds to wait for the last ones.
    """
    ends = [f"{side}={end.netns},{end.ifname}" for side, end in (("a", wire.a), ("b", wire.b))]
    settings = {"count": count, "interval": interval, "burst": burst, "patience": patience}
    command = [str(native.build().probe), "stream", *ends, *(f"{key}={value}" for key, value in settings.items())]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=count * interval * 2 + patience + 20, check=False
    )
    if done.returncode != 0:
        raise EmulationError("the probe failed", found=done.stderr.strip())
    found = json.loads(done.stdout)
    return _direction(found["ab"]), _direction(found["ba"])


def _direction(found: dict[str, Any]) -> Delays:
    if not found["samples"]:
        raise EmulationError("no probe arrived", found=f"{found['sent']} sent")
    return Delays(**{key: found[key] for key in Delays.__annotations__})


def median_of(runs: list[tuple[Delays, Delays]], asked: float, quantile: str) -> float:
    """Of each direction the median over runs; of the two that which is further from what was asked."""
    sides = [statistics.median(getattr(run[side], quantile) for run in runs) for side in (0, 1)]
    return max(sides, key=lambda value: abs(value - asked))


@contextmanager
def busy() -> Iterator[None]:
    """Every core kept busy by a loop; they end with this process, however it ends."""
    loops = []
    try:
        for _ in range(os.cpu_count() or 1):
            loops.append(subprocess.Popen([sys.executable, "-c", _SPIN], start_new_session=True))  # noqa: PERF401
        yield
    finally:
        for loop in loops:
            loop.kill()
        for loop in loops:
            loop.wait()


def quantiles(spread: Spread, delay: float, jitter: float) -> dict[str, float]:
    """What the quantiles of a delay with jitter should be, s."""
    return {name: max(0.0, delay + jitter * _inverse(spread, p)) for name, p in _PROBABILITIES.items()}


def _inverse(spread: Spread, probability: float) -> float:
    """The inverse of the distribution function, in jitters."""
    if not spread.table:
        return 2 * probability - 1
    last = len(spread.table) - 1
    low = int(probability * last)
    high = min(low + 1, last)
    between = spread.table[low] + (probability * last - low) * (spread.table[high] - spread.table[low])
    return between / _TABLE_UNIT


def allowed(spread: Spread, jitter: float, number: int) -> dict[str, float]:
    """How far the quantiles of that many samples may be off: four standard deviations, s."""
    near = 0.02
    found = {}
    for name, p in _PROBABILITIES.items():
        slope = (_inverse(spread, p + near) - _inverse(spread, p - near)) / (2 * near)
        found[name] = 4 * math.sqrt(p * (1 - p) / number) * slope * jitter
    return found


def furthest(asked: dict[str, float], found: Delays, limits: dict[str, float]) -> tuple[str, float]:
    """Which quantile is furthest off, by its limit, and by how much, s."""
    errors = {name: getattr(found, name) - value for name, value in asked.items()}
    worst = max(errors, key=lambda name: abs(errors[name]) / limits[name])
    return worst, errors[worst]
