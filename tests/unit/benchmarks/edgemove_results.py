"""Results of the benchmark of EdgeMove's pipelines as runs that keep every promise have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.edgemove.cells import Cell
from benchmarks.edgemove.settings import DEVICE, GOODPUT
from benchmarks.edgemove.store import Found

SPLIT_S, PIPELINE_S, TURNS_S = 1.2, 0.5, 1.1
"""Seconds a batch."""
PART_S = {"device": (0.06, 0.03, 0.02), "server": (0.03, 0.06, 0.02), "link": (0.03, 0.02, 0.06)}
"""Seconds of a micro-batch by what bounds: the device's, the server's, the way up's."""


def trained(cell: Cell, what: str, s: float, **more: Any) -> dict[str, Any]:
    """A row of a training that took so long a batch."""
    setting = cell.on
    return {
        "what": what, "nodes": [DEVICE, "edge-north"], "bounds": [0, 2, 7], "depths": [4, 1], "chosen": True,
        "why_not": "", "predicted": {"batch_s": s, "bound_s": s, "bottleneck": DEVICE}, "over_turns_bound": 2.4,
        "micro": setting.micro, "samples": setting.batch, "scheme": "edgemove", "schedule": "1f1b", "cut": None,
        "rounds": [{"batches": 8, "steady_s": s, "s": 8.5 * s}] * 3, "parts": {}, "crossings": {}, "gaps": {},
        "stages": [{"stage": 0, "node": DEVICE, "layers": [0, 2], "depth": 4, "bubble": 0.1, "staleness": 0.5,
                    "staleness_most": 1}],
        "handovers": 0, "usual_s": s, "stalls": [], "probes": {"count": 0, "time_share": 0.0, "bytes_share": 0.0},
        "changes": 0, "accuracy": [0.3, 0.6], "round_ends": [5.0, 10.0], "weights_sha256": "a" * 64, "verdict": "ok",
        "reasons": [], "duration_s": 60.0, **more,
    }  # fmt: skip


def result(cell: Cell) -> Found:
    """As a run that keeps every promise has it."""
    match cell.kind, cell.way:
        case "bound", way:
            setting = cell.on
            device, server, up = PART_S[setting.slowest]
            mbit_up, mbit_down = setting.bed.access[0]
            size = [round(s * mbit * 1e6 * GOODPUT / 8) for s, mbit in ((up, mbit_up), (0.01, mbit_down))]
            alone = {
                "parts": {"0": {"node": DEVICE, "s": device}, "1": {"node": "edge-north", "s": server}},
                "crossings": {
                    "dev -> edge-north": {"bytes": size[0], "s": up}, "edge-north -> dev": {"bytes": size[1], "s": 0.01}
                },
            }  # fmt: skip
            s = setting.micro * 0.06 / {"1f1b": 0.97, "sync": 0.88}.get(way, 0.4)
            rows = [trained(cell, way, s, **(alone if way == "apart" else {}))]
        case "plans", _:
            every = [trained(cell, "plan", PIPELINE_S * (1 + i / 10)) for i in range(12)]
            again = [trained(cell, "chosen again", PIPELINE_S * 1.02), trained(cell, "best again", PIPELINE_S)]
            rows = [trained(cell, "chosen", PIPELINE_S), *every, *again]
        case "split", _:
            rows = [
                *(trained(cell, "cut", SPLIT_S * (1 + i / 10)) for i in range(3)),
                trained(cell, "best again", SPLIT_S), trained(cell, "splitfed", SPLIT_S * 1.01, scheme="splitfed"),
            ]  # fmt: skip
        case "steady", way:
            rows = [trained(cell, way, TURNS_S if way == "sequential" else PIPELINE_S)]
        case "accuracy", _:
            rows = [trained(cell, cell.way, PIPELINE_S)]
        case _, way:
            stall = {"proactive": 0.1, "reactive": 1.0}.get(way, 2.0)
            probed = {"count": 4, "time_share": 0.01, "bytes_share": 0.015}
            rows = [
                trained(cell, way, PIPELINE_S, stalls=[stall] * 3, handovers=3, probes=probed, duration_s=60 + stall)
            ]
    return Found(cell.name, "m", rows, took_s=10.0)


def recorded(listed: Sequence[Cell]) -> dict[str, Found]:
    return {cell.name: result(cell) for cell in listed}
