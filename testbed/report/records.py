"""A run as its directory tells it, in plain types. Whatever was not measured is None, never a made-up number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nodes.events import Span
from testbed.emulation.links.shape import LinkCalibration
from testbed.mobility.overview import Overview

RESTART = "restart"


def number(value: object) -> float | None:
    """A finite number, or None for everything else (NaN, null, text, true)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return None if found is None else int(found)


def text(value: object, default: str = "") -> str:
    """Text, or the default for everything else."""
    return value if isinstance(value, str) and value else default


def items(value: object) -> list[Any]:
    """A list, or an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def table(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class DeviceRound:
    """One device's round. ``time_s`` runs from its first batch to its last; waiting for others is not in it."""

    round: int
    time_s: float | None = None
    batches: int | None = None
    compute_s: float | None = None
    wait_s: float | None = None
    late_steps: int | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> DeviceRound | None:
        """From a row of ``summary.json`` or ``metrics.csv``; None without a round's number."""
        count = whole(row.get("round"))
        if count is None:
            return None
        return cls(
            count, number(row.get("time_s")), whole(row.get("batches")), number(row.get("compute_s")),
            number(row.get("wait_s")), whole(row.get("late_steps")),
        )  # fmt: skip


@dataclass(frozen=True)
class MoveRecord:
    """One move as it was carried out; ``raw`` is its whole row in ``summary.json``."""

    device: str
    origin: str
    to: str
    strategy: str
    round: int | None
    batch: int | None
    progress: float | None
    at_s: float | None
    downtime_s: float | None
    gap_s: float | None
    state_s: float | None
    state_bytes: float | None
    limit_s: float | None
    lost_batches: int | None
    lost_s: float | None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> MoveRecord:
        """From a row of ``summary.json``."""
        return cls(
            device=text(row.get("device"), "?"), origin=text(row.get("from"), "?"), to=text(row.get("to"), "?"),
            strategy=text(row.get("strategy"), "?"), round=whole(row.get("round")), batch=whole(row.get("batch")),
            progress=number(row.get("progress")), at_s=number(row.get("at_s")),
            downtime_s=number(row.get("downtime_s")), gap_s=number(row.get("handover_gap_s")),
            state_s=number(row.get("state_s")), state_bytes=number(row.get("state_bytes")),
            limit_s=number(row.get("limit_s")), lost_batches=whole(row.get("lost_batches")),
            lost_s=number(row.get("lost_s")), raw=row,
        )  # fmt: skip


@dataclass(frozen=True)
class SchemeRecord:
    """One scheme of a run. ``spans`` are in order of their begin; ``begin`` is the clock when training started."""

    name: str
    verdict: str = "unknown"
    reasons: tuple[str, ...] = ()
    rounds: int = 0
    accuracy: tuple[float | None, ...] = ()
    loss: tuple[float | None, ...] = ()
    weights_sha256: str | None = None
    duration_s: float | None = None
    begin: float = 0.0
    devices: Mapping[str, tuple[DeviceRound, ...]] = field(default_factory=dict)
    moves: tuple[MoveRecord, ...] = ()
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    mobility: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    deaths: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[Mapping[str, Any], ...] = ()  # what nodes said for a person to read
    standbys: Mapping[str, Any] = field(default_factory=dict)
    pipeline: Mapping[str, Any] = field(default_factory=dict)  # by owner: probes, and changes of the layout
    energy: Mapping[str, Any] = field(default_factory=dict)  # joules of devices, and of each node
    cost: Mapping[str, Any] = field(default_factory=dict)  # of work and traffic, by node
    selection: Mapping[str, Any] = field(default_factory=dict)  # which samples were trained on, and what that took
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of the serverless platform, by name
    placements: tuple[Mapping[str, Any], ...] = ()  # what its orchestrator decided, in order of time
    predictions: Mapping[str, Any] = field(default_factory=dict)  # how far that was from what was measured

    def died(self, node: str) -> float | None:
        """When a node died, s after training began; None if it did not."""
        return next((number(d.get("at_s")) for d in self.deaths if d.get("node") == node), None)

    def time_of(self, device: str, count: int) -> float | None:
        """What a device's round took, s."""
        return next((r.time_s for r in self.devices.get(device, ()) if r.round == count), None)

    def went_on(self, move: MoveRecord) -> bool:
        """Whether the device trained on after a move, or had nothing left to do."""
        if move.downtime_s is not None or self.weights_sha256 is not None:
            return True
        if "task" in move.raw:  # on the serverless platform: of the task that trained there, if one did
            task = table(self.tasks.get(text(move.raw["task"])))
            if not task or task.get("state") == "done":
                return True
        since = self.begin + (move.at_s or 0.0)
        return any(s.kind in ("forward", "step") and s.node == move.device and s.begin >= since for s in self.spans)

    @property
    def final_accuracy(self) -> float | None:
        """Accuracy after the last round that has one."""
        return next((a for a in reversed(self.accuracy) if a is not None), None)

    @property
    def active_j(self) -> float | None:
        """Active energy of all devices, J; None where it is not known of any."""
        rows = table(self.energy.get("nodes")).values()
        known = any(table(row).get("kind") == "device" for row in rows)
        return number(self.energy.get("active_j")) if known else None

    @property
    def last_round(self) -> int:
        """Highest round that anything is known of."""
        known = [r.round for rows in self.devices.values() for r in rows]
        return max([self.rounds, len(self.accuracy), *known])

    @property
    def measured(self) -> bool:
        """Whether anything at all was measured."""
        return bool(self.spans or self.devices or self.accuracy)


@dataclass(frozen=True)
class RunRecord:
    """A run. ``missing`` says in words what its directory lacks; ``path`` is where it was read from.

    ``motion`` is what was planned before the run; None where nothing was to move. ``tolerances``
    are those that its verdict was given by, as far as tables mark what missed them.
    """

    path: Path
    run: str
    experiment: str
    verdict: str
    reasons: tuple[str, ...] = ()
    seed: int | None = None
    duration_s: float | None = None
    schemes: tuple[SchemeRecord, ...] = ()
    calibration: tuple[LinkCalibration, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    tolerances: Mapping[str, float] = field(default_factory=dict)
    rendered: str = ""
    missing: tuple[str, ...] = ()
    motion: Overview | None = None

    def scheme(self, name: str) -> SchemeRecord | None:
        """The scheme of that name, if the run has it."""
        return next((s for s in self.schemes if s.name == name), None)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """Every device that anything is known of, by name; those that moved come first."""
        known = {d for s in self.schemes for d in s.devices}
        # Forward passes on other nodes are those of a pipeline's later stages.
        own = (s for scheme in self.schemes for s in scheme.spans if s.kind in ("forward", "step"))
        known |= {s.node for s in own if not s.attrs.get("stage")}
        moved = {m.device for s in self.schemes for m in s.moves}
        return tuple(sorted(known | moved, key=lambda d: (d not in moved, d)))
