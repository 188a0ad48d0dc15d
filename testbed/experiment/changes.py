"""What changes in the course of a run, as the plan has it: moves, faults and outages."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Move:
    """One change of association, due at a time or at a point of the training.

    Exactly one of ``at`` (seconds after training starts) and ``(round, progress)`` is set. ``round``
    counts from 1; ``progress`` is the share of the device's batches of that round that are done, 0 to 1.
    ``wandered``: it follows from a trace or a generator, which may go on for longer than the training does.
    """

    device: str
    to: str  # site
    at: float | None = None
    round: int | None = None
    progress: float | None = None
    wandered: bool = field(default=False, compare=False)


FAULTS = {"kill": "killed", "cut": "cut", "spoil": "spoilt"}
"""Kinds of faults, and what has then happened to the target, in words."""


@dataclass(frozen=True)
class FaultPlan:
    """Something that breaks, due as a `Move` is (``device`` then says by whose training).

    ``kind`` is ``kill`` (``target``: an edge server or a device), ``spoil`` (an edge server) or ``cut`` (a link, for
    ``lasting`` s, None: for good).
    """

    kind: str
    target: str
    at: float | None = None
    device: str | None = None
    round: int | None = None
    progress: float | None = None
    lasting: float | None = None


@dataclass(frozen=True)
class Outage:
    """An interval in which a device's access link is down, s after training starts.

    A device may come back at another site: the move at ``end`` is carried out before the link is up again.
    ``end`` None is never. ``why`` is ``out of coverage`` or ``absent``.
    """

    device: str
    begin: float
    end: float | None
    why: str
