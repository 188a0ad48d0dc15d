"""A whole run: bring up, train every scheme on the same bed, record, take down, report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from nodes import schemes
from nodes.policies.samples import named
from testbed.emulation.host import preflight
from testbed.errors import InputError, RoambedError
from testbed.experiment.plan import Plan
from testbed.report import write_report
from testbed.run import again, data, energy, manifest, microbatches, small, speed, steered, summary, verdict
from testbed.run.foreseen import keep_timeline
from testbed.run.live import Live
from testbed.run.outcome import Outcome
from testbed.run.platform import known as knowing
from testbed.run.platform import outcome as platform_outcome
from testbed.run.platform import running
from testbed.run.platform import training as platform
from testbed.run.record import EventLog, RunDirectory, new_run_id, plain_calibration, write_metrics
from testbed.run.seen import seen as watch_sums
from testbed.run.session import Session
from testbed.run.staging import stagings
from testbed.run.task import TaskRun
from testbed.run.watch import plain

AnyOutcome = Outcome | platform_outcome.Outcome
"""Of a scheme, or of the tasks of a serverless platform."""


@dataclass(frozen=True)
class Result:
    """What a run came to: its directory, its summary, and the error that ended it early, if one did."""

    directory: Path
    summary: dict[str, Any]
    failure: RoambedError | None
    interrupted: bool


@contextmanager
def orderly_interrupt(stop: threading.Event, live: Live) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): end in order, results kept. Second: at once, all the same cleaned up."""

    def handler(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        live.warn("ending in order; results are kept (again: at once)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def run(plan: Plan, base: Path, live: Live, argv: Sequence[str] = ()) -> Result:
    """Run an experiment as a user does.

    Args:
        plan: What to run.
        base: Where run directories go.
        live: Where progress goes.
        argv: The command line, for the manifest.

    Raises:
        RoambedError: It could not begin. What goes wrong after that is in the result, with all that was measured.
    """
    plan.require_training()
    preflight()
    split = knowing.split(plan) if plan.tasks else data.split(plan)
    run_id = new_run_id(plan.name)
    stop = threading.Event()
    directory = RunDirectory(base, run_id)
    session = Session(plan, run_id, live, run_dir=str(directory.path))
    try:
        with orderly_interrupt(stop, live):
            try:
                session.up()
            except BaseException:
                directory.discard()  # nothing was measured yet: nothing is left
                raise
            try:
                outcomes = _train(session, split, directory, live, stop, list(argv))
            finally:
                with live.phase("taking everything down"):
                    session.close()
        return conclude(session, plan.workload.schemes, outcomes, directory, live)
    finally:
        if directory.path.exists():
            directory.hand_over()


def _train(
    session: Session, split: data.Split | Mapping[str, data.Split], directory: RunDirectory, live: Live,
    stop: threading.Event, argv: list[str],
) -> Sequence[AnyOutcome]:  # fmt: skip
    if isinstance(split, Mapping):
        return [platform.train(session, split, directory, stop, argv)]
    return train(session, session.plan.workload.schemes, split, directory, live, stop, argv)


def train(
    session: Session, names: Sequence[str], split: data.Split, directory: RunDirectory, live: Live,
    stop: threading.Event, argv: list[str],
) -> list[Outcome]:  # fmt: skip
    """Train each scheme, one after the other, writing events as they come; stops at the first failure.

    Where data is selected by a rule, each is followed by its control (`testbed.run.small`).
    """
    plan = session.plan
    directory.place().joinpath("experiment.yaml").write_text(plan.rendered)
    keep_timeline(plan, directory, live)
    directory.write_json("calibration.json", plain_calibration(session.calibration))
    prepared, used = data.write(split, session.directory), data.described(plan, split)
    for note in split.data.notes:
        live.warn(f"{plan.workload.data.set}: {note}")
    reference = session.reference(layers=any(schemes.get(name).pipelined for name in names))
    session.limit()
    session.check_speeds(reference)
    directory.write_json("manifest.json", manifest.build(plan, session, reference, argv, used))
    outcomes: list[Outcome] = []
    asked = small.ways(plan, names)
    for way in asked:
        name = way.name if len(asked) > 1 else None
        log = EventLog(directory.place(name) / "events.jsonl")
        try:
            outcome = TaskRun(session, way, prepared, reference, log, stop).run()
        finally:
            log.close()
        outcomes.append(outcome)
        _write_summary(session, way, outcome, log, directory, name)
        if outcome.failure or outcome.interrupted:
            break
    return outcomes


def conclude(
    session: Session, names: Sequence[str], outcomes: Sequence[AnyOutcome], directory: RunDirectory, live: Live
) -> Result:
    """Write the run's summary and report."""
    rows = [outcome.row for outcome in outcomes]
    asked = [running.NAME] if session.plan.tasks else [way.name for way in small.ways(session.plan, names)]
    result = dict(rows[0]) if len(asked) == 1 else _several(session, asked, rows)
    result["timings"] = session.timings
    directory.write_json("summary.json", result)
    with live.phase("drawing the report", 4):
        write_report(directory.path)
    failure = next((o.failure for o in outcomes if o.failure), None)
    return Result(directory.path, result, failure, any(o.interrupted for o in outcomes))


def _several(session: Session, names: Sequence[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = [f"{row['scheme']}: {reason}" for row in rows for reason in row["reasons"]]
    return {
        "run": session.run_id,
        "experiment": session.plan.name,
        "scheme": list(names),
        "verdict": "invalid" if reasons or len(rows) < len(names) else "ok",
        "reasons": reasons,
        "seed": session.plan.seed,
        "duration_s": sum(row["duration_s"] for row in rows),
        "dilation": session.plan.dilation,
        "results": rows,
    }


def _write_summary(
    session: Session, way: small.Way, outcome: Outcome, log: EventLog, directory: RunDirectory, scheme: str | None
) -> None:
    plan = session.plan
    devices = summary.device_rounds(log.spans)
    seen = watch_sums(log.spans, plan.tolerances.link_late)
    nodes = summary.node_rows(plan, session.limits_read(), outcome.pacing, seen.nodes)
    trained = speed.trained(plan, session.limits, log.spans)
    reasons = verdict.reasons(plan, session.calibration, nodes, seen, trained, outcome.notes)
    applied = microbatches.ledger(log.spans, [death["node"] for death in outcome.recovery.get("deaths", ())])
    if not outcome.failure and not outcome.interrupted:  # else nodes have not told all
        reasons += microbatches.wrong(applied)
    if outcome.failure:
        reasons.insert(0, outcome.failure.message)
    if outcome.interrupted:
        reasons.insert(0, "the run was interrupted")
    drawn: dict[str, Any] = {}
    if outcome.begin:
        used, known_from = energy.measured(plan, log.spans, outcome.begin, outcome.end)
        drawn = {"energy": energy.section(plan, used, known_from), "cost": energy.cost(plan, used)}
        reasons += energy.reasons(drawn["energy"])
    row = {
        "run": session.run_id,
        "experiment": plan.name,
        "scheme": way.name,
        "strategy": outcome.strategy,
        "verdict": "invalid" if reasons else "ok",
        "reasons": reasons,
        "rounds": outcome.rounds,
        "accuracy": outcome.accuracy[-1] if outcome.accuracy else None,
        "accuracy_by_round": outcome.accuracy,
        "loss_by_round": outcome.loss,
        "dropped": outcome.dropped,
        "weights_sha256": outcome.weights_sha256,
        "seed": plan.seed,
        "data": named(plan.workload.data.set),
        "begin": outcome.begin,
        "duration_s": outcome.end - outcome.begin if outcome.begin else 0.0,
        "dilation": plan.dilation,
        "devices": devices,
        **({"selection": small.section(way, log.spans, devices)} if way.select else {}),
        **({"micro_batches": microbatches.section(applied)} if applied else {}),
        "moves": outcome.moves,
        **outcome.recovery,
        "mobility": outcome.mobility,
        "nodes": nodes,
        **drawn,
        "speed": speed.section(
            plan, session.speeds, trained, session.drift, session.governed()
        ),
        "watch": seen.as_dict() | (plain(outcome.watched) if outcome.watched else {}),
        "links": {"backend": session.bed.emulator.name, "asked": plan.link_backend},
        "calibration": summary.calibration_summary(session.calibration),
    }
    if again.moves_stages(outcome.scheme):
        row["pipeline"] = steered.section(
            log.spans, plan.workload.pipeline, outcome.begin or outcome.end, outcome.end
        )  # fmt: skip
        _write_decisions(session, outcome, log, directory.place(scheme) / again.NAME)
    outcome.row = row
    if scheme:
        directory.write_json("summary.json", row, scheme=scheme)
    metrics = [
        {**line, "scheme": way.name, "device": device, **_scores(outcome, line["round"])}
        for device, lines in devices.items()
        for line in lines
    ]
    write_metrics(directory.place(scheme) / "metrics.csv", sorted(metrics, key=lambda m: (m["round"], m["device"])))


def _write_decisions(session: Session, outcome: Outcome, log: EventLog, path: Path) -> None:
    chosen = stagings(session.plan, session.layer_times)
    try:
        path.write_text(again.text(chosen, log.spans, outcome.begin))
    except InputError as error:  # from nodes of another version; results are not lost for that
        session.live.warn(f"decisions cannot be done again: {error.message}: {error.found}")


def _scores(outcome: Outcome, number: int) -> dict[str, float | None]:
    known = number <= len(outcome.accuracy)
    return {
        "accuracy": outcome.accuracy[number - 1] if known else None,
        "loss": outcome.loss[number - 1] if known else None,
    }
