"""What a stage of a pipeline tells of a round: how busy it was, how stale its weights were, what packing lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from nodes.learn.packing import Loss
from nodes.runtime.part import Timed


@dataclass
class Record:
    """Of one stage in one round.

    ``begin`` and ``end`` are those of its first and last piece of work; the bubble is the share of the time between
    them in which it did none. ``asked_s`` is the reference time of its work. ``waited`` is from the end of the last
    piece but one to the begin of the last.
    """

    begin: float = 0.0
    end: float = 0.0
    waited: tuple[float, float] = (0.0, 0.0)
    busy_s: float = 0.0
    asked_s: float = 0.0
    micro_batches: int = 0
    stale_sum: int = 0
    stale_most: int = 0
    packed: Loss = field(default_factory=Loss)

    @contextmanager
    def timing(self, work: AbstractContextManager[Timed], asked_s: float) -> Iterator[Timed]:
        """Count a piece of work, that takes ``asked_s`` at speed 1."""
        with work as timed:
            yield timed
        self.waited = (self.end or timed.begin, timed.begin)
        self.begin = self.begin or timed.begin
        self.end = timed.end
        self.busy_s += timed.end - timed.begin
        self.asked_s += asked_s

    def stale(self, updates: int) -> None:
        """A micro-batch has gone backward through weights that were so many updates old."""
        self.micro_batches += 1
        self.stale_sum += updates
        self.stale_most = max(self.stale_most, updates)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for an event."""
        lasted = self.end - self.begin
        return {
            "busy_s": self.busy_s,
            "bubble": max(0.0, 1 - self.busy_s / lasted) if lasted > 0 else 0.0,
            "staleness": self.stale_sum / self.micro_batches if self.micro_batches else 0.0,
            "staleness_most": self.stale_most,
            "packing_error": self.packed.share,
        }
