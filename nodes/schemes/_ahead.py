"""Micro-batches that are sent to where a stage is about to be, from one on that was agreed ahead (ours).

A handover that is certain has a time. The first stage foresees the first micro-batch of which the gradients would come
back behind it, has the last stage leave for its standby before that one, and sends that one and those after it to the
standby's node, which keeps them until the stage has come. It waits with that for the handover itself. So nothing is
under way when the device moves: what belongs to the new site does not go by way of the old one, which is far by then,
nor what belongs to the old one the long way back, of which TCP would lose a part; and nothing overtakes itself on the
shorter way, which TCP would take for loss.

The first gradients from the new site would come slowly: TCP begins with ten segments and doubles them each round trip,
and acknowledgements wait behind the activations that go up just then. So once it is there, the device has the server
send as many bytes as one micro-batch's gradients have, while the server still waits for the first activations, and
keeps all activations but those until they have come.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

LEAST = 4
"""Micro-batches from whose times the pace is told."""


@dataclass(frozen=True)
class Early:
    """From this micro-batch on (its index in the round) a stage's work goes to a node where it is not yet."""

    stage: int
    node: str
    index: int


class Gate:
    """Holds back what belongs to the device's new site until it can be sent there well.

    The first message passes once the device is there, right behind a wish to be sent as much. With each part of that
    which comes another one passes, all with the last, or when the stage says that it is at work: so what goes up keeps
    the link busy, but does not pile up in front of what is to be acknowledged.

    Args:
        wish: Wishes to be sent so many bytes; False: nobody can do that.
    """

    def __init__(self, wish: Callable[[int], bool]) -> None:
        self._wish = wish
        self._passes = math.inf
        self._wished = True
        self._waiting: deque[tuple[Callable[[], None], int]] = deque()

    def shut(self) -> None:
        """A handover comes: hold back what comes from now on."""
        self._passes, self._wished = 0, False

    def send(self, send: Callable[[], None], size: int) -> None:
        """Send a message of so many bytes, now or when it may pass."""
        self._waiting.append((send, size))
        self._proceed()

    def arrived(self) -> None:
        """The device is there."""
        if not self._wished:
            self._passes = 1
        self._proceed()

    def filled(self, left: int) -> None:
        """A part of what was wished for has come; so many are left."""
        if not self._wished:
            return  # another handover has come since
        self._passes = self._passes + 1 if left else math.inf
        self._proceed()

    def open(self) -> None:
        """Nothing is held back any more."""
        self._passes, self._wished = math.inf, True
        self._proceed()

    def forget(self) -> None:
        """What waits is not wanted any more."""
        self._waiting.clear()

    def _proceed(self) -> None:
        while self._waiting and self._passes > 0:
            self._passes -= 1
            send, size = self._waiting.popleft()
            if not self._wished:
                self._wished = True
                if not self._wish(size):
                    self._passes = math.inf
            send()


class Pace:
    """When micro-batches were sent, when others will be, and how long it takes until their gradients are here."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=3 * LEAST)
        self._back: deque[float] = deque(maxlen=LEAST)
        self._next = 0

    def sent(self, index: int, now: float) -> None:
        """A micro-batch was sent; ``index`` in the round, ``now`` in s."""
        if index != self._next:
            self._times.clear()  # another round began, or it began again
        self._times.append(now)
        self._next = index + 1

    def returned(self, index: int, now: float) -> None:
        """The gradients of a micro-batch are here."""
        at = index - self._next + len(self._times)
        if 0 <= at < len(self._times):
            self._back.append(now - self._times[at])

    def first_behind(self, at: float) -> int | None:
        """Index of the first micro-batch whose gradients will come behind a time, s; None: there is no telling.

        Or just before, by half of what one takes: that one waits, while the last bytes of the one before it, which
        would go the long way otherwise, are still on their way.
        """
        if len(self._times) < LEAST or not self._back:
            return None
        each = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        if each <= 0:
            return None
        return self._next + max(0, math.ceil((at - max(self._back) - self._times[-1]) / each - 0.5) - 1)
