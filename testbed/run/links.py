"""Watches the links of a bed: bytes, drops and lateness between two looks, as events."""

from __future__ import annotations

import time
from dataclasses import asdict

from nodes.events import Span
from testbed.emulation.bed import Bed
from testbed.emulation.links.shape import LinkStats


class LinkWatch:
    """Looks at the counters of every link; what happened since the last look becomes ``link`` events."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self._at = time.monotonic()
        self._last = self._read()

    def sample(self) -> list[Span]:
        """Events since the last look, one for every link that carried or dropped anything."""
        now, stats = time.monotonic(), self._read()
        spans = []
        for link, (ab, ba) in stats.items():
            was_ab, was_ba = self._last.get(link, (LinkStats(), LinkStats()))
            attrs = {"link": link} | _since("ab", was_ab, ab) | _since("ba", was_ba, ba)
            if any(value for key, value in attrs.items() if key.endswith(("_bytes", "_dropped", "_lost"))):
                spans.append(Span(kind="link", node="", begin=self._at, end=now, attrs=attrs))
        self._at, self._last = now, stats
        return spans

    def _read(self) -> dict[str, tuple[LinkStats, LinkStats]]:
        return {name: self._bed.emulator.stats(name) for name in self._bed.record.links}


def _since(direction: str, before: LinkStats, now: LinkStats) -> dict[str, float | int | None]:
    old, new = asdict(before), asdict(now)
    return {
        f"{direction}_bytes": new["tx_bytes"] - old["tx_bytes"],
        f"{direction}_dropped": new["dropped_queue"] - old["dropped_queue"],
        f"{direction}_lost": new["dropped_loss"] - old["dropped_loss"],
        f"{direction}_queue": new["queue_bytes"],
        f"{direction}_late_max_s": new["late_max_s"],
    }
