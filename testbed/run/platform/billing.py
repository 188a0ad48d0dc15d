"""What tasks are charged: invocations, GB-seconds and bytes by task and function, and what that costs.

A GB-second is a GB (1e9 bytes) reserved for an instance during one second (`nodes.platform.billing`): of an invocation,
while it held its instance and while that was started for it. What instances wait in vain is nobody's. Bytes that an
invocation's parts sent are charged at the price of the unit, blobs that were fetched for it at that of the unit that
sent them: so a task pays for its weights as predicted. `cost` of the summary has all that crossed each unit's link.

GB-seconds are the experiment's. CPU time is what the machine spent: it is told, and has no price. Work takes as much of
it however slowly the experiment runs, so neither changes with dilation, nor do joules, those of seconds of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodes.platform.billing import GB, Charge, gb_seconds, price
from nodes.wire import control as ctl
from testbed.experiment.plan import Plan

_KEYS = (
    "calls", "cold", "warm", "failed", "start_gb_s", "work_gb_s", "gb_s", "cpu_s", "sent", "received", "fetched",
    "price",
)  # fmt: skip


def charge(message: ctl.Charged) -> Charge:
    """What one invocation is charged; seconds are the experiment's already, those of CPU time real."""
    ended = message.ended
    return Charge(
        calls=1, cold=int(ended.cold), failed=int(bool(ended.kind)),
        start_gb_s=gb_seconds(ended.reserved, ended.start_s), work_gb_s=gb_seconds(ended.reserved, ended.held_s),
        cpu_s=ended.cpu_s, sent=ended.sent, received=ended.received,
    )  # fmt: skip


def row(plan: Plan, messages: Iterable[ctl.Charged]) -> dict[str, Any]:
    """Invocations added up."""
    found, money, fetched = Charge(), 0.0, 0
    prices = {node.name: node.price for node in plan.nodes}
    for one in messages:
        each, cost = charge(one), prices[one.unit]
        found, money = found + each, money + price(each, cost.gb_second, cost.gb)
        money += sum(gb(size) * prices[sender].gb for sender, size in one.ended.fetched_from.items())
        fetched += one.ended.fetched
    values = (
        found.calls, found.cold, found.calls - found.cold, found.failed, found.start_gb_s, found.work_gb_s, found.gb_s,
        found.cpu_s, found.sent, found.received, fetched, money,
    )  # fmt: skip
    return dict(zip(_KEYS, values, strict=True))


def by_function(plan: Plan, messages: Iterable[ctl.Charged]) -> dict[str, dict[str, Any]]:
    """The same by function, sorted by name."""
    mine: dict[str, list[ctl.Charged]] = {}
    for one in messages:
        mine.setdefault(one.function, []).append(one)
    return {function: row(plan, mine[function]) for function in sorted(mine)}


def by_unit(plan: Plan, messages: Iterable[ctl.Charged]) -> dict[str, dict[str, Any]]:
    """The same by unit, in the order of the plan."""
    mine: dict[str, list[ctl.Charged]] = {}
    for one in messages:
        mine.setdefault(one.unit, []).append(one)
    return {node.name: row(plan, mine[node.name]) for node in plan.nodes if node.name in mine}


def total(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows added up."""
    found: dict[str, Any] = dict.fromkeys(_KEYS, 0)
    for one in rows:
        for key in _KEYS:
            found[key] += one[key]
    return found


def gb(size: float) -> float:
    """Bytes as GB."""
    return size / GB
