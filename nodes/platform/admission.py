"""Whether a task is taken: what is wrong with it is told, and what could be had instead of too early a deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from nodes.errors import RoambedError
from nodes.platform.asking import Asking, check
from nodes.platform.deciding import cooled_s, settle, words
from nodes.platform.registry import Registry
from nodes.platform.states import INITIALISE, TaskState, memory_of
from nodes.policies.requests import AGGREGATE, EVALUATE, SELECT, TRAIN_DEVICE, TRAIN_EDGE, Problem, Weights
from nodes.policies.units import Battery
from nodes.wire.jobs import PlatformSettings

_ALL = frozenset({SELECT, TRAIN_DEVICE, TRAIN_EDGE, AGGREGATE, EVALUATE})


@dataclass(frozen=True)
class Verdict:
    """Whether a task can be done (empty ``reason``), and the predicted seconds of its later rounds if so."""

    reason: str = ""
    later_s: float = 0.0


def wrong(task: TaskState) -> str:
    """What is wrong with a task whoever is there; empty: nothing."""
    try:
        check(task.job)
    except RoambedError as error:
        return str(error)
    return ""


def judge(
    task: TaskState, asking: Asking, registry: Registry, settings: PlatformSettings, seed: int, now: float,
    battery: Callable[[str], Battery | None],
) -> Verdict:  # fmt: skip
    """Decide about a task as if it had all units for itself.

    The best that can be achieved is found without its deadline, and with nothing but time in the objective: its first
    weights, its first round with cold starts and the choosing of data, and as many later ones as it has left. It is as
    good as the policy is.
    """
    job, name = task.job, task.name
    if not any(registry.kind(owner) == "device" for owner in job.task.owners):
        return Verdict(f"task {name}: no eligible device: none of {', '.join(job.task.owners)} is there")
    request = asking.for_round(task, now)
    if request is None:
        return Verdict(f"task {name}: there is no server to begin at")
    home = asking.home(now)
    if task.model is None and registry.total(home) < (needs := memory_of(job, INITIALISE)):
        return Verdict(f"task {name}: memory: its first weights need {needs} bytes on {home}, which has less")
    fastest = replace(request, deadline_s=None, absent=0.0)
    problem = asking.problem([fastest], now, None, Weights(time=1.0))
    first = settle(problem, settings.policy, seed, battery)
    if name not in first.placed:
        there = len(asking.candidates(task, now))
        return Verdict(
            f"task {name} cannot be placed: {words(first.unmet[name])}; it needs {job.least} of {len(job.task.owners)} "
            f"devices, {there} of them are there with something to spare"
        )
    begin = first.placed[name]
    begin_s = begin.seconds + cooled_s(problem, fastest, begin, settings.keep_alive)
    begin_s += asking.first_weights_s(task, now) + asking.apart_s(task, begin.round.participants, now)
    warm = _later(problem, settings.keep_alive > 0)
    later = settle(warm, settings.policy, seed, lambda _: None).placed.get(name)
    later_s = later.seconds + cooled_s(warm, fastest, later, settings.keep_alive) if later else begin.seconds
    left = job.task.rounds - task.done
    least = begin_s + (left - 1) * later_s
    if task.deadline is not None and not now + least <= task.deadline:
        over = f" ({task.deadline - now:.3g} s of it are left)" if now > task.submitted else ""
        return Verdict(
            f"task {name} cannot meet its deadline of {job.deadline_s:g} s{over}: best achievable {_seconds(least)} "
            f"({left} rounds, the first {_seconds(begin_s)}, later ones {_seconds(later_s)})"
        )
    return Verdict(later_s=later_s)


def _later(problem: Problem, kept: bool) -> Problem:
    """With all functions warm if they are kept, data chosen, and batteries as they are then: whatever they are."""
    warm = _ALL if kept else frozenset[str]()
    units = {name: replace(unit, warm=warm, instances={}, battery=None) for name, unit in problem.units.items()}
    return replace(problem, units=units, requests=tuple(replace(one, select_s=0.0) for one in problem.requests))


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if math.isfinite(value) else "never"
