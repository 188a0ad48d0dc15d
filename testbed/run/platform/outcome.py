"""What a run of the serverless platform came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from testbed.errors import RoambedError
from testbed.run import mobile, recovery
from testbed.run.moves import Carried
from testbed.run.platform.book import Book
from testbed.run.watch import Watched


@dataclass
class Outcome:
    """What it came to, in virtual time, as far as it got.

    ``failure`` says why it ended early; that a task failed is none. ``notes`` are reasons against its numbers.
    """

    book: Book
    begin: float = 0.0
    end: float = 0.0
    moves: list[Carried] = field(default_factory=list)
    downs: list[mobile.LinkDown] = field(default_factory=list)
    died: list[recovery.Died] = field(default_factory=list)
    recovery: dict[str, Any] = field(default_factory=dict)  # faults, deaths, what nodes said for a person to read
    notes: list[str] = field(default_factory=list)
    watched: Watched | None = None
    failure: RoambedError | None = None
    interrupted: bool = False
    row: dict[str, Any] = field(default_factory=dict)  # as it stands in summary.json
