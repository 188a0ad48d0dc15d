"""The orchestrator's seat: on the unit that has it, its inputs come in here, and its actions go out.

What it decides is in `nodes.platform.orchestrator`, which knows no sockets; it is imported when it is needed, as it
takes its time.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol

from nodes.platform import outcomes
from nodes.wire import control as ctl
from nodes.wire.jobs import Job, PlatformSettings
from nodes.wire.platform_messages import CallEnded, CancelCall, InvokeOn, KeepBlobs, UnitLost, UnitState

Order = InvokeOn | CancelCall | KeepBlobs | UnitLost


class Orchestrating(Protocol):
    """What the seat needs of an orchestrator."""

    def submit(self, job: Job) -> None:
        """A task comes."""

    def cancel(self, name: str) -> None:
        """A task is not wanted any more."""

    def state(self, state: UnitState) -> None:
        """A unit says how it stands."""

    def ended(self, unit: str, ended: CallEnded) -> None:
        """An invocation has ended."""

    def lost(self, unit: str) -> None:
        """A unit is gone."""

    def step(self) -> None:
        """Do what is due."""

    def due(self) -> float | None:
        """Seconds of the experiment until `step` has something to do; None: nothing to wait for."""


Make = Callable[[PlatformSettings, Any, Callable[[], float]], Orchestrating]
"""Makes an orchestrator from its settings, what carries out its actions, and the experiment's clock."""


class Seat:
    """Carries out what the orchestrator wants (its ``Actions``), and feeds it.

    Args:
        post: Sends an order to a unit, this one among them; returns why it cannot be sent, or nothing.
        say: Tells the controller. make: Makes the orchestrator; by default the real one.
        dilation: Real seconds that a second of the experiment takes. clock: Stands in for the machine's in tests.
    """

    def __init__(
        self,
        post: Callable[[str, Order], str],
        say: Callable[[ctl.FromNode], None],
        *,
        make: Make | None = None,
        dilation: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._post = post
        self._tell = say
        self._make = make
        self._dilation = dilation
        self._clock = clock
        self._orchestrator: Orchestrating | None = None
        self._numbers = itertools.count(1)  # of all orchestrators: what an earlier one has asked for may still come
        self._unsent: list[tuple[str, CallEnded]] = []
        self._dead: set[str] = set()

    @property
    def taken(self) -> bool:
        """Whether there is an orchestrator."""
        return self._orchestrator is not None

    def begin(self, settings: PlatformSettings) -> None:
        """Have an orchestrator from now on; its clock begins at 0."""
        make = self._make or importlib.import_module("nodes.platform.orchestrator").Orchestrator
        begun = self._clock()
        self._orchestrator = make(settings, self, lambda: (self._clock() - begun) / self._dilation)

    def afresh(self) -> None:
        """Have no orchestrator until the next one begins: an earlier one would make good what units give up now."""
        self._orchestrator = None
        self._unsent.clear()

    # --- its inputs -------------------------------------------------------------------------------------

    def told(self, message: ctl.Submit | ctl.CancelJob) -> None:
        """Take what the controller says about tasks."""
        if self._orchestrator is None:
            self._tell(ctl.Failed("a task came before the orchestrator was told what the platform is like"))
        elif isinstance(message, ctl.Submit):
            self._orchestrator.submit(message.job)
        else:
            self._orchestrator.cancel(message.name)

    def hear(self, unit: str, body: UnitState | CallEnded) -> None:
        """Take what a unit says; before there is an orchestrator, nobody needs it (a unit says again how it stands)."""
        if self._orchestrator is None:
            return
        if isinstance(body, UnitState):
            if unit not in self._dead:  # said before it died, and come after the news: it is not back
                self._orchestrator.state(body)
        else:
            self._orchestrator.ended(unit, body)

    def lost(self, unit: str) -> None:
        """A unit is gone for good."""
        self._dead.add(unit)
        if self._orchestrator is not None:
            self._orchestrator.lost(unit)

    def due(self) -> float | None:
        """Real seconds until `step` has something to do; None: nothing to wait for."""
        if self._unsent:
            return 0.0
        due = None if self._orchestrator is None else self._orchestrator.due()
        return None if due is None else max(due, 0.0) * self._dilation

    def step(self) -> None:
        """Let it do what is due."""
        unsent, self._unsent = self._unsent, []
        for unit, ended in unsent:
            self.hear(unit, ended)
        if self._orchestrator is not None and (due := self._orchestrator.due()) is not None and due <= 0:
            self._orchestrator.step()

    # --- its actions ------------------------------------------------------------------------------------

    def number(self) -> int:
        """The next number for an invocation, or a pair."""
        return next(self._numbers)

    def invoke(self, unit: str, call: InvokeOn) -> None:
        """Have a unit run a function; that it cannot be asked is an end, too, and is heard of as such, later."""
        reason = self._post(unit, call)
        if reason:
            self._unsent.append((unit, CallEnded(call=call.call, kind=outcomes.DIED, reason=reason)))

    def cancel(self, unit: str, call: int) -> None:
        """Have a unit end an invocation."""
        self._post(unit, CancelCall(call))

    def keep(self, unit: str, message: KeepBlobs) -> None:
        """Have blobs stay on a unit."""
        self._post(unit, message)

    def gone(self, unit: str, other: str) -> None:
        """Have a unit wait for nothing of another one."""
        self._post(unit, UnitLost(other))

    def say(self, message: ctl.FromNode) -> None:
        """Tell the controller."""
        self._tell(message)
