"""What the ways of a search cost, as far as they go: `Label`, and what stages and hops add to one.

Which ways are looked at, and what these costs are good for, stands in `nodes.policies.search`.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodes.errors import InputError
from nodes.policies.costs import Sums, in_flight
from nodes.policies.plans import Problem

Cost = tuple[float, float, float]
"""Latency; and two maxima: of everything (1f1b), or of the way forward and of the way back (sync)."""
Label = tuple[float, float, float, float, tuple[int, ...]]
"""The costs so far; the longest way that turns before the last stage (sync); the bounds that led to all this."""
Front = dict[tuple[int, int], list[Label]]
"""Labels by (first cut, layers done); the first cut is 0 but in a U-shape."""
_START: Label = (0.0, 0.0, 0.0, 0.0, (0,))


@dataclass(frozen=True)
class LayerCosts:
    """Costs of the first ``k`` layers on a node, of which differences are taken, and of the loss."""

    latency: list[float]
    one: list[float]
    two: list[float]
    loss: float

    def stage(self, first: int, end: int) -> Cost:
        """Of some layers, without the loss."""
        return (self.latency[end] - self.latency[first], self.one[end] - self.one[first],
                self.two[end] - self.two[first])  # fmt: skip


@dataclass(frozen=True)
class Hop:
    """Costs of a hop by its cut, and seconds that it keeps the wires there and back busy."""

    costs: list[Cost]
    busy: list[tuple[float, float]]


class Costs:
    """What stages and hops cost, and what that makes of labels.

    Args:
        problem: What is to be planned.

    Attributes:
        of: Costs of layers, by node.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.world = problem, problem.world
        self.device, self.layers = problem.device, len(problem.profile.layers)
        self.of = {name: self._costs(self.world.sums(name)) for name in (self.device, *self.world.servers)}
        self._limits = {name: self.world.limit(name) for name in self.of}
        self._hops: dict[tuple[str, str], Hop | None] = {}

    def _costs(self, sums: Sums) -> LayerCosts:
        m, steps = self.problem.micro, list(zip(sums.forward, sums.backward, sums.update, strict=True))
        latency, none = [f + b for f, b, _ in steps], [0.0] * len(steps)
        if self.problem.schedule == "1f1b":
            return LayerCosts(latency, [f + b + u / m for f, b, u in steps], none, sums.loss)
        if self.problem.schedule == "sync":
            return LayerCosts(latency, list(sums.forward), list(sums.backward), sums.loss)
        return LayerCosts(latency, none, none, sums.loss)

    def last(self, name: str, first: int) -> Cost:
        """The last stage: with the loss; forward and backward at once."""
        latency, one, two = self.of[name].stage(first, self.layers)
        loss = self.of[name].loss
        if self.problem.schedule == "sync":
            return latency + loss, latency + loss, 0.0
        return latency + loss, one + loss if self.problem.schedule == "1f1b" else 0.0, two

    def first(self, end: int) -> list[Label]:
        """The device's first stage; what its update adds to a batch is in its latency."""
        cost = self.last(self.device, 0) if end == self.layers else self.of[self.device].stage(0, end)
        seconds = self.world.sums(self.device).update[end]
        more = {"1f1b": 0.0, "sync": seconds, "sequential": seconds / self.problem.micro}[self.problem.schedule]
        return self.through_stage([(more, *_START[1:])], cost, end)

    def _maxima(self, there: tuple[float, float], back: tuple[float, float]) -> tuple[float, float]:
        """What two wires add to the two maxima, from the seconds that each of them is busy forward, and back."""
        if self.problem.schedule == "1f1b":
            return max(there[0] + back[0], there[1] + back[1]), 0.0
        return (0.0, 0.0) if self.problem.schedule == "sequential" else (max(there), max(back))

    def hop(self, a: str, b: str) -> Hop | None:
        """Costs between two nodes by cut; None: there is no way."""
        if (a, b) not in self._hops:
            costs: list[Cost] = []
            busy: list[tuple[float, float]] = []
            try:
                for k in range(self.layers + 1):
                    there = self.world.transfer(a, b, self.world.forward_bytes(k))
                    back = self.world.transfer(b, a, self.world.profile.crossing(k)[1])
                    latency = there.busy + there.delay + back.busy + back.delay
                    costs.append((latency, *self._maxima((there.busy, 0.0), (0.0, back.busy))))
                    busy.append((there.busy, back.busy))
                self._hops[a, b] = Hop(costs, busy)
            except InputError:
                self._hops[a, b] = None
        return self._hops[a, b]

    def need(self, first: int, end: int, *, last: bool) -> int:
        """Bytes that a stage takes."""
        p = self.problem
        held = in_flight(p.schedule, last, p.micro, p.cap)
        return self.world.need(first, end, held, p.schedule)

    def fits(self, name: str, first: int, end: int, *, last: bool, besides: int = 0) -> bool:
        """Whether a node has the memory for a stage, ``besides`` so many bytes."""
        limit = self._limits[name]
        return limit is None or self.need(first, end, last=last) + besides <= limit

    def bound(self, label: Label) -> float:
        """The score of a finished plan, or a lower bound of it; no less than it for a part of one."""
        latency, one, two, turned, _ = label
        m = self.problem.micro
        if self.problem.schedule == "1f1b":
            return max(one, latency / self.problem.cap, turned)
        return max(latency + (m - 1) * max(one, two), turned) / m if self.problem.schedule == "sync" else latency

    def least(self, cost: Cost) -> float:
        """The same of some costs alone."""
        return self.bound((*cost, 0.0, ()))

    @staticmethod
    def lengthen(labels: list[Label], cost: Cost, *bounds: int) -> list[Label]:
        """Ways with a stage (and the bound where it ends) or a hop more."""
        latency, one, two = cost
        return [(a + latency, max(b, one), max(c, two), d, (*path, *bounds)) for a, b, c, d, path in labels]

    def through_stage(self, labels: list[Label], cost: Cost, end: int) -> list[Label]:
        """Ways with a stage more, up to this bound."""
        done = self.lengthen(labels, cost, end)
        if self.problem.schedule != "sync" or end == self.layers:
            return done
        m = self.problem.micro  # the first to come back here waits for the last to have gone forward
        return [(a, b, c, max(d, a + (m - 1) * (b + c)), path) for a, b, c, d, path in done]


def pareto(labels: list[Label]) -> list[Label]:
    """Those that no other one is as good as in all costs; of equal ones the first by bounds."""
    kept: list[Label] = []
    for label in sorted(labels):
        _, one, two, turned, _ = label
        if not any(other[1] <= one and other[2] <= two and other[3] <= turned for other in kept):
            kept.append(label)
    return kept
