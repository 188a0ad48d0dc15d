"""Batteries while the platform runs: charged with what events tell, so that devices know what is left.

The same account as `testbed.run.energy` draws up at the end, as it goes: an event counts when it is heard of, which is
up to a second after it happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodes.events import WORK, Span
from nodes.policies.energy import Meter
from testbed.experiment.plan import NodePlan, Plan
from testbed.run.airtime import Rates, carried
from testbed.run.energy import merged

_SETTLED_S = 60.0
"""Work that ended so long ago overlaps with nothing that is still to be told."""
_STEP = 1e-3
"""Share of a battery from which on a change is worth saying; the reserve is always worth it, and so is ..."""
_STEP_S = 0.5
"""... what so many seconds of work take: of a large battery a thousandth is more than is kept above its reserve."""


@dataclass
class _Account:
    """One device: its meter, the work that it has done, and what of that it has been charged with."""

    node: NodePlan
    meter: Meter
    work: list[tuple[float, float]] = field(default_factory=list)
    settled_s: float = 0.0
    charged_s: float = 0.0
    told_j: float | None = None

    def busy_s(self, now: float) -> float:
        """Seconds of work that are new since this was asked last; what is done at once counts once."""
        self.work = merged(self.work, float("-inf"), float("inf"))
        all_s = self.settled_s + sum(end - begin for begin, end in self.work)
        while self.work and self.work[0][1] < now - _SETTLED_S:
            begin, end = self.work.pop(0)
            self.settled_s += end - begin
        new, self.charged_s = all_s - self.charged_s, all_s
        return max(new, 0.0)


class Batteries:
    """The batteries of a platform's devices.

    Args:
        plan: In virtual time.
        begin: When they begin to be drained, virtual.
    """

    def __init__(self, plan: Plan, begin: float) -> None:
        self._plan = plan
        self._begin = begin
        self._accounts = {
            node.name: _Account(node, Meter(node.battery, node.power.idle_w, node.charging))
            for node in plan.nodes if node.battery is not None and node.power is not None
        }  # fmt: skip

    def left(self) -> dict[str, float]:
        """Joules that are left now, by device."""
        return {name: account.meter.left_j for name, account in self._accounts.items()}

    def changes(self, now: float, spans: Iterable[Span], rates: Rates, lost: Iterable[str] = ()) -> dict[str, float]:
        """Go on to a moment; returns the joules that are left where that is worth saying.

        Args:
            now: Virtual.
            spans: Events that are new since this was asked last, in virtual time.
            rates: Of nodes' own links.
            lost: Nodes that have died: they draw nothing any more.
        """
        spans = list(spans)
        for span in spans:
            if span.kind in WORK and span.node in self._accounts:
                self._accounts[span.node].work.append((span.begin, span.end))
        links = [span for span in spans if span.kind == "link"]  # without any, messages would count, and these again
        crossed = carried(self._plan, rates, links)[0] if links else {}
        found = {}
        for name, account in self._accounts.items():
            power, meter = account.node.power, account.meter
            assert power is not None, "batteries are of those of whom it is known what they draw"
            if name in set(lost):
                continue
            joules = power.compute_w * account.busy_s(now)
            for one in crossed.get(name, ()):
                joules += one.air_s * (power.sending_w if one.way == "send" else power.receiving_w)
            meter.spend(max(now - self._begin, meter.now), joules)
            if self._worth_saying(account):
                found[name] = account.told_j = meter.left_j
        return found

    def _worth_saying(self, account: _Account) -> bool:
        battery, left = account.meter.battery, account.meter.left_j
        if account.told_j is None:
            return True
        crossed = (account.told_j > battery.reserve_j) != (left > battery.reserve_j)
        power = account.node.power
        worth = _STEP * battery.capacity_j
        if power is not None:
            worth = min(worth, _STEP_S * power.compute_w)
        return crossed or abs(left - account.told_j) >= worth
