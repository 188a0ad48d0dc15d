"""Moves as they were carried out, and what each cost, derived from the events of the task.

Definitions (also in docs/architecture.md):

- ``state_s``: from the moment the source began to capture the training state to the gradients that were owed being
  at the device, less the time gradients take to come back from there otherwise (median, measured: of those that came
  from the destination before the next move, else of those before the move).
- ``downtime_s``: all waiting that the move added to the batches it touched, against the median wait of the round's
  other batches; for a restart, from its decision to the first batch of the new attempt.
- ``standby_bytes``, ``standby_s``: what a standby at the destination cost: bytes of its state and of the batches that
  were sent for it to apply, and the time that the edge server spent on applying them.
- ``lost_s``, ``lost_batches``: work thrown away by a restart.
- ``due_s``, ``late_s``: when the port was to move, and how much later it had moved. Moves at a time are due then; those
  at a point of the training are due the notice's lead after their device was there.
- ``limit_s``: state bytes over the slowest link between the two edge servers, plus one round-trip time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import networkx as nx

from nodes.events import Span
from testbed.experiment.changes import Move
from testbed.experiment.plan import Plan
from testbed.run.virtual import VirtualTime


@dataclass
class Carried:
    """One move as the replay carried it out; times are CLOCK_MONOTONIC.

    ``gap`` is the longest silence on the path between device and old edge server, less the probe's own spacing.
    """

    move: Move
    device: str
    origin: str                     # site
    to: str                         # site
    noticed: float
    begin: float = 0.0
    end: float = 0.0
    due: float | None = None        # when the port was to move
    moved: float = 0.0              # when it had; with an interruption that is before ``end``
    command_s: float = 0.0
    gap: float | None = None
    probes_lost: int | None = None

    @property
    def done(self) -> bool:
        """Whether the link has been moved."""
        return self.end > 0

    @property
    def late(self) -> float | None:
        """Seconds from when the port was to move to when it had moved; None if it has not, or was not due."""
        return None if self.due is None or not self.moved else self.moved - self.due


def told(carried: Carried, time: VirtualTime) -> Carried:
    """A move in virtual time."""
    return replace(
        carried,
        noticed=time.at(carried.noticed),
        begin=time.at(carried.begin) if carried.done else 0.0,
        end=time.at(carried.end) if carried.done else 0.0,
        due=None if carried.due is None else time.at(carried.due),
        moved=time.at(carried.moved) if carried.done else 0.0,
        command_s=time.lasting(carried.command_s),
        gap=None if carried.gap is None else time.lasting(carried.gap),
    )


def path_limit(plan: Plan, source: str, target: str, state_bytes: int) -> float | None:
    """Seconds that the state takes at best from one edge server to another: serialisation plus one RTT."""
    graph: nx.Graph[str] = nx.Graph()
    for link in plan.links:
        if link.kind != "access":
            graph.add_edge(link.a, link.b, link=link, weight=link.ab.delay + link.ba.delay + 1e-6)
    try:
        path = nx.shortest_path(graph, source, target, weight="weight")
    except (nx.NetworkXNoPath, nx.NodeNotFound):
        return None
    rates, rtt = [], 0.0
    for here, there in pairwise(path):
        link = graph.edges[here, there]["link"]
        forward = link.ab if link.a == here else link.ba
        rtt += link.ab.delay + link.ba.delay
        if forward.rate:
            rates.append(forward.rate)
    return (state_bytes * 8 / min(rates) if rates else 0.0) + rtt


def describe(
    plan: Plan, carried: Carried, strategy: str, spans: Sequence[Span], start: float, until: float = math.inf,
    since: float = 0.0,
) -> dict[str, Any]:
    """The row of one move in ``summary.json``.

    Args:
        plan: The plan.
        carried: The move.
        strategy: What the scheme does on a move.
        spans: Events of the task.
        start: When training began.
        until: When the device heard of its next move: what begins later belongs to that one. A move that was
            overtaken before the state could follow has no figures of its own.
        since: When the device's link had been moved before that: standbys made earlier were for another move.
    """
    row: dict[str, Any] = {
        "device": carried.device,
        "at_s": round(carried.begin - start, 4),
        "due_s": None if carried.due is None else round(carried.due - start, 4),
        "late_s": None if carried.late is None else round(carried.late, 6),
        "from": carried.origin,
        "to": carried.to,
        "strategy": strategy,
        "round": None,
        "batch": None,
        "progress": None,
        "downtime_s": None,
        "handover_gap_s": carried.gap,
        "handover_command_s": carried.command_s,
        "state_s": None,
        "state_bytes": None,
        "limit_s": None,
        "lost_batches": 0,
        "lost_s": 0.0,
        "standby_bytes": 0,
        "standby_s": 0.0,
        "reconnects": _reconnects(carried, spans),
    }
    mine = [s for s in spans if s.part.endswith(f":{carried.device}") or s.attrs.get("device") == carried.device]
    if strategy in ("migrate", "shadow", "carry"):
        _migration(plan, carried, mine, row, until)
        if strategy == "carry":
            row["limit_s"] = None  # it went another way, and waited for the handover
        _standby(carried, plan.site(carried.to).edge, mine, row, since, until)
    elif strategy == "restart":
        _restart(carried, mine, row, until)
    else:
        row["downtime_s"] = _added_wait(carried.noticed, carried.end + 0.5, mine)
    return row


def _reconnects(carried: Carried, spans: Sequence[Span]) -> int:
    # Data connections of the device that were lost around its handover.
    return sum(
        1
        for s in spans
        if s.kind == "disconnect" and s.node == carried.device and carried.begin <= s.begin <= carried.end + 5
    )


def _migration(plan: Plan, carried: Carried, spans: list[Span], row: dict[str, Any], until: float) -> None:
    target = plan.site(carried.to).edge
    captures = [s for s in spans if s.kind == "capture" and s.peer == target and carried.noticed <= s.begin < until]
    if not captures:
        return
    captures.sort(key=lambda s: s.begin)
    returns = [s for s in spans if s.kind == "send" and s.attrs.get("message") == "gradients"]
    there = [s for s in returns if s.node == target and s.begin >= captures[0].end]
    owed = min(there, key=lambda s: s.begin, default=None)  # none: the move was refused or given up
    # One that was refused was made again, after a later batch.
    capture = next((s for s in captures if owed and _applied(spans, s) == (owed.round, owed.batch)), captures[0])
    after = owed.end if owed else math.inf
    normal = [s.end - s.begin for s in returns if s.node == target and after < s.begin < until]
    normal = normal or [s.end - s.begin for s in returns if s.end < capture.begin]
    # Where a standby was refused, its own capture is without state, and that of the copy after it is not.
    row["state_bytes"] = size = max(s.bytes for s in captures)
    row["limit_s"] = path_limit(plan, capture.node, capture.peer, size)
    row["round"], row["batch"] = capture.round or None, capture.batch if capture.batch >= 0 else None
    if applied := _applied(spans, capture):
        row["round"], row["batch"] = applied
        row["progress"] = _progress(spans, applied[0], applied[1] + 1)
    if owed is not None and normal and owed.batch == row["batch"]:
        row["state_s"] = owed.end - capture.begin - median(normal)
        row["downtime_s"] = _added_wait(carried.noticed, max(owed.end, carried.end), spans)


def _applied(spans: Sequence[Span], capture: Span) -> tuple[int, int] | None:
    """Round and batch that the part had applied last when its state was captured."""
    steps = [s for s in spans if s.kind == "tail-step" and s.end <= capture.begin]
    last = max(steps, key=lambda s: s.end, default=None)
    return None if last is None else (last.round, last.batch)


def _standby(
    carried: Carried, target: str | None, spans: list[Span], row: dict[str, Any], since: float, until: float
) -> None:
    begun = [
        s for s in spans if s.kind == "standby" and s.peer == target and since <= s.begin < min(until, carried.end + 5)
    ]
    since = min((s.begin for s in begun), default=math.inf)
    sent = [s for s in spans if s.attrs.get("message") in ("standby", "replay") and s.peer == target]
    row["standby_bytes"] = sum(s.bytes for s in sent if since <= s.begin < until)
    replays = [s for s in spans if s.kind == "replay-step" and s.node == target]
    row["standby_s"] = sum((s.end - s.begin for s in replays if since <= s.begin < until), 0.0)


def _restart(carried: Carried, spans: list[Span], row: dict[str, Any], until: float) -> None:
    decided = next((s for s in spans if s.kind == "restart" and carried.noticed <= s.end < until), None)
    if decided is None:
        return
    row["round"], row["batch"], row["lost_batches"] = decided.round, decided.batch, decided.batch
    row["progress"] = _progress(spans, decided.round, decided.batch)
    row["lost_s"] = decided.end - decided.begin if decided.batch else 0.0
    again = min((s.begin for s in spans if s.kind == "forward" and s.begin >= decided.end), default=None)
    row["downtime_s"] = None if again is None else again - decided.end
    row["state_s"], row["state_bytes"], row["limit_s"] = 0.0, 0, 0.0


def _progress(spans: Sequence[Span], number: int, done: int) -> float | None:
    batches = next((s.attrs["batches"] for s in spans if s.kind == "round" and s.round == number), None)
    return done / batches if batches else None


def _added_wait(begin: float, end: float, spans: Sequence[Span]) -> float | None:
    waits = [s for s in spans if s.kind == "wait"]
    touched = [s for s in waits if s.end >= begin and s.begin <= end]
    others = [s.end - s.begin for s in waits if not (s.end >= begin and s.begin <= end)]
    if not touched or not others:
        return 0.0 if not touched else None
    usual = median(others)
    return max(0.0, sum(s.end - s.begin - usual for s in touched))
