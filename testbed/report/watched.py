"""What the watch recorded, as series for plots and sums for tables; empty for runs that nobody watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from nodes.events import Span
from testbed.report.records import RunRecord, SchemeRecord, number, table


@dataclass
class Series:
    """Values over consecutive stretches of time: ``edges`` has one more than each of ``values``.

    Where nobody looked for a while there is a stretch of zeros.
    """

    edges: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, begin: float, end: float, values: Mapping[str, float]) -> None:
        """A stretch, later than all others."""
        if self.edges and begin > self.edges[-1] + 1e-3:
            for one in self.values.values():
                one.append(0.0)
            self.edges.append(begin)
        elif not self.edges:
            self.edges.append(begin)
        self.edges.append(end)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def most(self, *names: str) -> float:
        """The highest sum of these values."""
        return max((sum(row) for row in zip(*(self.values[n] for n in names), strict=True)), default=0.0)


def node_series(scheme: SchemeRecord) -> dict[str, Series]:
    """By node, ``""`` for the machine: cores that were got or missed, bytes of memory; s since training began."""
    found: dict[str, Series] = defaultdict(Series)
    for span in scheme.spans:
        if span.kind == "watch" and span.end > span.begin:
            values = _of_node(span) if span.node else _of_machine(span)
            found[span.node].add(span.begin - scheme.begin, span.end - scheme.begin, values)
    return dict(found)


def _of_node(span: Span) -> dict[str, float]:
    took = span.end - span.begin
    starved, by_others = (number(span.attrs.get(name)) or 0.0 for name in ("starved_s", "starved_by_others_s"))
    return {
        "got": span.cpu_s / took,
        "throttled": min(1.0, (number(span.attrs.get("throttled_s")) or 0.0) / took),
        "by_others": min(1.0, by_others / took),
        "crowded": min(1.0, max(0.0, starved - by_others) / took),
        "memory": number(span.attrs.get("memory_working")) or 0.0,
    }


def _of_machine(span: Span) -> dict[str, float]:
    took = span.end - span.begin
    return {
        name: (number(span.attrs.get(f"{name}_s")) or 0.0) / took for name in ("nodes", "testbed", "others", "steal")
    }


def cores(scheme: SchemeRecord) -> float:
    """Cores of the machine; 0 if nobody looked."""
    return max((number(s.attrs.get("cores")) or 0.0 for s in scheme.spans if s.kind == "watch"), default=0.0)


def quota(scheme: SchemeRecord, node: str) -> float | None:
    """CPU quota of a node as it was read back, in cores."""
    read = table(table(scheme.nodes.get(node, {}).get("limits")).get("read_back"))
    period, per_period = number(read.get("period")), number(read.get("quota"))
    return per_period / period if per_period is not None and period else None


def memory_limit(scheme: SchemeRecord, node: str) -> float | None:
    """Memory limit of a node as it was read back, bytes."""
    return number(table(table(scheme.nodes.get(node, {}).get("limits")).get("read_back")).get("memory"))


@dataclass
class LinkSums:
    """One link in one scheme, both directions: segments dropped at a full queue, lost on purpose, and refused.

    Refused: by the interface at the link's end. Of what waited, and of lateness, the worst.
    ``late_s`` is None where the link does not tell how late it was.
    """

    queues: list[tuple[float, float, float, float]] = field(default_factory=list)  # begin, end, bytes there, back
    drops: list[tuple[float, float, float]] = field(default_factory=list)  # s, segments there, back
    carried: float = 0.0
    dropped: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    queue: float = 0.0
    late_s: float | None = None


def link_sums(scheme: SchemeRecord) -> dict[str, LinkSums]:
    """By link; see `testbed.report.linkuse` for their rates."""
    found: dict[str, LinkSums] = defaultdict(LinkSums)
    for span in scheme.spans:
        if span.kind != "link":
            continue
        link, at = found[str(span.attrs.get("link", "?"))], span.end - scheme.begin
        pairs = {
            what: tuple(number(span.attrs.get(f"{way}_{what}")) or 0.0 for way in ("ab", "ba"))
            for what in ("bytes", "dropped", "lost", "refused", "queue")
        }
        if any(pairs["queue"]):
            link.queues.append((span.begin - scheme.begin, at, *pairs["queue"]))  # type: ignore[arg-type]
        if any(pairs["dropped"]):
            link.drops.append((at, *pairs["dropped"]))  # type: ignore[arg-type]
        link.carried += sum(pairs["bytes"])
        link.dropped += sum(pairs["dropped"])
        link.lost += sum(pairs["lost"])
        link.refused += sum(pairs["refused"])
        link.queue = max(link.queue, *pairs["queue"])
        late = [v for way in ("ab", "ba") if (v := number(span.attrs.get(f"{way}_late_max_s"))) is not None]
        link.late_s = max([*late, link.late_s or 0.0]) if late else link.late_s
    return dict(found)


def node_names(record: RunRecord, scheme: SchemeRecord) -> list[str]:
    """Nodes that were watched, in the run's order: devices that moved, other devices, edge servers, the cloud."""
    watched = {s.node for s in scheme.spans if s.kind == "watch" and s.node}
    order = [*record.devices, *scheme.nodes]
    return sorted(watched, key=lambda name: (order.index(name) if name in order else len(order), name))
