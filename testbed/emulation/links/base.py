"""The one interface of all link kinds. A new kind is a class with these methods and a line in the registry."""

from __future__ import annotations

from typing import Protocol

from testbed.emulation.links.shape import LinkEnd, LinkStats, Shape


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
        """What is in force now, as (a to b, b to a), read back from where it is enforced."""

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back (nothing passes while it is down)."""

    def remove(self, link: str) -> None:
        """Take a link away; removing twice is fine."""

    def close(self) -> None:
        """End the emulator and every link it made; closing twice is fine."""

    def pids(self) -> list[int]:
        """Processes that the emulator started, for the ledger."""
