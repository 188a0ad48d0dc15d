"""What broke in a task and who died, what nodes did about it, and what standbys cost, for ``summary.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nodes.events import Span
from nodes.wire import control as ctl
from testbed.errors import RoambedError
from testbed.run.breaking import Breaking, Broken
from testbed.run.replay import Replay
from testbed.run.session import Session


class Ended(Protocol):
    """What training came to, of a workload or of tasks."""

    failure: RoambedError | None
    notes: list[str]


def as_can_be(ended: Ended, *ways: Callable[[], list[str] | None]) -> list[str]:
    """Put things right after the training, as far as links and nodes are still there; all that this returns."""
    found = []
    for put_right in ways:
        try:
            found += put_right() or []
        except RoambedError as error:
            if ended.failure is None:
                ended.notes.append(error.message)
    return found


def faults(broken: Sequence[Broken], start: float) -> list[dict[str, Any]]:
    """A row for each fault that happened, in the order in which they did.

    Args:
        broken: The faults, in virtual time.
        start: When training began.
    """
    return [
        {
            "kind": one.fault.kind,
            "target": one.fault.target,
            "at_s": round(one.begin - start, 4),
            "mended_s": None if one.end is None else round(one.end - start, 4),
        }
        for one in sorted(broken, key=lambda one: one.begin)
    ]


@dataclass(frozen=True)
class Died:
    """A node that died while the task went on.

    Attributes:
        node: Its name.
        kind: ``device`` or ``edge``.
        at: When; if nobody had asked for it, when that was seen.
        how: In words: "died (exit code 137)".
        asked: Whether the experiment had asked for it.
    """

    node: str
    kind: str
    at: float
    how: str
    asked: bool

    @property
    def owns(self) -> bool:
        """Whether it took its data along: rounds are averaged without it from then on."""
        return self.kind == "device"


def newly_dead(session: Session, told: Sequence[Died], breaking: Breaking, replay: Replay, task: str) -> list[Died]:
    """Nodes that have died beside those that were ``told`` of: all others are told now, and moves of a device end.

    Args:
        session: That lost them.
        told: Those that this was asked for before.
        breaking: Knows which the experiment has killed, and when.
        replay: Of devices' moves.
        task: Whose parts are told; empty: those of all.
    """
    found = []
    for name in session.lost.keys() - {one.node for one in told}:
        session.control.broadcast(ctl.Died(task, name))
        death, killed = session.lost[name], breaking.killed.get(name)
        at = death.at if killed is None else killed  # it is noticed a second later, or two
        one = Died(name, session.plan.node(name).kind, session.time.at(at), death.how, asked=killed is not None)
        if one.owns:
            replay.bury(name, at)
        found.append(one)
    return found


def deaths(died: Sequence[Died], dropped: Sequence[dict[str, Any]], start: float) -> list[dict[str, Any]]:
    """A row for each node that died, in the order in which they did.

    Args:
        died: They, in virtual time.
        dropped: Rounds with whom they were averaged without, and who of them was ``dead`` by then.
        start: When training began.
    """
    return [
        {
            "node": one.node,
            "kind": one.kind,
            "at_s": round(one.at - start, 4),
            "how": one.how,
            "asked": one.asked,
            "rounds_without": [row["round"] for row in dropped if one.node in row.get("dead", ())],
        }
        for one in sorted(died, key=lambda one: one.at)
    ]


def notes(spans: Sequence[Span], start: float) -> list[dict[str, Any]]:
    """What nodes said for a person to read: copies taken over, rounds begun again, messages dropped."""
    said = sorted((s for s in spans if s.kind == "note"), key=lambda s: s.begin)
    return [{"at_s": round(s.begin - start, 4), "node": s.node, "text": s.attrs.get("text", "")} for s in said]


def standbys(spans: Sequence[Span], moves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What standbys cost in all, and the part of it that no move came to use: predictions that were wrong.

    Returns:
        ``made``, ``bytes`` (of state and of batches to apply), ``edge_s`` (time spent on applying them), and
        ``unused_bytes``, ``unused_edge_s``. Empty where there were none.
    """
    made = sum(s.kind == "standby" for s in spans)
    if not made:
        return {}
    size = sum(s.bytes for s in spans if s.attrs.get("message") in ("standby", "replay"))
    spent = sum((s.end - s.begin for s in spans if s.kind == "replay-step"), 0.0)
    return {
        "made": made,
        "bytes": size,
        "edge_s": spent,
        "unused_bytes": size - sum(row["standby_bytes"] for row in moves),
        "unused_edge_s": max(0.0, spent - sum(row["standby_s"] for row in moves)),
    }
