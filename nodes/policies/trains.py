"""Rates from trains of messages: how long they are to be, and what their arrivals say.

A train is a lead-in and then `COUNT` equal messages, all sent at once. From the end of the lead-in on, messages come as
fast as the slowest link on the way lets them: their *dispersion* is its rate, however long all of them waited before
(packet trains: Jain and Routhier, 1986; as a measure of capacity: Dovrolis, Ramanathan and Moore, 2001). What the
sender had sent before is ahead of the whole train; other connections that send at the same time take their share of the
link, and the train finds what is left.

Ours are the sizes, the lead-in, and the median over pairs of arrivals in place of the first and the last: a receiver
that looks late at one of them moves some pairs, not the median.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

COUNT = 8
"""Messages behind the lead-in. Pairs at least half a train apart are 15; one late arrival spoils 5 of them at most."""
TRAIN_S = 0.03
"""What the counted part is to take, s: some times what threads and interpreters keep one waiting (5 ms at worst)."""
LEAST, MOST = 32 << 10, 256 << 10
"""Bytes of the counted part: at the least some twenty TCP segments, as arrivals come by whole ones; at most what costs
little."""
LEAD_S = 0.01
"""What the lead-in is to take at the least, s: shapers let some milliseconds of a link that was idle pass at once."""
LEAD_LEAST, LEAD_MOST = 4 << 10, 256 << 10
LEAD_UNKNOWN = 16 << 10
"""Bytes of a lead-in where no rate is known: more than TCP's first window of ten segments (RFC 6928)."""
LEAD_ROUND_TRIPS = 1.5
"""Round trips' worth of bytes in a lead-in: a connection that was idle begins with a small window and doubles it each
round trip (RFC 5681); when the link is full, about one round trip's worth has been sent. Where that is more than
`LEAD_MOST`, as at 100 Mbit/s over 30 ms, what is found is too little."""
GROW = 4.0
"""A train after one that was too short, or stalled, is made for so many times the rate that that one found."""
STALL = 3.0
"""Times the mean gap that the largest one is where a train stalled."""
SLOWEST, FARTHEST = 1e6, 0.05
"""Bit/s that a link that nothing is known of is taken to carry at least, and its round-trip time at most, s."""
HIGHEST = 10e9
"""Bit/s; arrivals that are nothing apart say no more than that."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a train: its lead-in, and all counted messages together."""

    lead: int
    size: int

    @property
    def each(self) -> int:
        """Bytes of a counted message."""
        return self.size // COUNT

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.lead + COUNT * self.each


NONE = Sizes(0, 0)
BIGGEST = Sizes(LEAD_MOST, MOST)


def sizes(rate: float | None, rtt: float, seconds: float = 1.0) -> Sizes:
    """How large a train should be.

    Args:
        rate: What the link is expected to carry, bit/s; None: not known.
        rtt: Round-trip time, s.
        seconds: What `TRAIN_S` and `LEAD_S` are multiplied by, as where time runs slower.
    """
    if rate is None:
        return Sizes(LEAD_UNKNOWN, LEAST)
    lead = rate / 8 * max(LEAD_S * seconds, LEAD_ROUND_TRIPS * rtt)
    return Sizes(_between(LEAD_LEAST, lead, LEAD_MOST), _between(LEAST, rate / 8 * TRAIN_S * seconds, MOST))


@dataclass(frozen=True)
class Belief:
    """What a link is believed to carry one way (bit/s; None: not known); trains are made for ``times`` it."""

    rate: float | None = None
    times: float = 1.0

    def sizes(self, rtt: float, seconds: float = 1.0) -> Sizes:
        """See `sizes`."""
        return sizes(None if self.rate is None else self.times * self.rate, rtt, seconds)


UNKNOWN = Belief()


@dataclass(frozen=True)
class Most:
    """What trains there and back take at the most: seconds of the link, bytes, and messages."""

    seconds: float
    bytes: int
    messages: int


def most(up: Belief, down: Belief, rtt: float, seconds: float = 1.0) -> Most:
    """What is to be expected of a train there and one back; where a rate is not known, of a second pair, too.

    Args:
        up: What is believed of the way there.
        down: And back.
        rtt: Round-trip time, s.
        seconds: As for `sizes`.
    """
    took, total, messages = 0.0, 0, 2 * (COUNT + 1)
    for way in (up, down):
        one = way.sizes(rtt, seconds)
        took += 8 * one.total / (way.rate or SLOWEST / seconds)
        total += one.total
    if up.rate is None or down.rate is None:
        took += 2 * GROW * (TRAIN_S * seconds + max(LEAD_S, LEAD_ROUND_TRIPS * FARTHEST) * seconds)
        total += 2 * BIGGEST.total
        messages += 2 * (COUNT + 1) + 1
    return Most(took, total, messages)


def too_short(took: float, sent: Sizes, rtt: float, seconds: float = 1.0) -> bool:
    """Whether the counted part took too little time to be trusted: slow start, or a link that is much faster.

    Args:
        took: Seconds of its counted part.
        sent: What it was.
        rtt: Round-trip time, s.
        seconds: As for `sizes`.
    """
    return sent.size < MOST and took < max(TRAIN_S * seconds, 4 * rtt)


def stalled(took: float, gap: float, rtt: float) -> bool:
    """Whether a train stood still once: its sender waited for acknowledgements, so the link was not what held it.

    Args:
        took: Seconds of its counted part.
        gap: The longest between two neighbours, s.
        rtt: Round-trip time, s.
    """
    return gap > max(STALL * took / COUNT, rtt / 2)


def rate(arrivals: Sequence[tuple[float, int]]) -> float | None:
    """Bit/s of a train; None if there are not two arrivals.

    Args:
        arrivals: Of each message when (s) and its bytes, in order, the lead-in first.
    """
    last = len(arrivals) - 1
    if last < 1:
        return None
    sums = [0]
    for _, amount in arrivals[1:]:
        sums.append(sums[-1] + amount)
    apart = (last + 1) // 2
    pairs = [(i, j) for i in range(last) for j in range(i + apart, last + 1)]
    found = [_slope(arrivals[j][0] - arrivals[i][0], sums[j] - sums[i]) for i, j in pairs]
    return min(statistics.median(found), HIGHEST)


def longest_gap(arrivals: Sequence[tuple[float, int]]) -> float:
    """The longest time between two neighbours of a train, s; of less than two messages 0."""
    return max((b - a for (a, _), (b, _) in pairwise(arrivals)), default=0.0)


def _slope(seconds: float, amount: int) -> float:
    return 8 * amount / seconds if seconds > 0 else math.inf


def _between(least: int, value: float, most: int) -> int:
    return round(min(max(value, least), most))
