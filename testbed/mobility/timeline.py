"""From movement to moves: who changes access points, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from testbed.experiment.plan import Move
from testbed.mobility.trace import Row

Association = Callable[[tuple[float, float], Mapping[str, tuple[float, float]]], str]


@dataclass(frozen=True)
class Timeline:
    """Where devices start, and the moves that follow, in order of time and then of name."""

    starts: dict[str, str]
    moves: tuple[Move, ...]


def from_trace(
    rows: Iterable[Row], access_points: Mapping[str, tuple[float, float]], association: Association
) -> Timeline:
    """Moves of a trace: at each row, the policy is asked, and a change of access point is a move.

    A device starts where its first row has it, whatever its time: nothing is known of it before.
    """
    starts: dict[str, str] = {}
    at: dict[str, str] = {}
    moves: list[Move] = []
    for row in rows:
        there = association((row.x, row.y), access_points)
        starts.setdefault(row.node, there)
        here = at.setdefault(row.node, there)
        if there != here:
            moves.append(Move(device=row.node, to=there, at=row.t))
            at[row.node] = there
    return Timeline(starts, ordered(moves))


def ordered(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Moves in a fixed order: those by time, then those by round and progress; then by device."""
    return tuple(
        sorted(moves, key=lambda m: (m.at is None, m.at or 0.0, m.round or 0, m.progress or 0.0, m.device, m.to))
    )
