"""A decision that the platform carries out: what the policy says, where the batteries afford it, task by task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nodes.policies.baselines import decide
from nodes.policies.energy import affordable
from nodes.policies.orchestrating import Prediction, predict
from nodes.policies.requests import (
    AGGREGATE,
    EVALUATE,
    TRAIN_DEVICE,
    TRAIN_EDGE,
    Placement,
    Problem,
    Request,
    Round,
)
from nodes.policies.units import Battery, Unit

_BLIND = "blind-battery"
_WORDS = {
    "unit": "no unit may do what it needs",
    "path": "no way between the servers that it needs",
    "last-mile": "no way to its devices, or none that is fast enough",
    "memory": "too little memory",
    "battery": "devices would end below their reserve",
    "raw-data": "raw data would leave",
    "labels": "labels would leave",
    "participants": "too few devices",
    "deadline": "the deadline cannot be met",
}


@dataclass(frozen=True)
class Placed:
    """What has been decided about one request.

    Attributes:
        round: Who does what. seconds: Of the round, with all others. owners: Of each participant.
        joules: Active, of each participant for this request alone. objective: This request's part of it.
    """

    round: Round
    seconds: float
    owners: Mapping[str, float]
    joules: Mapping[str, float]
    objective: float


@dataclass
class Decided:
    """What has been decided about all requests: ``placed``, or the names of constraints that are in the way."""

    placed: dict[str, Placed] = field(default_factory=dict)
    unmet: dict[str, tuple[str, ...]] = field(default_factory=dict)


def settle(problem: Problem, policy: str, seed: int, battery: Callable[[str], Battery | None]) -> Decided:
    """Decide, and again where a device's battery does not afford it: with less in it, then without the device.

    The solvers count active energy, and batteries that have had their margin taken off. What a device draws anyway
    while the round lasts is counted here, when it is known how long that is: with that taken off as well, a device may
    still do less of the round. Of what may be spent, a round gets its share, so that a battery lasts for all that are
    left; if it does not last that long anyway, the device does what it can. A policy that is blind to batteries is told
    nothing of that either: it has its devices let go in the middle of rounds.

    Args:
        problem: What is to be decided.
        policy: Its name.
        seed: Of what it draws.
        battery: A device's, without what is spoken for; None: on the mains.
    """
    found, blind = Decided(), policy == _BLIND
    asked, units = {one.task: len(one.owners) for one in problem.requests}, problem.units
    shares: dict[str, int] = {} if blind else _rounds(problem)
    idle: dict[str, float] = {}
    while True:
        requests = tuple(one for one in problem.requests if len(one.owners) >= one.least)
        few = {one.task: ("participants",) for one in problem.requests if len(one.owners) < one.least}
        problem = replace(problem, units={
            name: _spending(unit, idle.get(name, 0.0), shares.get(name, 1)) for name, unit in units.items()
        })  # fmt: skip
        decision, refused = decide(replace(problem, requests=requests), policy, seed)
        placement = decision.placement or Placement({})
        prediction = predict(problem, placement)
        over = {} if blind else _over(problem, placement, prediction, battery)
        tired = over.keys() & idle.keys()
        idle |= over
        taking_part = {device for round in placement.rounds.values() for device in round.participants}
        spared = set() if over else shares.keys() - taking_part
        shares = {name: rounds for name, rounds in shares.items() if name not in spared}
        if not over and not spared:
            break
        problem = replace(problem, requests=tuple(
            replace(one, owners=tuple(owner for owner in one.owners if owner.device not in tired))
            for one in problem.requests
        ))  # fmt: skip
    crowded = _crowded(problem, placement)
    for request in problem.requests:
        if request.task in placement.rounds:
            left_out = asked[request.task] - len(placement.rounds[request.task].participants)
            found.placed[request.task] = _placed(problem, request, placement, prediction, crowded, left_out)
        else:
            names = refused.get(request.task, few.get(request.task, ("participants",)))
            found.unmet[request.task] = tuple(sorted({*names, *(("battery",) if idle else ())}))
    return found


def _over(
    problem: Problem, placement: Placement, prediction: Prediction, battery: Callable[[str], Battery | None]
) -> dict[str, float]:  # fmt: skip
    """Devices that cannot afford what has been decided, and the joules that each draws meanwhile whatever it does."""
    lasts: dict[str, float] = {}
    for task, round in placement.rounds.items():
        for device in round.participants:
            lasts[device] = max(lasts.get(device, 0.0), prediction.seconds.get(task, 0.0))
    found = {}
    for device, seconds in lasts.items():
        power = problem.units[device].power
        idle = power.idle_w * seconds if power is not None and math.isfinite(seconds) else 0.0
        if not affordable(battery(device), prediction.energy.get(device, 0.0) + idle):
            found[device] = idle
    return found


def _rounds(problem: Problem) -> dict[str, int]:
    """Rounds that a device's battery has to last for."""
    found: dict[str, int] = {}
    for request in problem.requests:
        for owner in request.owners:
            if problem.units[owner.device].battery is not None:
                found[owner.device] = max(found.get(owner.device, 0), request.rounds_left)
    return {device: rounds for device, rounds in found.items() if rounds > 1}


def _spending(unit: Unit, idle_j: float, rounds: int) -> Unit:
    """A unit with so much in its battery as one of so many rounds may take of it, beside what is drawn anyway."""
    if unit.battery is None or (not idle_j and rounds == 1):
        return unit
    return replace(unit, battery=unit.battery.with_spare(unit.battery.spare_j / rounds - idle_j))


def _crowded(problem: Problem, placement: Placement) -> dict[tuple[str, str], float]:
    """Seconds by which owners' shares begin later than the solvers have it, by task and device.

    These count each cold start as if it were alone, but those on a unit share its speed; and a function that is warm
    has an instance for each, but there may be fewer. It matters in first rounds and where a share goes somewhere new.
    """
    cuts = {request.task: {cut.index: cut for cut in request.cuts} for request in problem.requests}
    units = problem.units
    there: Counter[tuple[str, str]] = Counter()
    starting: dict[tuple[str, str], list[str]] = {}
    counted: dict[tuple[str, str], float] = {}
    for task, round in sorted(placement.rounds.items()):
        for device, does in sorted(round.participants.items()):
            halves = [(device, TRAIN_DEVICE)] * (cuts[task][does.cut].place != "server")
            halves += [(does.server, TRAIN_EDGE)] * bool(does.server)
            there.update(halves)
            starting[task, device] = [unit for unit, name in halves if there[unit, name] > units[unit].waiting(name)]
            cold = [units[unit].cold_s for unit, name in halves if name not in units[unit].warm]
            counted[task, device] = max(cold, default=0.0)
    count = Counter(unit for names in starting.values() for unit in names)
    return {
        share: max((count[unit] * units[unit].cold_s for unit in names), default=0.0) - counted[share]
        for share, names in starting.items()
    }  # fmt: skip


def _placed(
    problem: Problem, request: Request, placement: Placement, prediction: Prediction,
    crowded: Mapping[tuple[str, str], float], left_out: int,
) -> Placed:  # fmt: skip
    round = placement.rounds[request.task]
    alone = predict(replace(problem, requests=(request,)), Placement({request.task: round}))
    seconds = prediction.seconds.get(request.task, math.inf)
    owners = {device: prediction.owners.get((request.task, device), seconds) for device in round.participants}
    if math.isfinite(seconds):
        before = max(owners.values())
        owners = {device: took + crowded[request.task, device] for device, took in owners.items()}
        seconds += max(owners.values()) - before
    w = problem.weights
    objective = (w.time * seconds + w.energy * math.fsum(alone.energy.values()) + request.absent * left_out
                 + w.price * prediction.price.get(request.task, 0.0))  # fmt: skip
    return Placed(round, seconds, owners, dict(alone.energy), objective)


def cooled_s(problem: Problem, request: Request, placed: Placed, keep_alive: float) -> float:
    """Seconds of the cold starts at a round's end of functions that are warm now, but not for as long as is trained.

    Args:
        problem: That was decided.
        request: One of it.
        placed: What was decided about it.
        keep_alive: Seconds after which an instance with nothing to do ends.
    """
    if max(placed.owners.values()) <= keep_alive:
        return 0.0
    ends = [(AGGREGATE, placed.round.aggregator), *[(EVALUATE, placed.round.evaluator)] * (request.evaluate_s > 0)]
    return sum(problem.units[unit].cold_s for function, unit in ends if function in problem.units[unit].warm)


def words(names: tuple[str, ...]) -> str:
    """Constraints that are in the way, as a person reads them."""
    return ", ".join(f"{name} ({_WORDS[name]})" if name in _WORDS else name for name in names)
