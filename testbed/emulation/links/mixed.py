"""One emulator made of two: plain wires for links of which nothing is asked, another for those that are shaped."""

from __future__ import annotations

from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape


class MixedEmulator(Emulator):
    """Gives each link to whom it belongs. Its name is that of the emulator for shaped links."""

    def __init__(self, shaped: Emulator, plain: Emulator) -> None:
        self.name = shaped.name
        self.shaped = shaped
        self.plain = plain
        self._plain: set[str] = set()

    def open(self) -> None:
        """Start both."""
        self.shaped.open()
        self.plain.open()

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link. Whether it is a plain wire is decided now, for good."""
        plain = ab.unshaped and ba.unshaped
        (self.plain if plain else self.shaped).add(link, a, b, ab, ba)
        if plain:
            self._plain.add(link)

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place."""
        self._of(link).set(link, ab, ba)

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now."""
        return self._of(link).read(link)

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time."""
        self._of(link).play(link, begin, ab, ba)

    def rest(self, link: str) -> None:
        """End what plays on a link."""
        self._of(link).rest(link)

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""
        return self._of(link).stats(link)

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back."""
        self._of(link).carrier(link, up)

    def hold(self, link: str, seconds: float) -> None:
        """Keep what is due at b."""
        self._of(link).hold(link, seconds)

    def remove(self, link: str) -> None:
        """Remove a link; removing twice is fine."""
        self._of(link).remove(link)
        self._plain.discard(link)

    def check(self) -> None:
        """Raise EmulationError if one of the two has ended by itself."""
        self.shaped.check()
        self.plain.check()

    def close(self) -> None:
        """End both, the second also if the first cannot be ended in order."""
        try:
            self.shaped.close()
        finally:
            self.plain.close()
            self._plain.clear()

    def pids(self) -> list[int]:
        """Processes of both."""
        return [*self.shaped.pids(), *self.plain.pids()]

    def _of(self, link: str) -> Emulator:
        return self.plain if link in self._plain else self.shaped
