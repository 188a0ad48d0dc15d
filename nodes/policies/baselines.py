"""What the orchestrator is compared with, and every policy by its name.

``all-cloud``, ``all-edge``, ``all-device`` put the work where their name says, and choose participants and all else as
the orchestrator does: as much of each model as may leave goes to the cloud, or to the edge server that a device is
near. ``random`` draws. The **blind** ones are the orchestrator itself with one kind of knowledge replaced by its
average; what they decide is then judged by what is true.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import fmean

import numpy as np

from nodes.errors import InputError
from nodes.policies.evaluating import Evaluator, placement
from nodes.policies.greedy import greedy
from nodes.policies.milp import exact
from nodes.policies.options import Table
from nodes.policies.preparing import prepare
from nodes.policies.requests import Decision, Placement, Problem
from nodes.policies.room import Bools, Room
from nodes.policies.units import Battery, Path
from nodes.policies.ways import NONE


def all_cloud(problem: Problem) -> Decision:
    """All that may leave the devices goes to a cloud."""
    return greedy(_moved(problem, "cloud"), name="all-cloud", keep=lambda table: _kind(table, "cloud"))


def all_edge(problem: Problem) -> Decision:
    """All that may leave the devices goes to the edge server that each is near; to any if it is near none."""

    def near(table: Table) -> Bools:
        units = table.units
        at = np.array([units.number.get(unit.at, NONE) for unit in units.all])[table.device[table.entry]]
        there: Bools = (table.server == at) | (at == NONE) | (table.server == NONE)
        return _kind(table, "edge") & there

    return greedy(_moved(problem, "edge"), name="all-edge", keep=near)


def all_device(problem: Problem) -> Decision:
    """Every participant trains the whole model; a task that has no such cut has no placement."""
    whole = {one.task: tuple(cut for cut in one.cuts if cut.place == "device") for one in problem.requests}
    if not all(whole.values()):
        return Decision("all-device", None, np.inf, {task: ("unit",) for task, cuts in whole.items() if not cuts})
    requests = tuple(replace(one, cuts=whole[one.task]) for one in problem.requests)
    return greedy(replace(problem, requests=requests), name="all-device")


def blind_battery(problem: Problem) -> Decision:
    """As if every device with a battery had the average one."""
    every = [unit.battery for unit in problem.units.values() if unit.battery is not None]
    if every:
        mean = Battery(*(fmean(getattr(one, name) for one in every) for name in ("capacity_j", "left_j", "reserve_j")))
        units = {name: unit if unit.battery is None else replace(unit, battery=mean)
                 for name, unit in problem.units.items()}  # fmt: skip
        problem = replace(problem, units=units)
    return greedy(problem, name="blind-battery")


def blind_network(problem: Problem) -> Decision:
    """As if every way of a kind (up, down, between servers) and every shared link were the average one."""
    kinds: dict[tuple[bool, bool], list[Path]] = {}
    device = {name: unit.kind == "device" for name, unit in problem.units.items()}
    for (a, b), path in problem.paths.items():
        kinds.setdefault((device[a], device[b]), []).append(path)
    mean = {kind: Path(fmean(path.rate for path in every), fmean(path.rtt for path in every))
            for kind, every in kinds.items()}  # fmt: skip
    paths = {(a, b): mean[device[a], device[b]] for a, b in problem.paths}
    up, down = _mean(one.up for one in problem.shared), _mean(one.down for one in problem.shared)
    shared = tuple(replace(link, up=up, down=down) for link in problem.shared)
    return greedy(replace(problem, paths=paths, shared=shared), name="blind-network")


def blind_speed(problem: Problem) -> Decision:
    """As if every unit of a kind had the average speed."""
    kinds: dict[str, list[float]] = {}
    for unit in problem.units.values():
        kinds.setdefault(unit.kind, []).append(unit.speed)
    units = {name: replace(unit, speed=fmean(kinds[unit.kind])) for name, unit in problem.units.items()}
    return greedy(replace(problem, units=units), name="blind-speed")


def at_random(problem: Problem, *, seed: int = 0, tries: int = 20) -> Decision:
    """Ends, participants (no more than it takes) and rows are drawn until nothing is broken, or ``tries`` are over."""
    if not problem.requests:
        return Decision("random", Placement({}), 0.0)
    table, unmet = prepare(problem)
    if table is None:
        return Decision("random", None, np.inf, unmet)
    at, draw = Evaluator(table, 16), random.Random(seed)
    broken: tuple[str, ...] = ("memory",)
    for _ in range(tries):
        finish = np.array([draw.randrange(len(every)) for every in table.finishes])
        choice = np.full(len(table.task), NONE, np.int64)
        room, begins = Room(at, finish, choice), table.begins.tolist()
        missing = at.least.copy()
        for e in draw.sample(range(len(table.task)), len(table.task)):
            k = int(table.task[e])
            if missing[k] <= 0:
                continue
            g = table.finishes[k][finish[k]].g
            rows = np.arange(begins[e], begins[e + 1])
            rows = rows[(table.aggregator[rows] == g) & room.fits(rows)]
            if len(rows):
                choice[e] = rows[draw.randrange(len(rows))]
                room.take(choice[[e]])
                missing[k] -= 1
        value = at.value(choice[None], finish[None])
        if value.broken[0] <= 1e-9:
            return Decision("random", placement(table, choice, finish), float(value.objective[0]))
        broken = tuple(name for name, by in zip(("memory", "battery", "participants", "deadline"), value.by[0],
                                                strict=True) if by > 0)  # fmt: skip
    return Decision("random", None, np.inf, {"": broken})


POLICIES: Mapping[str, Callable[[Problem], Decision]] = {
    "greedy": greedy,
    "exact": exact,
    "all-cloud": all_cloud,
    "all-edge": all_edge,
    "all-device": all_device,
    "random": at_random,
    "blind-battery": blind_battery,
    "blind-network": blind_network,
    "blind-speed": blind_speed,
}
"""Every policy by its name."""


def decide(problem: Problem, policy: str = "greedy", seed: int = 0) -> tuple[Decision, dict[str, tuple[str, ...]]]:
    """What a policy says about the tasks that can be placed, and why the others cannot, by task.

    A task that has no placement by itself is put off; where it is all of them together that have none, the one that
    came last is, and so on (ours). ``seed`` is of what ``random`` draws.

    Raises:
        InputError: There is no such policy.
    """
    if policy not in POLICIES:
        raise InputError(f"no policy {policy}", wanted=", ".join(POLICIES))
    refused: dict[str, tuple[str, ...]] = {}
    while True:
        decision = at_random(problem, seed=seed) if policy == "random" else POLICIES[policy](problem)
        if decision.placement is not None:
            return decision, refused
        known = {one.task for one in problem.requests}
        gone = {task: names for task, names in decision.unmet.items() if task in known}
        if not gone:
            gone = {problem.requests[-1].task: decision.unmet.get("", ("participants",))}
        refused |= gone
        problem = replace(problem, requests=tuple(one for one in problem.requests if one.task not in gone))


def _moved(problem: Problem, kind: str) -> Problem:
    """With the cut that leaves the least on the device, and ends at units of a kind if there are any."""
    requests = []
    for one in problem.requests:
        ends = tuple(name for name in problem.finishers(one) if problem.units[name].kind == kind)
        away = [cut for cut in one.allowed if cut.place != "device"] or list(one.allowed)
        best = [min(away, key=lambda cut: (cut.device_s, cut.index))] if away else []
        requests.append(replace(one, cuts=tuple(best) or one.cuts, finishers=ends or one.finishers))
    return replace(problem, requests=tuple(requests))


def _kind(table: Table, kind: str) -> Bools:
    """Rows whose server, if they have one, is of a kind."""
    kinds = np.array([unit.kind == kind for unit in table.units.all] + [True])
    found: Bools = kinds[table.server]
    return found


def _mean(rates: Iterable[float]) -> float:
    finite = [rate for rate in rates if np.isfinite(rate)]
    return fmean(finite) if finite else np.inf
