"""Who has no placement although nobody is in the way: devices come back into reach, and batteries are charged.

It is decided again every `RETRY_S`. After `PATIENCE_S` a task ends, and an owner's share is left out of its round.
"""

from __future__ import annotations

from nodes.platform.books import Books
from nodes.platform.deciding import words
from nodes.platform.rounds import Rounds
from nodes.platform.states import Leg, TaskState

PATIENCE_S = 15.0
RETRY_S = 1.0
"""How often is decided again about what could not be placed, if nothing has changed that is known to matter."""


class Patience:
    """Has those wait who have no placement. ``again_at``: when to decide again, s; None: no need."""

    def __init__(self, books: Books, rounds: Rounds) -> None:
        self._books, self._rounds = books, rounds
        self.again_at: float | None = None

    def task_waits(self, task: TaskState, names: tuple[str, ...], now: float) -> None:
        """A task cannot be placed, for these constraints: it ends when that has lasted."""
        task.stuck = now if task.stuck is None else task.stuck
        if now - task.stuck < PATIENCE_S:
            self.again(now + RETRY_S)
            return
        legs = task.round.legs.values() if task.round is not None else ()
        gone = [f"{name}: {why}" for name, why in sorted(task.out.items())]
        gone += [f"{leg.owner}: {leg.reason}" for leg in legs if not leg.lives and leg.owner not in task.out]
        weak = [name for name in task.job.task.owners if self._books.registry.weak(name)]
        gone += [f"{name}: its battery is at its reserve" for name in weak if name not in task.out]
        there = len(self._books.asking.candidates(task, now))
        began = task.done > 0 or task.round is not None
        self._rounds.finish(
            task, "failed" if began else "refused",
            f"round {task.done + 1} cannot be placed: {words(names)}; it needs {task.job.least} of "
            f"{len(task.job.task.owners)} devices, {there} of them are there with something to spare"
            + (f" ({'; '.join(gone)})" if gone else ""),
        )  # fmt: skip

    def leg_waits(self, task: TaskState, leg: Leg, why: str, now: float) -> None:
        """An owner's share cannot be placed: the round goes on without when that has lasted."""
        if now - leg.since < PATIENCE_S:
            self.again(now + RETRY_S)
        else:
            why = "; ".join(one for one in (leg.reason, why) if one)
            self._rounds.legs.fail(task, leg, why, counts=False, out=True)
            self.again(now)

    def again(self, at: float) -> None:
        """Have it decided again at a moment, or before."""
        self.again_at = at if self.again_at is None else min(self.again_at, at)
