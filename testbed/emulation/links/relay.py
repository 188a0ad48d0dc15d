"""Links through a process of ours, for kernels without netem: TAP interfaces with a relay between them.

The relay (``native/relay.c``) serves all links of a run. It is told what to do line by line over its standard input
and ends by itself, with all interfaces it made, when that closes: also when this process is killed.

What is left to chance is decided for each MTU segment as it arrives, in the order in which netem decides it. Schedules
are handed over whole and played by the relay's own clock; a chance of Mahimahi's carries 1500 bytes of what follows the
Ethernet header, as ``mm-link(1)`` counts them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from testbed.emulation import native
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.relay_pipe import RelayPipe, handed_over
from testbed.emulation.links.relay_words import (
    RelayHealth,
    all_stats_told,
    health_told,
    same,
    schedule_bytes,
    settings,
    shape_told,
    stats_told,
    table_bytes,
    words,
)
from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape, Spread
from testbed.errors import EmulationError, NotAppliedError

__all__ = ["RelayEmulator", "RelayHealth"]

_DIRECTIONS = ("ab", "ba")


class RelayEmulator(Emulator):
    """Links through the relay.

    Args:
        seed: Of the run. What is left to chance follows from it, the link's name, and the packets that pass.
        program: The relay to run; None builds it.
    """

    name = "relay"

    def __init__(self, seed: int = 0, program: Path | None = None) -> None:
        self.priority = ""
        self._seed = seed
        self._program = program
        self._pipe: RelayPipe | None = None
        self._numbers: dict[str, str] = {}
        self._made = 0
        self._tables: dict[tuple[int, ...], str] = {}
        self._spreads: dict[str, Spread] = {}
        self._schedules: dict[Schedule, str] = {}

    def open(self) -> None:
        """Start the relay; opening twice is fine."""
        if self._pipe is None:
            self._pipe = RelayPipe(self._program or native.build().relay)
            self.priority = self._pipe.greeting.get("priority", "")

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link; both interfaces come into being inside their namespaces, under their final names."""
        if link in self._numbers:
            raise EmulationError("the link exists already", where=link)
        for end in (a, b):
            _check(end, link)
        self._made += 1
        number = f"L{self._made}"
        self._ask(link, "add", number, a.ifname, a.netns, a.mac, b.ifname, b.netns, b.mac)
        self._numbers[link] = number
        try:
            digest = hashlib.sha256(f"{self._seed}:{link}".encode()).digest()
            self._ask(link, "seed", number, str(int.from_bytes(digest[:7], "big")))
            self.set(link, ab, ba)
        except EmulationError:
            self.remove(link)
            raise

    def replace(self, link: str, a: LinkEnd | None = None, b: LinkEnd | None = None) -> None:
        """Give a link new interfaces where the old are gone: a container was started anew.

        The other end, the settings, what plays and the counters stay as they are.

        Args:
            link: Which.
            a: The new end a, down and without address; None leaves it alone.
            b: The new end b.
        """
        number = self._number(link)
        for side, end in (("a", a), ("b", b)):
            if end is not None:
                _check(end, link)
                self._ask(link, "end", number, side, end.ifname, end.netns, end.mac)

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place and read back what was set; what plays goes on on top of it."""
        number = self._number(link)
        for direction, shape in zip(_DIRECTIONS, (ab, ba), strict=True):
            if shape is None:
                continue
            self._ask(link, "set", number, direction, *settings(shape, self._table(link, shape.spread)))
            found = shape_told(self._ask(link, "get", number, direction, "set"), self._spreads)
            if not same(shape, found):
                raise NotAppliedError(
                    "the relay enforces something else than was set",
                    wanted=str(shape),
                    found=str(found),
                    where=f"{link} {direction}",
                )

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now, as the relay tells it.

        Where nothing passes now the rate is 0. While deliveries play it is what they let pass on average.
        """
        number = self._number(link)
        ab, ba = (self._ask(link, "get", number, direction, "now") for direction in _DIRECTIONS)
        return shape_told(ab, self._spreads), shape_told(ba, self._spreads)

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time, by the relay's clock."""
        number = self._number(link)
        for direction, schedule in zip(_DIRECTIONS, (ab, ba), strict=True):
            if schedule is None:
                continue
            known = self._schedule(link, schedule)
            self._ask(link, "play", number, direction, known, f"{begin * 1e9:.0f}")
            self._check_plays(link, direction, known)

    def rest(self, link: str) -> None:
        """End what plays on a link."""
        number = self._number(link)
        for direction in _DIRECTIONS:
            self._ask(link, "rest", number, direction)
            self._check_plays(link, direction, "-")

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""
        number = self._number(link)
        ab, ba = (stats_told(self._ask(link, "stats", number, direction)) for direction in _DIRECTIONS)
        return ab, ba

    def stats_all(self) -> dict[str, tuple[LinkStats, LinkStats]]:
        """Counters of all links at one moment, as (a to b, b to a)."""
        found = all_stats_told(self._ask("all links", "statsall"))
        return {link: found[number] for link, number in list(self._numbers.items()) if number in found}

    def health(self) -> RelayHealth:
        """How the relay itself is: lateness is that since the last call."""
        health = health_told(self._ask("all links", "health"))
        self.priority = health.priority
        return health

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link (what is on its way is gone, both interfaces lose their carrier) or bring it back."""
        number = self._number(link)
        self._ask(link, "carrier", number, "1" if up else "0")
        found = words(self._ask(link, "state", number))["carrier"] == "1"
        if found != up:
            raise NotAppliedError("the carrier is not as set", wanted=str(up), found=str(found), where=link)

    def hold(self, link: str, seconds: float) -> None:
        """Keep what is due at b for so long at most; 0: hand it over now."""
        self._ask(link, "hold", self._number(link), "ab", str(round(seconds * 1e9)))

    def remove(self, link: str) -> None:
        """Remove a link with its interfaces; removing twice is fine."""
        number = self._numbers.pop(link, None)
        if number is not None:
            self._ask(link, "del", number)

    def check(self) -> None:
        """Raise EmulationError if the relay has ended by itself."""
        if self._pipe is not None:
            self._pipe.check()

    def close(self) -> None:
        """End the relay and with it every link; closing twice is fine."""
        pipe, self._pipe = self._pipe, None
        for known in (self._numbers, self._tables, self._spreads, self._schedules):
            known.clear()
        if pipe is not None:
            pipe.close()

    def pids(self) -> list[int]:
        """The relay's process."""
        return [] if self._pipe is None else [self._pipe.pid]

    def _number(self, link: str) -> str:
        try:
            return self._numbers[link]
        except KeyError:
            raise EmulationError("there is no such link", where=link) from None

    def _table(self, link: str, spread: Spread) -> str | None:
        """The name by which the relay knows a spread's table, which it gets once."""
        if not spread.table:
            return None
        known = self._tables.get(spread.table)
        if known is None:
            known = f"T{len(self._tables) + 1}"
            with handed_over(table_bytes(spread)) as path:
                self._ask(link, "table", known, path)
            self._tables[spread.table] = known
            self._spreads[known] = spread
        return known

    def _schedule(self, link: str, schedule: Schedule) -> str:
        """The name by which the relay knows a schedule, which it gets once."""
        known = self._schedules.get(schedule)
        if known is None:
            known = f"S{len(self._schedules) + 1}"
            kind, end = "chances" if schedule.deliveries else "steps", "loop" if schedule.loop else "hold"
            with handed_over(schedule_bytes(schedule)) as path:
                self._ask(link, "schedule", known, kind, f"{schedule.length * 1e9:.0f}", end, path)
            self._schedules[schedule] = known
        return known

    def _check_plays(self, link: str, direction: str, wanted: str) -> None:
        found = words(self._ask(link, "get", self._number(link), direction, "now"))["plays"]
        if found != wanted:
            raise NotAppliedError(
                "the relay plays something else than was asked", wanted=wanted, found=found,
                where=f"{link} {direction}",
            )  # fmt: skip

    def _ask(self, link: str, *command: str) -> str:
        if self._pipe is None:
            raise EmulationError("the relay is not running", where=link)
        return self._pipe.ask(link, *command)


def _check(end: LinkEnd, link: str) -> None:
    if not 0 < len(end.ifname) <= 15 or not end.ifname.isprintable() or set(end.ifname) & set(" /:"):
        raise EmulationError("not a name for an interface", found=repr(end.ifname), where=link)
    if not end.netns.isprintable() or " " in end.netns:
        raise EmulationError("not a path of a namespace", found=repr(end.netns), where=link)
