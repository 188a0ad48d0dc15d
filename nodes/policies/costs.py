"""What a layout costs: seconds of each node and of each direction of each link, for one micro-batch.

A micro-batch goes forward through all stages and back again; the way is a *chain*:

    F(0)  transfer  F(1)  ..  F(S-1) + loss, B(S-1)  transfer  B(S-2)  ..  B(0)

- Stage: the sum of its layers' times on its node; its update comes once a batch.
- Transfer: ``busy = 8 bytes / rate`` on a *wire* that carries one thing at a time, and then ``rtt / 2`` on the way,
  which keeps nobody else waiting.
- Wires: the device's link up and its link down, which all of its transfers share whatever server they go to, and each
  direction between two servers. What shares a link behind the access point does not show but in a probe's rate.
- Labels go along with the activations, unless they stay on the device.

Memory of a stage, counted as for the other schemes but for what a worker takes by itself:

    1.1 (COPIES x weights + in flight x (what layers keep + what arrives))
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from nodes.errors import InputError
from nodes.policies.layout import Layout
from nodes.policies.offers import LinkOffer, NodeOffer
from nodes.policies.profile import ModelProfile

SCHEDULES = ("1f1b", "sync", "sequential")
COPIES = {"1f1b": 4, "sync": 3, "sequential": 3}
"""Weights, accumulated gradients, momentum; and with 1f1b a version that older micro-batches wait for."""
WASTE = 1.1


@dataclass(frozen=True)
class Stage:
    """Seconds of one stage: forward and backward of a micro-batch (the last one's with the loss), an update."""

    node: str
    forward: float
    backward: float
    update: float


@dataclass(frozen=True)
class Transfer:
    """One crossing of a cut: seconds that it keeps its wire busy, and seconds under way behind that."""

    wire: str
    busy: float
    delay: float


@dataclass(frozen=True)
class Chain:
    """A layout's stages, and the transfers between them forward (``there``) and back."""

    stages: tuple[Stage, ...]
    there: tuple[Transfer, ...]
    back: tuple[Transfer, ...]

    @property
    def latency(self) -> float:
        """Seconds of one micro-batch through the empty pipeline and back: its fill and drain."""
        return self.latency_from(0)

    def latency_from(self, stage: int) -> float:
        """The same from the begin of a stage's forward step to the end of its backward step."""
        work = sum(one.forward + one.backward for one in self.stages[stage:])
        return work + sum(one.busy + one.delay for one in self.there[stage:] + self.back[stage:])

    def busy(self, micro: float) -> dict[str, float]:
        """Seconds by node and wire that a micro-batch takes of them, updates shared out among ``micro`` of a batch.

        The device's two stages of a U-shape count together.
        """
        seconds: dict[str, float] = {}
        for one in self.stages:
            seconds[one.node] = seconds.get(one.node, 0.0) + one.forward + one.backward + one.update / micro
        for wire in self.there + self.back:
            seconds[wire.wire] = seconds.get(wire.wire, 0.0) + wire.busy
        return seconds

    def flush(self, micro: int) -> float:
        """Seconds of a batch with ``sync``, its update left out: the closed form (`nodes.policies.simulate`).

        In a U-shape, whose device has two stages, it is a lower bound.
        """
        seconds = there = back = 0.0
        longest = [micro * one for one in self.busy(math.inf).values()]
        for s, stage in enumerate(self.stages[:-1]):
            seconds += stage.forward + stage.backward
            there, back = max(there, stage.forward), max(back, stage.backward)
            longest.append(seconds + (micro - 1) * (there + back))
            out, home = self.there[s], self.back[s]
            seconds += out.busy + out.delay + home.busy + home.delay
            there, back = max(there, out.busy), max(back, home.busy)
        tail = self.stages[-1].forward + self.stages[-1].backward
        return max(seconds + tail + (micro - 1) * max(there, back, tail), *longest)

    def bottleneck(self, micro: int) -> tuple[str, float]:
        """What is busy the longest with a micro-batch, and how long: no order of work is faster. First by name."""
        seconds = self.busy(micro)
        name = min(seconds, key=lambda one: (-seconds[one], one))
        return name, seconds[name]


@dataclass(frozen=True)
class Sums:
    """Sums of a model's times and bytes over the first ``k`` layers, for runs of layers at a step each."""

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    update: tuple[float, ...]
    weights: tuple[int, ...]
    kept: tuple[int, ...]
    loss: float

    @classmethod
    def of(cls, profile: ModelProfile) -> Sums:
        """Of a profile."""
        run = profile.layers
        return cls(
            tuple(accumulate((one.forward for one in run), initial=0.0)),
            tuple(accumulate((one.backward for one in run), initial=0.0)),
            tuple(accumulate((one.update for one in run), initial=0.0)),
            tuple(accumulate((one.weights for one in run), initial=0)),
            tuple(accumulate((one.memory for one in run), initial=0)),
            profile.loss,
        )

    def stage(self, node: str, first: int, end: int) -> Stage:
        """Layers ``first`` to ``end`` (not included) as a stage; with the loss if they are the last."""
        loss = self.loss if end == len(self.forward) - 1 else 0.0
        forward = self.forward[end] - self.forward[first] + loss
        return Stage(node, forward, self.backward[end] - self.backward[first], self.update[end] - self.update[first])


@dataclass(frozen=True)
class World:
    """A model, a device and what it may use: everything that costs follow from.

    Attributes:
        device: Its name.
        profile: The model's times on it.
        servers: Offers by server.
        links: The ways between servers, by (from, to). A pair that is missing cannot be neighbours.
        labels_stay: Whether labels stay on the device.
        memory: Bytes that the device has for training; None: no limit.
    """

    device: str
    profile: ModelProfile
    servers: Mapping[str, NodeOffer] = field(default_factory=dict)
    links: Mapping[tuple[str, str], LinkOffer] = field(default_factory=dict)
    labels_stay: bool = False
    memory: int | None = None
    _sums: dict[str, Sums] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def up(self) -> str:
        """Name of the device's way up."""
        return f"{self.device} up"

    @property
    def down(self) -> str:
        """Name of the device's way down."""
        return f"{self.device} down"

    def sums(self, node: str) -> Sums:
        """Times on a node (InputError if nobody offers it)."""
        if node not in self._sums:
            profile = self.profile if node == self.device else self._offer(node).times(self.profile)
            self._sums[node] = Sums.of(profile)
        return self._sums[node]

    def transfer(self, a: str, b: str, amount: int) -> Transfer:
        """So many bytes from one node to another (InputError if there is no way)."""
        if a == self.device:
            offer = self._offer(b)
            wire, rate, rtt = self.up, offer.up, offer.rtt
        elif b == self.device:
            offer = self._offer(a)
            wire, rate, rtt = self.down, offer.down, offer.rtt
        else:
            link = self.links.get((a, b))
            wire, rate, rtt = f"{a} -> {b}", link.rate if link else 0.0, link.rtt if link else 0.0
        if rate <= 0:
            raise InputError(f"no way from {a} to {b}", wanted="an offer of a rate above 0")
        return Transfer(wire, 8 * amount / rate, rtt / 2)

    def forward_bytes(self, cut: int) -> int:
        """Bytes that cross a cut forward, with labels unless they stay."""
        return self.profile.crossing(cut)[0] + (0 if self.labels_stay else self.profile.labels)

    def chain(self, layout: Layout) -> Chain:
        """What a layout costs.

        Raises:
            InputError: It uses a node that is not offered, or two without a way between them.
        """
        runs = zip(layout.nodes, pairwise(layout.bounds), strict=True)
        stages = tuple(self.sums(node).stage(node, i, j) for node, (i, j) in runs)
        hops = list(zip(pairwise(layout.nodes), layout.bounds[1:], strict=False))
        there = tuple(self.transfer(a, b, self.forward_bytes(cut)) for (a, b), cut in hops)
        back = tuple(self.transfer(b, a, self.profile.crossing(cut)[1]) for (a, b), cut in hops)
        return Chain(stages, there, back)

    def need(self, first: int, end: int, in_flight: int, schedule: str) -> int:
        """Bytes that a stage of layers ``first`` to ``end`` needs with so many micro-batches in flight."""
        if end == first:
            return 0
        sums = self.sums(self.device)
        kept = sums.kept[end] - sums.kept[first] + self.profile.crossing(first)[0]
        return round(WASTE * (COPIES[schedule] * (sums.weights[end] - sums.weights[first]) + in_flight * kept))

    def limit(self, node: str) -> int | None:
        """Bytes that a node has for stages; None: not known."""
        return self.memory if node == self.device else self._offer(node).memory

    def _offer(self, node: str) -> NodeOffer:
        if node not in self.servers:
            offered = ", ".join(sorted(self.servers)) or "none"
            raise InputError(f"no offer of {node}", wanted=f"the device {self.device} or one of: {offered}")
        return self.servers[node]


def in_flight(schedule: str, last: bool, micro: int, depth: int) -> int:
    """Most micro-batches that a stage holds for the way back; the last one goes back at once."""
    return 1 if last else {"sequential": 1, "sync": micro, "1f1b": depth}[schedule]
