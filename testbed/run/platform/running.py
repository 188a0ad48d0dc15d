"""The serverless platform on a bed that stands: tasks come, the timeline is replayed, until all tasks have ended."""

from __future__ import annotations

import gc
import math
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.markup import escape

from nodes.events import Span
from nodes.platform.invoking import LIMIT, LIMIT_S
from nodes.wire import control as ctl
from testbed.errors import NodeError, RoambedError
from testbed.run import moves as moved
from testbed.run import recovery
from testbed.run.breaking import Breaking
from testbed.run.control import Said
from testbed.run.leisure import may_look, wait_s
from testbed.run.platform import desk, jobs, settings
from testbed.run.platform.arrivals import Arrivals
from testbed.run.platform.book import Book, Entry
from testbed.run.platform.known import Known
from testbed.run.platform.modems import Modems
from testbed.run.platform.outcome import Outcome
from testbed.run.platform.requests import Answering, Preparing
from testbed.run.record import EventLog
from testbed.run.replay import Replay
from testbed.run.session import Session
from testbed.run.watch import Watch

NAME = "platform"
"""What the results are called, as those of a workload are by its scheme."""
_ALL = ""
"""Task of notices and the like that are for a unit, whatever task its functions work for."""
_MEET_S = 1.5
_SETTLE_S = 1.5
"""What nodes have still to say when the last task has ended comes within so long."""
_STUCK_S = 120.0
"""Virtual seconds without a sign of progress after which the platform is stuck.

Beside these it has 100 of the slowest steps, and as many as an invocation may take, by its round's prediction or by
what a user's function declares: one that hangs is ended then, and tasks go on."""


class PlatformRun:
    """Runs the tasks of a plan.

    Args:
        session: Limited and calibrated. known: Entries of the file, by name. log: Where events go.
        stop: Set to end early, in order. sources: Users' functions, by the built-in one that they replace.
    """

    def __init__(
        self, session: Session, known: dict[str, Known], log: EventLog, stop: threading.Event,
        sources: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._session, self._plan, self._time = session, session.plan, session.time
        self._known, self._log, self._stop = known, log, stop
        self._sources = dict(sources or {})
        self._cloud = settings.orchestrator(self._plan)
        self._replay = Replay(session, _ALL, session.real.moves)
        self._breaking = Breaking(session, _ALL, session.real.faults)
        self._book = Book()
        comes = [(at, name, known[task.name]) for task in self._plan.tasks for name, at in task.comes]
        self._arrivals = Arrivals(comes)
        self.outcome = Outcome(self._book)
        self._answering = Answering(self._book, self._arrivals, self._submit, self._tell, known)
        self._modems: Modems | None = None
        self._idle_since: float | None = None

    def run(self) -> Outcome:
        """Run to the end of all tasks, a failure or an interruption; never raises for what happens to nodes."""
        outcome, session, plan = self.outcome, self._session, self._plan
        kinds = {"device", "edge"}
        session.training, session.optional = True, kinds
        session.expendable = {node.name for node in plan.nodes if node.kind in kinds}
        watch = Watch(session.bed, self._log.path.with_name("watch.csv"), self._time.spans)
        taking: desk.Desk | None = None
        try:
            self._replay.go_home()
            begins = {node.name: settings.provisioned(plan, node) for node in plan.nodes
                      if node.kind != "host" and node.name not in session.lost}  # fmt: skip
            for name, instances in begins.items():  # where a bed stands, there may have been tasks before
                session.control.send(name, ctl.Afresh(instances))
            links = {link.link: link for link in session.calibration}
            self._tell(ctl.Platform(settings.platform(plan, links)))
            torch = next(iter(session.versions.values()), {}).get("torch", "?")
            preparing = Preparing(plan, session.directory, torch, self._known)
            taking = desk.Desk(session.directory / desk.NAME, preparing)
            gc.collect()
            self._meet({name for name, instances in begins.items() if instances})
            begin = time.monotonic()
            outcome.begin = self._time.at(begin)
            session.live.say(f"  tasks come to the [bold]serverless platform[/bold], {plan.platform.policy}")
            session.bed.play(begin)
            self._replay.start(begin)
            self._breaking.start(begin)
            watch.start(begin)
            self._modems = Modems(plan, outcome.begin, self._time, self._to)
            self._second()
            self._loop(watch, taking)
            if not self._book.entries and not self._stop.is_set():
                session.live.warn("no task came: none does by itself, and none was submitted")
            outcome.interrupted = bool(self._stop.is_set() and (self._book.running or len(self._arrivals)))
        except RoambedError as error:
            outcome.failure = error
        finally:
            outcome.end = self._time.at(time.monotonic())
            if taking is not None:
                taking.close()
            watch.stop()
            gc.unfreeze()
        outcome.watched = watch.watched
        outcome.notes += [watch.failure] if watch.failure else []
        if outcome.begin:
            self._wrap_up(watch)
        session.training, session.expendable, session.optional = False, set(), set()
        return outcome

    def _tell(self, message: ctl.ToNode) -> None:
        self._session.control.send(self._cloud, message)

    def _meet(self, starting: set[str]) -> None:
        """Let those units start what they begin with, and all say how they stand, which they do every second."""
        dilation = self._plan.dilation
        limit = time.monotonic() + _STUCK_S * dilation
        until, checked = time.monotonic() + _MEET_S * dilation, time.monotonic()
        while (left := (limit if starting else until) - time.monotonic()) > 0 and not self._stop.is_set():
            with suppress(queue.Empty):
                if time.monotonic() > checked + 1:
                    checked = time.monotonic()
                    self._session.check()
                said = self._session.control.inbox.get(timeout=min(left, 1.0))
                if isinstance(said.message, ctl.Fresh):
                    starting.discard(said.node)
                    until = time.monotonic() + _MEET_S * dilation
                else:
                    self._hear(said)
        if starting and not self._stop.is_set():
            raise NodeError(
                "instances that were to be provisioned did not start", where=", ".join(sorted(starting)),
                wanted=f"that they are ready within {_STUCK_S:g} s",
                remedy="give these nodes more CPU time (profiles.….cpus), or leave platform.provisioned out",
            )

    @property
    def _now(self) -> float:
        """Virtual s since tasks began to come."""
        return self._time.at(time.monotonic()) - self.outcome.begin

    # --- the loop ---------------------------------------------------------------------------------------

    def _loop(self, watch: Watch, taking: desk.Desk) -> None:
        checked = 0.0
        progressed = time.monotonic()
        while not self._stop.is_set() and not self._ended():
            self._replay.run_due()
            self._breaking.run_due()
            self._tell_links()
            self._tell_lost()
            for _, name, known in self._arrivals.come(self._now):
                self._submit(known, name)
            while not taking.requests.empty():
                self._answering.answer(taking.requests.get(), self._now)
            now = time.monotonic()
            due = min(self._dues(now), default=None)
            if may_look(now, checked, due):
                checked = now
                gc.freeze()  # see TaskRun
                self.outcome.notes += self._session.check()
                self._log.add(watch.take())
                self._second()
            if not self._book.running:
                progressed = now
            if now - progressed > self._patience():
                raise self._stuck(now - progressed)
            timeout = wait_s(time.monotonic(), due)
            try:
                said = self._session.control.inbox.get(timeout=timeout)
            except queue.Empty:
                continue
            if isinstance(said.message, ctl.Progress | ctl.JobStatus | ctl.PlacedRound | ctl.Charged | ctl.RoundDone):
                progressed = said.at
            self._hear(said)

    def _ended(self) -> bool:
        """Whether nothing is left to do, nor expected, and what nodes had to say about it is there."""
        if self._book.running or len(self._arrivals):
            self._idle_since = None
            return False
        self._idle_since = time.monotonic() if self._idle_since is None else self._idle_since
        linger = max(_SETTLE_S, self._plan.platform.linger * self._plan.dilation)
        return time.monotonic() - self._idle_since >= linger

    def _dues(self, now: float) -> list[float]:
        """When something is to be done next, CLOCK_MONOTONIC."""
        dues = [due for due in (self._replay.next_due(), self._breaking.next_due()) if due is not None]
        if (at := self._arrivals.due()) is not None:
            dues.append(now + (at - self._now) * self._plan.dilation)
        return dues

    def _patience(self) -> float:
        real = self._session.real
        if real.tolerances.round_deadline is not None:
            return real.tolerances.round_deadline
        slowest = min(node.speed for node in real.nodes if node.kind != "host")
        steps = [max(ops.values()) for known in self._known.values() for ops in known.references.values()]
        rounds = [one.predicted_s for entry in self._book.running for _, one in entry.placements if one.rows]
        limits = [LIMIT * seconds + LIMIT_S for seconds in rounds if math.isfinite(seconds)]
        own = [one.time_limit for one in self._plan.platform.replaced.values()]
        longest = max([*limits, *own], default=0.0)
        return (_STUCK_S + longest) * real.dilation + 100 * max(steps, default=0.0) / slowest

    def _stuck(self, since: float) -> NodeError:
        waiting = ", ".join(f"{entry.name} ({entry.status.state})" for entry in self._book.running)
        return NodeError(
            f"the platform stands still: nothing was heard of its tasks for {since:.0f} s", found=waiting,
            where=self._cloud, remedy="events.jsonl has the last thing each node did; if this is normal, raise "
            "tolerances.round_deadline",
        )  # fmt: skip

    def _submit(self, known: Known, name: str) -> None:
        job = jobs.job(known, name, self._sources)  # first: what cannot be submitted is not waited for
        self._book.open(name, known, self._now)
        self._session.live.say(f"    {name} comes [dim]{self._now:.1f} s[/dim]")
        self._tell(ctl.Submit(job))

    # --- what nodes are told ----------------------------------------------------------------------------

    def _to(self, node: str, message: ctl.ToNode) -> None:
        if node not in self._session.lost:
            self._session.control.send(node, message)

    def _tell_links(self) -> None:
        """Say, and write down, which devices' links have gone down or come up, and where they have gone."""
        if self._modems is not None:
            changed, carried = self._replay.changed(), self._replay.carried
            self._log.add(self._modems.links(self._time.at(time.monotonic()), changed, carried, NAME))

    def _second(self) -> None:
        if self._modems is not None:
            self._modems.second(self._time.at(time.monotonic()), self._log.spans, list(self._session.lost))

    def _tell_lost(self) -> None:
        """Say which nodes have died."""
        for died in recovery.newly_dead(self._session, self.outcome.died, self._breaking, self._replay, _ALL):
            self.outcome.died.append(died)
            attrs = {"state": "died", "asked": died.asked}
            self._log.add([Span(kind="node", node=died.node, scheme=NAME, begin=died.at, end=died.at, attrs=attrs)])
            self._session.live.warn(f"{died.node} died; tasks go on without it, as far as they can")
            if not died.asked:
                self.outcome.notes.append(f"{died.node} {died.how}, which nobody had asked for")

    # --- what nodes say ---------------------------------------------------------------------------------

    def _hear(self, said: Said) -> None:
        message, at = said.message, self._time.at(said.at) - self.outcome.begin
        match message:
            case ctl.Events():
                self._log.add(self._time.spans(message.spans))
            case ctl.Failed():
                if said.node not in self._session.lost:
                    raise NodeError(f"{said.node} failed: {message.reason}", where=said.node)
            case _:
                entry = self._book.hear(message, at)
                if entry is not None:
                    self._show(entry, message, at)

    def _show(self, entry: Entry, message: ctl.FromNode, at: float) -> None:
        live, when = self._session.live, f"[dim]{at:.1f} s[/dim]"
        match message:
            case ctl.RoundDone():
                score = "averaged" if message.accuracy is None else f"accuracy {message.accuracy:.1%}"
                live.say(f"    {entry.name} round {message.round}/{entry.known.task.work.rounds}  {score}  {when}")
                attrs: dict[str, Any] = {"accuracy": message.accuracy, "loss": message.loss}
                attrs |= {"missing": list(message.missing)} if message.missing else {}
                moment = self.outcome.begin + at
                self._log.add([Span(kind="accuracy", node=self._cloud, scheme=entry.known.task.work.schemes[0],
                                    task=entry.name, round=message.round, begin=moment, end=moment,
                                    attrs=attrs)])  # fmt: skip
            case ctl.JobStatus(status=status) if entry.over:
                why = f": {escape(status.reason)}" if status.reason else ""  # a function may raise with anything in it
                say = live.say if status.state == "done" else live.warn
                say(f"    {entry.name} {status.state}{why}  {when}")
            case ctl.PlacedRound() if message.unmet:
                live.warn(f"    {entry.name} round {message.round} has no place: {', '.join(message.unmet)}")
            case _:
                pass

    # --- the end ----------------------------------------------------------------------------------------

    def _wrap_up(self, watch: Watch) -> None:
        outcome = self.outcome
        recovery.as_can_be(outcome, self._session.bed.rest)
        self._log.add(watch.take())
        while not self._session.control.inbox.empty():
            said = self._session.control.inbox.get()
            if not isinstance(said.message, ctl.Failed):
                self._hear(said)
        self._tell_lost()
        outcome.downs = [down.told(self._time) for down in self._replay.downs]
        not_done = recovery.as_can_be(outcome, self._replay.finish, self._breaking.finish)
        if not outcome.failure and not outcome.interrupted:
            outcome.notes += not_done
        self._tell_links()
        outcome.moves = [moved.told(one, self._time) for one in self._replay.carried]
        broken = [one.told(self._time) for one in self._breaking.broken]
        outcome.recovery = {
            "faults": recovery.faults(broken, outcome.begin),
            "deaths": recovery.deaths(outcome.died, [], outcome.begin),
            "notes": recovery.notes(self._log.spans, outcome.begin),
        }
