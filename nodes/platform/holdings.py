"""Which unit has which blob, and what is kept there: the orchestrator's side of the units' stores.

What an invocation returns is pinned on its unit, once, until the orchestrator lets it go. Here blobs are *claimed* by
whoever still needs them; with the last claim all pins of a blob go. What units fetched may go there at any time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

from nodes.wire.platform_messages import KeepBlobs


class Holdings:
    """Places of blobs, and pins. ``keep`` tells a unit."""

    def __init__(self, keep: Callable[[str, KeepBlobs], None]) -> None:
        self._keep = keep
        self._pins: defaultdict[str, Counter[str]] = defaultdict(Counter)  # digest -> unit -> pins
        self._fetched: defaultdict[str, set[str]] = defaultdict(set)
        self._claims: Counter[str] = Counter()
        self._left: dict[str, Counter[str]] = {}  # pins of units that are lost

    def made(self, digest: str, unit: str) -> None:
        """A unit has made it, and has pinned it once."""
        if unit in self._left:
            self._left[unit][digest] += 1  # nobody counts on what it had before it was lost
        else:
            self._pins[digest][unit] += 1

    def fetched(self, digest: str, unit: str) -> None:
        """A unit has it, too, and may drop it."""
        if self._claims[digest]:
            self._fetched[digest].add(unit)

    def claim(self, digest: str) -> None:
        """It is needed until `release`."""
        self._claims[digest] += 1

    def release(self, digest: str) -> None:
        """One need of it is over."""
        self._claims[digest] -= 1
        self.settle(digest)

    def settle(self, digest: str) -> None:
        """Let a blob go if nobody claims it."""
        if self._claims[digest] > 0:
            return
        for unit, pins in self._pins.pop(digest, Counter[str]()).items():
            self._keep(unit, KeepBlobs(unpin=(digest,) * pins))
        self._fetched.pop(digest, None)
        del self._claims[digest]

    def kept(self, digest: str) -> list[str]:
        """Units that keep it, the one first that has made it."""
        return [unit for unit, pins in self._pins.get(digest, Counter[str]()).items() if pins > 0]

    def holders(self, digest: str) -> set[str]:
        """Units that have it, as far as is known."""
        return {*self.kept(digest), *self._fetched.get(digest, ())}

    def dropped(self, digest: str, unit: str) -> None:
        """It is not there any more, or not usable."""
        self._fetched.get(digest, set()).discard(unit)
        if pins := self._pins.get(digest, Counter[str]()).pop(unit, 0):
            self._keep(unit, KeepBlobs(unpin=(digest,) * pins))

    def lose(self, unit: str) -> None:
        """A unit is gone, with all that it had."""
        self._left[unit] = Counter({digest: pins.pop(unit, 0) for digest, pins in self._pins.items()})
        for units in self._fetched.values():
            units.discard(unit)

    def back(self, unit: str, *, new: bool) -> None:
        """A unit that was lost is there again: what it kept is not needed any more; a ``new`` one has nothing."""
        left = tuple(self._left.pop(unit, Counter[str]()).elements())
        if left and not new:
            self._keep(unit, KeepBlobs(unpin=left))

    @property
    def claimed(self) -> set[str]:
        """Blobs that somebody needs."""
        return {digest for digest, count in self._claims.items() if count > 0}

    def pins(self) -> dict[tuple[str, str], int]:
        """Pins by unit and digest."""
        return {(unit, digest): n for digest, by in self._pins.items() for unit, n in by.items() if n}
