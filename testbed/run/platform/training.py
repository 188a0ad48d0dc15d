"""A run of tasks from the first measurement to the last summary, as `testbed.run.runner` has it of workloads."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nodes import schemes
from nodes.events import WORK, Span
from nodes.platform.library import text_of
from nodes.wire import control as ctl
from testbed.run import birth, data, energy, manifest, mobile, moves, speed, summary, verdict
from testbed.run.airtime import Rates
from testbed.run.data import Split
from testbed.run.foreseen import keep_timeline
from testbed.run.freespeed import reference_at
from testbed.run.moves import Carried
from testbed.run.platform import known as knowing
from testbed.run.platform import summary as tasks_summary
from testbed.run.platform.known import Known
from testbed.run.platform.outcome import Outcome
from testbed.run.platform.running import NAME, PlatformRun
from testbed.run.record import METRICS, EventLog, RunDirectory, plain_calibration, write_metrics
from testbed.run.seen import seen as watch_sums
from testbed.run.session import Session
from testbed.run.virtual import VirtualTime
from testbed.run.watch import plain

_GRACE_S = 5.0
"""A device may work on for so long when its battery has come to its reserve: until it is let go."""
_FUNCTIONS = "functions.py"


def train(
    session: Session, splits: Mapping[str, Split], directory: RunDirectory, stop: threading.Event, argv: list[str]
) -> Outcome:
    """Run the tasks of a session's plan, writing events as they come, then their summary.

    Args:
        session: Up, and not limited yet.
        splits: Data by task.
        directory: Where results go.
        stop: Set to end early, in order.
        argv: The command line, for the manifest.
    """
    plan, live = session.plan, session.live
    directory.place().joinpath("experiment.yaml").write_text(plan.rendered)
    keep_timeline(plan, directory, live)
    directory.write_json("calibration.json", plain_calibration(session.calibration))
    prepared = knowing.write(plan, splits, session.directory)
    for name, split in splits.items():
        for note in split.data.notes:
            live.warn(f"{name}: {note}")
    functions = None if plan.platform.functions is None else text_of(Path(plan.platform.functions))
    sources = {} if functions is None else _given(session, functions)
    reference = session.reference()
    known = {
        task.name: Known(
            knowing.view(plan, task), task, prepared[task.name],
            {cut: reference_at(session, task.work, cut) for cut in knowing.measured_at(task)},
        )
        for task in plan.tasks
    }  # fmt: skip
    session.limit()
    session.check_speeds(reference)
    directory.write_json("manifest.json", _manifest(session, splits, reference, known, functions, argv))
    log = EventLog(directory.place() / "events.jsonl")
    try:
        outcome = PlatformRun(session, known, log, stop, sources).run()
        outcome.row = _row(session, outcome, log)
    finally:
        log.close()
    directory.write_json("summary.json", outcome.row)
    _write_metrics(outcome, directory)
    return outcome


def _given(session: Session, functions: str) -> dict[str, str]:
    """Give the user's functions to every unit; by built-in function, the file that has them inside containers."""
    there = ""
    for node in session.workers:
        host, there = birth.own_file(session.directory, node, _FUNCTIONS)
        host.write_text(functions, encoding="utf-8")
        os.chown(host, birth.NODE_USER, birth.NODE_USER)
        host.chmod(0o400)
    return dict.fromkeys(session.plan.platform.replaced, there)


def _manifest(
    session: Session, splits: Mapping[str, Split], reference: dict[str, float], known: Mapping[str, Known],
    functions: str | None, argv: list[str],
) -> dict[str, Any]:  # fmt: skip
    used = {name: data.described(known[name].plan, split) for name, split in splits.items()}
    found = manifest.build(session.plan, session, reference, argv, next(iter(used.values()), {}))
    found["tasks"] = {
        name: {"data": used[name], "reference_by_cut": {str(cut): ops for cut, ops in known[name].references.items()}}
        for name in used
    }
    found["functions"] = functions
    return found


def _row(session: Session, outcome: Outcome, log: EventLog) -> dict[str, Any]:
    plan, book = session.plan, outcome.book
    moved = _moves(session, outcome, log)
    seen = watch_sums(log.spans, plan.tolerances.link_late)
    nodes = summary.node_rows(plan, session.limits_read(), pacing(outcome, session.time), seen.nodes)
    trained = speed.trained(plan, session.limits, log.spans)
    reasons = verdict.reasons(plan, session.calibration, nodes, seen, trained, outcome.notes)
    if outcome.failure:
        reasons.insert(0, outcome.failure.message)
    if outcome.interrupted:
        reasons.insert(0, "the run was interrupted")
    drawn: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    if outcome.begin:
        log.add(_handovers(outcome))
        used, known_from = energy.measured(plan, log.spans, outcome.begin, outcome.end)
        drawn = {"energy": energy.section(plan, used, known_from), "cost": energy.cost(plan, used)}
        reasons += _overdrawn(drawn["energy"], log.spans, outcome.begin)
        rates = Rates(plan, log.spans, outcome.begin)
        rows = tasks_summary.tasks(plan, book, log.spans, rates, outcome.begin)
    died = {one.node: one.at for one in outcome.died}
    return {
        "run": session.run_id,
        "experiment": plan.name,
        "scheme": NAME,
        "strategy": plan.platform.policy,
        "verdict": "invalid" if reasons else "ok",
        "reasons": reasons,
        "rounds": sum(row["rounds_done"] for row in rows.values()),
        "seed": plan.seed,
        "begin": outcome.begin,
        "duration_s": outcome.end - outcome.begin if outcome.begin else 0.0,
        "dilation": plan.dilation,
        "tasks": rows,
        "placements": tasks_summary.placements(book),
        "predictions": tasks_summary.predictions(rows),
        "billing": tasks_summary.charges(plan, book),
        "moves": moved,
        **outcome.recovery,
        "mobility": mobile.section(plan, outcome.moves, outcome.downs, outcome.begin, outcome.end, died),
        "nodes": nodes,
        **drawn,
        "speed": speed.section(plan, session.speeds, trained, session.drift, session.governed()),
        "watch": seen.as_dict() | (plain(outcome.watched) if outcome.watched else {}),
        "links": {"backend": session.bed.emulator.name, "asked": plan.link_backend},
        "calibration": summary.calibration_summary(session.calibration),
    }


def pacing(outcome: Outcome, time: VirtualTime) -> dict[str, ctl.Pacing]:
    """How well nodes kept the time of their steps, out of what their invocations told, in virtual time."""
    sums: dict[str, dict[str, float]] = {}
    for entry in outcome.book.entries.values():
        for _, one in entry.charges:
            told = one.ended.values.get("pacing")
            if isinstance(told, Mapping):
                mine = sums.setdefault(one.unit, {})
                for key, value in told.items():
                    if isinstance(value, int | float) and math.isfinite(value):  # a user's function may say anything
                        mine[str(key)] = mine.get(str(key), 0.0) + value
    return {
        node: ctl.Pacing(
            NAME, int(told.get("steps", 0)), int(told.get("late", 0)),
            *(time.lasting(told.get(key, 0.0)) for key in ("dropped_s", "asked_s", "took_s")),
        )
        for node, told in sums.items()
    }  # fmt: skip


def _handovers(outcome: Outcome) -> list[Span]:
    return [
        Span(kind="handover", node=one.device, scheme=NAME, begin=one.begin, end=one.end,
             attrs={"device": one.device, "from": one.origin, "to": one.to})
        for one in outcome.moves if one.done
    ]  # fmt: skip


def _moves(session: Session, outcome: Outcome, log: EventLog) -> list[dict[str, Any]]:
    """A row a move and task that trained on the device around it; of a move that none did, one without figures."""
    rows: list[tuple[dict[str, Any], Carried]] = []
    for one in [move for move in outcome.moves if move.done]:
        later = [other.noticed for other in outcome.moves if other.device == one.device and other.noticed > one.noticed]
        before = [other.end for other in outcome.moves if other.device == one.device and other.end < one.begin]
        until, since = min(later, default=float("inf")), max(before, default=0.0)
        touched = False
        for name, entry in outcome.book.entries.items():
            mine = [span for span in log.spans if span.task == name]
            if _trained(mine, one.device, one.noticed, one.end):
                touched = True
                strategy = _strategy(entry.known)
                row = moves.describe(session.plan, one, strategy, mine, outcome.begin, until, since)
                rows.append((row | {"task": name}, one))
        if not touched:
            row = moves.describe(session.plan, one, "none", (), outcome.begin, until, since)
            rows.append((row | {"task": None}, one))
    log.add(
        Span(kind="move", node=one.device, scheme=NAME, task=str(row["task"] or ""), begin=one.noticed, end=one.end,
             attrs=row)
        for row, one in rows
    )  # fmt: skip
    return [row for row, _ in rows]


def _strategy(known: Known) -> str:
    """What becomes of a task's edge half on a move."""
    allowed = schemes.get(known.task.work.schemes[0]).strategies
    asked = known.task.work.strategy
    return asked if asked in allowed else allowed[0]


def _trained(spans: list[Span], device: str, begin: float, end: float) -> bool:
    return any(
        span.node == device and span.kind in WORK | {"wait"} and span.end >= begin and span.begin <= end
        for span in spans
    )


def _overdrawn(found: Mapping[str, Any], spans: list[Span], begin: float) -> list[str]:
    """Devices that worked on although their battery was at its reserve, or empty."""
    told = []
    for name, row in found["nodes"].items():
        battery = row.get("battery")
        at = None if battery is None else battery["reserve_s"]
        if at is None:
            continue
        late = [s for s in spans if s.node == name and s.kind in WORK and s.end - begin > at + _GRACE_S]
        if late and battery["least_j"] <= battery["reserve_j"]:
            told.append(f"{name} worked {late[-1].end - begin - at:.1f} s on after its battery was at its reserve")
    return told


def _write_metrics(outcome: Outcome, directory: RunDirectory) -> None:
    rows = [
        {**dict.fromkeys(METRICS), **line, "scheme": name, "device": device,
         "accuracy": _score(task["accuracy_by_round"], line["round"]),
         "loss": _score(task["loss_by_round"], line["round"])}
        for name, task in outcome.row["tasks"].items()
        for device, lines in task["devices"].items()
        for line in lines
    ]  # fmt: skip
    write_metrics(directory.place() / "metrics.csv", rows)


def _score(values: list[float | None], number: int) -> float | None:
    return values[number - 1] if number <= len(values) else None
