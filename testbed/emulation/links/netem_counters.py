"""Counters of many links at once, over sockets that stay open: cheap enough to be asked for every second.

``tc`` would have to be started twice for each link, which takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from testbed.emulation.links import netem_reading as reading
from testbed.emulation.links.shape import LinkEnd, LinkStats
from testbed.emulation.netlink import Netlink
from testbed.errors import NotAppliedError


class Counters:
    """Reads the counters of links that the kernel shapes."""

    def __init__(self) -> None:
        self._sockets: dict[str, Netlink] = {}

    def read(self, links: Mapping[str, tuple[LinkEnd, LinkEnd]]) -> dict[str, tuple[LinkStats, LinkStats]]:
        """Counters by link, as (a to b, b to a).

        Raises:
            NotAppliedError: An interface is gone, or not shaped.
            EmulationError: A namespace cannot be entered.
        """
        seen = {}
        for place in {end.netns for ends in links.values() for end in ends}:
            socket = self._sockets.get(place)
            if socket is None:
                socket = self._sockets[place] = Netlink(place)
            seen[place] = socket.interfaces(), socket.queues()
        found = {}
        for link, (a, b) in links.items():
            there, back = (self._of(link, end, *seen[end.netns]) for end in (a, b))
            found[link] = there, back
        return found

    def close(self) -> None:
        """Close the sockets; closing twice is fine."""
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            socket.close()

    def _of(self, link: str, end: LinkEnd, interfaces: Mapping[str, Any], queues: Mapping[int, Any]) -> LinkStats:
        try:
            return reading.stats_told([asdict(queue) for queue in queues[interfaces[end.ifname].index]])
        except (KeyError, StopIteration):
            raise NotAppliedError("the kernel does not shape the link", where=f"{link}, {end.ifname}") from None
