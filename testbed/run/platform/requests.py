"""What ``testbed submit``, ``status`` and ``cancel`` ask of a run, and what is done about it.

A task that is submitted needs its data on the nodes, and step times at each of its cuts. Those are stored once per
machine; while tasks run nothing can be measured, so where they are not stored the task is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodes.policies.samples import FORMS
from nodes.wire import control as ctl
from testbed.errors import InputError, RoambedError
from testbed.experiment.plan import Plan
from testbed.experiment.problems import did_you_mean
from testbed.experiment.submitting import tasks_of
from testbed.experiment.taskplan import TaskPlan
from testbed.run import reference
from testbed.run.platform import known as knowing
from testbed.run.platform.arrivals import Arrivals
from testbed.run.platform.book import Book
from testbed.run.platform.desk import Answer, Asked
from testbed.run.platform.jobs import named
from testbed.run.platform.known import Known, References

VERBS = ("submit", "status", "cancel")
Submit = Callable[[Known, str], None]


class Preparing:
    """Gets tasks ready that are asked for, in the desk's thread: reads their file, writes their data.

    Args:
        plan: The run's. directory: The run's own. versions: Of torch, that nodes have.
        known: Entries of the run's file, by name; those that are asked for are added.
    """

    def __init__(self, plan: Plan, directory: Path, torch: str, known: dict[str, Known]) -> None:
        self._plan = plan
        self._directory = directory
        self._torch = torch
        self._known = known
        self._written = 0

    def __call__(self, request: Mapping[str, Any]) -> list[Known] | None:
        """The tasks of a ``submit``; None for other requests.

        Raises:
            InputError: The request is none, or its tasks cannot be submitted.
        """
        verb = request.get("do")
        if verb not in VERBS:
            raise InputError("a request that is none", wanted=", ".join(VERBS), found=str(verb))
        if verb != "submit":
            return None
        name, file = request.get("name"), request.get("file")
        if isinstance(file, str):
            return [self._ready(task) for task in tasks_of(Path(file), self._plan)]
        if name not in self._known:
            raise InputError(f"the run has no task {name!r}", wanted=", ".join(self._known), found=str(name),
                             remedy=did_you_mean(name, self._known) or "name a file of tasks")  # fmt: skip
        return [self._known[name]]

    def _ready(self, task: TaskPlan) -> Known:
        references = self._references(task)
        alone = replace(self._plan, tasks=(task,))
        self._written += 1
        label = f"{task.name}.{self._written}"  # no task of the run can be called so
        splits = {label: knowing.split(alone)[task.name]}
        prepared = knowing.write(alone, splits, self._directory)[label]
        return Known(knowing.view(self._plan, task), task, prepared, references)

    def _references(self, task: TaskPlan) -> References:
        work, found = task.work, {}
        for cut in knowing.measured_at(task):
            key = reference.key(work.model, cut, work.batch, work.threads, self._torch, FORMS[work.data.set])
            ops = reference.load(key)
            if ops is None:
                raise InputError(
                    f"task {task.name!r}: how long its steps take is not measured yet on this machine",
                    wanted=f"step times of {work.model} cut at {cut} in batches of {work.batch}",
                    remedy="have a run begin with such a task once: it measures them before limits are in force",
                )  # fmt: skip
            found[cut] = ops
        return found


class Answering:
    """Answers requests, in the thread that runs the platform.

    Args:
        book: Tasks so far. arrivals: Tasks that are to come. submit: Submits one. send: Tells the orchestrator.
        known: Entries by name.
    """

    def __init__(
        self, book: Book, arrivals: Arrivals, submit: Submit, send: Callable[[ctl.ToNode], None],
        known: dict[str, Known],
    ) -> None:  # fmt: skip
        self._book = book
        self._arrivals = arrivals
        self._submit = submit
        self._send = send
        self._known = known

    def answer(self, asked: Asked, now: float) -> None:
        """Do what was asked for; ``now`` is in virtual s since tasks began to come."""
        try:
            asked.answer(self._answer(asked, now))
        except RoambedError as error:
            asked.refuse(error)
        except Exception as error:  # of one request; the run and its tasks go on
            why = f"{type(error).__name__}: {error}"
            asked.refuse(RoambedError("the request cannot be carried out", found=why))

    def _answer(self, asked: Asked, now: float) -> Answer:
        match asked.content["do"]:
            case "submit":
                names = self._submitted(asked.prepared, now, "name" in asked.content)
                return {"submitted": names, "at_s": round(now, 3)}
            case "cancel":
                return self._cancelled(str(asked.content.get("task")))
            case _:
                return {"at_s": round(now, 3), "tasks": self._book.rows(self._arrivals.waiting())}

    def _submitted(self, tasks: list[Known], now: float, once: bool) -> list[str]:
        """Submit them when they say that they come, from now on; or once, now."""
        found = []
        for known in tasks:
            self._known.setdefault(known.task.name, known)
            for name, at in ((known.task.name, 0.0),) if once or not known.task.comes else known.task.comes:
                called = self._free(name)
                found.append(called)
                if at > 0:
                    self._arrivals.add(now + at, called, known)
                else:
                    self._submit(known, called)
        return found

    def _free(self, name: str) -> str:
        taken = {*self._book.entries, *(one for _, one, _ in self._arrivals.waiting())}
        return named(name, taken)

    def _cancelled(self, name: str) -> Answer:
        if self._arrivals.drop(name):
            return {"cancelled": name, "was": "to come"}
        entry = self._book.entries.get(name)
        if entry is None:
            names = [*self._book.entries, *(one for _, one, _ in self._arrivals.waiting())]
            raise InputError(f"the run has no task {name!r}", wanted=", ".join(names), found=name,
                             remedy=did_you_mean(name, names))  # fmt: skip
        if entry.over:
            raise InputError(f"task {name!r} has ended", found=entry.status.state, wanted="one that has not")
        self._send(ctl.CancelJob(name))
        return {"cancelled": name, "was": entry.status.state}
