"""An owner's share of a round: its inputs, both halves as a pair, what becomes of it when something goes wrong.

A share is done by both halves, or it begins again from the same blobs: when one half fails the other one is cancelled,
and only when both have ended are they placed anew. After `PlatformSettings.retries` failures its owner is left out of
the round, and of the task if it is the function that fails there and not a unit or a link.
"""

from __future__ import annotations

from nodes.platform import invoking, outcomes
from nodes.platform.books import Books
from nodes.platform.calls import misled
from nodes.platform.states import BROADCAST, Call, Leg, Role, TaskState, memory_of
from nodes.policies.requests import SELECT, TRAIN_DEVICE, TRAIN_EDGE
from nodes.wire.platform_messages import CallEnded

_OWN = frozenset({
    outcomes.GIVEN, outcomes.RAISED, outcomes.RETURNED, outcomes.TIME, outcomes.MEMORY, outcomes.NO_START,
    outcomes.REFUSED,
})  # fmt: skip
"""Failures that would come again on the same device."""
_MOVES = ("migrate", "restart", "shadow")
"""Strategies by which an edge half goes to where its device goes."""


class Legs:
    """What happens to owners' shares."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def supply(self, task: TaskState, leg: Leg) -> None:
        """See to the inputs of a share that has its placement, and invoke it when they are there."""
        job, round = task.job, task.round
        assert round is not None
        assert leg.cut is not None
        keep = task.keeps.get(leg.owner, "")
        ready = job.select is None or bool(keep)
        if not ready and not any(call.function == SELECT for call in leg.calls.values()):
            call = self._call(task, leg, leg.owner, SELECT, "", memory_of(job, SELECT))
            self._books.calls.begin(call, invoking.select(job, leg), leg)
        sides = [(True, leg.owner), *([(False, leg.server)] if leg.server else [])]
        given = [self._weights(task, unit, invoking.layers_of(job, leg, device)) for device, unit in sides]
        if not ready or not all(given):
            return
        leg.state, leg.pair = "training", self._books.act.number()
        for (device, unit), digest in zip(sides, given, strict=True):
            self._train(task, leg, unit, digest, keep, device, "device" if device else "edge")

    def _weights(self, task: TaskState, unit: str, layers: tuple[str, ...]) -> str:
        """Digest of what a unit needs of the round's model; empty: it is being made."""
        books, round, job = self._books, task.round, task.job
        assert round is not None
        model = round.model.digest
        if invoking.is_whole(job, layers) or unit in books.holdings.holders(model):
            return model
        part = round.parts.get(layers, "")
        if part and books.asking.source(part):
            return part
        if part:
            books.holdings.release(round.parts.pop(layers))
        source, memory = books.asking.source(model), memory_of(job, BROADCAST)
        if not source:
            return ""
        if any(call.layers == layers for call in books.calls.of(task.name, BROADCAST)):
            return ""
        if not books.calls.fits_apart(task, round, source, memory):
            # Where nothing is open that could end, rounds have all memory kept for them, and wait for this.
            return "" if any(call.unit == source for call in books.calls.open.values()) else model
        call = Call(0, source, BROADCAST, task.name, round.number, layers=layers, digest=model, memory=memory)
        books.calls.begin(call, invoking.broadcast(job, model, source, layers))
        return ""

    def _train(
        self, task: TaskState, leg: Leg, unit: str, digest: str, keep: str, device: bool, role: Role
    ) -> None:  # fmt: skip
        assert task.round is not None
        assert leg.cut is not None
        memory = leg.cut.device_memory if device else leg.cut.edge_memory
        call = self._call(task, leg, unit, TRAIN_DEVICE if device else TRAIN_EDGE, role, memory)
        call.digest = digest
        source = self._books.asking.source(digest)
        message = invoking.train(task.job, task.round, leg, unit, digest, source, keep, device=device)
        self._books.calls.begin(call, message, leg)

    @staticmethod
    def _call(task: TaskState, leg: Leg, unit: str, function: str, role: Role, memory: int) -> Call:
        assert task.round is not None
        return Call(0, unit, function, task.name, task.round.number, leg.owner, role, memory=memory)

    def ended(self, task: TaskState, leg: Leg, call: Call, message: CallEnded) -> None:
        """An invocation of a share has ended."""
        leg.calls.pop(call.number, None)
        if leg.state == "ending":
            self.settle(task, leg)
        elif not call.wanted or leg.state not in ("placed", "training"):
            return
        elif message.kind:
            if call.role != "next":  # where nobody has moved to, nothing is lost
                # Where somebody else has what was not there, nothing has failed.
                had = misled(call, message) and all(self._books.asking.source(digest) for digest, _ in message.lacks)
                self.fail(task, leg, f"{call.function} on {call.unit}: {message.kind}: {message.reason}",
                          counts=not had, for_good=message.kind in _OWN)  # fmt: skip
        elif call.function == SELECT and "keep" in message.outputs:
            task.keeps[leg.owner] = message.outputs["keep"]
            self._books.holdings.claim(task.keeps[leg.owner])
        elif message.values.get("moved"):
            self._moved(task, leg, str(message.values["moved"]))
        elif "weights" in message.outputs:
            self._done(task, leg, call, message)
        elif call.role != "device" or not leg.server:
            self.fail(task, leg, f"{call.function} on {call.unit} returned not what it should", for_good=True)

    def _done(self, task: TaskState, leg: Leg, call: Call, message: CallEnded) -> None:
        leg.state, leg.digest = "done", message.outputs["weights"]
        leg.samples = float(message.values.get("samples", 0)) or float(task.job.samples.get(leg.owner, 1))
        self._books.holdings.claim(leg.digest)
        for other in leg.calls.values():
            if other.role != "device":  # that hears from the other half that all is done
                self._books.calls.cancel(other)

    def _moved(self, task: TaskState, leg: Leg, unit: str) -> None:
        """The edge half has gone to another server, where its next invocation waits for it."""
        there = next((call for call in leg.calls.values() if call.unit == unit and call.role in ("next", "edge")), None)
        if there is None:
            self.fail(task, leg, f"its edge half has moved to {unit}, where nothing waits for it")
            return
        leg.server, there.role = unit, "edge"

    def fail(self, task: TaskState, leg: Leg, reason: str, *, counts: bool = True, out: bool = False,
             for_good: bool = False) -> None:  # fmt: skip
        """Cancel what is open of a share; it begins again when that has ended, or its owner is left out.

        Args:
            task: Its task.
            leg: Which one.
            reason: For a person.
            counts: Whether it is one of the retries.
            out: It does not begin again.
            for_good: If it has failed too often, its owner is left out of the rounds to come, too.
        """
        leg.failures += counts
        leg.reason = reason
        if leg.digest:
            self._books.holdings.release(leg.digest)
            leg.digest = ""
        gone = out or leg.failures > self._books.settings.retries
        if gone and for_good:
            task.out[leg.owner] = reason
        leg.state, leg.then = "ending", "out" if gone else "wanted"
        for call in leg.calls.values():
            self._books.calls.cancel(call)
        self.settle(task, leg)

    def settle(self, task: TaskState, leg: Leg) -> None:
        """What is ending, and has nothing open any more, has ended."""
        if leg.state != "ending" or leg.calls:
            return
        leg.state, leg.cut, leg.server = leg.then, None, ""
        if leg.state == "wanted":
            leg.attempt += 1
            leg.since = self._books.clock()

    def moving(self, task: TaskState, leg: Leg, edge: str) -> None:
        """A handover of its device comes: have the edge half awaited where it goes."""
        books, job = self._books, task.job
        if leg.state != "training" or not leg.server or leg.server == edge or job.task.strategy not in _MOVES:
            return
        if any(call.unit == edge and call.wanted for call in leg.calls.values()):
            return
        assert leg.cut is not None
        now = leg.call("edge")
        fits = books.registry.ready(edge, books.clock()) and books.calls.fits(edge, leg.cut.edge_memory)
        if fits and now is not None and books.asking.source(now.digest):
            self._train(task, leg, edge, now.digest, "", False, "next")
        else:
            leg.stranded = edge

    def arrived(self, task: TaskState, leg: Leg, edge: str) -> None:
        """A device is there now. An edge half that will follow it, and has no room there, begins again elsewhere."""
        if leg.state == "placed" and leg.server not in ("", edge) and not leg.calls:
            self.fail(task, leg, f"{leg.owner} has gone to {edge} before it began", counts=False)
        elif leg.state == "training" and leg.server not in ("", edge) and leg.stranded == edge:
            self.fail(task, leg, f"{leg.owner} has gone to {edge}, which has no room for its edge half", counts=False)

    def missed(self, task: TaskState, leg: Leg) -> None:
        """Its model may not be anywhere any more."""
        if leg.state == "done" and leg.digest and not self._books.asking.source(leg.digest):
            self.fail(task, leg, "its model is not there any more")

    def lost(self, task: TaskState, leg: Leg, unit: str) -> None:
        """A unit is lost; its invocations have been taken out of the books."""
        for number in [number for number, call in leg.calls.items() if call.unit == unit]:
            del leg.calls[number]
        gone = bool(leg.digest) and not self._books.asking.source(leg.digest)
        if leg.owner == unit:
            if leg.lives and (leg.state != "done" or gone):
                self.fail(task, leg, f"{unit} is lost", out=True)
            else:
                self.settle(task, leg)
        elif leg.state == "done":
            if gone:
                self.fail(task, leg, f"its model was on {unit}, which is lost")
        elif leg.state in ("placed", "training") and leg.server == unit:
            self.fail(task, leg, f"{unit} is lost")
        else:
            self.settle(task, leg)
