"""Has things break as the experiment says, when that is due: nodes die, their memory fails, links are cut."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from nodes.wire import control as ctl
from testbed.experiment.changes import FAULTS, FaultPlan
from testbed.run.session import Session
from testbed.run.virtual import VirtualTime


@dataclass
class Broken:
    """A fault that happened, at ``begin``, CLOCK_MONOTONIC; ``end`` is when a link was mended, None if it never was."""

    fault: FaultPlan
    begin: float
    end: float | None = None

    def told(self, time: VirtualTime) -> Broken:
        """The same in virtual time."""
        return replace(self, begin=time.at(self.begin), end=None if self.end is None else time.at(self.end))


class Breaking:
    """The faults of one task.

    `broken` are those that have happened, `killed` the nodes killed so far and when, CLOCK_MONOTONIC.
    """

    def __init__(self, session: Session, task: str, faults: tuple[FaultPlan, ...]) -> None:
        self._session = session
        self._task = task
        self._timed = [fault for fault in faults if fault.at is not None]
        self._scripted = [fault for fault in faults if fault.at is None]
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cut: list[Broken] = []
        self.broken: list[Broken] = []
        self._void: list[str] = []
        self.killed: dict[str, float] = {}

    def start(self, begin: float) -> None:
        """The task has started: times count from here."""
        for fault in self._timed:
            self._at(begin + (fault.at or 0.0), partial(self._break, fault))

    def progress(self, message: ctl.Progress) -> None:
        """A device has done a batch: faults that this makes due happen now."""
        for fault in [f for f in self._scripted if f.device == message.device]:
            wanted = math.ceil((fault.progress or 0.0) * message.batches - 1e-9)
            here, there = (message.round, message.done), (fault.round or 0, wanted)
            if here >= there or (wanted == 0 and here == (there[0] - 1, message.batches)):
                self._scripted.remove(fault)
                self._break(fault)

    def next_due(self) -> float | None:
        """When `run_due` has something to do, CLOCK_MONOTONIC."""
        return self._due[0][0] if self._due else None

    def run_due(self) -> None:
        """Do everything that is due by now."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def finish(self) -> list[str]:
        """Mend what is cut; returns what was asked for and did not happen, in words."""
        for broken in [one for one in self._cut if not self._dead(one.fault)]:
            self._session.bed.mend(broken.fault.target)
        self._cut.clear()
        left = [
            f"{fault.target} was not {FAULTS[fault.kind]}: " + (
                f"{fault.device}, whose training tells the moment, had died before"
                if fault.device in self._session.lost else "training had ended before"
            )
            for fault in (*self._scripted, *self._timed)
        ]  # fmt: skip
        return [*self._void, *left]

    def _dead(self, fault: FaultPlan) -> str:
        """The node that a fault is about, if it has died; empty otherwise."""
        node = fault.target.removeprefix("access:")
        return node if node in self._session.lost else ""

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), action))

    def _break(self, fault: FaultPlan) -> None:
        if fault in self._timed:
            self._timed.remove(fault)
        if self._dead(fault):
            self._void.append(f"{fault.target} was not {FAULTS[fault.kind]}: {self._dead(fault)} had died before")
            return
        broken = Broken(fault, time.monotonic())
        self.broken.append(broken)
        if fault.kind == "kill":
            self.killed[fault.target] = broken.begin
            self._session.bed.kill(fault.target)
            return
        if fault.kind == "spoil":
            self._session.control.send(fault.target, ctl.Spoil(self._task))
            return
        self._session.bed.cut(fault.target)
        self._cut.append(broken)
        if fault.lasting is not None:
            self._at(time.monotonic() + fault.lasting, partial(self._mend, broken))

    def _mend(self, broken: Broken) -> None:
        if broken in self._cut:
            self._cut.remove(broken)
            if self._dead(broken.fault):
                return  # there is nothing at its end any more
            self._session.bed.mend(broken.fault.target)
            broken.end = time.monotonic()
