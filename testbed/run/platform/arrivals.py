"""When tasks come: those of the experiment by the clock, others when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Coming = tuple[float, str, Any]
"""When, s after the start; what it is called; what is known of it."""


class Arrivals:
    """Tasks that are still to come, in order of time, then of name."""

    def __init__(self, coming: Iterable[Coming] = ()) -> None:
        self._left = sorted(coming, key=lambda one: one[:2])

    def __len__(self) -> int:
        return len(self._left)

    def add(self, at: float, name: str, known: Any) -> None:
        """One more comes."""
        self._left = sorted([*self._left, (at, name, known)], key=lambda one: one[:2])

    def waiting(self) -> list[Coming]:
        """All that are still to come."""
        return list(self._left)

    def due(self) -> float | None:
        """When the next one comes; None: none does."""
        return self._left[0][0] if self._left else None

    def come(self, now: float) -> list[Coming]:
        """Those that have come by now, which are no more to come."""
        found = [one for one in self._left if one[0] <= now]
        self._left = self._left[len(found) :]
        return found

    def drop(self, name: str) -> bool:
        """One is not wanted any more before it has come; whether there was one by that name."""
        before = len(self._left)
        self._left = [one for one in self._left if one[1] != name]
        return len(self._left) < before
