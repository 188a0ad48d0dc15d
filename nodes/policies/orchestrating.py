"""What a placement of all tasks' next rounds takes, and which constraints it breaks.

The orchestrator is a function of a problem (`nodes.policies.requests`): the same in a run and against thousands of
units that are only numbers. Policies that decide are in `nodes.policies.baselines`, by name. What is minimised is

    sum over tasks of  time x seconds of the round + absent x owners left out
    + energy x active joules of devices + price x (GB-seconds and GB sent, priced)

How a participant's seconds, joules and price follow is told in `nodes.policies.predicting`. All of it is our design:
of the paper (SEL, arXiv 2111.14955) the abstract is public, and it names what is weighed, not how.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nodes.policies.predicting import GB, Costs, Leg, Station
from nodes.policies.requests import Assignment, Cut, Owner, Placement, Problem, Request, Round

CONSTRAINTS = ("unit", "path", "last-mile", "memory", "battery", "raw-data", "labels", "participants", "deadline")
"""Names of what a placement can break: a unit that is no place for it; no way between servers; no way, or too slow a
one, between a device and its server; and what the words say."""
_SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Violation:
    """A broken constraint: its name, the task ("": of several together), who, what there may be, and what there is."""

    name: str
    task: str
    who: str
    limit: float = math.nan
    found: float = math.nan


@dataclass(frozen=True)
class Prediction:
    """What a placement takes.

    Attributes:
        objective: Weighted sum over all tasks.
        seconds: Of each task's round.
        owners: Seconds of each participant until its weights are at the aggregator, by (task, device).
        energy: Active joules by device.
        price: By task.
        sent: Bytes by task.
        cold_starts: By task.
        violations: Broken constraints.
    """

    objective: float
    seconds: Mapping[str, float]
    owners: Mapping[tuple[str, str], float]
    energy: Mapping[str, float]
    price: Mapping[str, float]
    sent: Mapping[str, int]
    cold_starts: Mapping[str, int]
    violations: tuple[Violation, ...]

    @property
    def feasible(self) -> bool:
        """Whether no constraint is broken."""
        return not self.violations


class _Checks:
    """What is broken, and what memory is taken."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.costs = problem, Costs(problem)
        self.violations: list[Violation] = []
        self.memory: dict[str, int] = {}

    def broken(self, name: str, task: str, who: str, limit: float = math.nan, found: float = math.nan) -> None:
        """Note a broken constraint."""
        self.violations.append(Violation(name, task, who, limit, found))

    def hold(self, unit: str, amount: int) -> None:
        """Note memory of an instance."""
        self.memory[unit] = self.memory.get(unit, 0) + amount

    def fits(self, request: Request, owner: Owner, does: Assignment, cut: Cut, aggregator: str) -> bool:
        """Note what is broken by one participant; whether its part can be worked out."""
        task, d = request.task, owner.device
        for name in request.objections(cut):
            self.broken(name, task, d)
        self.hold(d, max(cut.device_memory, request.select_memory if request.select_s > 0 else 0))
        if (cut.place == "device") != (does.server == ""):
            self.broken("unit", task, d)
            return False
        ways = [(d, aggregator, cut.device_weights)]
        if d not in request.holders:
            ways.append((request.source, d, cut.device_weights))
        if does.server:
            server = self.problem.units.get(does.server)
            if server is None or server.kind == "device":
                self.broken("unit", task, does.server)
                return False
            self.hold(does.server, cut.edge_memory)
            rates = [self.costs.rate(d, does.server), self.costs.rate(does.server, d)]
            if min(rates) <= 0 or min(rates) < request.least_rate:
                self.broken("last-mile", task, d, request.least_rate, min(rates))
            ways.append((does.server, aggregator, cut.edge_weights))
            if does.server not in request.holders:
                ways.append((request.source, does.server, cut.edge_weights))
        for a, b, amount in ways:
            if amount and a != b and self.costs.rate(a, b) <= 0:
                self.broken("last-mile" if d in (a, b) else "path", task, f"{a} -> {b}")
        return True

    def finishes(self, request: Request, round: Round) -> bool:
        """Note what is broken by who aggregates and evaluates; whether it can be worked out."""
        g, v, evaluated = round.aggregator, round.evaluator, request.evaluate_s > 0
        names = {g, v} if evaluated else {g}
        for name in sorted(names - set(self.problem.finishers(request))):
            self.broken("unit", request.task, name)
        if not names <= set(self.problem.units):
            return False
        self.hold(g, request.aggregate_memory)
        if evaluated:
            self.hold(v, request.evaluate_memory)
            if g != v and request.weights and self.costs.rate(g, v) <= 0:
                self.broken("path", request.task, f"{g} -> {v}")
        return True


def predict(problem: Problem, placement: Placement) -> Prediction:
    """What a placement takes, and what it breaks. Tasks that it leaves out are not predicted."""
    at = _Checks(problem)
    legs: dict[tuple[str, str], Leg] = {}
    finish: dict[str, tuple[float, Leg]] = {}
    absent: dict[str, float] = {}
    fetches: dict[tuple[str, str, int], tuple[float, int]] = {}
    for request in problem.requests:
        round = placement.rounds.get(request.task)
        if round is None:
            continue
        owners = {owner.device: owner for owner in request.owners}
        cuts = {cut.index: cut for cut in request.cuts}
        rest = Leg(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
        if not at.finishes(request, round):
            continue
        for device, does in round.participants.items():
            if device not in owners or does.cut not in cuts:
                at.broken("unit", request.task, device)
                continue
            cut = cuts[does.cut]
            if at.fits(request, owners[device], does, cut, round.aggregator):
                legs[request.task, device] = at.costs.leg(request, owners[device], does, cut, round.aggregator)
                if does.server and does.server != request.source and does.server not in request.holders:
                    price = cut.edge_weights / GB * problem.units[request.source].price_gb
                    fetches[request.task, does.server, cut.index] = (price, cut.edge_weights)
        if len(round.participants) < request.least:
            at.broken("participants", request.task, "", request.least, len(round.participants))
        absent[request.task] = request.absent * (len(request.owners) - len(round.participants))
        finish[request.task] = (at.costs.finish(request, round, rest), rest)
    return _sum_up(at, legs, finish, absent, fetches)


def _sum_up(
    at: _Checks, legs: Mapping[tuple[str, str], Leg], finish: Mapping[str, tuple[float, Leg]],
    absent: Mapping[str, float], fetches: Mapping[tuple[str, str, int], tuple[float, int]],
) -> Prediction:  # fmt: skip
    problem = at.problem
    owners = dict(_owner_seconds(legs))
    seconds = {task: took for task, (took, _) in finish.items()}
    price = {task: rest.price for task, (_, rest) in finish.items()}
    sent = {task: rest.sent for task, (_, rest) in finish.items()}
    cold = {task: rest.cold for task, (_, rest) in finish.items()}
    energy: dict[str, float] = {}
    slowest: dict[str, float] = {}
    for (task, device), leg in legs.items():
        mine = owners[task, device]
        slowest[task] = max(slowest.get(task, 0.0), mine)
        price[task] += leg.price + (leg.per_second * mine if leg.per_second else 0.0)
        sent[task] += leg.sent
        cold[task] += leg.cold
        energy[device] = energy.get(device, 0.0) + leg.joules
    for (task, _, _), (cost, amount) in fetches.items():
        price[task] += cost
        sent[task] += amount
    for request in problem.requests:
        if request.task in seconds:
            seconds[request.task] += slowest.get(request.task, 0.0)
            if seconds[request.task] > request.round_limit * _SLACK:
                at.broken("deadline", request.task, "", request.round_limit, seconds[request.task])
    for name, amount in at.memory.items():
        if amount > problem.units[name].memory:
            at.broken("memory", "", name, problem.units[name].memory, amount)
    for device, joules in energy.items():
        battery = problem.units[device].battery
        if battery is not None and joules > battery.spare_j * _SLACK:
            at.broken("battery", "", device, battery.spare_j, joules)
    w = problem.weights
    parts = ((w.time, seconds), (w.energy, energy), (w.price, price), (1.0, absent))
    objective = math.fsum(weight * sum(part.values()) for weight, part in parts if weight)
    return Prediction(objective, seconds, owners, energy, price, sent, cold, tuple(at.violations))


def _owner_seconds(legs: Mapping[tuple[str, str], Leg]) -> Iterator[tuple[tuple[str, str], float]]:
    """Seconds of each participant, with all that it shares."""
    users: dict[Station, list[Leg]] = {}
    for leg in legs.values():
        for station in leg.stations:
            users.setdefault(station, []).append(leg)
    for who, leg in legs.items():
        longest = leg.own + leg.fixed
        for station, (_, once) in leg.stations.items():
            others = users[station]
            if len(others) > 1 and math.isfinite(longest):
                load = sum(min(leg.batches, one.batches) * one.stations[station][0] + one.stations[station][1]
                           for one in others)  # fmt: skip
                longest = max(longest, leg.fixed - once + load)
        yield who, longest
