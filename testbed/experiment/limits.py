"""Bounds of what a link may be asked, the same for all that shapes links.

A file that keeps within them can be tried on any machine; what this machine carries is measured when it is tried.
"""

from __future__ import annotations

from testbed.emulation.links.shape import MOST_QUEUE, MTU_FRAME

LEAST_RATE = 8e3
"""bit/s: a full frame takes 1.5 s then. Below, TCP (first timeout after 1 s) takes each for lost before it is across,
and no bring-up has the time to measure the rate."""
MOST_RATE = 100e9
"""bit/s that stand for no limit in the kernel; a rate is less."""
LONGEST_DELAY = 600.0
"""Seconds that a packet may be under way, jitter included. The relay's clock and netem's both hold more; ten minutes
is beyond the timers of whatever waits for an answer."""
LEAST_QUEUE = 2 * MTU_FRAME
"""Bytes: one frame on the wire and one waiting. With less, a burst of two is never let through."""
LARGEST_QUEUE = MOST_QUEUE

__all__ = ["LARGEST_QUEUE", "LEAST_QUEUE", "LEAST_RATE", "LONGEST_DELAY", "MOST_RATE"]
