"""How a task goes on: first weights, each round's training, averaging and evaluation, what is kept, when it ends.

`Rounds.advance` looks at how a task stands and has done what can be done; it may be called at any time, any number of
times. So it does not matter in which order things happen.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from nodes.platform import invoking
from nodes.platform.books import Books
from nodes.platform.calls import misled
from nodes.platform.keeping import Keeping
from nodes.platform.legs import Legs
from nodes.platform.returned import sound
from nodes.platform.states import BROADCAST, INITIALISE, Call, Leg, Model, Round, TaskState, memory_of
from nodes.policies.requests import AGGREGATE, EVALUATE
from nodes.wire import control as ctl
from nodes.wire.jobs import JobState
from nodes.wire.platform_messages import CallEnded


class Rounds:
    """What happens to tasks. ``changed`` is called when one has to be decided about."""

    def __init__(self, books: Books, changed: Callable[[], None]) -> None:
        self._books, self._changed = books, changed
        self.legs, self.keeping = Legs(books), Keeping(books)

    # --- going on ---------------------------------------------------------------------------------------

    def advance(self, task: TaskState) -> None:
        """Have done what can be done for a task now."""
        if not task.open:
            if task.kept and task.best is not None:
                self.keeping.copied(task, task.best)
            return
        if not task.checked:
            return
        self.keeping.forget(task)
        self.keeping.keep_safe(task)
        if task.model is None and task.round is None:
            self._initialise(task)
        round = task.round
        if round is None:
            return
        to_begin = round.count("placed", "wanted") or any(leg.then == "wanted" for leg in round.legs.values()
                                                          if leg.state == "ending")  # fmt: skip
        if to_begin and not self._books.asking.source(round.model.digest):
            self.again(task, f"round {round.number}'s weights are lost")
            return
        for leg in list(round.legs.values()):
            if leg.state == "placed":
                self.legs.supply(task, leg)
        if round.phase == "train":
            self._late(task, round)
            settled = round.count("done") >= task.job.least and round.count("done", "out") == len(round.legs)
            if settled and not self._books.calls.of(task.name, BROADCAST):
                round.phase = "aggregate"
        if round.phase == "aggregate":
            self._aggregate(task, round)
        if round.phase == "evaluate":
            self._evaluate(task, round)

    def possible(self, task: TaskState) -> bool:
        """Whether a server is there that could do what the task needs next, if it did nothing else."""
        registry, round, now = self._books.registry, task.round, self._books.clock()
        if round is None and task.model is None:
            return registry.total(self._books.asking.home(now)) >= memory_of(task.job, INITIALISE)
        if round is None or round.phase == "train":
            return True
        function = AGGREGATE if round.phase == "aggregate" else EVALUATE
        unit = round.aggregator if round.phase == "aggregate" else round.evaluator
        return registry.alive(unit) or any(registry.total(name) >= memory_of(task.job, function)
                                           for name in self._books.asking.finishers(task.job, now))  # fmt: skip

    def _initialise(self, task: TaskState) -> None:
        books, memory = self._books, memory_of(task.job, INITIALISE)
        home = books.asking.home(books.clock())
        if home and books.calls.fits(home, memory) and not books.calls.of(task.name, INITIALISE):
            books.calls.begin(Call(0, home, INITIALISE, task.name, memory=memory), invoking.initialise(task.job))

    def _late(self, task: TaskState, round: Round) -> None:
        """Go on without those that take longer than a round may, if enough have come."""
        drop, now = task.job.task.drop_s, self._books.clock()
        if drop is not None and now >= round.begun + drop and round.count("done") >= task.job.least:
            for leg in round.legs.values():
                if leg.lives and leg.state != "done":
                    self.legs.fail(task, leg, f"it takes longer than {drop:g} s", out=True)

    def _aggregate(self, task: TaskState, round: Round) -> None:
        books, job = self._books, task.job
        memory = memory_of(job, AGGREGATE)
        if books.calls.ends(task.name, AGGREGATE) or not self._end_at(task, round, AGGREGATE, memory):
            return
        done = {leg.owner: leg for leg in round.legs.values() if leg.state == "done"}
        models = {owner: leg.digest for owner, leg in sorted(done.items())}
        where = {digest: books.asking.source(digest) for digest in models.values()}
        samples = {owner: done[owner].samples for owner in models}
        call = Call(0, round.aggregator, AGGREGATE, task.name, round.number, memory=memory)
        books.calls.begin(call, invoking.aggregate(job, models, samples, where))

    def _evaluate(self, task: TaskState, round: Round) -> None:
        books, memory = self._books, memory_of(task.job, EVALUATE)
        assert round.made is not None
        source = books.asking.source(round.made.digest)
        if not source:
            self.again(task, f"round {round.number}'s average is lost")
        elif not books.calls.ends(task.name, EVALUATE) and self._end_at(task, round, EVALUATE, memory):
            call = Call(0, round.evaluator, EVALUATE, task.name, round.number, digest=round.made.digest, memory=memory)
            books.calls.begin(call, invoking.evaluate(task.job, round.made.digest, source, round.evaluator))

    def _end_at(self, task: TaskState, round: Round, function: str, memory: int) -> bool:
        """Whether there is a unit to average (or evaluate) at: as placed, or another one if that is lost or fails."""
        books = self._books
        unit = round.aggregator if function == AGGREGATE else round.evaluator
        if books.registry.alive(unit) and not round.tries[function, unit]:
            return True
        others = [name for name in books.asking.finishers(task.job, books.clock())
                  if name != unit and books.calls.fits_end(task, round, name, memory)]  # fmt: skip
        if others:
            unit = min(others, key=lambda name: (round.tries[function, name], -books.registry.speed(name), name))
        elif not books.registry.alive(unit):
            return False  # until there is room elsewhere
        if function == AGGREGATE:
            round.aggregator = unit
        else:
            round.evaluator = unit
        return True

    # --- what has ended ---------------------------------------------------------------------------------

    def ended(self, task: TaskState, call: Call, message: CallEnded) -> None:
        """An invocation of a task has ended."""
        round, wanted, message = task.round, call.wanted, sound(call, message)
        if message.kind == "" and call.digest:
            self._books.holdings.fetched(call.digest, call.unit)
        if call.owner:
            leg = round.legs.get(call.owner) if round is not None else None
            if leg is not None and call.number in leg.calls:
                self.legs.ended(task, leg, call, message)
        elif message.kind and wanted:
            self._failed(task, call, message)
        elif wanted and call.function == INITIALISE:
            self._begun(task, Model(0, message.outputs["weights"]))
        elif wanted and call.role == "copy":
            if message.outputs.get("part") == call.digest:
                task.tries["copy"] = 0
            else:
                task.tries["copy"] += 1
        elif wanted and round is not None and call.round == round.number:
            self._of_round(task, round, call, message)

    def _begun(self, task: TaskState, model: Model) -> None:
        self._books.holdings.claim(model.digest)
        task.models[0] = model
        self._changed()

    def _of_round(self, task: TaskState, round: Round, call: Call, message: CallEnded) -> None:
        holdings = self._books.holdings
        if call.function == BROADCAST and call.layers not in round.parts and "part" in message.outputs:
            round.parts[call.layers] = message.outputs["part"]
            holdings.claim(message.outputs["part"])
        elif call.function == AGGREGATE and round.phase == "aggregate":
            round.made = Model(round.number, message.outputs["weights"])
            holdings.claim(round.made.digest)
            round.phase = "evaluate"
            self._drop(round)
            if task.job.evaluate_s <= 0:
                self._close(task, round)
        elif call.function == EVALUATE and round.made is not None and round.made.digest == call.digest:
            round.made.accuracy = float(message.values.get("accuracy", math.nan))
            round.made.loss = float(message.values.get("loss", math.nan))
            self._close(task, round)

    def _failed(self, task: TaskState, call: Call, message: CallEnded) -> None:
        if misled(call, message):
            return  # it is asked for elsewhere; what is nowhere any more is made again, and that counts
        tries = task.tries if task.round is None or call.role == "copy" else task.round.tries
        name = "copy" if call.role == "copy" else call.function
        tries[name] += 1
        tries[name, call.unit] += 1
        if call.role != "copy" and tries[name] > self._books.settings.retries:
            self.finish(task, "failed", f"{call.function} on {call.unit} failed {tries[name]} times, "
                                        f"at last: {message.kind}: {message.reason}")  # fmt: skip

    def _drop(self, round: Round) -> None:
        """Let go what a round needed for its training."""
        for leg in round.legs.values():
            if leg.digest:
                self._books.holdings.release(leg.digest)
                leg.digest = ""
        for digest in round.parts.values():
            self._books.holdings.release(digest)
        round.parts.clear()

    def _close(self, task: TaskState, round: Round) -> None:
        """A round is done."""
        books, made = self._books, round.made
        assert made is not None
        for leg in round.legs.values():
            for call in leg.calls.values():
                books.calls.cancel(call)
        task.round = None
        missing = tuple(sorted(set(task.job.task.owners) - {leg.owner for leg in round.legs.values()
                                                            if leg.state == "done"}))  # fmt: skip
        books.act.say(ctl.RoundDone(task.name, round.number, made.accuracy, made.loss, missing))
        self.keeping.made(task, made)
        target, rounds = task.job.target, task.job.task.rounds
        if target is not None and made.accuracy is not None and made.accuracy >= target:
            self.finish(task, "done", f"accuracy of {made.accuracy:.1%} reached the target of {target:.1%}")
        elif round.number >= rounds:
            best = task.best.accuracy if task.best is not None else None
            short = target is not None and (best is None or best < target)
            self.finish(task, "done", f"all {rounds} rounds are done, the target of {target:.1%} was not reached"
                        if short else f"all {rounds} rounds are done")  # fmt: skip
        else:
            books.act.say(ctl.JobStatus(task.status()))
            self._changed()

    # --- what goes wrong --------------------------------------------------------------------------------

    def lost(self, task: TaskState, unit: str) -> None:
        """A unit is lost, and what it had; its invocations have been taken out of the books."""
        self._revise(task, lambda leg: self.legs.lost(task, leg, unit))

    def missed(self, task: TaskState) -> None:
        """Blobs are not where they were: what is nowhere any more is made again."""
        self._revise(task, lambda leg: self.legs.missed(task, leg))

    def _revise(self, task: TaskState, look: Callable[[Leg], None]) -> None:
        for owner, digest in list(task.keeps.items()):
            if not self._books.asking.source(digest):
                self._books.holdings.release(task.keeps.pop(owner))
        if task.round is not None:
            before = task.round.count("done")
            for leg in list(task.round.legs.values()):
                look(leg)
            if task.round.phase == "aggregate" and task.round.count("done") < before:
                task.round.phase = "train"  # what is averaged has to be what is there at the end
                for call in self._books.calls.of(task.name, AGGREGATE):
                    self._books.calls.cancel(call)

    def again(self, task: TaskState, why: str, *, counts: bool = True) -> None:
        """Begin a round again, from the last model that is there; what ``counts`` is not done for ever."""
        task.tries["again"] += counts
        self._drop_round(task)
        if task.tries["again"] > self._books.settings.retries:
            self.finish(task, "failed", f"{why}, for the {task.tries['again']}th time")
        else:
            self._changed()

    def _drop_round(self, task: TaskState) -> None:
        if task.round is not None:
            for call in list(self._books.calls.open.values()):
                if call.task == task.name and call.role != "copy" and call.round:
                    self._books.calls.cancel(call)
            self._drop(task.round)
            if task.round.made is not None:
                self._books.holdings.release(task.round.made.digest)
            task.round = None

    def finish(self, task: TaskState, state: JobState, reason: str) -> None:
        """A task ends: what is open of it is cancelled, its best model is kept, and all else let go."""
        books = self._books
        last = task.model
        self._drop_round(task)
        for call in books.calls.of(task.name):
            if call.role != "copy" or task.best is None or call.digest != task.best.digest:
                books.calls.cancel(call)
        for digest in task.keeps.values():
            books.holdings.release(digest)
        for model in task.models.values():
            if model is not task.best:
                books.holdings.release(model.digest)
        self.keeping.ended(task)
        kept = f"; the model of round {task.best.round} is kept" if task.best is not None and state != "done" else ""
        task.state, task.reason, task.since = state, reason + kept, books.clock()
        if state == "done" and last is not None:
            accuracy = math.nan if last.accuracy is None else last.accuracy
            books.act.say(ctl.TaskDone(task.name, last.digest, accuracy, math.nan if last.loss is None else last.loss))
        books.act.say(ctl.JobStatus(task.status()))
        self._changed()
