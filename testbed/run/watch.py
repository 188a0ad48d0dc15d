"""Watches a run while it trains, once a second, in a thread of its own: nodes, links, the machine under them.

Everything is read from counters that the kernel and the relay keep anyway, so looking disturbs little; what the watch
itself costs is in its record. What it sees becomes events (`nodes.events`: ``watch`` and ``link``), to be taken by
whoever keeps the log, and at once rows of ``watch.csv``, which are there also if the run dies.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nodes.events import Span
from testbed.emulation.bed import Bed
from testbed.errors import RoambedError
from testbed.run.links import LinkWatch
from testbed.run.nodes import MachineWatch, NodeWatch

INTERVAL_S = 1.0
_LINKS_SHARE = 0.01
"""Links are looked at less often where that would cost more of a core (processes are started for it)."""

COLUMNS = (
    "t", "took_s", "kind", "name",
    "cpu", "throttled", "starved", "starved_by_others", "memory", "memory_working", "memory_peak", "oom_kills",
    "cpu_pressure", "memory_pressure",
    "ab_bytes", "ba_bytes", "ab_dropped", "ba_dropped", "ab_lost", "ba_lost", "ab_refused", "ba_refused",
    "ab_queue", "ba_queue", "ab_late_max_s", "ba_late_max_s",
    "nodes", "testbed", "others", "steal", "relay_late_p999_s", "relay_late_max_s", "watch_s", "watch_late_s",
)  # fmt: skip
"""Columns of ``watch.csv``: a row a node, link and machine (``kind``) and second; what is not known is empty.

``t`` is the end of the stretch, s since training began; ``cpu nodes testbed others`` are cores; ``throttled starved
starved_by_others ..._pressure`` shares of the stretch, ``steal`` of all cores' time; the rest bytes, counts, seconds.
"""


@dataclass(frozen=True)
class Watched:
    """What the watch has to say about itself: looks taken, CPU time of its thread, the time it watched, s."""

    looks: int
    cpu_s: float
    took_s: float


class Watch:
    """Watches a bed from `start` to `stop`.

    Args:
        bed: What to watch.
        file: Where the rows go.
        tell: Turns events into the time that they are told in.
        interval: Seconds between two looks.
    """

    def __init__(
        self, bed: Bed, file: Path, tell: Callable[[Iterable[Span]], list[Span]] = list, interval: float = INTERVAL_S
    ) -> None:
        self._bed = bed
        self._tell = tell
        self._interval = interval
        self._path = file
        self._found: list[Span] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin = self._at = 0.0
        self._links_at = self._links_due = self._links_cost = 0.0
        self.watched = Watched(0, 0.0, 0.0)
        self.failure = ""

    def start(self, begin: float) -> None:
        """Begin; ``begin`` is where time counts from, s of CLOCK_MONOTONIC."""
        self._begin = begin
        fleet = self._bed.fleet
        self._nodes = [
            NodeWatch(node.name, fleet.cgroup(node.name), fleet.limits(node.name).period or node.period)  # as in force
            for node in self._bed.plan.nodes
        ]
        self._links = LinkWatch(self._bed)
        self._machine = MachineWatch(self._bed)
        self._at = self._links_at = time.monotonic()
        self._file = self._path.open("w", newline="")
        self._rows = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore", restval="")
        self._rows.writeheader()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last look and end; twice is fine, and so is never having started."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            for node in self._nodes:
                node.close()
            self._file.close()

    def take(self) -> list[Span]:
        """Events since the last call."""
        with self._guard:
            found, self._found = self._found, []
        return found

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # whatever it is, the run goes on, and says from when on nobody watched
            after = time.monotonic() - self._begin
            self.failure = f"nobody watched the run after {after:.0f} s: {type(error).__name__}: {error}"

    def _watch(self) -> None:
        cpu = time.thread_time()
        due = self._at + self._interval
        over = False
        while not over:
            over = self._over.wait(max(0.0, due - time.monotonic()))
            before = time.thread_time()
            late = max(0.0, time.monotonic() - due)
            spans = self._look(over)
            spent = time.thread_time() - before
            spans[-1].attrs.update(watch_s=spent, watch_late_s=0.0 if over else late)
            self._keep(spans)
            now = time.monotonic()
            self.watched = Watched(self.watched.looks + 1, time.thread_time() - cpu, now - self._begin)
            due = max(due + self._interval, now)

    def _look(self, last: bool) -> list[Span]:
        """Events since the last look; the machine's comes last."""
        begin, now = self._at, time.monotonic()
        nodes = []
        for node in list(self._nodes):
            try:
                nodes.append(node.sample(begin, now))
            except RoambedError:  # it has ended, which others notice and tell
                node.close()
                self._nodes.remove(node)
        machine = self._machine.sample(begin, now, nodes, last=last)
        self._at = now
        return [*nodes, *self._look_at_links(now, machine, last), machine]

    def _look_at_links(self, now: float, machine: Span, last: bool) -> list[Span]:
        if now < self._links_due and not last:
            return []
        begun = time.monotonic()
        try:
            spans = self._links.sample(self._links_at, now)
            machine.attrs.update(self._links.lateness())
        except RoambedError:  # the links are gone, or one is being taken away
            return []
        self._links_at = now
        # One look may be held up by something else: the shorter of two tells what looking costs.
        before, self._links_cost = self._links_cost, time.monotonic() - begun
        self._links_due = now + min(before, self._links_cost) / _LINKS_SHARE - self._interval
        return spans

    def _keep(self, spans: list[Span]) -> None:
        spans = self._tell(spans)
        [begin] = self._tell([Span(kind="", node="", begin=self._begin, end=self._begin)])
        self._rows.writerows(row(span, begin.begin) for span in spans)
        self._file.flush()
        with self._guard:
            self._found += spans


def row(span: Span, begin: float) -> dict[str, Any]:
    """A row of ``watch.csv`` from a ``watch`` or ``link`` event; ``begin`` is when training began."""
    took, attrs = span.end - span.begin, span.attrs
    made: dict[str, Any] = {"t": round(span.end - begin, 3), "took_s": round(took, 4)}
    if span.kind == "link":
        return made | attrs | {"kind": "link", "name": attrs["link"]}
    made |= {"kind": "node" if span.node else "machine", "name": span.node, "cpu": _share(span.cpu_s, took)}
    for resource in ("cpu", "memory"):
        made[f"{resource}_pressure"] = _share(attrs[f"{resource}_stalled_s"], took)
    if span.node:
        made |= {name: _share(attrs[f"{name}_s"], took) for name in ("throttled", "starved", "starved_by_others")}
        return attrs | made
    made |= {name: _share(attrs[f"{name}_s"], took) for name in ("nodes", "testbed", "others")}
    return attrs | made | {"steal": _share(attrs["steal_s"], took * attrs["cores"])}


def _share(value: float | None, of: float) -> float | None:
    return None if value is None or of <= 0 else round(value / of, 4)


def plain(watched: Watched) -> dict[str, Any]:
    """What the watch cost, for the summary."""
    found: dict[str, Any] = msgspec.to_builtins(watched)
    return found | {"cpu_share": watched.cpu_s / watched.took_s if watched.took_s else 0.0}
