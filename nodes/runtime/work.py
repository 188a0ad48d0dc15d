"""Work on a node as it is recorded: paced to the node's speed, an event each, and how well it kept its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nodes.events import Span
from nodes.learn.pacing import Pacer
from nodes.runtime.part import Timed
from nodes.runtime.transport import Transport
from nodes.wire.messages import PartId
from nodes.wire.task import Task


class PacedWork:
    """The work of one task on one node.

    Attributes:
        busy: Seconds of it so far, by the owners of its parts.
    """

    def __init__(
        self, node: str, task: Task, pacer: Pacer, transport: Transport, clock: Callable[[], float]
    ) -> None:
        self._node, self._task, self._pacer, self._transport, self._clock = node, task, pacer, transport, clock
        self._rehearsing = False
        self.busy: dict[str, float] = {}

    @contextmanager
    def step(
        self, part: PartId, kind: str, op: str | None, seconds: float | None = None, *, own: bool = False,
        **labels: Any,
    ) -> Iterator[Timed]:
        """See `Context.work`."""
        timed = Timed()
        if op is not None:
            seconds = self._task.reference_of(part.owner)[op]
        if seconds is None and not own:
            timed.begin, cpu = self._clock(), time.thread_time()
            yield timed
            timed.end, timed.cpu_s = self._clock(), time.thread_time() - cpu
        else:
            with self._pacer.step(seconds) as step:
                yield timed
            timed.begin, timed.end, timed.cpu_s, timed.late = step.begin, step.end, step.cpu_s, step.late
        self.busy[part.owner] = self.busy.get(part.owner, 0.0) + timed.end - timed.begin
        self._transport.emit(
            Span(
                kind=kind, node=self._node, scheme=self._task.scheme, task=self._task.id, part=str(part),
                begin=timed.begin, end=timed.end, cpu_s=timed.cpu_s, late=timed.late, **labels,
            )
        )  # fmt: skip
        if not self._rehearsing:
            self.tell_windows()
        # A device that hears of a handover during a paced step acts on it with this batch, not the next.
        self._transport.catch_up()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Work in it does not count as paced: all nodes do this at once, and the first times are slow."""
        self._rehearsing = True
        yield
        self._pacer.forget()
        self._rehearsing = False

    def tell_windows(self, *, last: bool = False) -> None:
        """Record how well paced steps kept their time, for each window that is over (with ``last``: for all)."""
        for window in self._pacer.windows(last=last):
            self._transport.emit(
                Span(
                    kind="speed", node=self._node, scheme=self._task.scheme, task=self._task.id,
                    begin=window.begin, end=window.end,
                    attrs={
                        "steps": window.steps, "late": window.late,
                        "asked_s": window.asked_s, "took_s": window.took_s,
                    },
                )
            )  # fmt: skip
