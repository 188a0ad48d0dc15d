"""How much of a link is measured: frames enough for each of its figures, as few as the machine can serve.

When each of them is measured, and what is made of it, is in ``calibrate``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.emulation import measure
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import MTU_FRAME, LinkEnd, Shape
from testbed.emulation.measure import RateSeen, Streams
from testbed.errors import EmulationError

WARMUP_S = 0.2
"""Seconds that a link is saturated before its rate counts."""
_FRAMES_AT_ONCE = 12_000     # small frames/s that the machine can serve: about 0.7 of a core for the relay
_SATURATED_AT_ONCE = 24_000  # the same for full and large frames, in units of `_load`
_LARGE_PER_S = 3000          # the probe sends large frames rather than more than so many
_BITS_PER_FRAME = 1e5        # bits that cost as much to copy as one more frame costs to handle
_ROUND_TRIPS = 100
_ROUND_TRIP_EVERY = 0.005
_LOSS_PER_S = 2000           # frames/s and direction, at most
_SMALL = 60                  # bytes of the probe's small frames
_DRAIN_S = 5.0


@dataclass(frozen=True)
class CalTarget:
    """A link to measure: its name and kind, its ends by name and as interfaces (both up), and what was asked."""

    link: str
    kind: str
    a: str
    b: str
    end_a: LinkEnd
    end_b: LinkEnd
    ab: Shape
    ba: Shape

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """Both directions."""
        return self.ab, self.ba

    @property
    def quiet(self) -> tuple[Shape, Shape]:
        """Both directions without what is left to chance."""
        return self.ab.certain, self.ba.certain

    @property
    def uncertain(self) -> bool:
        """Whether anything is left to chance."""
        return self.shapes != self.quiet


def round_trips(target: CalTarget) -> Streams:
    """A few small frames, each long after the one before it: none waits for another."""
    slowest = min((shape.rate for shape in target.shapes if shape.rate), default=math.inf)
    interval = max(_ROUND_TRIP_EVERY, 10 * _SMALL * 8 / slowest)
    return measure.stream(
        target.end_a, target.end_b, count=_ROUND_TRIPS, interval=interval, patience=_patience(target)
    )


def losses(target: CalTarget, seconds: float, at_once: int) -> Streams:
    """Many frames for the losses, the first of each burst for the delays: those behind it may have to wait."""
    slowest = min((shape.rate for shape in target.shapes if shape.rate), default=math.inf)
    per_s = min(_LOSS_PER_S, _FRAMES_AT_ONCE / 2 / at_once, slowest * 0.3 / (_SMALL * 8))
    # Where jitter keeps frames in order, they must be at least its whole width apart to show all of it.
    interval = max(2 * max(shape.jitter for shape in target.shapes), 0.002, 1 / per_s)
    shortest = min((shape.queue_bytes for shape in target.shapes if shape.queue_bytes), default=1 << 20)
    burst = max(1, min(round(per_s * interval), shortest // (2 * _SMALL), 100))
    return measure.stream(
        target.end_a,
        target.end_b,
        count=max(20, math.ceil(seconds / interval)),
        interval=interval,
        burst=burst,
        patience=_patience(target),
    )


def rate(target: CalTarget, window: float) -> dict[str, RateSeen]:
    """Both directions saturated for so many seconds, longer on a link that is slower; by ``ab`` and ``ba``."""
    ab, ba = rates(target)
    slowest = min(rate for rate in (ab, ba) if rate)
    # The probe's frames are small enough for a hundred a second; a link slower still takes its time.
    least = 100 * _SMALL * 8 / slowest
    window = max(window, least)
    return measure.rate(
        target.end_a, target.end_b, ab, ba,
        warmup=WARMUP_S, window=window, patience=WARMUP_S + 2 * window + 1 + _patience(target),
    )  # fmt: skip


def rates(target: CalTarget) -> tuple[float, float]:
    """What was asked of both directions, bit/s; 0 where there is no limit."""
    return target.ab.rate or 0.0, target.ba.rate or 0.0


def _patience(target: CalTarget) -> float:
    return 0.3 + 2 * max(shape.delay + shape.jitter for shape in target.shapes)


def drained(emulator: Emulator, target: CalTarget) -> None:
    """Wait until a saturated link has nothing left in its queues, which would delay or drop what comes next.

    Raises:
        EmulationError: They do not drain.
    """
    deadline = time.monotonic() + _DRAIN_S + _patience(target)
    while any(stats.queue_bytes for stats in emulator.stats(target.link)):
        if time.monotonic() > deadline:
            raise EmulationError("the queue of a link does not drain", where=target.link)
        time.sleep(0.01)


def groups(links: Iterable[CalTarget]) -> list[list[CalTarget]]:
    """Links whose rates can be measured at once: together no more than the machine can serve."""
    found: list[tuple[float, list[CalTarget]]] = []
    for target in sorted(links, key=_load, reverse=True):
        load = _load(target)
        for index, (taken, members) in enumerate(found):
            if taken + load <= _SATURATED_AT_ONCE:
                members.append(target)
                found[index] = (taken + load, members)
                break
        else:
            found.append((load, [target]))
    return [members for _, members in found]


def _load(target: CalTarget) -> float:
    return sum(min(rate / 8 / MTU_FRAME, _LARGE_PER_S) + rate / _BITS_PER_FRAME for rate in rates(target))
