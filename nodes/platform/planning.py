"""When something is decided about which task: next rounds, shares that begin again, owners in place of others.

All that is wanted at one time is decided together, in the order in which the tasks came. A task that has waited for
`STARVE_S` has younger ones wait for it; one that cannot be placed although nobody is in its way is given a while
(`nodes.platform.patience`). What becomes of a decision is in `nodes.platform.placing`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from nodes.platform.admission import Verdict, judge
from nodes.platform.asking import Want
from nodes.platform.books import Books
from nodes.platform.deciding import settle, words
from nodes.platform.patience import PATIENCE_S, Patience
from nodes.platform.placing import place, unmet
from nodes.platform.rounds import Rounds
from nodes.platform.states import Leg, Round, TaskState
from nodes.policies.orchestrating import predict
from nodes.policies.requests import Assignment, Placement, Problem
from nodes.policies.requests import Round as Ends
from nodes.policies.units import Battery

STARVE_S = 30.0
GAIN = 0.7
"""An owner's share under way begins elsewhere if it is done there in less than this of what it still takes."""


class Planning:
    """Decides, and puts what is decided into the books."""

    def __init__(self, books: Books, rounds: Rounds) -> None:
        self._books, self._rounds = books, rounds
        self._settings, self._asking = books.settings, books.asking
        self._count = 0
        self._in_vain: object = None  # what was wanted and free when something could not be placed
        self._patience = Patience(books, rounds)

    @property
    def again_at(self) -> float | None:
        """When it is to be decided again although nothing happens, s; None: no need."""
        return self._patience.again_at

    def admit(self, task: TaskState, now: float) -> None:
        """Look whether a task can be done; it waits for units that have not been heard of yet, or not of late."""
        registry = self._books.registry
        silent = any(registry.alive(name) and not registry.ready(name, now) for name in task.job.task.owners)
        few = silent and len(self._asking.candidates(task, now)) < task.job.least
        if (registry.missing() or few) and now < task.submitted + PATIENCE_S:
            return
        verdict = self.verdict(task, now)
        if verdict.reason:
            self._rounds.finish(task, "refused", verdict.reason)
        else:
            task.checked, task.later_s = True, verdict.later_s

    def verdict(self, task: TaskState, now: float) -> Verdict:
        """Whether a task can be done, if it had all units for itself."""
        return judge(task, self._asking, self._books.registry, self._settings, self._seed(), now, self._full)

    def plan(self, tasks: Iterable[TaskState], now: float, *, fresh: bool) -> None:
        """Decide about all that is wanted.

        Args:
            tasks: All of them.
            now: s.
            fresh: Whether units have changed. If not, and memory has not either, what was in vain is so still.
        """
        tasks = [task for task in tasks if task.open and task.checked]
        fresh = fresh or (self.again_at is not None and now >= self.again_at)
        if fresh:
            self._patience.again_at = None
        wants = self._wants(tasks, now)
        about = [want.request.task for want in wants], self._books.calls.free()
        if not wants or (about == self._in_vain and not fresh):
            return
        self._in_vain = None
        problem = self._asking.problem([want.request for want in wants], now, tasks)
        spent = self._asking.spent(tasks, now)
        begin = time.perf_counter()
        found = settle(problem, self._settings.policy, self._seed(),
                       lambda name: self._books.registry.battery(name, spent.get(name, 0.0)))  # fmt: skip
        took = time.perf_counter() - begin
        for want in wants:
            if want.request.task in found.placed and want.task.open:
                place(self._books, problem, want, found.placed[want.request.task], now, took)
        blocked = set[str]()
        for want in wants:
            if want.request.task in found.unmet and want.task.open:
                self._in_vain = about
                if self._refused(want, found.unmet[want.request.task], tasks, now, took):
                    blocked.add(want.task.name)
        if not found.placed:
            self._unlock(tasks, blocked)

    def due(self, tasks: Iterable[TaskState]) -> Iterable[float]:
        """When something is to be decided although nothing happens."""
        if self.again_at is not None:
            yield self.again_at
        for task in tasks:
            if task.state == "queued" and not task.checked:
                yield task.submitted + PATIENCE_S

    # --- what is wanted ---------------------------------------------------------------------------------

    def _wants(self, tasks: list[TaskState], now: float) -> list[Want]:
        wants: list[Want] = []
        starving = False
        for task in tasks:
            round = task.round
            if not self._rounds.possible(task):
                self._patience.task_waits(task, ("memory",), now)
            elif round is None:
                if task.model is None:
                    task.stuck = None  # its first weights are being made
                    continue
                if starving:
                    continue
                task.waits = now if task.waits is None else task.waits
                starving = starving or (task.stuck is None and now - task.waits > STARVE_S)
                if (request := self._asking.for_round(task, now)) is not None:
                    wants.append(Want(task, "round", request))
                else:
                    self._patience.task_waits(task, ("unit",), now)
            elif round.phase == "train":
                wants += self._of_round(task, round, now)
            else:
                task.stuck = None
        return wants

    def _of_round(self, task: TaskState, round: Round, now: float) -> list[Want]:
        wants = []
        for leg in list(round.legs.values()):
            if leg.state == "wanted":
                if (request := self._asking.for_leg(task, leg, now)) is not None:
                    wants.append(Want(task, "leg", request, leg))
                else:
                    self._patience.leg_waits(task, leg, "it cannot be reached", now)
        missing = task.job.least - round.alive
        if missing > 0:
            if (request := self._asking.for_more(task, missing, now)) is not None:
                wants.append(Want(task, "more", request))
            else:
                self._patience.task_waits(task, ("participants",), now)
        else:
            task.stuck = None
        return wants

    # --- what has no placement --------------------------------------------------------------------------

    def _refused(self, want: Want, names: tuple[str, ...], tasks: list[TaskState], now: float, took: float) -> bool:
        """What becomes of a want that has no placement. Returns whether others are in its way."""
        task = want.task
        if want.leg is not None:
            self._patience.leg_waits(task, want.leg, words(names), now)
            return False
        if want.kind == "round" and "deadline" in names:
            if task.done or task.state == "running":
                task.late = True  # it goes on without: the target may come sooner than the last round
                self._patience.again(now)
                return False
            verdict = self.verdict(task, now)
            if verdict.reason:
                self._rounds.finish(task, "refused", verdict.reason)
                return False
        unmet(self._books, task, names, took)
        if any(one is not task and one.round is not None for one in tasks):
            idle = self._asking.problem([want.request], now, None)
            if self._can(idle, want.request.task):
                task.stuck = None  # it is decided again when they give something back
                return True
        self._patience.task_waits(task, names, now)
        return False

    def _unlock(self, tasks: list[TaskState], blocked: set[str]) -> None:
        """Rounds that keep memory for their ends may all wait for more of it, and none goes on: the youngest gives way.

        They do if nothing is open that could end, and nobody waits for anything else.
        """
        training = [task for task in tasks if task.open and task.round is not None and task.round.phase == "train"]
        held = any(leg.holds for task in training if task.round for leg in task.round.legs.values())
        if training and not held and not self._books.calls.open and blocked.issuperset(task.name for task in training):
            self._rounds.again(training[-1], "rounds wait for each other's memory", counts=False)

    def _can(self, problem: Problem, name: str) -> bool:
        """Whether a request can be placed."""
        return name in settle(problem, self._settings.policy, self._seed(), self._full).placed

    # --- what is under way ------------------------------------------------------------------------------

    def reconsider(self, task: TaskState, leg: Leg, now: float) -> None:
        """A way of an owner has changed: if its share is done much sooner elsewhere, it begins again there.

        How far it is follows from its prediction, as its progress is told to others. Memory and work of other tasks
        are left out here; they count when it is placed.
        """
        round = task.round
        assert round is not None
        if leg.state == "placed" and not leg.calls:
            self._rounds.legs.fail(task, leg, "its links have changed before it began", counts=False)
        if leg.attempt > self._settings.retries:
            return  # of a link that does not settle, or it would never be done
        if leg.state != "training" or leg.cut is None or (request := self._asking.for_leg(task, leg, now)) is None:
            return
        problem = self._asking.problem([request], now, None)
        ends = next(iter(problem.finishers(request)), "")
        at = round.aggregator if round.aggregator in problem.finishers(request) else ends
        stay = {leg.owner: Assignment(leg.cut.index, leg.server)}
        kept = predict(problem, Placement({request.task: Ends(stay, at, at)}))
        takes = kept.owners.get((request.task, leg.owner), float("inf"))
        passed = min((now - leg.begun) / leg.seconds, 0.95) if leg.seconds > 0 else 0.0
        fresh = settle(problem, self._settings.policy, self._seed(), self._full).placed.get(request.task)
        if fresh is not None and fresh.owners[leg.owner] < GAIN * (1 - passed) * takes:
            self._rounds.legs.fail(task, leg, "its links have changed: it is done sooner elsewhere", counts=False)

    def _full(self, name: str) -> Battery | None:
        return self._books.registry.battery(name)

    def _seed(self) -> int:
        self._count += 1
        return self._settings.seed + self._count
