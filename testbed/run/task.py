"""One scheme on a bed that stands: start the parts, replay mobility, collect events, until the last round is in."""

from __future__ import annotations

import gc
import math
import queue
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from nodes import schemes
from nodes.events import Span
from nodes.schemes import Members
from nodes.wire import control as ctl
from testbed.errors import NodeError, RoambedError, RunError
from testbed.experiment.plan import Plan
from testbed.run import mobile, recovery
from testbed.run import moves as moved
from testbed.run.breaking import Breaking
from testbed.run.control import Said
from testbed.run.data import Prepared
from testbed.run.patience import patience
from testbed.run.record import EventLog
from testbed.run.replay import Replay
from testbed.run.session import Session
from testbed.run.watch import Watch, Watched

_START_S = 60.0
_WRAP_UP_S = 10.0
_CHECK_S = 1.0


@dataclass
class Outcome:
    """What a task came to, in virtual time. ``failure`` says why it ended early; all else is as far as it got."""

    scheme: str
    strategy: str
    begin: float = 0.0
    end: float = 0.0
    rounds: int = 0
    accuracy: list[float | None] = field(default_factory=list)
    loss: list[float | None] = field(default_factory=list)
    weights_sha256: str | None = None
    dropped: list[dict[str, Any]] = field(default_factory=list)  # round, and devices that it was averaged without
    moves: list[dict[str, Any]] = field(default_factory=list)
    recovery: dict[str, Any] = field(default_factory=dict)  # faults, what nodes did about them, standbys
    mobility: dict[str, Any] = field(default_factory=dict)
    pacing: dict[str, ctl.Pacing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    watched: Watched | None = None
    failure: RoambedError | None = None
    interrupted: bool = False
    row: dict[str, Any] = field(default_factory=dict)  # as it stands in summary.json


class TaskRun:
    """Runs one scheme of the workload.

    Args:
        session: Limited and calibrated. scheme: Its name. prepared: The data. reference: Step times.
        log: Where events go. stop: Set to end early, in order.
    """

    def __init__(
        self, session: Session, scheme: str, prepared: Prepared, reference: dict[str, float],
        log: EventLog, stop: threading.Event,
    ) -> None:  # fmt: skip
        self._session = session
        self._plan: Plan = session.plan
        self._scheme = schemes.get(scheme)
        self._log = log
        self._stop = stop
        asked = self._plan.workload.strategy
        strategy = asked if asked in self._scheme.strategies else self._scheme.strategies[0]
        self.task = self._make_task(strategy, prepared, reference)
        self.outcome = Outcome(scheme, strategy)
        self._done = False
        self._time = session.time
        self._replay = Replay(session, self.task.id, session.real.moves)
        self._breaking = Breaking(session, self.task.id, session.real.faults)
        self._told_lost: set[str] = set(session.lost)

    def run(self) -> Outcome:
        """Run it to its end, its failure or its interruption; never raises for what happens to nodes."""
        outcome, live, plan = self.outcome, self._session.live, self._plan
        if self._scheme.split and not self._scheme.pipelined:
            # Devices find what they can go on with by themselves; see docs/moves.md.
            self._session.expendable = set(self.task.edges)
        watch = Watch(self._session.bed, self._log.path.with_name("watch.csv"), self._time.spans)
        try:
            self._require_all()
            self._replay.go_home()
            self._start()
            # What bring-up left is collected now: later it would hold up moves and the watch for 0.15 s.
            gc.collect()
            gc.freeze()
            begin = time.monotonic()
            outcome.begin = self._time.at(begin)
            with live.training(self.task.scheme, list(self.task.owners), plan.workload.rounds):
                self._session.control.broadcast(ctl.Go(self.task.id))
                self._session.bed.play(begin)
                self._replay.start(begin)
                self._breaking.start(begin)
                watch.start(begin)
                self._loop(watch)
            outcome.interrupted = not self._done
        except RoambedError as error:
            outcome.failure = error
        finally:
            outcome.end = self._time.at(time.monotonic())
            watch.stop()
        outcome.watched = watch.watched
        outcome.notes += [watch.failure] if watch.failure else []
        if outcome.begin:
            self._wrap_up(watch)
        return outcome

    def _make_task(self, strategy: str, prepared: Prepared, reference: dict[str, float]) -> ctl.Task:
        plan, work, name = self._plan, self._plan.workload, self._scheme.name
        references = self._session.references
        devices = tuple(sorted(n.name for n in plan.nodes if n.kind == "device"))
        sites = {n.name: n.site or "" for n in plan.nodes if n.kind == "device"}
        edge_of = {d: plan.site(sites[d]).edge or "" for d in devices}
        stranded = [d for d in devices if not edge_of[d]] if self._scheme.split else []
        if stranded:
            raise RunError(
                f"{name} needs an edge server where a device starts",
                found=f"none at the site of {', '.join(stranded)}",
                remedy="give the site an edge server, or use a scheme without one (fedavg)",
            )
        cloud = next(n.name for n in plan.nodes if n.kind == "cloud")
        edges = tuple(sorted(n.name for n in plan.nodes if n.kind == "edge"))
        hierarchical = work.hierarchical and self._scheme.split
        collectors = schemes.place_collectors(name, edges) if hierarchical else []
        return ctl.Task(
            id=name, scheme=name, strategy=strategy, seed=plan.seed, model=work.model,
            cut=work.cut, in_shape=prepared.in_shape, classes=prepared.classes, rounds=work.rounds, batch=work.batch,
            local_epochs=work.local_epochs, lr=work.lr, momentum=work.momentum, weight_decay=work.weight_decay,
            threads=work.threads, augment=work.data.set == "cifar10", owners=devices,
            samples=dict(prepared.samples),
            placement=(*self._scheme.place(name, Members(devices, edge_of, cloud)), *collectors),
            reference=reference, data=dict(prepared.paths), options=dict(work.options),
            edges=edges, drop_s=work.drop, hierarchical=hierarchical,
            cuts=dict(work.cuts), references={k: dict(ops) for k, ops in references.items() if k != work.cut},
            patience=patience(plan, [reference, *references.values()]),
            pipeline=self._pipeline(),
        )  # fmt: skip

    def _pipeline(self) -> ctl.Pipeline | None:
        if not self._scheme.pipelined:
            return None
        return ctl.Pipeline(**vars(self._plan.workload.pipeline), times=self._session.layer_times)

    def _start(self) -> None:
        for name in self._session.workers:
            self._session.control.send(name, ctl.StartTask(self.task))
        self._session.collect(ctl.Started, self._session.workers, _START_S, "build its parts of the task", self._hear)

    def _loop(self, watch: Watch) -> None:
        checked = progressed = time.monotonic()
        while not self._done and not self._stop.is_set():
            self._replay.run_due()
            self._tell_links()
            self._breaking.run_due()
            self._tell_lost()
            now = time.monotonic()
            if now - checked >= _CHECK_S:
                checked = now
                self.outcome.notes += self._session.check()
                self._log.add(watch.take())
            deadline = self._deadline()
            if now - progressed > deadline:
                raise self._stuck(now - progressed)
            dues = [due for due in (self._replay.next_due(), self._breaking.next_due()) if due is not None]
            timeout = min(0.25, max(0.0, min(dues) - now)) if dues else 0.25
            try:
                said = self._session.control.inbox.get(timeout=timeout)
            except queue.Empty:
                continue
            if isinstance(said.message, ctl.Progress | ctl.RoundDone | ctl.TaskDone):
                progressed = said.at
            self._hear(said)

    def _require_all(self) -> None:
        if self._session.lost:
            raise NodeError(
                f"{', '.join(self._session.lost)} died in an earlier task of this run",
                wanted="every node to begin with",
                remedy="run the schemes one by one",
            )

    def _tell_lost(self) -> None:
        """Say of edge servers that have died whether that was asked for; devices find out by themselves."""
        for name in set(self._session.lost) - self._told_lost:
            self._told_lost.add(name)
            at = self._time.at(self._session.lost[name])
            asked = name in self._breaking.killed
            self._log.add([self._span("node", name, at, at, {"state": "died", "asked": asked})])
            self._session.live.warn(f"{name} died; its devices go on elsewhere")
            if not asked:
                self.outcome.notes.append(f"{name} died, which nobody had asked for")

    def _tell_links(self) -> None:
        """Write down which devices' links have gone down or come up."""
        for down in self._replay.changed():
            told = mobile.events(down.told(self._time))
            self._log.add([self._span(kind, down.device, begin, end, attrs) for kind, begin, end, attrs in told])

    def _hear(self, said: Said) -> None:
        message, outcome, live = said.message, self.outcome, self._session.live
        match message:
            case ctl.Events():
                self._log.add(self._time.spans(message.spans))
            case ctl.Progress():
                self._replay.progress(message)
                self._breaking.progress(message)
                live.batch(message.device, message.round, message.done, message.batches)
            case ctl.RoundDone():
                outcome.rounds = message.round
                outcome.accuracy.append(message.accuracy)
                outcome.loss.append(message.loss)
                at = self._time.at(said.at)
                live.round(message.round, message.accuracy, at - outcome.begin)
                found: dict[str, Any] = {"accuracy": message.accuracy, "loss": message.loss}
                if message.missing:
                    found["missing"] = list(message.missing)
                    outcome.dropped.append({"round": message.round, "devices": list(message.missing)})
                    live.warn(f"round {message.round} was averaged without {', '.join(message.missing)}: too late")
                self._log.add([self._span("accuracy", said.node, at, at, found, message.round)])
            case ctl.TaskDone():
                outcome.weights_sha256 = message.weights_sha256
                self._done = True
            case ctl.Pacing():
                outcome.pacing[said.node] = self._virtual(message)
            case ctl.Failed():
                raise NodeError(f"{said.node} failed: {message.reason}", where=said.node)
            case _:
                pass

    def _deadline(self) -> float:
        """Longest time between two signs of progress before a task counts as stuck."""
        real = self._session.real
        if real.tolerances.round_deadline is not None:
            return real.tolerances.round_deadline
        slowest = min(n.speed for n in real.nodes)
        step = max(max(ops.values()) for ops in (self.task.reference, *self.task.references.values())) / slowest
        return (60.0 + (self._plan.workload.drop or 0.0)) * real.dilation + 50 * step

    def _stuck(self, since: float) -> NodeError:
        silent = sorted(self._session.workers, key=self._session.control.silence)[-1]
        return NodeError(
            f"training stands still: no batch was finished for {since:.0f} s",
            found=f"round {self.outcome.rounds + 1}; the quietest node is {silent}",
            remedy="events.jsonl has the last thing each node did; if this is normal, raise tolerances.round_deadline",
        )

    def _wrap_up(self, watch: Watch) -> None:
        outcome = self.outcome
        self._session.bed.rest()
        self._log.add(watch.take())
        for name in self._session.workers:
            self._session.control.send(name, ctl.StopTask(self.task.id))
        if outcome.failure is None:
            try:
                said = self._session.collect(
                    ctl.Pacing, self._session.workers, _WRAP_UP_S, "finish the task", self._hear
                )
                for one in said:
                    self._hear(one)
            except RoambedError as error:
                outcome.failure = None if self._done else error
                outcome.notes.append(error.message)
        self._tell_links()
        downs = [down.told(self._time) for down in self._replay.downs]  # what ends only now was down to the end
        not_done = [*self._replay.finish(), *self._breaking.finish()]
        self._session.expendable = set()
        if self._done:
            outcome.notes += not_done
        self._tell_links()
        self._describe_moves()
        broken = [
            replace(one, begin=self._time.at(one.begin), end=None if one.end is None else self._time.at(one.end))
            for one in self._breaking.broken
        ]
        spans = self._log.spans
        outcome.recovery = {
            "faults": recovery.faults(broken, outcome.begin),
            "notes": recovery.notes(spans, outcome.begin),
            "standbys": recovery.standbys(spans, outcome.moves),
        }
        moves = [self._told(carried) for carried in self._replay.carried]
        outcome.mobility = mobile.section(self._plan, moves, downs, outcome.begin, outcome.end)

    def _describe_moves(self) -> None:
        outcome, spans = self.outcome, self._log.spans
        moves = [self._told(carried) for carried in self._replay.carried]
        for carried in [c for c in moves if c.done]:
            notices = [c.noticed for c in moves if c.device == carried.device]
            until = min((n for n in notices if n > carried.noticed), default=math.inf)
            since = max((c.end for c in moves if c.device == carried.device and c.end < carried.begin), default=0.0)
            row = moved.describe(self._plan, carried, outcome.strategy, spans, outcome.begin, until, since)
            outcome.moves.append(row)
            attrs = {"device": carried.device, "from": carried.origin, "to": carried.to}
            self._log.add(
                [
                    self._span("handover", carried.device, carried.begin, carried.end, attrs),
                    self._span("move", carried.device, carried.noticed, carried.end, row),
                ]
            )

    def _told(self, carried: moved.Carried) -> moved.Carried:
        """A move in virtual time."""
        at, lasting = self._time.at, self._time.lasting
        return replace(
            carried,
            noticed=at(carried.noticed),
            begin=at(carried.begin) if carried.done else 0.0,
            end=at(carried.end) if carried.done else 0.0,
            due=None if carried.due is None else at(carried.due),
            moved=at(carried.moved) if carried.done else 0.0,
            command_s=lasting(carried.command_s),
            gap=None if carried.gap is None else lasting(carried.gap),
        )

    def _virtual(self, pacing: ctl.Pacing) -> ctl.Pacing:
        times = {name: self._time.lasting(getattr(pacing, name)) for name in ("dropped_s", "asked_s", "took_s")}
        return msgspec.structs.replace(pacing, **times)

    def _span(self, kind: str, node: str, begin: float, end: float, attrs: dict[str, Any], number: int = 0) -> Span:
        task = self.task
        return Span(
            kind=kind, node=node, scheme=task.scheme, task=task.id, round=number, begin=begin, end=end, attrs=attrs
        )
