"""What the training of one scheme came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nodes.wire import control as ctl
from testbed.errors import RoambedError
from testbed.run.watch import Watched


@dataclass
class Outcome:
    """What a task came to, in virtual time. ``failure`` says why it ended early; all else is as far as it got.

    ``name`` is what its results are called: the scheme's name, or with a suffix that of its control.
    """

    scheme: str
    strategy: str
    name: str = ""
    begin: float = 0.0
    end: float = 0.0
    rounds: int = 0
    accuracy: list[float | None] = field(default_factory=list)
    loss: list[float | None] = field(default_factory=list)
    weights_sha256: str | None = None
    dropped: list[dict[str, Any]] = field(default_factory=list)  # rounds, and devices that they were averaged without
    moves: list[dict[str, Any]] = field(default_factory=list)
    recovery: dict[str, Any] = field(default_factory=dict)  # faults, deaths, what nodes did about them, standbys
    mobility: dict[str, Any] = field(default_factory=dict)
    pacing: dict[str, ctl.Pacing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    watched: Watched | None = None
    failure: RoambedError | None = None
    interrupted: bool = False
    row: dict[str, Any] = field(default_factory=dict)  # as it stands in summary.json
