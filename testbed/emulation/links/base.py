"""The one interface of all link kinds. A new kind is a class with these methods and a line in the registry."""

from __future__ import annotations

from typing import Protocol

from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape


class Emulator(Protocol):
    """Makes point-to-point links between interfaces and changes them while packets are on the way.

    One emulator serves all links of a run. ``name`` goes into the manifest.
    """

    name: str

    def open(self) -> None:
        """Start what the emulator needs (for the relay: its process). May raise EmulationError."""

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link: both interfaces exist in their namespaces, down and without address."""

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place; None leaves that direction alone. No packet is lost by it."""

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now, as (a to b, b to a), read back from where it is enforced.

        While a schedule plays, what it says is in it.
        """

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time; None leaves that direction alone.

        The whole schedule is handed over at once and played where the link is shaped: nothing here is waited for.

        Args:
            link: Which.
            begin: When it begins, CLOCK_MONOTONIC in s; where that is past, it is as far as it would be.
            ab: From a to b.
            ba: From b to a.

        Raises:
            EmulationError: This kind of link cannot play it; the error names the kind that can.
        """

    def rest(self, link: str) -> None:
        """End what plays on a link: its shape as it was set is in force again. Fine if nothing does."""

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back (nothing passes while it is down)."""

    def hold(self, link: str, seconds: float) -> None:
        """Keep what is due at b for so long at most, while its interface is between two places; 0: hand it over now.

        Links that cannot do that lose what comes meanwhile.
        """

    def remove(self, link: str) -> None:
        """Take a link away; removing twice is fine."""

    def check(self) -> None:
        """Raise EmulationError if a process that makes links, or has them vary, has ended by itself."""

    def close(self) -> None:
        """End the emulator and every link it made; closing twice is fine."""

    def pids(self) -> list[int]:
        """Processes that the emulator started, for the ledger."""
