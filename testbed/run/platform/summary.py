"""``tasks``, ``placements`` and ``billing`` of ``summary.json``: what became of tasks, what was decided, what it cost.

Predicted seconds of a round are held against those from the decision to the end of its evaluation; predicted joules
against `drawn`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nodes.events import Span
from nodes.policies.samples import named
from testbed.experiment.plan import Plan
from testbed.run import summary
from testbed.run.airtime import Rates
from testbed.run.platform import billing, drawn
from testbed.run.platform.book import Book, Entry


def tasks(plan: Plan, book: Book, spans: Sequence[Span], rates: Rates, begin: float) -> dict[str, dict[str, Any]]:
    """A row a task, in the order in which they came.

    Args:
        plan: In virtual time.
        book: What was heard.
        spans: All events.
        rates: Of nodes' own links.
        begin: When tasks began to come.
    """
    return {name: _task(plan, entry, spans, rates, begin) for name, entry in book.entries.items()}


def placements(book: Book) -> list[dict[str, Any]]:
    """Everything that was decided, in order of time."""
    found = []
    for entry in book.entries.values():
        for at, one in entry.placements:
            found.append({
                "at_s": round(at, 4), "task": one.task, "round": one.round, "policy": one.policy,
                "objective": _finite(one.objective), "predicted_s": _finite(one.predicted_s),
                "predicted_j": dict(one.predicted_j), "decided_s": one.decided_s, "cuts": dict(one.cuts),
                "unmet": list(one.unmet),
                "rows": [{"function": function, "owner": owner, "unit": unit} for function, owner, unit in one.rows],
            })  # fmt: skip
    return sorted(found, key=lambda row: row["at_s"])


def charges(plan: Plan, book: Book) -> dict[str, Any]:
    """What all tasks were charged together: by unit, and in all."""
    every = [one for entry in book.entries.values() for _, one in entry.charges]
    rows = billing.by_unit(plan, every)
    return {"units": rows, **billing.total(rows.values())}


def predictions(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How far predictions of rounds were off: mean and worst of seconds, and of joules, as shares of what was measured.

    One that was too high makes good for none that was too low.
    """
    found: dict[str, Any] = {}
    for key in ("s", "j"):
        off = [
            abs(round_[f"predicted_{key}"] / round_[f"measured_{key}"] - 1)
            for row in rows.values() for round_ in row["round_rows"]
            if round_[f"predicted_{key}"] is not None and round_[f"measured_{key}"]
        ]  # fmt: skip
        found |= {
            f"rounds_{key}": len(off), f"error_{key}_mean": sum(off) / len(off) if off else None,
            f"error_{key}_worst": max(off, default=None),
        }  # fmt: skip
    return found


def _task(plan: Plan, entry: Entry, spans: Sequence[Span], rates: Rates, begin: float) -> dict[str, Any]:
    task, status = entry.known.task, entry.status
    mine = [span for span in spans if span.task == entry.name]
    functions = billing.by_function(plan, [one for _, one in entry.charges])
    began, ended = entry.since("running"), entry.since("done", "refused", "failed", "cancelled")
    scores = {one.round: one for one in entry.rounds}
    numbers = range(1, max(scores, default=0) + 1)
    energy = drawn.by_device(plan, entry, mine, rates, begin)
    known = [one.accuracy for one in entry.rounds if one.accuracy is not None]
    return {
        "of": task.name, "scheme": task.work.schemes[0], "model": task.work.model, "data": named(task.work.data.set),
        "share": 1.0 if task.work.data.select is None else task.work.data.select.share, "owners": list(task.owners),
        "state": status.state, "reason": status.reason,
        "submitted_s": round(entry.submitted, 4), "began_s": _rounded(began), "ended_s": _rounded(ended),
        "waited_s": None if began is None else round(began - entry.submitted, 4),
        "took_s": None if ended is None else round(ended - entry.submitted, 4),
        "deadline_s": task.deadline, "target": task.target,
        "rounds": task.work.rounds, "rounds_done": max(scores, default=0),
        "accuracy_by_round": [scores[n].accuracy if n in scores else None for n in numbers],
        "loss_by_round": [scores[n].loss if n in scores else None for n in numbers],
        "accuracy": known[-1] if known else None, "best": max(known, default=None),
        "kept_sha256": None if entry.kept is None else entry.kept[0], "weights_sha256": entry.weights_sha256,
        "dropped": [{"round": one.round, "devices": list(one.missing)} for one in entry.rounds if one.missing],
        "round_rows": [_round(plan, entry, n, mine, rates, begin) for n in numbers if n in scores],
        "functions": functions, **billing.total(functions.values()),
        "energy": energy, "active_j": sum(row["active_j"] for row in energy.values()),
        "devices": summary.device_rounds(mine),
    }  # fmt: skip


def _round(
    plan: Plan, entry: Entry, number: int, spans: Sequence[Span], rates: Rates, begin: float
) -> dict[str, Any]:
    """A round: what was predicted of it when it was decided about, and what it took."""
    done = next(one for one in entry.rounds if one.round == number)
    placed = entry.placed(number)
    joules = drawn.by_device(plan, entry, spans, rates, begin, number)
    predicted = {} if placed is None else {name: j for name, j in placed[1].predicted_j.items() if math.isfinite(j)}
    decisions = [one for _, one in entry.placements if one.round == number and one.rows]
    return {
        "round": number, "at_s": round(done.at, 4), "accuracy": done.accuracy,
        "began_s": None if placed is None else round(placed[0], 4),
        "predicted_s": None if placed is None else _finite(placed[1].predicted_s),
        "measured_s": None if placed is None else round(done.at - placed[0], 4),
        "predicted_j": sum(predicted.values()) if predicted else None,
        "measured_j": sum(row["active_j"] for row in joules.values()) if joules else None,
        "predicted_j_by_device": predicted,
        "measured_j_by_device": {name: row["active_j"] for name, row in joules.items()},
        "decisions": len(decisions), "cuts": {} if placed is None else dict(placed[1].cuts),
    }  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
