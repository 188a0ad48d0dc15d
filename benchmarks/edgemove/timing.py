"""From the events of a training to what it took: seconds a batch, parts alone, stalls, probes. Plain arithmetic.

Events are dictionaries as ``events.jsonl`` has them; seconds are those of their clock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

Event = Mapping[str, Any]

WORK = ("forward", "backward", "tail-step", "update", "step")
SKIP, DROP = 1, 1
"""Batches left out at the begin and the end of a round: the pipeline fills and drains."""
FEW = 5
BEFORE_S, AFTER_S = 1.0, 6.0
"""Around a handover, what counts for its stall: so long before it is told of, and so long after it (or to the next)."""


def ends(events: Iterable[Event], device: str) -> dict[int, list[float]]:
    """When each batch was done on the device, by round, s; of a round that began again, the last attempt's."""
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for event in events:
        if event["kind"] in WORK and event["node"] == device and event.get("batch", -1) >= 0 and _owns(event, device):
            known = found[event["round"]].get(event["batch"], 0.0)
            found[event["round"]][event["batch"]] = max(known, event["end"])
    return {number: [done for _, done in sorted(batches.items())] for number, batches in sorted(found.items())}


def begins(events: Iterable[Event], device: str) -> dict[int, float]:
    """When the device began with each round, s."""
    found: dict[int, float] = {}
    for event in events:
        if event["kind"] in WORK and event["node"] == device and event.get("batch", -1) >= 0 and _owns(event, device):
            number = event["round"]
            found[number] = min(found.get(number, event["begin"]), event["begin"])
    return dict(sorted(found.items()))


def steady(done: Sequence[float], skip: int = SKIP, drop: int = DROP) -> float | None:
    """Seconds a batch, those at the begin and the end left out; None if there are too few."""
    kept = done[skip : len(done) - drop]
    return (kept[-1] - kept[0]) / (len(kept) - 1) if len(kept) > 1 else None


def stages(events: Iterable[Event], micro: int) -> dict[int, dict[str, Any]]:
    """By stage: its node, and what a micro-batch takes of it, s: work there and back, and its share of an update.

    Medians; with `micro` micro-batches a batch. Meant for a training in which nothing goes on at the same time.
    """
    took: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    nodes: dict[int, str] = {}
    for event in events:
        stage = event.get("attrs", {}).get("stage")
        if event["kind"] in WORK and isinstance(stage, int):
            took[stage][event["kind"]].append(event["end"] - event["begin"])
            nodes[stage] = event["node"]
    return {
        stage: {
            "node": nodes[stage],
            "s": sum(median(times) / (micro if kind == "update" else 1) for kind, times in kinds.items()),
        }
        for stage, kinds in sorted(took.items())
    }


def crossings(events: Iterable[Event]) -> dict[str, dict[str, float]]:
    """By direction (``dev -> edge-north``): bytes of a micro-batch, median, and seconds it was under way, median."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for event in events:
        if event["kind"] == "send" and event.get("attrs", {}).get("message") in ("activations", "gradients"):
            found[f"{event['node']} -> {event['peer']}"].append((event["bytes"], event["end"] - event["begin"]))
    return {
        way: {"bytes": median(size for size, _ in sent), "s": median(took for _, took in sent)}
        for way, sent in sorted(found.items())
    }


def gaps(events: Iterable[Event]) -> dict[int, dict[str, float]]:
    """By stage, between two pieces of its work: median idle seconds, and their sum as a share of the time.

    Where the bottleneck's is not near 0, something else than what is modelled holds it up.
    """
    work: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        stage = event.get("attrs", {}).get("stage")
        if event["kind"] in WORK and isinstance(stage, int):
            work[stage].append((event["begin"], event["end"]))
    found = {}
    for stage, spans in sorted(work.items()):
        spans.sort()
        idle = [max(0.0, b[0] - a[1]) for a, b in pairwise(spans)]
        lasted = spans[-1][1] - spans[0][0]
        if idle and lasted > 0:
            found[stage] = {"median_s": median(idle), "share": sum(idle) / lasted}
    return found


def pipeline(events: Iterable[Event]) -> list[dict[str, Any]]:
    """What stages said of themselves at the ends of rounds, a row a stage: means over rounds."""
    told: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event["kind"] == "pipeline":
            told[event["attrs"]["stage"]].append(event["attrs"] | {"node": event["node"]})
    rows = []
    for stage, every in sorted(told.items()):
        last = every[-1]
        rows.append(
            {
                "stage": stage, "node": last["node"], "layers": last["layers"], "depth": last["depth"],
                "bubble": sum(one["bubble"] for one in every) / len(every),
                "staleness": sum(one["staleness"] for one in every) / len(every),
                "staleness_most": max(one["staleness_most"] for one in every),
            }
        )  # fmt: skip
    return rows


def handovers(events: Iterable[Event], device: str) -> list[tuple[float, float]]:
    """Begin and end of each of the device's handovers, s."""
    spans = [e for e in events if e["kind"] == "handover" and e.get("attrs", {}).get("device") == device]
    return sorted((e["begin"], e["end"]) for e in spans)


def stalls(done: Mapping[int, Sequence[float]], moved: Sequence[tuple[float, float]], usual: float) -> list[float]:
    """Seconds that training lost around each handover: what its batches took beyond the usual, at least 0.

    Args:
        done: When batches were done, by round.
        moved: Begin and end of each handover.
        usual: Seconds a batch where nothing happens.
    """
    lost = []
    before = float("-inf")
    for i, (begin, end) in enumerate(moved):
        # A batch counts once: around the next handover, if it begins near that one.
        until = min(end + AFTER_S, moved[i + 1][0] - BEFORE_S if i + 1 < len(moved) else float("inf"))
        extra = 0.0
        for batches in done.values():
            for a, b in pairwise(batches):  # from round to round something else goes on
                if before <= a < until and b > begin - BEFORE_S:
                    extra += (b - a) - usual
        lost.append(max(0.0, extra))
        before = until
    return lost


def undisturbed(done: Mapping[int, Sequence[float]], moved: Sequence[tuple[float, float]]) -> float | None:
    """Median seconds a batch where no handover is near; None where there is no such batch.

    Before the first handover, if there are some: behind it a stage may be far, and then that is what is usual.
    """
    near = [(begin - BEFORE_S, end + AFTER_S) for begin, end in moved]
    free = [
        (b, b - a)
        for batches in done.values()
        for a, b in pairwise(batches[: len(batches) - DROP])
        if all(b <= begin or a >= end for begin, end in near)
    ]
    first = [took for b, took in free if not near or b <= near[0][0]]
    counted = first if len(first) >= FEW else [took for _, took in free]
    return median(counted) if counted else None


def _owns(event: Event, device: str) -> bool:
    """Whether it is work for this device's own training; a device does no other, so a part without owner counts."""
    _, _, owner = str(event.get("part", "")).rpartition(":")
    return owner in ("", device)
