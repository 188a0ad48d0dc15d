"""Watches the nodes of a bed and the machine under them: what they got, what they were refused, and by whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from nodes.events import Span
from testbed.emulation.bed import Bed
from testbed.emulation.cgroups import Cgroup, CpuUse
from testbed.emulation.machine import Machine, Others
from testbed.emulation.starvation import RunDelays, Starvation, stolen
from testbed.run.seen import STARVED

NOTABLE = STARVED
"""A node starved for a larger share of a second makes the watch look who was at work instead ..."""

_SELDOM_S = 4.5
"""... but not more often: looking at every process costs as much as looking at 20 nodes."""


@dataclass
class _Look:
    """What was found at the last look at a node."""

    cpu: CpuUse
    oom_kills: int
    stalled: dict[str, float | None]


class NodeWatch:
    """Looks at the cgroup of one node."""

    def __init__(self, name: str, group: Cgroup, period: float) -> None:
        self.name = name
        self._group = group
        self._delays = RunDelays(group.threads)
        self._law = Starvation(period)
        delays, self._last = self._delays.read(), self._look()
        if delays is not None:
            self._law.since(delays, 0.0)

    def sample(self, begin: float, end: float) -> Span:
        """A ``watch`` event about the time since the last look; the part of the machine's steal is not in it yet.

        Raises:
            EmulationError: The node has ended.
        """
        delays = self._delays.read()  # before the throttled time: see Starvation.since
        now, was = self._look(), self._last
        memory = self._group.memory()
        self._last = now
        throttled = now.cpu.throttled_s - was.cpu.throttled_s
        attrs: dict[str, Any] = {
            "throttled_s": throttled,
            "starved_s": None if delays is None else self._law.since(delays, throttled),
            "memory": memory.usage,
            "memory_working": memory.working,
            "memory_peak": memory.peak,
            "oom_kills": now.oom_kills - was.oom_kills,
        }
        for resource, stalled in now.stalled.items():
            before = was.stalled[resource]
            attrs[f"{resource}_stalled_s"] = None if stalled is None or before is None else stalled - before
        return Span(kind="watch", node=self.name, begin=begin, end=end, cpu_s=now.cpu.usage_s - was.cpu.usage_s,
                    attrs=attrs)  # fmt: skip

    def close(self) -> None:
        """Close files."""
        self._delays.close()

    def _look(self) -> _Look:
        group = self._group
        return _Look(group.cpu(), group.oom_kills(), {what: group.stalled_s(what) for what in ("cpu", "memory")})


class MachineWatch:
    """Looks at the machine, and at who else is at work when nodes starve.

    Args:
        bed: Whose nodes are ours, and whose links' processes.
    """

    def __init__(self, bed: Bed) -> None:
        self._machine = Machine()
        ids = [node.container_id for node in bed.record.nodes.values()]
        self._pids = [os.getpid(), *bed.emulator.pids()]
        self._others = Others(ids, self._pids)
        self._use = self._machine.use()
        self._own = self._own_cpu_s()
        self._ask_at = 0.0
        self._asking = False
        self._stalled = self._pressures()

    def sample(self, begin: float, end: float, nodes: list[Span], *, last: bool = False) -> Span:
        """A ``watch`` event without a node; ``last`` if there will be no other.

        Gives each node's event its part of the steal, and says how much of its starvation others caused: as much as
        their part of the CPU time that was not its own. The rest is nodes waiting for each other and for the testbed.
        """
        use, own, stalled = self._machine.use(), self._own_cpu_s(), self._pressures()
        busy, steal = use.busy_s - self._use.busy_s, use.steal_s - self._use.steal_s
        theirs = sum(span.cpu_s for span in nodes)
        others = max(0.0, busy - theirs - (own - self._own))
        attrs: dict[str, Any] = {
            "cores": self._machine.cores,
            "nodes_s": theirs,
            "testbed_s": own - self._own,
            "others_s": others,
            "interrupts_s": use.interrupts_s - self._use.interrupts_s,
            "steal_s": steal,
        }
        for resource, now in stalled.items():
            before = self._stalled[resource]
            attrs[f"{resource}_stalled_s"] = None if now is None or before is None else now - before
        worst = 0.0
        for span in nodes:
            waited = span.attrs["starved_s"]
            if waited is None:
                span.attrs["starved_by_others_s"] = None
                continue
            taken = stolen(steal, span.cpu_s, busy)
            rivals = busy - span.cpu_s
            span.attrs["starved_s"] = waited + taken
            span.attrs["starved_by_others_s"] = taken + (waited * min(1.0, others / rivals) if rivals > 0 else 0.0)
            worst = max(worst, span.attrs["starved_by_others_s"])
        self._asking |= worst > NOTABLE * (end - begin)
        if self._asking and (last or end >= self._ask_at):
            attrs["others"] = self._others.since()
            self._ask_at = end + _SELDOM_S
            self._asking = False
        self._use, self._own, self._stalled = use, own, stalled
        return Span(kind="watch", node="", begin=begin, end=end, cpu_s=busy, attrs=attrs)

    def _own_cpu_s(self) -> float:
        return sum(self._machine.process_s(pid) for pid in self._pids)

    def _pressures(self) -> dict[str, float | None]:
        return {resource: self._machine.stalled_s(resource) for resource in ("cpu", "memory")}
