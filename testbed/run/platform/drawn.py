"""What tasks took of devices in energy: work by its events, radio by the bytes of their invocations.

Links carry what all tasks send together, so theirs cannot be told apart by tasks: here bytes are those of messages and
blobs, brought to layer 2 (`staging.PAYLOAD`), at the mean rate of the device's link while the invocation lasted. What
`energy` of the summary has of a device is more: acknowledgements, heartbeats, and what nobody's task needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodes.events import WORK, Span
from nodes.policies.requests import SELECT, TRAIN_DEVICE
from testbed.experiment.plan import Plan
from testbed.run.airtime import Rates, Way
from testbed.run.energy import merged
from testbed.run.platform.book import Entry
from testbed.run.staging import PAYLOAD

_FETCHED_FROM_DEVICES = TRAIN_DEVICE
"""What this function gives is fetched from the device by whoever averages."""


def by_device(
    plan: Plan, entry: Entry, spans: Iterable[Span], rates: Rates, begin: float, number: int | None = None
) -> dict[str, dict[str, float]]:
    """Active joules of a task by device, or of one of its rounds.

    Args:
        plan: In virtual time.
        entry: The task.
        spans: All events.
        rates: Of nodes' own links.
        begin: When tasks began to come.
        number: Of the round; None: of all.
    """
    devices = {node.name: node for node in plan.nodes if node.kind == "device" and node.power is not None}
    work: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        mine = span.task == entry.name and span.node in devices and span.kind in WORK
        if mine and number in (None, _round(entry, span, begin)):
            work.setdefault(span.node, []).append((span.begin, span.end))
    carried = _carried(entry, devices, number)
    found = {}
    for name, node in devices.items():
        busy = sum(end - since for since, end in merged(work.get(name, ()), float("-inf"), float("inf")))
        air = {"send": 0.0, "receive": 0.0}
        for way, size, since, until in carried.get(name, ()):
            rate = rates.mean(name, way, begin + since, begin + until)
            air[way] += 8 * size / PAYLOAD / rate if rate else 0.0
        power = node.power
        assert power is not None
        if busy or any(air.values()):
            row = {"compute_j": power.compute_w * busy, "send_j": power.sending_w * air["send"],
                   "receive_j": power.receiving_w * air["receive"]}  # fmt: skip
            found[name] = row | {"active_j": sum(row.values()), "busy_s": busy}
    return found


def _round(entry: Entry, span: Span, begin: float) -> int:
    """The round that work is part of. Choosing data says of none: it is that of its invocation, the next to end."""
    if span.kind != "select":
        return span.round
    ended = span.end - begin
    mine = (one.round for at, one in entry.charges if (one.function, one.unit) == (SELECT, span.node) and at >= ended)
    return next(mine, span.round)


def _carried(
    entry: Entry, devices: Mapping[str, Any], number: int | None
) -> dict[str, list[tuple[Way, int, float, float]]]:
    """Bytes that invocations of a task sent and received on devices: which way, how many, since when and until when."""
    found: dict[str, list[tuple[Way, int, float, float]]] = {}
    for at, one in entry.charges:
        if one.unit not in devices or number not in (None, one.round):
            continue
        ended = one.ended
        since = max(at - ended.start_s - ended.held_s, 0.0)
        sent = ended.sent + (sum(ended.sizes.values()) if one.function == _FETCHED_FROM_DEVICES else 0)
        rows = found.setdefault(one.unit, [])
        rows += [("send", sent, since, at), ("receive", ended.received + ended.fetched, since, at)]
    return found
