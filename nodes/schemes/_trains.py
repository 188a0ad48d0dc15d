"""Trains of messages as they are sent and received; `nodes.policies.trains` says how large, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from nodes.policies import trains
from nodes.policies.trains import COUNT, Sizes
from nodes.runtime.part import Arrival, Context
from nodes.wire.messages import PartId
from nodes.wire.pipeline_messages import Probe

FILL = "fill"


@dataclass
class Train:
    """What has come of a train: of which probe and turn it is, and its messages so far."""

    number: int = 0
    turn: int = 0
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    whole: bool = True     # so far
    ended: bool = False

    def add(self, body: Probe, arrival: Arrival) -> bool:
        """Take a message; True if it ends the train. One of an older train is nothing."""
        if (body.number, body.turn) < (self.number, self.turn):
            return False
        if (body.number, body.turn) > (self.number, self.turn):
            self.number, self.turn, self.arrivals, self.whole, self.ended = body.number, body.turn, [], True, False
        if self.ended:
            return False  # it came twice
        self.whole = self.whole and body.index == len(self.arrivals)
        self.arrivals.append((arrival.at, arrival.bytes))
        self.ended = body.index == body.last
        return self.ended

    @property
    def rate(self) -> float | None:
        """Bit/s; None: no train, or some of it was lost."""
        return trains.rate(self.arrivals) if self.whole and self.ended else None

    @property
    def took(self) -> float:
        """Seconds of its counted part."""
        return self.arrivals[-1][0] - self.arrivals[0][0] if self.arrivals else 0.0

    @property
    def gap(self) -> float:
        """The longest time between two neighbours, s."""
        return trains.longest_gap(self.arrivals)


def send_train(context: Context, src: PartId, dst: PartId, question: Probe, sizes: Sizes) -> int:
    """Send a train whose last message is the question; of sizes `NONE` that alone. Returns the number of messages."""
    last = COUNT if sizes.size else 0
    for index in range(last + 1):
        amount = (sizes.lead if index == 0 else sizes.each) if last else 0
        body = Probe(question.number, question.turn, index, last)
        if index == last:
            body = msgspec.structs.replace(question, index=index, last=last)
        context.send(src, dst, body, {FILL: np.zeros(amount, dtype=np.uint8)} if amount else {})
    return last + 1
