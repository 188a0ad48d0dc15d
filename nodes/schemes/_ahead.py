"""Micro-batches that are sent to where a stage is about to be, from one on that was agreed ahead (ours).

A handover that is certain has a time. The first stage foresees which micro-batch it sends first behind it, has the
last stage leave for its standby before that one, and sends that one and those after it to the standby's node, which
keeps them until the stage has come. It waits with that for the handover itself. So nothing that belongs to the new site
goes by way of the old one, which is far by then; nor does it overtake itself on the shorter way, which TCP would take
for loss.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

LEAST = 4
"""Micro-batches from whose times the pace is told."""


@dataclass(frozen=True)
class Early:
    """From this micro-batch on (its index in the round) a stage's work goes to a node where it is not yet."""

    stage: int
    node: str
    index: int


class Pace:
    """When micro-batches were sent, and when others will be."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=3 * LEAST)
        self._next = 0

    def sent(self, index: int, now: float) -> None:
        """A micro-batch was sent; ``index`` in the round, ``now`` in s."""
        if index != self._next:
            self._times.clear()  # another round began, or it began again
        self._times.append(now)
        self._next = index + 1

    def first_behind(self, at: float) -> int | None:
        """Index of the first micro-batch that will be sent behind a time, s; None: there is no telling.

        Or just before, by half of what one takes: that one waits, while the one before it, whose last bytes would go
        the long way otherwise, is still being sent.
        """
        if len(self._times) < LEAST:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        if each <= 0:
            return None
        return self._next + max(0, math.ceil((at - self._times[-1]) / each - 0.5) - 1)
