"""One scheme on a bed that stands: start the parts, replay mobility, collect events, until the last round is in."""

from __future__ import annotations

import gc
import math
import queue
import threading
import time
from typing import Any

import msgspec

from nodes import schemes
from nodes.events import Span
from nodes.wire import control as ctl
from testbed.errors import NodeError, RoambedError
from testbed.experiment.plan import Plan
from testbed.run import assignment, mobile, recovery, standstill
from testbed.run import moves as moved
from testbed.run.breaking import Breaking
from testbed.run.control import Said
from testbed.run.data import Prepared
from testbed.run.leisure import may_look, wait_s
from testbed.run.outcome import Outcome
from testbed.run.record import EventLog
from testbed.run.replay import Replay
from testbed.run.session import Session
from testbed.run.small import Way
from testbed.run.watch import Watch

_START_S = 60.0
_WRAP_UP_S = 10.0
"""Virtual seconds, both; beside these a node has some steps."""


class TaskRun:
    """Runs one scheme of the workload.

    Args:
        session: Limited and calibrated. way: The scheme, and what is trained on. prepared: The data.
        reference: Step times. log: Where events go. stop: Set to end early, in order.
    """

    def __init__(
        self, session: Session, way: Way, prepared: Prepared, reference: dict[str, float],
        log: EventLog, stop: threading.Event,
    ) -> None:  # fmt: skip
        self._session = session
        self._plan: Plan = session.plan
        self._way, self._samples = way, prepared.samples
        self._scheme = schemes.get(way.scheme)
        self._log = log
        self._stop = stop
        session.trainings += 1
        # On a bed that stands a scheme may be trained twice: what is on its way of the first is nothing to the second.
        task = assignment.task(session, self._scheme, prepared, reference, way)
        self.task = msgspec.structs.replace(task, pair=session.trainings)
        self.outcome = Outcome(way.scheme, self.task.strategy, way.name)
        self._done = False
        self._time = session.time
        self._replay = Replay(session, self.task.id, session.real.moves)
        self._breaking = Breaking(session, self.task.id, session.real.faults)
        self._deaths: list[recovery.Died] = []

    def run(self) -> Outcome:
        """Run it to its end, its failure or its interruption; never raises for what happens to nodes."""
        outcome, live, plan = self.outcome, self._session.live, self._plan
        self._session.training, self._session.expendable = True, self._expendable()
        self._session.optional = self._optional()
        watch = Watch(self._session.bed, self._log.path.with_name("watch.csv"), self._time.spans)
        try:
            self._require_all()
            self._replay.go_home()
            self._start()
            # What bring-up left is collected now: later it would hold up moves and the watch for 0.15 s.
            gc.collect()
            begin = time.monotonic()
            outcome.begin = self._time.at(begin)
            with live.training(self._way.name, list(self.task.owners), plan.workload.rounds):
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
            gc.unfreeze()
        outcome.watched = watch.watched
        outcome.notes += [watch.failure] if watch.failure else []
        if outcome.begin:
            self._wrap_up(watch)
        self._session.training, self._session.expendable, self._session.optional = False, set(), set()
        return outcome

    def _optional(self) -> set[str]:
        # The driver of a pipeline has the whole model to itself when no edge server is left.
        return {"edge"} if self._scheme.split and self._scheme.pipelined else set()

    def _expendable(self) -> set[str]:
        # Devices find by themselves what they can go on with when an edge server dies; see docs/moves.md.
        edges = set(self.task.edges) if self._scheme.split else set()
        # One that dies itself is waited for like one that is late: for ever, unless the experiment says how long.
        return edges | (set(self.task.owners) if self.task.drop_s is not None else set())

    def _start(self) -> None:
        for name in self._session.workers:
            self._session.control.send(name, ctl.StartTask(self.task))
        patience = _START_S * self._session.real.dilation
        self._session.collect(ctl.Started, self._session.workers, patience, "build its parts of the task", self._hear)

    def _loop(self, watch: Watch) -> None:
        checked = progressed = time.monotonic()
        while not self._done and not self._stop.is_set():
            self._replay.run_due()
            self._tell_links()
            self._breaking.run_due()
            self._tell_lost()
            now = time.monotonic()
            due = min(self._dues(), default=None)
            if may_look(now, checked, due):
                checked = now
                # Events are kept to the end. A collection that went through them all would stop everything here for as
                # long as half a second, handovers too.
                gc.freeze()
                self.outcome.notes += self._session.check()
                self._log.add(watch.take())
            still, limit = now - progressed, self._deadline()
            if still > limit and still - self._excused(progressed, now) > limit:
                raise self._stuck(still)
            timeout = wait_s(time.monotonic(), due)
            try:
                said = self._session.control.inbox.get(timeout=timeout)
            except queue.Empty:
                continue
            if isinstance(said.message, ctl.Progress | ctl.RoundDone | ctl.TaskDone):
                progressed = said.at
            self._hear(said)

    def _dues(self) -> list[float]:
        """When something is to be done next, CLOCK_MONOTONIC."""
        return [due for due in (self._replay.next_due(), self._breaking.next_due()) if due is not None]

    def _require_all(self) -> None:
        if self._session.lost:
            raise NodeError(
                f"{', '.join(self._session.lost)} died in an earlier task of this run",
                wanted="every node to begin with",
                remedy="run the schemes one by one",
            )

    def _tell_lost(self) -> None:
        """Say of nodes that have died whether that was asked for; nobody waits for such a device any more."""
        for died in recovery.newly_dead(self._session, self._deaths, self._breaking, self._replay, self.task.id):
            self._deaths.append(died)
            self._log.add([self._span("node", died.node, died.at, died.at, {"state": "died", "asked": died.asked})])
            if died.owns:
                self._session.live.gone(died.node)
            if self.outcome.failure is not None and self.outcome.failure.where == died.node:
                continue  # which has been said
            goes_on = "rounds go on without it" if died.owns else "devices go on without it"
            self._session.live.warn(f"{died.node} died; {goes_on}")
            if not died.asked:
                self.outcome.notes.append(f"{died.node} {died.how}, which nobody had asked for")

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
                found |= self._without(message)
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

    def _without(self, message: ctl.RoundDone) -> dict[str, Any]:
        """Write down whom a round was averaged without; returns it as attributes of an event."""
        if not message.missing:
            return {}
        dead = [name for name in message.missing if name in self._session.lost]
        late = [name for name in message.missing if name not in dead]
        row = {"round": message.round, "devices": list(message.missing)} | ({"dead": dead} if dead else {})
        self.outcome.dropped.append(row)
        if late:
            self._session.live.warn(f"round {message.round} was averaged without {', '.join(late)}: too late")
        return {"missing": list(message.missing)} | ({"dead": dead} if dead else {})

    def _deadline(self) -> float:
        """Longest time between two signs of progress before a task counts as stuck."""
        real = self._session.real
        if real.tolerances.round_deadline is not None:
            return real.tolerances.round_deadline
        step = self._slowest_step()
        return (60.0 + (self._plan.workload.drop or 0.0)) * real.dilation + 50 * step + self._selecting(step)

    def _slowest_step(self) -> float:
        slowest = min(n.speed for n in self._session.real.nodes)
        return max(max(ops.values()) for ops in (self.task.reference, *self.task.references.values())) / slowest

    def _excused(self, since: float, now: float) -> float:
        """Seconds in which nothing could go on, as a round waits for devices whose links are down."""
        if self.task.drop_s is not None or self._session.real.tolerances.round_deadline is not None:
            return 0.0
        downs = [(down.begin, down.end) for down in self._replay.downs]
        downs += [(one.begin, one.end) for one in self._breaking.broken if one.fault.kind == "cut"]
        return standstill.excused(downs, since, now, ahead=bool(self._dues()))

    def _selecting(self, step: float) -> float:
        """Seconds that no device should take to select its samples, generously: as long as training on each of them."""
        if self.task.select is None:
            return 0.0
        slowest = min(n.speed for n in self._session.real.nodes)
        return max(self._samples.values()) * (step / self.task.batch + 0.001 / slowest)

    def _stuck(self, since: float) -> NodeError:
        silent = sorted(self._session.workers, key=self._session.control.silence)[-1]
        return NodeError(
            f"training stands still: no batch was finished for {since:.0f} s",
            found=f"round {self.outcome.rounds + 1}; the quietest node is {silent}",
            remedy="events.jsonl has the last thing each node did; if this is normal, raise tolerances.round_deadline",
        )

    def _wrap_up(self, watch: Watch) -> None:
        outcome = self.outcome
        recovery.as_can_be(outcome, self._session.bed.rest)
        self._log.add(watch.take())
        for name in self._session.workers:
            self._session.control.send(name, ctl.StopTask(self.task.id))
        if outcome.failure is None:
            try:
                patience = _WRAP_UP_S * self._session.real.dilation + 3 * self._slowest_step()
                self._session.collect(ctl.Pacing, self._session.workers, patience, "finish the task", self._hear)
            except RoambedError as error:
                outcome.failure = None if self._done else error
                outcome.notes.append(error.message)
        self._tell_lost()
        self._tell_links()
        downs = [down.told(self._time) for down in self._replay.downs]  # what ends only now was down to the end
        not_done = recovery.as_can_be(outcome, self._replay.finish, self._breaking.finish)
        if self._done:
            outcome.notes += not_done
        self._tell_links()
        self._describe_moves()
        broken = [one.told(self._time) for one in self._breaking.broken]
        spans = self._log.spans
        outcome.recovery = {
            "faults": recovery.faults(broken, outcome.begin),
            "deaths": recovery.deaths(self._deaths, outcome.dropped, outcome.begin),
            "notes": recovery.notes(spans, outcome.begin),
            "standbys": recovery.standbys(spans, outcome.moves),
        }
        moves = [moved.told(carried, self._time) for carried in self._replay.carried]
        died = {one.node: one.at for one in self._deaths}
        outcome.mobility = mobile.section(self._plan, moves, downs, outcome.begin, outcome.end, died)

    def _describe_moves(self) -> None:
        outcome, spans = self.outcome, self._log.spans
        moves = [moved.told(carried, self._time) for carried in self._replay.carried]
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

    def _virtual(self, pacing: ctl.Pacing) -> ctl.Pacing:
        times = {name: self._time.lasting(getattr(pacing, name)) for name in ("dropped_s", "asked_s", "took_s")}
        return msgspec.structs.replace(pacing, **times)

    def _span(self, kind: str, node: str, begin: float, end: float, attrs: dict[str, Any], number: int = 0) -> Span:
        task = self.task
        return Span(
            kind=kind, node=node, scheme=task.scheme, task=task.id, round=number, begin=begin, end=end, attrs=attrs
        )
