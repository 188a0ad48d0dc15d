"""What has a device's servers probed when it is time to, and tells its policies what was found.

Probes (`nodes.schemes._probes`) have real seconds and rates, policies (`nodes.policies.steering`) the experiment's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from nodes.policies.decisions import Decision
from nodes.policies.offers import Found, NodeOffer
from nodes.policies.probing import Cost
from nodes.policies.steering import Steering
from nodes.runtime.part import Context
from nodes.schemes._probes import Probes
from nodes.wire.messages import Body, PartId


class Scout:
    """Has the servers of one device probed.

    Args:
        context: The runtime.
        probes: Of this device.
        steering: Its policies.
        now: Their clock, s.
        tell: Writes a decision down.
        done: Called when all servers that were probed have answered, or will not.

    Attributes:
        found: Whether any probe has returned.
    """

    def __init__(
        self, context: Context, probes: Probes, steering: Steering, now: Callable[[], float],
        tell: Callable[[Decision], None], done: Callable[[], None],
    ) -> None:  # fmt: skip
        self._context, self._probes, self._steering = context, probes, steering
        self._now, self._tell, self._done = now, tell, done
        self._asked: set[str] = set()  # servers whose probes are to return
        self.found = False
        self._profiled()

    def look(self) -> bool:
        """Probe all servers if it is time to; whether that is under way."""
        if self._asked:
            return True
        servers = self._steering.servers
        costs = [self._cost(self._probes.cost(server)) for server in servers]
        cost = Cost(sum(one.seconds for one in costs), sum(one.bytes for one in costs))
        decision = self._steering.probe(self._now(), cost, self._context.carried())
        self._tell(decision)
        if decision.act != "probe" or not servers:
            return False
        self._asked = set(servers)
        for server in servers:
            self._probes.start(server)
        return True

    def expect(self, offers: Iterable[NodeOffer]) -> None:
        """Have probes made for links as they are believed to be."""
        slower = self._context.dilation
        for offer in offers:
            self._probes.expect(offer.name, offer.up / slower, offer.down / slower, offer.rtt * slower)

    def paced(self, slowdown: float) -> None:
        """The device's own work on a batch took so many times its reference times."""
        if self._probes.device.slowed(slowdown):
            self._profiled()

    def take(self, src: PartId, body: Body) -> None:
        """An answer to a probe."""
        found = self._probes.take(src, body)
        if found is not None:
            self.found = True
            self._steering.learnt(src.owner, self._told(found), self._now())
            self._returned(src.owner)

    def awake(self, token: int) -> None:
        """A timer has run out; maybe a probe's."""
        silent = self._probes.expired(token)
        if silent is not None:
            self._steering.silent(silent)
            self._returned(silent)

    def lost(self, node: str) -> None:
        """A node has died."""
        if self._probes.lost(node) is not None:
            self._returned(node)

    def _returned(self, server: str) -> None:
        self._steering.paid(self._cost(self._probes.said), self._cost(self._probes.took))
        self._asked.discard(server)
        if not self._asked:
            self._done()

    def _profiled(self) -> None:
        """Have the device's own times taken for what they were found to be."""
        own = self._probes.device.profile
        self._steering.profiled(own.scaled(1 / self._context.dilation, own.kind))

    def _cost(self, real: Cost) -> Cost:
        return Cost(real.seconds / self._context.dilation, real.bytes)

    def _told(self, found: Found) -> Found:
        """What a probe found, of the experiment."""
        slower = self._context.dilation
        return replace(
            found, up=None if found.up is None else found.up * slower,
            down=None if found.down is None else found.down * slower,
            rtt=None if found.rtt is None else found.rtt / slower,
            profile=None if found.profile is None else found.profile.scaled(1 / slower, found.profile.kind),
        )  # fmt: skip
