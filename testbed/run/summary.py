"""``summary.json``: what a run found, from its events, moves and calibration. Its verdict is in `verdict`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from nodes.events import Span
from nodes.wire.control import Pacing
from testbed.emulation.links.shape import LinkCalibration
from testbed.experiment.plan import Plan
from testbed.run.seen import NodeSeen

_COMPUTE = ("forward", "backward", "step")


def device_rounds(spans: Sequence[Span]) -> dict[str, list[dict[str, Any]]]:
    """Per device, a row for every round that it finished.

    ``time_s`` runs from its first batch (of the first attempt) to its last batch: waiting for others is not in it.
    """
    ends: dict[tuple[str, int], Span] = {}
    parts: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for span in spans:
        device = span.part.partition(":")[2]
        if span.kind == "round":
            ends[device, span.round] = span
        elif span.kind in (*_COMPUTE, "wait"):
            parts[device, span.round].append(span)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (device, number), last in sorted(ends.items()):
        work = [s for s in parts[device, number] if s.kind in _COMPUTE]
        begin = min([s.begin for s in work] + [last.begin])
        rows[device].append(
            {
                "round": number,
                "time_s": last.end - begin,
                "batches": last.attrs["batches"],
                "attempts": last.attrs.get("attempt", 0) + 1,
                "compute_s": sum(s.end - s.begin for s in work),
                "wait_s": sum(s.end - s.begin for s in parts[device, number] if s.kind == "wait"),
                "late_steps": sum(s.late for s in work),
            }
        )
    return dict(rows)


def node_rows(
    plan: Plan, limits: dict[str, dict[str, Any]], pacing: dict[str, Pacing], seen: Mapping[str, NodeSeen]
) -> dict[str, dict[str, Any]]:
    """Per node: what was asked of it, what was set, how fast its paced steps were, what the watch saw."""
    rows = {}
    for node in plan.nodes:
        kept = pacing.get(node.name)
        paced = kept is not None and kept.took_s > 0
        base = node.speed if node.paced else plan.dilation  # where steps are not paced, their time is asked at speed 1
        rows[node.name] = {
            "kind": node.kind,
            "profile": node.profile,
            "speed": node.speed,
            "speed_measured": base * kept.asked_s / kept.took_s if kept and paced else None,
            "steps": kept.steps if kept else 0,
            "late_share": kept.late / kept.steps if kept and kept.steps else 0.0,
            "dropped_s": kept.dropped_s if kept else 0.0,
            "cpus": node.cpus,
            "memory": node.memory,
            "limits": limits.get(node.name, {}),
            "watch": seen[node.name].as_dict() if node.name in seen else {},
        }
    return rows


def calibration_summary(links: Sequence[LinkCalibration]) -> dict[str, Any]:
    """Worst errors over all links."""
    rates = [abs(d.rate_error) for c in links for d in (c.ab, c.ba) if d.rate_error is not None]
    rtts = [abs(c.rtt_error) for c in links if c.rtt_error is not None]
    return {
        "worst_rate_error": max(rates, default=None),
        "worst_rtt_error_s": max(rtts, default=None),
        "problems": [p for c in links for p in c.problems],
    }
