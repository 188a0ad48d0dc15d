"""What the watch saw of a task, summed up: by node, and what the machine was busy with when nodes starved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nodes.events import Span

STARVED = 0.02
"""A node that others starved for a larger share of a second makes this second one of those to find a cause for."""


@dataclass
class NodeSeen:
    """One node over the training. Times are s; None is what this kernel does not tell.

    Attributes:
        took_s: How long it was watched. cpu_s: CPU time that it got. throttled_s: Held back by its own quota.
        starved_s: Wanted to run and could not, for other reasons. starved_by_others_s: Of it, because of other
            programs than the testbed's and its nodes', and of the hypervisor.
        memory_peak: Most memory in use, bytes. oom_kills: Processes of it killed for want of memory.
    """

    took_s: float = 0.0
    cpu_s: float = 0.0
    throttled_s: float = 0.0
    starved_s: float | None = 0.0
    starved_by_others_s: float | None = 0.0
    memory_peak: int | None = None
    oom_kills: int = 0

    def share(self, seconds: float | None) -> float | None:
        """Seconds as a share of the time that it was watched."""
        return None if seconds is None or not self.took_s else min(1.0, seconds / self.took_s)

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "cores": self.cpu_s / self.took_s if self.took_s else None,
            "throttled_share": self.share(self.throttled_s),
            "starved_s": self.starved_s,
            "starved_share": self.share(self.starved_s),
            "starved_by_others_s": self.starved_by_others_s,
            "starved_by_others_share": self.share(self.starved_by_others_s),
            "memory_peak": self.memory_peak,
            "oom_kills": self.oom_kills,
        }


@dataclass
class Seen:
    """All nodes, and the machine in the seconds in which others starved any of them.

    Attributes:
        cores: Of the machine. bad_s: How long these seconds were in all. others: Cores that other programs used then.
        steal: Share of the machine that the hypervisor took then. programs: Which they were, s of CPU, most first.
        took_s: How long the machine was watched. late_s: Seconds of it in which the relay was late; lates: in how many
            looks. late_worst_s: Its worst 99.9th percentile.
    """

    nodes: dict[str, NodeSeen] = field(default_factory=dict)
    cores: int = 0
    bad_s: float = 0.0
    others: float = 0.0
    steal: float = 0.0
    programs: dict[str, float] = field(default_factory=dict)
    took_s: float = 0.0
    late_s: float = 0.0
    lates: int = 0
    late_worst_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """What is not about single nodes, for the summary."""
        return {
            "cores": self.cores,
            "disturbed_s": self.bad_s,
            "others_cores": self.others,
            "steal_share": self.steal,
            "programs": self.programs,
            "relay_late_s": self.late_s,
            "relay_late_p999_worst_s": self.late_worst_s,
        }


def seen(spans: Iterable[Span], link_late: float) -> Seen:
    """Sum up ``watch`` events.

    Args:
        spans: Of a task, in any order.
        link_late: Seconds of which the relay's 99.9th percentile was above this count as late.
    """
    found = Seen()
    nodes: dict[str, NodeSeen] = defaultdict(NodeSeen)
    machine = []
    disturbed: set[tuple[float, float]] = set()
    for span in spans:
        if span.kind != "watch":
            continue
        if not span.node:
            machine.append(span)
            continue
        _add(nodes[span.node], span)
        if (span.attrs["starved_by_others_s"] or 0.0) > STARVED * (span.end - span.begin):
            disturbed.add((span.begin, span.end))
    programs: dict[str, float] = defaultdict(float)
    others = steal = 0.0
    for span in machine:
        took = span.end - span.begin
        found.took_s += took
        found.cores = span.attrs["cores"]
        late = span.attrs.get("relay_late_p999_s")
        if late is not None:
            found.late_worst_s = max(found.late_worst_s or 0.0, late)
            if late > link_late:
                found.late_s += took
                found.lates += 1
        for name, cpu_s in span.attrs.get("others", {}).items():  # of all since it was told last
            programs[name] += cpu_s
        if (span.begin, span.end) in disturbed:
            found.bad_s += took
            others += span.attrs["others_s"]
            steal += span.attrs["steal_s"]
    if found.bad_s > 0:
        found.others, found.steal = others / found.bad_s, steal / (found.bad_s * found.cores)
    found.nodes = dict(nodes)
    found.programs = dict(sorted(programs.items(), key=lambda item: -item[1]))
    return found


def _add(node: NodeSeen, span: Span) -> None:
    attrs = span.attrs
    node.took_s += span.end - span.begin
    node.cpu_s += span.cpu_s
    node.throttled_s += attrs["throttled_s"]
    for name in ("starved_s", "starved_by_others_s"):
        so_far = getattr(node, name)
        setattr(node, name, None if attrs[name] is None or so_far is None else so_far + attrs[name])
    peak = attrs["memory_peak"] or attrs["memory"]
    node.memory_peak = max(node.memory_peak or 0, peak)
    node.oom_kills += attrs["oom_kills"]
