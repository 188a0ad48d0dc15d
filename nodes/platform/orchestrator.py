"""The orchestrator: takes learning tasks, and has units run functions for them, round by round.

A plain state machine. It is told what happens (`submit`, `cancel`, `state`, `ended`, `lost`), and has done what
follows by its `Actions` in `step`, which is to be called when `due` says so; it has no socket, no thread, no torch, and
no clock but the one it is given. Policies decide (`nodes.policies`); what a decision is made from is in `asking`, when
there is one in `planning`, and what becomes of it in `rounds` and `legs`. docs/serverless-tasks.md has the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from nodes.errors import InputError
from nodes.platform.admission import wrong
from nodes.platform.asking import Asking
from nodes.platform.books import Actions as Actions
from nodes.platform.books import Books
from nodes.platform.calls import Calls
from nodes.platform.holdings import Holdings
from nodes.platform.planning import Planning
from nodes.platform.registry import Registry
from nodes.platform.rounds import Rounds
from nodes.platform.states import Call, Leg, TaskState
from nodes.policies.baselines import POLICIES
from nodes.wire import control as ctl
from nodes.wire.jobs import Job, PlatformSettings, Status
from nodes.wire.platform_messages import CallEnded, UnitState

_MOST = 20
"""Times that one step may lead to the next at once; the rest waits for the next `step`."""


class Orchestrator:
    """Of all tasks of a run.

    Args:
        settings: What is known before. act: Its hands. clock: Seconds of the experiment.

    Raises:
        InputError: There is no such policy, or the settings cannot be.
    """

    def __init__(self, settings: PlatformSettings, act: Actions, clock: Callable[[], float]) -> None:
        if settings.policy not in POLICIES:
            raise InputError(f"no policy {settings.policy}", wanted=", ".join(POLICIES), found=settings.policy)
        if settings.queue < 1 or settings.retries < 0:
            raise InputError("a queue has an end", wanted="1 task or more, 0 retries or more",
                             found=f"{settings.queue} tasks, {settings.retries} retries")  # fmt: skip
        self._settings, self._act, self._clock = settings, act, clock
        self._tasks: dict[str, TaskState] = {}  # in the order in which they came
        registry = Registry(settings)
        holdings = Holdings(act.keep)
        calls = Calls(registry, act.number, act.invoke, act.cancel,
                      lambda: (task for task in self._tasks.values() if task.open))  # fmt: skip
        asking = Asking(settings, registry, calls, holdings)
        self._books = Books(settings, registry, calls, holdings, asking, act, clock)
        self._rounds = Rounds(self._books, self._change)
        self._planning = Planning(self._books, self._rounds)
        self._dirty = self._plan = self._fresh = False
        self._stepped = -math.inf
        self._sending: dict[str, float] = {}  # see `Calls.sending`, after the last step

    # --- what it is told --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """A task comes. Whatever becomes of it, its status is said."""
        now = self._clock()
        if job.name in self._tasks:
            # It must not be taken for the end of the one that has the name.
            self._say(self._tasks[job.name], "another task of this name came, and was refused")
            return
        waiting = sum(task.state == "queued" for task in self._tasks.values())
        task = TaskState(job, now, since=now)
        reason = wrong(task)
        if not reason and waiting >= self._settings.queue:
            reason = f"task {job.name}: the queue is full: {waiting} tasks wait, and no more than that may"
        self._tasks[job.name] = task
        if reason:
            self._rounds.finish(task, "refused", reason)
        else:
            self._act.say(ctl.JobStatus(task.status()))
            self._change()

    def cancel(self, name: str) -> None:
        """A task is not wanted any more; its best model is kept."""
        task = self._tasks.get(name)
        if task is None:
            status = Status(name=name, state="refused", reason="no such task to cancel", since=self._clock())
            self._act.say(ctl.JobStatus(status))
        elif task.open:
            self._rounds.finish(task, "cancelled", f"cancelled after {task.done} of {task.job.task.rounds} rounds")
        else:
            self._say(task, "it had ended when it was to be cancelled")

    def state(self, unit: UnitState) -> None:
        """A unit says how it is."""
        if unit.kind not in ("device", "edge", "cloud"):
            return
        now, registry = self._clock(), self._books.registry
        if registry.restarted(unit):
            self.lost(unit.name)
        changes = registry.heard(unit, now)
        if not changes:
            return
        if changes & {"new", "back"}:
            self._books.calls.back(unit.name, new="new" in changes)
            self._books.holdings.back(unit.name, new="new" in changes)
        for task, leg in self._legs(unit.name):
            if registry.weak(unit.name) and leg.state != "done":
                why = f"the battery of {unit.name} is at its reserve"
                self._rounds.legs.fail(task, leg, why, counts=False, out=True)
                continue
            if unit.coming and "coming" in changes:
                self._rounds.legs.moving(task, leg, unit.coming)
            elif "sudden" in changes:  # the device has heard of it all the same: its edge half is on its way
                self._rounds.legs.moving(task, leg, unit.at)
            if "handover" in changes:
                self._rounds.legs.arrived(task, leg, unit.at)
            if changes & {"link", "handover"} and not any(call.role == "next" for call in leg.calls.values()):
                self._planning.reconsider(task, leg, now)
        self._change(fresh=True)

    def ended(self, unit: str, message: CallEnded) -> None:
        """An invocation has ended, in whatever way."""
        books = self._books
        for digest in message.outputs.values():
            books.holdings.made(digest, unit)
        for digest, at in message.lacks:
            books.holdings.dropped(digest, at)
        call = books.calls.ended(unit, message.call)
        if call is not None:
            books.act.say(ctl.Charged(task=call.task, function=call.function, unit=unit, ended=message,
                                      owner=call.owner, round=call.round))  # fmt: skip
            if not message.kind:
                books.registry.warmed(unit, call.function)
            self._end(call, message)
        for digest in message.outputs.values():
            books.holdings.settle(digest)
        for task in self._tasks.values():
            if message.lacks and task.open:
                self._rounds.missed(task)
        self._change()

    def lost(self, unit: str) -> None:
        """A unit has died, or cannot be reached any more."""
        books = self._books
        if not books.registry.alive(unit):
            return
        books.registry.lose(unit)
        books.holdings.lose(unit)
        books.calls.lose(unit)
        for task in self._tasks.values():
            if task.open:
                self._rounds.lost(task, unit)
        for other in sorted(books.calls.fetching(unit)):
            books.act.gone(other, unit)
        self._change(fresh=True)

    # --- what it does -----------------------------------------------------------------------------------

    def step(self) -> None:
        """Do what is to be done now."""
        now = self._stepped = self._clock()
        for unit in self._books.registry.overdue(now, self._books.calls.sending()):
            self.lost(unit)
        for task in list(self._tasks.values()):
            if task.open and task.deadline is not None and now >= task.deadline and task.job.deadline_s is not None:
                self._too_late(task)
        for _ in range(_MOST):
            again = self._planning.again_at
            self._plan = self._plan or (again is not None and now >= again)
            self._dirty = False
            for task in list(self._tasks.values()):
                if task.state == "queued" and not task.checked:
                    self._planning.admit(task, now)
                self._rounds.advance(task)
            if self._plan:
                fresh, self._plan, self._fresh = self._fresh, False, False
                self._planning.plan(self._tasks.values(), now, fresh=fresh)
                self._dirty = True
            if not self._dirty:
                break
        self._sending = self._books.calls.sending()

    def due(self) -> float | None:
        """Seconds of the experiment until `step` should be called; None: no need, until something happens."""
        if self._dirty or self._plan:
            return 0.0
        times = [*self._books.registry.due(self._sending), *self._planning.due(self._tasks.values())]
        for task in self._tasks.values():
            if task.open:
                if task.deadline is not None:
                    times.append(task.deadline)
                if task.round is not None and task.job.task.drop_s is not None and task.round.phase == "train":
                    times.append(task.round.begun + task.job.task.drop_s)
        ahead = [at for at in times if at > self._stepped]
        return max(min(ahead) - self._clock(), 0.0) if ahead else None

    def status(self) -> list[Status]:
        """Of all tasks, in the order in which they came."""
        return [task.status() for task in self._tasks.values()]

    # --- of which it is made ----------------------------------------------------------------------------

    def _change(self, *, fresh: bool = False) -> None:
        """Something is to be done, and perhaps decided; ``fresh``: also what could not be placed before."""
        self._dirty = self._plan = True
        self._fresh = self._fresh or fresh

    def _legs(self, owner: str) -> list[tuple[TaskState, Leg]]:
        """An owner's shares of rounds under way that may still come to something."""
        found = []
        for task in self._tasks.values():
            leg = task.round.legs.get(owner) if task.open and task.round is not None else None
            if leg is not None and leg.lives:
                found.append((task, leg))
        return found

    def _end(self, call: Call, message: CallEnded) -> None:
        task = self._tasks.get(call.task)
        if task is not None:
            self._rounds.ended(task, call, message)

    def _too_late(self, task: TaskState) -> None:
        passed = f"its deadline of {task.job.deadline_s:g} s passed"
        if task.round is None and not task.done:
            best = self._planning.verdict(task, self._clock()).reason
            self._rounds.finish(task, "refused", best or f"task {task.name}: {passed} before it could begin")
        else:
            self._rounds.finish(task, "failed", f"{passed} after {task.done} of {task.job.task.rounds} rounds")

    def _say(self, task: TaskState, reason: str) -> None:
        status = task.status()
        more = "; ".join(one for one in (status.reason, reason) if one)
        self._act.say(ctl.JobStatus(msgspec.structs.replace(status, reason=more)))
