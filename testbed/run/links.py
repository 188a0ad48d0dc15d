"""Watches the links of a bed: bytes, drops, queues and lateness between two looks, as events."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from nodes.events import Span
from testbed.emulation.bed import Bed
from testbed.emulation.links.shape import LinkStats
from testbed.errors import EmulationError, NotAppliedError

Stats = dict[str, tuple[LinkStats, LinkStats]]


class LinkWatch:
    """Looks at the counters of every link; what happened since the last look becomes ``link`` events.

    An emulator that can tell all of its links at once is asked so (``stats_all``), and one that watches its own
    lateness how late it was (``health``); see `testbed.emulation.links.relay`.
    """

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        # Links that are plain wires stand beside the ones that are shaped: see testbed.emulation.links.mixed.
        shaped = getattr(bed.emulator, "shaped", bed.emulator)
        self._all = getattr(shaped, "stats_all", None)
        self._health = getattr(shaped, "health", None)
        self.lateness()
        self._last = self._read()

    def sample(self, begin: float, end: float) -> list[Span]:
        """Events since the last look, one for every link that carried, holds, dropped or was refused anything."""
        stats = self._read()
        spans = []
        for link, (ab, ba) in stats.items():
            was_ab, was_ba = self._last.get(link, (LinkStats(), LinkStats()))
            attrs = {"link": link} | _since("ab", was_ab, ab) | _since("ba", was_ba, ba)
            happened = ("_bytes", "_dropped", "_lost", "_refused", "_queue")
            if any(value for key, value in attrs.items() if key.endswith(happened)):
                spans.append(Span(kind="link", node="", begin=begin, end=end, attrs=attrs))
        self._last = stats
        return spans

    def lateness(self) -> dict[str, Any]:
        """How late frames were handed over since the last call, all links together; empty if that is not known."""
        if self._health is None:
            return {}
        health = self._health()
        return {
            "relay_priority": health.priority,
            "relay_frames": health.frames,
            "relay_late_p50_s": health.late_p50_s,
            "relay_late_p99_s": health.late_p99_s,
            "relay_late_p999_s": health.late_p999_s,
            "relay_late_max_s": health.late_max_s,
        }

    def _read(self) -> Stats:
        found: Stats = {}
        if self._all is not None:
            with suppress(NotAppliedError):  # one of them is gone: they are asked one by one
                found = dict(self._all())
        for name in self._bed.record.links:
            if name not in found:
                with suppress(EmulationError):  # it went with a node that has died; the others are still watched
                    found[name] = self._bed.emulator.stats(name)
        return found


def _since(direction: str, before: LinkStats, now: LinkStats) -> dict[str, Any]:
    # The worst lateness is counted since the link was made: it belongs to this stretch if it has grown in it.
    grown = now.late_max_s is not None and now.late_max_s > (before.late_max_s or 0.0)
    return {
        f"{direction}_bytes": now.tx_bytes - before.tx_bytes,
        f"{direction}_dropped": now.dropped_queue - before.dropped_queue,
        f"{direction}_lost": now.dropped_loss - before.dropped_loss,
        f"{direction}_refused": now.refused - before.refused,
        f"{direction}_queue": now.queue_bytes,
        f"{direction}_late_max_s": now.late_max_s if grown else None,
    }
