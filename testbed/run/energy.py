"""``energy`` in ``summary.json``: what each node drew in a training, and what became of batteries; ``cost`` beside it.

Measured, not predicted: work by the length of its events (`nodes.policies.energy` says why that is the emulated
device's CPU time), radio by the bytes that crossed the node's own link at the rate in force then (`airtime`). All in
the experiment's own time. Each scheme begins with batteries as the file has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nodes.events import WORK, Span
from nodes.policies import energy
from nodes.policies.energy import Energy, Meter, Reached
from nodes.policies.units import Power
from testbed.experiment.plan import NodePlan, Plan
from testbed.run import airtime
from testbed.run.airtime import Carried, Rates

GB = 1e9
POINTS = 200
"""Points of a battery's curve, about."""
_TOLD = 50
"""Most events of a battery that the summary has."""


@dataclass
class Used:
    """What one node did between two moments: stretches of work, one after the other, and what crossed its link."""

    begin: float
    end: float
    work: list[tuple[float, float]] = field(default_factory=list)
    carried: list[Carried] = field(default_factory=list)

    @property
    def busy_s(self) -> float:
        """Seconds of work."""
        return sum(end - begin for begin, end in self.work)

    def bytes(self, way: str) -> int:
        """Bytes sent, or received."""
        return sum(one.bytes for one in self.carried if one.way == way)

    def air_s(self, way: str) -> float:
        """Seconds of sending, or of receiving."""
        return sum(one.air_s for one in self.carried if one.way == way)


def measured(plan: Plan, spans: Sequence[Span], begin: float, end: float) -> tuple[dict[str, Used], str]:
    """What each node that trains did, as long as it lived; and what its bytes are known from (`airtime.carried`).

    Args:
        plan: In virtual time.
        spans: Of the training.
        begin: Of it.
        end: Of it.
    """
    died = {span.node: span.begin for span in spans if span.kind == "node" and span.attrs.get("state") == "died"}
    crossed, known_from = airtime.carried(plan, Rates(plan, spans, begin), spans)
    work: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        if span.kind in WORK:
            work.setdefault(span.node, []).append((span.begin, span.end))
    found = {}
    for node in plan.nodes:
        if node.kind == "host":
            continue
        until = max(begin, min(end, died.get(node.name, end)))
        found[node.name] = Used(
            begin, until, merged(work.get(node.name, ()), begin, until),
            [one for one in crossed.get(node.name, ()) if begin <= one.begin < until],
        )  # fmt: skip
    return found, known_from


def section(plan: Plan, used: Mapping[str, Used], known_from: str) -> dict[str, Any]:
    """``energy``: a row a node of which it is known what it draws; sums are of the devices among them."""
    rows = {node.name: _row(node, used[node.name]) for node in plan.nodes if node.power and node.name in used}
    devices = [node for node in plan.nodes if node.kind == "device"]
    mine = [rows[node.name] for node in devices if node.name in rows]
    return {
        **{key: sum(row[key] for row in mine) for key in ("active_j", "idle_j", "total_j")},
        "bytes_from": known_from,
        "unknown": [node.name for node in devices if node.power is None],
        "nodes": rows,
    }


def cost(plan: Plan, used: Mapping[str, Used]) -> dict[str, Any]:
    """``cost``: GB-seconds of nodes' work (of their memory limits), GB sent, and what that costs at their prices."""
    rows = {}
    for node in plan.nodes:
        if node.name in used and (node.price.gb_second or node.price.gb):
            gb_s, sent = used[node.name].busy_s * node.memory / GB, used[node.name].bytes("send") / GB
            price = gb_s * node.price.gb_second + sent * node.price.gb
            rows[node.name] = {"kind": node.kind, "gb_s": gb_s, "sent_gb": sent, "price": price}
    return {"price": sum(row["price"] for row in rows.values()), "nodes": rows}


def reasons(found: Mapping[str, Any]) -> list[str]:
    """Why a training's numbers are not those of the experiment: batteries that came to an end, or to their reserve."""
    told = []
    batteries = {name: row["battery"] for name, row in found["nodes"].items() if "battery" in row}
    ends = (
        ("empty", "empty", "it would have trained no further", "they would have trained no further"),
        ("reserve", "at its reserve", "it trained on all the same", "they trained on all the same"),
    )
    for what, how, one, several in ends:
        when = {
            name: at for name, battery in batteries.items()
            if (at := battery[f"{what}_s"]) is not None and (what == "empty" or battery["empty_s"] is None)
        }  # fmt: skip
        if not when:
            continue
        first = min(when, key=lambda name: when[name])
        after = f"{when[first]:.1f} s after the training began"
        names = sorted(when)
        if len(names) == 1:
            told.append(f"{first}'s battery was {how} {after}: {one}")
        else:
            their = how.replace("its reserve", "their reserves")
            listed = f"{', '.join(names[:-1])} and {names[-1]}"
            told.append(f"the batteries of {listed} were {their}, {first}'s first, {after}: {several}")
    return told


def _row(node: NodePlan, used: Used) -> dict[str, Any]:
    assert node.power is not None
    took = used.end - used.begin
    spent = Energy(
        energy.compute_j(node.power, used.busy_s), node.power.sending_w * used.air_s("send"),
        node.power.receiving_w * used.air_s("receive"), energy.idle_j(node.power, took),
    )  # fmt: skip
    row = {
        "kind": node.kind, "took_s": took, "busy_s": used.busy_s,
        "send_s": used.air_s("send"), "receive_s": used.air_s("receive"),
        "sent_bytes": used.bytes("send"), "received_bytes": used.bytes("receive"),
        "compute_j": spent.compute_j, "send_j": spent.send_j, "receive_j": spent.receive_j,
        "active_j": spent.active_j, "idle_j": spent.idle_j, "total_j": spent.total_j,
    }  # fmt: skip
    return row if node.battery is None else row | {"battery": _battery(node, node.power, used)}


def _battery(node: NodePlan, power: Power, used: Used) -> dict[str, Any]:
    """A battery over the training, and its curve: s since the training began, and joules."""
    assert node.battery is not None
    meter = Meter(node.battery, power.idle_w, node.charging)
    took = used.end - used.begin
    curve = [(0.0, meter.left_j)]
    switched = [one.at for one in node.charging if one.at < took][:POINTS]
    grid = sorted({*(took * i / POINTS for i in range(1, POINTS + 1)), *switched})
    least = meter.left_j
    for until, watts in _powers(power, used, grid):
        meter.spend(until, watts * (until - meter.now))
        least = min(least, meter.left_j)
        if until >= grid[0]:
            curve.append((until, meter.left_j))
            grid = [at for at in grid[1:] if at > until] or [float("inf")]
    first = {what: next((one.at for one in meter.reached if one.what == what), None) for what in ("reserve", "empty")}
    return {
        "capacity_j": node.battery.capacity_j, "reserve_j": node.battery.reserve_j,
        "begin_j": node.battery.left_j, "end_j": meter.left_j, "least_j": least,
        "charged_j": meter.charged_j, "unmet_j": meter.unmet_j,
        "reserve_s": first["reserve"], "empty_s": first["empty"],
        "events": [_told(one) for one in meter.reached[:_TOLD]],
        "curve": [[round(at, 3), round(left, 3)] for at, left in curve],
    }  # fmt: skip


def _powers(power: Power, used: Used, also: Iterable[float]) -> list[tuple[float, float]]:
    """Active watts, even up to each of these moments, s since the begin, and from the one before."""
    changes = [(0.0, 0.0), *((at, 0.0) for at in also)]
    for begin, end in used.work:
        changes += [(begin - used.begin, power.compute_w), (end - used.begin, -power.compute_w)]
    for one in used.carried:
        watts = power.sending_w if one.way == "send" else power.receiving_w
        # Spread over the stretch that it is known of, at least a millisecond: power has to be finite.
        begin, end = one.begin - used.begin, min(max(one.end, one.begin + 1e-3), used.end) - used.begin
        if end > begin:
            even = watts * one.air_s / (end - begin)
            changes += [(begin, even), (end, -even)]
    changes.sort()
    found, now, watts = [], 0.0, 0.0
    for at, change in changes:
        if at > now:
            found.append((at, max(watts, 0.0)))
            now = at
        watts += change
    return found


def merged(stretches: Iterable[tuple[float, float]], begin: float, end: float) -> list[tuple[float, float]]:
    """Stretches one after the other, within two moments: a node that does two things at once computes once."""
    found: list[tuple[float, float]] = []
    for since, until in sorted(stretches):
        since, until = max(since, begin), min(until, end)
        if until <= since:
            continue
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(until, found[-1][1]))
        else:
            found.append((since, until))
    return found


def _told(one: Reached) -> dict[str, Any]:
    return {"at_s": one.at, "what": one.what}
