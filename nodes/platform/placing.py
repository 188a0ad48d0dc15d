"""Decisions in the books: what a task's round and its owners' shares become, and what the controller is told of it."""

from __future__ import annotations

from collections.abc import Iterable

from nodes.platform.asking import Want, cuts_of
from nodes.platform.books import Books
from nodes.platform.deciding import Placed, cooled_s
from nodes.platform.states import Leg, Round, TaskState
from nodes.policies.requests import AGGREGATE, EVALUATE, SELECT, TRAIN_DEVICE, TRAIN_EDGE, Problem
from nodes.wire import control as ctl


def place(books: Books, problem: Problem, want: Want, placed: Placed, now: float, took: float) -> None:
    """A want has its placement.

    Args:
        books: Of the orchestrator.
        problem: That was decided.
        want: One of it.
        placed: What was decided about it.
        now: s.
        took: Seconds that deciding took.
    """
    task, job, settings = want.task, want.task.job, books.settings
    ends, seconds = placed.round, placed.seconds
    if want.kind == "round":
        assert task.model is not None
        seconds += books.asking.apart_s(task, ends.participants, now)
        seconds += cooled_s(problem, want.request, placed, settings.keep_alive)
        task.round = Round(task.done + 1, task.model, {}, ends.aggregator, ends.evaluator, now, seconds)
        task.stuck = task.waits = None
        if task.state != "running":
            task.state, task.since, task.reason = "running", now, ""
            books.act.say(ctl.JobStatus(task.status()))
    round = task.round
    assert round is not None
    if not books.registry.alive(round.aggregator):
        round.aggregator = ends.aggregator
    cuts = {cut.index: cut for cut in cuts_of(job)}
    for owner, does in sorted(ends.participants.items()):
        leg = round.legs.setdefault(owner, Leg(owner))
        leg.state, leg.cut, leg.server, leg.stranded = "placed", cuts[does.cut], does.server, ""
        leg.seconds, leg.joules, leg.begun = placed.owners[owner], placed.joules.get(owner, 0.0), now
    task.unmet = ()
    books.act.say(ctl.PlacedRound(
        task=task.name, round=round.number, policy=settings.policy, objective=placed.objective,
        predicted_s=seconds, predicted_j=dict(placed.joules), rows=_rows(task, round, ends.participants),
        decided_s=took, cuts={owner: does.cut for owner, does in ends.participants.items()},
    ))  # fmt: skip


def _rows(task: TaskState, round: Round, owners: Iterable[str]) -> tuple[tuple[str, str, str], ...]:
    rows = []
    for owner in sorted(owners):
        leg = round.legs[owner]
        if task.job.select is not None and owner not in task.keeps:
            rows.append((SELECT, owner, owner))
        rows.append((TRAIN_DEVICE, owner, owner))
        if leg.server:
            rows.append((TRAIN_EDGE, owner, leg.server))
    rows.append((AGGREGATE, "", round.aggregator))
    if task.job.evaluate_s > 0:
        rows.append((EVALUATE, "", round.evaluator))
    return tuple(rows)


def unmet(books: Books, task: TaskState, names: tuple[str, ...], took: float) -> None:
    """A task's next round has no placement: these constraints are in the way. It is told when they change."""
    if names != task.unmet:
        task.unmet = names
        books.act.say(ctl.PlacedRound(
            task=task.name, round=task.done + 1, policy=books.settings.policy, objective=float("inf"),
            predicted_s=float("inf"), unmet=names, decided_s=took,
        ))  # fmt: skip
