"""Links that are not shaped: a veth pair, as fast as the machine, whatever emulates the others."""

from __future__ import annotations

import os
from collections.abc import Callable

from testbed.emulation import netlink
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.shape import LinkEnd, LinkStats, Schedule, Shape
from testbed.errors import EmulationError, NotAppliedError


class PlainWire(Emulator):
    """Makes veth pairs straight in the two namespaces. Only ``Shape()`` can be asked of them.

    Args:
        prepare: Done to each new end, told the link's name: what the emulator of shaped links needs of all senders.
    """

    name = "wire"

    def __init__(self, prepare: Callable[[str, LinkEnd], None] | None = None) -> None:
        self._prepare = prepare
        self._ends: dict[str, tuple[LinkEnd, LinkEnd]] = {}

    def open(self) -> None:
        """Nothing to start."""

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        """Make the pair, down and without address."""
        if link in self._ends:
            raise EmulationError("the link exists already", where=link)
        _refuse(link, ab, ba)
        make_veth(link, a, b)
        self._ends[link] = (a, b)
        if self._prepare is not None:
            for end in (a, b):
                self._prepare(link, end)

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        """Refuse everything but the shape of a plain wire."""
        self._of(link)
        _refuse(link, ab, ba)

    def read(self, link: str) -> tuple[Shape, Shape]:
        """A plain wire shapes nothing; that both ends are there is looked up."""
        for end in self._of(link):
            interface_of(link, end)
        return Shape(), Shape()

    def play(self, link: str, begin: float, ab: Schedule | None = None, ba: Schedule | None = None) -> None:
        """Refuse: what does not shape cannot vary."""
        raise EmulationError(
            "a plain wire cannot vary over time", found=", ".join(plan.name for plan in (ab, ba) if plan), where=link,
            remedy="give the link a rate or a delay from the start",
        )  # fmt: skip

    def rest(self, link: str) -> None:
        """End what plays on a link: nothing ever does."""

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        """Counters of the receiving ends."""
        a, b = self._of(link)
        return _received(interface_of(link, b)), _received(interface_of(link, a))

    def carrier(self, link: str, up: bool) -> None:
        """Cut the link or bring it back."""
        set_carrier(link, self._of(link), up)

    def hold(self, link: str, seconds: float) -> None:
        """The kernel keeps nothing back for us: what comes to a port between two places is lost."""

    def remove(self, link: str) -> None:
        """Remove the pair; removing twice is fine."""
        ends = self._ends.pop(link, None)
        if ends is not None:
            delete_veth(ends)

    def check(self) -> None:
        """No process is behind it."""

    def close(self) -> None:
        """Remove every pair; closing twice is fine."""
        for link in list(self._ends):
            self.remove(link)

    def pids(self) -> list[int]:
        """No process is behind it."""
        return []

    def _of(self, link: str) -> tuple[LinkEnd, LinkEnd]:
        try:
            return self._ends[link]
        except KeyError:
            raise EmulationError("there is no such link", where=link) from None


def make_veth(link: str, a: LinkEnd, b: LinkEnd) -> None:
    """A veth pair whose ends come into being in their namespaces under their final names."""
    try:
        there = os.open(b.netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise EmulationError(
            "cannot enter a network namespace", found=f"{b.netns}: {error.strerror}", where=link
        ) from error
    try:
        with netlink.Netlink(a.netns) as socket:
            socket.run([netlink.create_veth(a.ifname, a.mac, b.ifname, b.mac, there)])
    finally:
        os.close(there)


def delete_veth(ends: tuple[LinkEnd, LinkEnd]) -> None:
    """Delete a pair by whichever end can still be reached; one that went with its namespace is fine."""
    for end in ends:
        if os.path.exists(end.netns):
            try:
                with netlink.Netlink(end.netns) as socket:
                    socket.run([netlink.delete_link(end.ifname)])
            except EmulationError:
                if os.path.exists(end.netns):
                    raise
            else:
                return


def interface_of(link: str, end: LinkEnd) -> netlink.Interface:
    """The interface at an end (NotAppliedError if it is not there)."""
    with netlink.Netlink(end.netns) as socket:
        found = socket.interfaces().get(end.ifname)
    if found is None:
        raise NotAppliedError("an end of the link is gone", wanted=f"{end.ifname} in {end.netns}", where=link)
    return found


def set_carrier(link: str, ends: tuple[LinkEnd, LinkEnd], up: bool) -> None:
    """Cut a veth pair or bring it back.

    End b is set down, which takes the carrier from a as well. The plan has nodes at a: theirs stays up and keeps
    its neighbours, which the kernel would forget with an interface that goes down.
    """
    end = ends[1]
    with netlink.Netlink(end.netns) as socket:
        socket.run([netlink.set_link(end.ifname, up=up)])
    if interface_of(link, end).up != up:
        raise NotAppliedError("the carrier is not as set", wanted=str(up), where=link)


def _refuse(link: str, *shapes: Shape | None) -> None:
    if any(shape is not None and not shape.unshaped for shape in shapes):
        raise EmulationError(
            "a plain wire cannot be shaped",
            found=", ".join(str(shape) for shape in shapes),
            where=link,
            remedy="give the link a rate or a delay from the start",
        )


def _received(interface: netlink.Interface) -> LinkStats:
    return LinkStats(tx_bytes=interface.rx_bytes, tx_packets=interface.rx_packets)
