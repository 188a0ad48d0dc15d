"""Links through the kernel: a veth pair with netem, HTB and a fifo at each sender (see ``netem_settings``).

Settings mean the same as with the relay, but for this:

- *The wire.* HTB lets a frame go that finds the wire free and holds the next one back for as long as the first takes:
  each frame arrives by its own time on the wire earlier than through the relay (2.4 ms for 1514 bytes at 5 Mbit/s). The
  frame that is on the wire when the rate changes goes on at its old rate.
- *Order.* Delay and losses come before the wire, not after it: a lost packet does not use the wire, and of jitter the
  queue takes away what a queue takes away.
- *Losses are decided for each segment*, for which TCP is made to hand over single ones (``gso_max_segs 1`` at every
  end): more work for the CPU than large frames through the relay.

What varies is played by a process of ours (``native/player.c``), which is handed whole schedules and ends by itself
when this one is gone. What the kernel cannot do as asked is an error that names the relay.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.emulation import native, netlink
from testbed.emulation.links import netem_reading as reading
from testbed.emulation.links import netem_settings as settings
from testbed.emulation.links import plain
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.netem_counters import Counters
from testbed.emulation.links.relay_pipe import RelayPipe, handed_over
from testbed.emulation.links.relay_words import words
from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape
from testbed.errors import EmulationError, EnvironmentProblem, NotAppliedError

_NETEM_REQUIRED = (
    "a kernel with CONFIG_NET_SCH_NETEM and CONFIG_NET_SCH_HTB (modprobe sch_netem sch_htb); "
    "or shape links in user space: emulation: {links: relay}"
)
_TRIAL = (
    "qdisc add dev lo root handle 1: netem delay 1ms rate 1gbit",
    "qdisc add dev lo parent 1:1 handle 10: htb default 1",
    "class add dev lo parent 10: classid 10:1 htb rate 1gbit",
    "qdisc add dev lo parent 10:1 handle 20: bfifo limit 100000",
)


@dataclass
class _Side:
    """One direction: where it is sent from, what was asked of it, what plays on it."""

    key: str
    end: LinkEnd
    asked: Shape
    schedule: Schedule | None = None
    begin: float = 0.0


@dataclass
class _Link:
    sides: tuple[_Side, _Side]
    ends: tuple[LinkEnd, LinkEnd] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = self.sides[0].end, self.sides[1].end


class NetemEmulator(Emulator):
    """Links that the kernel shapes."""

    name = "netem"

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}
        self._counters = Counters()
        self._player: RelayPipe | None = None
        self._made = 0

    def open(self) -> None:
        """Start what plays schedules; opening twice is fine."""
        if self._player is None:
            self._player = RelayPipe(native.build().player, "the player of schedules", "no link varies any more")

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make a link; both interfaces are down and without address."""
        if link in self._links:
            raise EmulationError("the link exists already", where=link)
        for shape in (ab, ba):
            settings.check(link, shape)
        plain.make_veth(link, a, b)
        self._made += 1
        made = _Link((_Side(f"L{self._made}ab", a, ab), _Side(f"L{self._made}ba", b, ba)))
        self._links[link] = made
        try:
            for side in made.sides:
                single_segments(link, side.end)
                index = plain.interface_of(link, side.end).index
                _do(side.end, settings.make(side.end.ifname, index, side.asked))
                self._verify(link, side)
        except EmulationError:
            self.remove(link)
            raise

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Change a live link in place and read back what is in force; what plays goes on on top of it."""
        self._no_fault(link)
        wanted = [(side, new) for side, new in zip(self._of(link).sides, (ab, ba), strict=True) if new is not None]
        for side, shape in wanted:
            settings.check(link, shape)
            settings.check_change(link, side.asked, shape)
        for side, shape in wanted:
            side.asked = shape
            self._apply(link, side)

    def read(self, link: str) -> tuple[Shape, Shape]:
        """What is in force now, as the kernel tells it."""
        self._no_fault(link)
        ab, ba = (self._read(link, side) for side in self._of(link).sides)
        return ab, ba

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Have a link vary over time; the player has the whole schedule when this returns.

        Raises:
            EmulationError: The kernel cannot play it; the relay can.
        """
        sides = self._of(link).sides
        for schedule in (ab, ba):
            if schedule is not None:
                settings.check_schedule(link, schedule)
        self._no_fault(link)
        for side, schedule in zip(sides, (ab, ba), strict=True):
            if schedule is not None:
                self._rest(link, side)
                side.schedule, side.begin = schedule, begin
                self._apply(link, side)

    def rest(self, link: str) -> None:
        """End what plays on a link: its shape as it was set is in force again. Fine if nothing does."""
        self._no_fault(link)
        for side in self._of(link).sides:
            self._rest(link, side)

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters as (a to b, b to a)."""
        ab, ba = (reading.stats_told(_qdiscs(link, end)) for end in self._of(link).ends)
        return ab, ba

    def stats_all(self) -> dict[str, tuple[LinkStats, LinkStats]]:
        """Counters of all links, as (a to b, b to a)."""
        return self._counters.read({link: made.ends for link, made in list(self._links.items())})

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back."""
        plain.set_carrier(link, self._of(link).ends, up)

    def hold(self, link: str, seconds: float) -> None:
        """See `plain.PlainWire.hold`."""

    def remove(self, link: str) -> None:
        """Remove a link with its interfaces; removing twice is fine."""
        made = self._links.pop(link, None)
        if made is not None:
            for side in made.sides:
                if side.schedule is not None:
                    self._ask(link, "rest", side.key)
            plain.delete_veth(made.ends)

    def check(self) -> None:
        """Raise EmulationError if the player of schedules has ended by itself."""
        if self._player is not None:
            self._player.check()

    def close(self) -> None:
        """Remove every link and end the player; closing twice is fine."""
        # The player first: it holds open the namespaces in which it plays.
        player, self._player = self._player, None
        if player is not None:
            player.close()
        self._counters.close()
        links, self._links = self._links, {}
        for made in links.values():
            plain.delete_veth(made.ends)

    def pids(self) -> list[int]:
        """The player."""
        return [] if self._player is None else [self._player.pid]

    def _of(self, link: str) -> _Link:
        try:
            return self._links[link]
        except KeyError:
            raise EmulationError("there is no such link", where=link) from None

    def _apply(self, link: str, side: _Side) -> None:
        """Put in force what is asked of a direction, and have its schedule, if any, go on from where it is."""
        index = plain.interface_of(link, side.end).index
        elapsed = time.monotonic() - side.begin
        _do(side.end, settings.change(side.end.ifname, index, side.asked, side.schedule, elapsed))
        if side.schedule is not None:
            steps = settings.step_bytes(side.end.ifname, index, side.asked, side.schedule)
            begin, length = round(side.begin * 1e9), round(side.schedule.length * 1e9)
            with handed_over(steps) as path:
                loop = str(int(side.schedule.loop))
                self._ask(link, "play", side.key, side.end.netns, str(begin), str(length), loop, path)
        self._verify(link, side)

    def _rest(self, link: str, side: _Side) -> None:
        if side.schedule is not None:
            self._ask(link, "rest", side.key)
            side.schedule = None
            self._apply(link, side)

    def _no_fault(self, link: str) -> None:
        """Raise EmulationError if the kernel has refused a step of what plays on a link."""
        for side in self._of(link).sides:
            if side.schedule is not None:
                state = words(self._ask(link, "state", side.key))
                if state["fault"] != "0":
                    raise NotAppliedError(
                        "the kernel refused a step of what plays on the link",
                        wanted=f"{side.schedule.name}, {state['fault_at']} s",
                        found=os.strerror(int(state["fault"])),
                        where=f"{link}, {side.end.ifname}",
                    )

    def _ask(self, link: str, *command: str) -> str:
        if self._player is None:
            raise EmulationError("the emulator of links is not open", where=link)
        return self._player.ask(link, *command)

    def _read(self, link: str, side: _Side) -> Shape:
        classes = run_tc(link, side.end, ["class", "show", "dev", side.end.ifname])
        return reading.shape_told(classes, _qdiscs(link, side.end), side.asked)

    def _verify(self, link: str, side: _Side) -> None:
        found = self._read(link, side)
        if not reading.same(side.asked, found, side.schedule):
            raise NotAppliedError(
                "the kernel enforces something else than was set",
                wanted=str(side.asked),
                found=str(found),
                where=f"{link}, {side.end.ifname}",
            )


def netem_missing() -> str | None:
    """Why this kernel cannot shape links with HTB and netem, in its own words; None if it can.

    Tried in a scratch namespace without a name, which is gone with the command.
    """
    command = ["unshare", "--net", "tc", "-batch", "-"]
    try:
        done = subprocess.run(
            command, input="\n".join(_TRIAL) + "\n", capture_output=True, text=True, timeout=10, check=False
        )
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[0]


def require_netem(where: str | None = None) -> None:
    """Raise EnvironmentProblem if this kernel cannot shape links; ``where`` it is asked to."""
    missing = netem_missing()
    if missing is not None:
        raise EnvironmentProblem(
            "this machine's kernel cannot emulate links (netem)", found=missing, where=where, remedy=_NETEM_REQUIRED
        )


def single_segments(link: str, end: LinkEnd) -> None:
    """Have TCP hand over single segments at an end, and check that it will."""
    _run(link, end, ["ip", "link", "set", "dev", end.ifname, "gso_max_segs", "1"])
    found = json.loads(_run(link, end, ["ip", "-d", "-j", "link", "show", "dev", end.ifname]))[0]
    if found.get("gso_max_segs") != 1:
        raise NotAppliedError(
            "TCP would hand over many segments at once", wanted="gso_max_segs 1", found=str(found.get("gso_max_segs")),
            where=f"{link}, {end.ifname}",
        )  # fmt: skip


def run_tc(link: str, end: LinkEnd, arguments: Sequence[str]) -> str:
    """Run ``tc`` in an end's namespace."""
    return _run(link, end, ["tc", *arguments])


def _do(end: LinkEnd, requests: Sequence[netlink.Request]) -> None:
    with netlink.Netlink(end.netns) as socket:
        socket.run(requests)


def _qdiscs(link: str, end: LinkEnd) -> list[dict[str, Any]]:
    found = json.loads(run_tc(link, end, ["-s", "-j", "qdisc", "show", "dev", end.ifname]) or "[]")
    assert isinstance(found, list)
    return found


def _run(link: str, end: LinkEnd, argv: Sequence[str]) -> str:
    command = ["nsenter", f"--net={end.netns}", "--", *argv]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        raise EnvironmentProblem(
            "nsenter is not installed", found=str(error), remedy="apt install util-linux iproute2"
        ) from error
    if done.returncode != 0:
        raise EmulationError(
            f"{argv[0]} failed", wanted=" ".join(argv[1:]), found=done.stderr.strip(), where=f"{link}, {end.ifname}"
        )
    return done.stdout
