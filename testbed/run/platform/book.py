"""Everything that is heard of tasks while the platform runs; times are virtual s since they began to come."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from nodes.wire import control as ctl
from nodes.wire.jobs import Status
from testbed.run.platform.known import Known

ENDS = ("done", "refused", "failed", "cancelled")
"""States from which a task does not come back."""
TO_COME = "to come"
"""Of a task that the experiment has, and that has not been submitted yet."""


@dataclass(frozen=True)
class Done:
    """A round that is averaged and evaluated."""

    at: float
    round: int
    accuracy: float | None
    loss: float | None
    missing: tuple[str, ...]


@dataclass
class Entry:
    """One task.

    Attributes:
        name: Its name. known: What it is. submitted: When.
        states: What became of it, and when that was heard.
        placements: What was decided about its rounds, and when that was heard.
        rounds: Rounds that were done.
        charges: Invocations that ended, and when that was heard.
        kept: Digest of its best model, and its accuracy.
        weights_sha256: Digest of its last model.
    """

    name: str
    known: Known
    submitted: float
    states: list[tuple[float, Status]] = field(default_factory=list)
    placements: list[tuple[float, ctl.PlacedRound]] = field(default_factory=list)
    rounds: list[Done] = field(default_factory=list)
    charges: list[tuple[float, ctl.Charged]] = field(default_factory=list)
    kept: tuple[str, float | None] | None = None
    weights_sha256: str | None = None

    @property
    def status(self) -> Status:
        """The last that was heard of it."""
        if self.states:
            return self.states[-1][1]
        return Status(name=self.name, state="queued", rounds=self.known.task.work.rounds, since=self.submitted)

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.status.state in ENDS

    def since(self, *states: str) -> float | None:
        """When it first was in one of these states; None: never."""
        return next((at for at, status in self.states if status.state in states), None)

    def placed(self, number: int) -> tuple[float, ctl.PlacedRound] | None:
        """What was decided first about a round with a placement, and when."""
        return next(((at, one) for at, one in self.placements if one.round == number and one.rows), None)


class Book:
    """All tasks of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def open(self, name: str, known: Known, at: float) -> Entry:
        """A task is submitted."""
        self.entries[name] = Entry(name, known, at)
        return self.entries[name]

    @property
    def running(self) -> list[Entry]:
        """Tasks that have not ended."""
        return [entry for entry in self.entries.values() if not entry.over]

    def hear(self, message: ctl.FromNode, at: float) -> Entry | None:
        """Take what the orchestrator says; returns the task that it is about, None for what is about none."""
        match message:
            case ctl.JobStatus(status=status):
                entry = self.entries.get(status.name)
                if entry is not None and not entry.over:
                    scores = {"accuracy": _number(status.accuracy), "best": _number(status.best)}
                    entry.states.append((at, msgspec.structs.replace(status, **scores)))
            case ctl.PlacedRound() | ctl.Charged() | ctl.Kept() | ctl.RoundDone() | ctl.TaskDone():
                entry = self.entries.get(message.task)
                if entry is not None:
                    _write_down(entry, message, at)
            case _:
                return None
        return entry

    def rows(self, to_come: Iterable[tuple[float, str, Any]] = ()) -> list[dict[str, Any]]:
        """How far tasks are, as ``testbed status`` tells it: those that came, then those that are still to come."""
        found = []
        for entry in self.entries.values():
            status = entry.status
            found.append({
                "task": entry.name, "state": status.state, "round": status.round, "rounds": status.rounds,
                "accuracy": status.accuracy, "best": status.best, "submitted_s": round(entry.submitted, 3),
                "since_s": round(entry.states[-1][0] if entry.states else entry.submitted, 3), "reason": status.reason,
            })  # fmt: skip
        for at, name, _ in to_come:
            found.append({
                "task": name, "state": TO_COME, "round": 0, "rounds": None, "accuracy": None, "best": None,
                "submitted_s": None, "since_s": None, "reason": f"comes at {at:.1f} s",
            })  # fmt: skip
        return found


def _number(value: float | None) -> float | None:
    """A score; None where it is none (a model that has come apart has a loss of NaN)."""
    return value if value is not None and math.isfinite(value) else None


def _write_down(
    entry: Entry, message: ctl.PlacedRound | ctl.Charged | ctl.Kept | ctl.RoundDone | ctl.TaskDone, at: float
) -> None:
    match message:
        case ctl.PlacedRound():
            entry.placements.append((at, message))
        case ctl.Charged():
            entry.charges.append((at, message))
        case ctl.Kept(digest=digest, accuracy=accuracy):
            entry.kept = digest, _number(accuracy)
        case ctl.RoundDone():
            if message.round not in [one.round for one in entry.rounds]:
                scores = (_number(message.accuracy), _number(message.loss))
                entry.rounds.append(Done(at, message.round, *scores, tuple(message.missing)))
        case ctl.TaskDone(weights_sha256=digest):
            entry.weights_sha256 = digest
