"""States that a device carries from one edge server to the next, where those cannot, or are not to, reach each other.

The source sends the state to the device while it is still there, and the device hands it on when it has been handed
over itself; what the destination says of it goes back the same way.
"""

from __future__ import annotations

import msgspec

from nodes.runtime.home import Home, send
from nodes.wire.codec import Tensors
from nodes.wire.messages import Envelope, PartId, State, StateRefused, StateTaken


class Carrier:
    """What one device carries.

    Args:
        home: The device's host.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._at = ""  # edge server that the device was handed over to last
        self._loads: dict[PartId, tuple[Envelope, State, Tensors]] = {}
        self._sources: dict[PartId, str] = {}  # edge servers that are to hear what became of what they gave
        self._dead: set[str] = set()

    def load(self, envelope: Envelope, body: State, tensors: Tensors) -> None:
        """Take a state along. What arrives when the device is there already is handed on at once."""
        self._loads[envelope.dst] = (envelope, body, tensors)
        if self._at == body.to:
            self.arrive(self._at)

    def arrive(self, edge: str) -> None:
        """The device has been handed over: what it carries is handed on."""
        self._at = edge
        for part, (envelope, body, tensors) in list(self._loads.items()):
            del self._loads[part]
            if body.to in self._dead or envelope.version <= self._home.where(part)[1]:
                continue  # its head has decided otherwise since
            self._sources[part] = envelope.node
            there = msgspec.structs.replace(body, to="")
            send(self._home, body.to, part, there, tensors, version=envelope.version)

    def settle(self, envelope: Envelope, body: StateTaken | StateRefused) -> bool:
        """Pass on what became of a state that was carried; False if it was not."""
        source = self._sources.pop(envelope.dst, "")
        if source:
            send(self._home, source, envelope.dst, body, version=envelope.version)
        return bool(source)

    def lost(self, node: str) -> None:
        """A node has died: nothing is handed to it."""
        self._dead.add(node)
