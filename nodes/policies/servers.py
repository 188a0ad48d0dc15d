"""What a device knows of the servers around it, and what it expects of them at another site.

**Behind a handover** nothing has been measured yet. What is expected there: the access is as here, and what lies
between two servers is the operator's own wired network, which is known. So a server is reached at the lesser of the
two rates, with both round trips; the new site's own at the access's. All of it is our design.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nodes.policies.offers import ALPHA, Estimate, Found, Known, LinkOffer, NodeOffer


class Servers:
    """One device's knowledge.

    Args:
        offers: What is known before any probe.
        links: The ways between servers.
        near: Edge server of the site where the device is.
        now: Seconds, as everywhere here on one clock.
    """

    def __init__(self, offers: Iterable[NodeOffer], links: Iterable[LinkOffer], near: str, now: float) -> None:
        self.near = near
        self._known = {offer.name: _taken(offer, now) for offer in offers}
        self._links = {(link.a, link.b): link for link in links}
        self._anew: set[str] = set()  # those of which the next probe counts whole

    @property
    def names(self) -> tuple[str, ...]:
        """Servers that are not known to be dead, the near one first."""
        return tuple(sorted(self._known, key=lambda name: (name != self.near, name)))

    def offers(self, now: float) -> tuple[NodeOffer, ...]:
        """What is known of each."""
        return tuple(known.offer(now) for _, known in sorted(self._known.items()))

    def behind(self, edge: str, now: float) -> tuple[NodeOffer, ...]:
        """Offers as they are expected where ``edge`` is near; those of servers without a known way stay."""
        offers = {offer.name: offer for offer in self.offers(now)}
        access = offers.get(self.near)
        if access is None or edge not in offers:
            return tuple(offers.values())
        expected = []
        for name, offer in offers.items():
            there, back = self._links.get((edge, name)), self._links.get((name, edge))
            if name == edge:
                expected.append(replace(offer, up=access.up, down=access.down, rtt=access.rtt))
            elif there is not None and back is not None:
                expected.append(
                    replace(
                        offer, up=min(access.up, there.rate), down=min(access.down, back.rate),
                        rtt=access.rtt + max(there.rtt, back.rtt),
                    )
                )  # fmt: skip
            else:
                expected.append(offer)
        return tuple(expected)

    # --- what happens -----------------------------------------------------------------------------------

    def learn(self, server: str, found: Found, now: float) -> list[tuple[float, float]]:
        """A probe came back: rates and speed as they were thought to be, each with what it found; none of the dead."""
        if server not in self._known:
            return []
        known = self._known[server]
        alpha = 1.0 if server in self._anew else ALPHA
        self._anew.discard(server)
        self._known[server] = known.learn(found, now, alpha)
        values = {name: getattr(found, name) for name in ("up", "down", "ratio")}
        return [
            (known.estimates[name].value, value) for name, value in values.items()
            if value is not None and name in known.estimates
        ]  # fmt: skip

    def rescale(self, by: float) -> None:
        """The device is so many times as fast as was known. Servers are as before, so ratios to it change."""
        for name, known in self._known.items():
            ratio = known.estimates["ratio"]
            estimates = {**known.estimates, "ratio": replace(ratio, value=ratio.value * by)}
            self._known[name] = replace(known, estimates=estimates)

    def silent(self, server: str) -> None:
        """A probe never came back, or the server turned work down."""
        if server in self._known:
            self._known[server] = self._known[server].lost()

    def gone(self, server: str) -> None:
        """A server has died."""
        self._known.pop(server, None)

    def move(self, edge: str, now: float) -> None:
        """The device is at another site; what it knew of links is what is expected there, until it has measured."""
        for offer in self.behind(edge, now):
            self._known[offer.name] = _moved(self._known[offer.name], offer, now)
        self.near, self._anew = edge, set(self._known)


def _taken(offer: NodeOffer, now: float) -> Known:
    """An offer that nobody has measured as what is known."""
    found = {name: Estimate(getattr(offer, name), now) for name in ("up", "down", "rtt", "ratio")}
    return Known(offer.name, found, offer.memory, offer.profile, offer.admits, offer.why)


def _moved(known: Known, offer: NodeOffer, now: float) -> Known:
    """What is known of a server, with links as they are expected."""
    links = {name: Estimate(getattr(offer, name), now) for name in ("up", "down", "rtt")}
    return replace(known, estimates={**known.estimates, **links})
