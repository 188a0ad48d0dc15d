"""What a participant's part of a round takes: seconds, joules, price, and how much of everything that others share.

The round of a task, in the order in which it goes for each participant:

    select   cold start + samples x work / speed of the device
    ready    the later of: cold start of the device half + fetching its weights; the same of the edge half
    train    batches x chain
    push     the later of: device half to the aggregator, edge half to the aggregator
    ------   the slowest participant, then
    finish   cold start + participants x work / speed of the aggregator; the model to the evaluator, cold start, work

The **chain** of a batch is unpipelined: device half, 8 bytes / rate + rtt / 2 up, edge half, the same down. What nobody
has to wait for when alone is still shared with others: a *station* is a unit's processor, a device's radio each way, a
link or way between servers that several use. With ``d`` seconds of a station for each batch of an owner, and ``once``
seconds a round, owner ``i`` takes

    t(i) = max( batches x chain + fixed,  max over its stations of  fixed - once(i) + sum over j of
                min(batches(i), batches(j)) d(j) + once(j) )

where ``fixed`` is select + ready + push. That is the asymptotic bound of a closed network of queues (operational laws:
Denning and Buzen, 1978), and what is ours in it is that owners leave: while ``i`` does its batches, ``j`` has each of
its own served at most as often. It is a lower bound where cycles of different length get into each other's way.

Energy is active energy of the owners' devices. An instance is paid for by memory x seconds that its owner takes,
waiting included; bytes by who sends them, and an edge half that several owners begin with on one server is sent once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from nodes.policies.requests import (
    AGGREGATE,
    EVALUATE,
    SELECT,
    TRAIN_DEVICE,
    TRAIN_EDGE,
    Assignment,
    Cut,
    Owner,
    Problem,
    Request,
    Round,
    Shared,
)
from nodes.policies.units import Unit

GB = 1e9
Station = tuple[str, ...]


@dataclass
class Leg:
    """One participant's part, alone on all units and links: seconds, joules, price."""

    batches: int
    own: float
    fixed: float
    joules: float
    per_second: float  # price of its instances
    price: float  # of all else
    sent: int
    cold: int
    stations: dict[Station, tuple[float, float]] = field(default_factory=dict)  # seconds a batch, and once

    def use(self, station: Station, batch: float, once: float = 0.0) -> None:
        """Note seconds of a station; who takes nothing of it does not wait for it either."""
        if batch or once:
            before = self.stations.get(station, (0.0, 0.0))
            self.stations[station] = (before[0] + batch, before[1] + once)


class Costs:
    """What parts of a problem's rounds cost, worked out one by one."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.units = problem, problem.units
        self._behind: dict[str, list[Shared]] = {}
        for link in problem.shared:
            for name in link.units:
                self._behind.setdefault(name, []).append(link)

    def passes(self, a: str, b: str) -> Iterator[tuple[Station, float]]:
        """Shared links on the way from one unit to another, each with its rate."""
        behind = self._behind.get(b, ())
        for link in (*self._behind.get(a, ()), *(link for link in behind if a not in link.units)):
            if (found := link.way(a, b)) is not None:
                yield ("link", link.name, found[0]), found[1]

    def rate(self, a: str, b: str) -> float:
        """Bit/s of a way for who has it alone; 0: there is none."""
        path = self.problem.paths.get((a, b))
        return 0.0 if path is None else min([path.rate, *(rate for _, rate in self.passes(a, b))])

    def busy(self, amount: int, a: str, b: str) -> float:
        """Seconds that so many bytes keep a way busy."""
        if a == b or not amount:
            return 0.0
        rate = self.rate(a, b)
        return 8 * amount / rate if rate > 0 else math.inf

    def delay(self, a: str, b: str) -> float:
        """Seconds under way, whatever the bytes."""
        path = self.problem.paths.get((a, b))
        return 0.0 if a == b or path is None else path.rtt / 2

    def transfer(self, amount: int, a: str, b: str) -> float:
        """Seconds until so many bytes are there."""
        return self.busy(amount, a, b) + self.delay(a, b) if amount else 0.0

    def leg(self, request: Request, owner: Owner, does: Assignment, cut: Cut, aggregator: str) -> Leg:
        """An owner's part."""
        device, batches = self.units[owner.device], request.batches(owner)
        d, s, g = owner.device, does.server, aggregator
        leg = Leg(batches, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
        select = work = 0.0
        if request.select_s > 0:
            work = request.select_s * owner.samples / device.speed
            select = work + self._cold(leg, device, SELECT)
            leg.price += request.select_memory / GB * device.price_gb_s * select
        ready, chain, fetched = [0.0], cut.device_s / device.speed, 0
        if cut.place != "server":
            fetched = 0 if d == request.source or d in request.holders else cut.device_weights
            ready.append(self._cold(leg, device, TRAIN_DEVICE) + self.transfer(fetched, request.source, d))
            leg.per_second += cut.device_memory / GB * device.price_gb_s
        leg.use(("processor", d), cut.device_s / device.speed, work)
        if cut.place != "device":
            server = self.units[s]
            there = s == request.source or s in request.holders
            ready.append(self._cold(leg, server, TRAIN_EDGE)
                         + (0.0 if there else self.transfer(cut.edge_weights, request.source, s)))  # fmt: skip
            leg.per_second += cut.edge_memory / GB * server.price_gb_s
            chain += self.busy(cut.up_bytes, d, s) + cut.edge_s / server.speed
            if cut.place == "split":
                chain += self.delay(d, s) + self.busy(cut.down_bytes, s, d) + self.delay(s, d)
            else:
                leg.fixed += self.delay(d, s)
            leg.use(("processor", s), cut.edge_s / server.speed)
            leg.price += (batches * cut.down_bytes + (s != g) * cut.edge_weights) / GB * server.price_gb
            leg.sent += batches * cut.down_bytes + (s != g) * cut.edge_weights
        pushed = cut.device_weights if d != g else 0
        push = max(self.transfer(pushed, d, g), self.transfer(cut.edge_weights, s, g) if s else 0.0)
        leg.own, leg.fixed = batches * chain, leg.fixed + select + max(ready) + push
        leg.price += (batches * cut.up_bytes + pushed) / GB * device.price_gb
        leg.price += fetched / GB * self.units[request.source].price_gb
        leg.sent += batches * cut.up_bytes + pushed + fetched
        flows = ((d, s, cut.up_bytes, False), (s, d, cut.down_bytes, False), (d, g, pushed, True),
                 (request.source, d, fetched, True), (s, g, cut.edge_weights, True))  # fmt: skip
        sending = receiving = 0.0
        for a, b, amount, once in flows:
            if a == b or not amount:
                continue
            seconds = self.busy(amount, a, b)
            every, all_of_it = (0.0, seconds) if once else (seconds, seconds * batches)
            if d in (a, b):
                leg.use(("up" if a == d else "down", d), every, seconds if once else 0.0)
                sending, receiving = sending + (a == d) * all_of_it, receiving + (b == d) * all_of_it
            else:
                leg.use(("way", a, b), every, seconds if once else 0.0)
            for station, rate in self.passes(a, b):
                takes = 8 * amount / rate
                leg.use(station, 0.0 if once else takes, takes if once else 0.0)
        if device.power is not None:
            power = device.power
            busy = batches * cut.device_s / device.speed + work
            leg.joules = power.compute_w * busy + power.sending_w * sending + power.receiving_w * receiving
        return leg

    def finish(self, request: Request, round: Round, leg: Leg) -> float:
        """Seconds of aggregation and evaluation; what else they take is put on ``leg``."""
        count, g, v = len(round.participants), round.aggregator, round.evaluator
        at = self.units[g]
        took = self._cold(leg, at, AGGREGATE) + count * request.aggregate_s / at.speed
        leg.price += request.aggregate_memory / GB * at.price_gb_s * took
        if request.evaluate_s <= 0:
            return took
        there = self.units[v]
        if g != v:
            took += self.transfer(request.weights, g, v)
            leg.price += request.weights / GB * at.price_gb
            leg.sent += request.weights
        evaluated = self._cold(leg, there, EVALUATE) + request.evaluate_s / there.speed
        leg.price += request.evaluate_memory / GB * there.price_gb_s * evaluated
        return took + evaluated

    @staticmethod
    def _cold(leg: Leg, unit: Unit, function: str) -> float:
        if function in unit.warm:
            return 0.0
        leg.cold += 1
        return unit.cold_s
