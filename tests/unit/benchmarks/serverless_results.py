"""Results of the serverless platform's benchmark, made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.grid.machine import Machine
from benchmarks.orchestrator.measure import Judged, Small
from benchmarks.serverless import cells
from benchmarks.serverless.cells import PACK, Cell
from benchmarks.serverless.lessons import ALL, CONTROL, LESSONS
from benchmarks.serverless.scenarios import GREEDY, SCENARIOS
from benchmarks.serverless.store import Found

QUICK = cells.quick()
FULL = [cell for cell in cells.full([1, 2, 3, 4, 5]) if not cells.needs_data(cell)]
HERE = Machine((("machine", "a test"),))
RULE = LESSONS["images"].rule
POINTS = {ALL: 0.0, CONTROL: -3.0} | {lesson.rule: -1.5 for lesson in LESSONS.values()}
"""Of accuracy against all data, in the results below; of all else `POOR`."""
POOR = -5.0
SHARE = {ALL: 1.0}
"""Of the time, energy and bytes on all data; of all else `LESS`."""
LESS = 0.35
WORSE = {GREEDY: 1.0}
"""Seconds of a round over the orchestrator's; of all baselines `MORE`."""
MORE = 1.2


def small_case(number: int, gap_pct: float = 1.0) -> dict[str, Any]:
    return asdict(Small(number, 4, 1, Judged(100.0), Judged(100.0 + gap_pct), True, 0.5, 0.1))


def trained(rule: str, seed: int) -> dict[str, Any]:
    """A row of a training on containers."""
    part = SHARE.get(rule, LESS)
    return {
        "busy_s": 10.0 * part, "sent_bytes": 10**7 * part, "received_bytes": 10**7 * part, "compute_j": 30.0 * part,
        "send_j": 3.0 * part, "receive_j": 1.0 * part, "active_j": 34.0 * part, "round_s": 5.0 * part,
        "batches": round(176 * part), "select_s": 0.0 if rule == ALL else 0.1, "kept": None if rule == ALL else 431,
        "bytes_from": "links", "accuracy": [0.2 + 0.01 * seed, 0.3], "verdict": "ok", "reasons": [], "duration_s": 12.0,
    }  # fmt: skip


def task(rounds: int = 3, each: float = 5.0, **more: Any) -> dict[str, Any]:
    """A task's part of a run's row, all of it done."""
    rows = [
        {"round": n, "at_s": 1.0 + n * each, "accuracy": 0.1 * n, "predicted_s": 4.8, "measured_s": each,
         "predicted_j": 9.0, "measured_j": 10.0, "decisions": 1, "cuts": {"dev-1": 2, "dev-2": 2, "dev-3": 7}}
        for n in range(1, rounds + 1)
    ]  # fmt: skip
    return {
        "of": "images", "state": "done", "reason": "", "submitted_s": 1.0, "began_s": 1.0, "ended_s": 1 + rounds * each,
        "waited_s": 0.0, "took_s": rounds * each, "rounds": rounds, "rounds_done": rounds,
        "owners": ["dev-1", "dev-2", "dev-3"], "calls": 20, "cold": 6, "warm": 14, "failed": 0, "gb_s": 9.0,
        "sent": 10**7, "fetched": 10**6, "price": 0.01, "active_j": 30.0, "weights_sha256": "a" * 64, "dropped": {},
        "round_rows": rows, "energy": {"dev-1": 10.0, "dev-2": 20.0}, **more,
    }  # fmt: skip


def ran(cell: Cell) -> dict[str, Any]:
    """A run's row."""
    each = 5.0 * WORSE.get(cell.way, MORE) * (1 + 0.01 * cell.seed)
    return {
        "tasks": {name: task(asked.rounds, each) for name, asked in SCENARIOS[cell.setting].tasks.items()},
        "decided_s": 0.3, "unmet": [], "batteries": {"dev-3": 0.5} if SCENARIOS[cell.setting].left else {},
        "handovers": len(SCENARIOS[cell.setting].moves), "verdict": "ok", "reasons": [], "duration_s": 20.0,
    }  # fmt: skip


def result(cell: Cell) -> Found:
    """As a run that keeps every promise has it."""
    match cell.kind:
        case "gap":
            rows = [small_case(int(cell.setting) + i) for i in range(PACK)]
        case "decide":
            rows = [{"units": int(cell.setting), "owners": 9, "tasks": 2, "seconds": [0.5, 0.6], "why_not": ""}]
        case "accuracy":
            last = 0.9 + 0.001 * cell.seed + POINTS.get(cell.rule, POOR) / 100
            rows = [{"accuracy": [0.2 + 0.01 * cell.seed, 0.3, last], "batches": 3520, "select_s": 0.1, "train_s": 9.0}]
        case "platform":
            rows = [ran(cell)]
        case _:
            rows = [trained(cell.rule, cell.seed)]
    return Found(cell.name, "m", rows, took_s=10.0)


def recorded(listed: Sequence[Cell]) -> dict[str, Found]:
    return {cell.name: result(cell) for cell in listed}


# --- arithmetic ---------------------------------------------------------------------------------------------
