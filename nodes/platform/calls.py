"""Open invocations, and the memory that is kept for what goes on: the orchestrator's books.

Memory is kept for a task's round from its placement on: for both halves of each owner's share, for averaging and for
evaluating. So none of these has to wait for another one on a unit, and no two pairs wait for each other. Layers are
taken apart where averaging and evaluating have memory later on. All else (first weights, copies) is invoked as soon as
there is room beside that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from nodes.platform import outcomes
from nodes.platform.registry import Registry
from nodes.platform.states import BROADCAST, Call, Leg, Role, Round, TaskState, memory_of
from nodes.policies.requests import AGGREGATE, EVALUATE, SELECT
from nodes.wire.platform_messages import CallEnded, InvokeOn


class Calls:
    """Open invocations of all tasks.

    Args:
        registry: Of the units. number: Gives numbers for invocations. invoke, cancel: Tell a unit.
        tasks: All tasks that have not ended.
    """

    def __init__(
        self, registry: Registry, number: Callable[[], int], invoke: Callable[[str, InvokeOn], None],
        cancel: Callable[[str, int], None], tasks: Callable[[], Iterable[TaskState]],
    ) -> None:  # fmt: skip
        self._registry, self._number, self._invoke, self._cancel, self._tasks = registry, number, invoke, cancel, tasks
        self.open: dict[int, Call] = {}
        self._ghosts: dict[int, Call] = {}  # on units that were lost

    def begin(self, call: Call, message: InvokeOn, leg: Leg | None = None) -> None:
        """Invoke. The numbers of ``call`` and ``message`` are set here."""
        call.number, call.sources = self._number(), frozenset(message.where.values())
        self.open[call.number] = call
        if leg is not None:
            leg.calls[call.number] = call
        self._invoke(call.unit, _numbered(message, call))

    def cancel(self, call: Call) -> None:
        """Nobody wants its result any more; it is open until its unit says that it has ended."""
        if call.wanted:
            call.wanted = False
            self._cancel(call.unit, call.number)

    def ended(self, unit: str, number: int) -> Call | None:
        """Take an invocation that has ended out of the books; None: there is no such one."""
        call = self.open.get(number) or self._ghosts.get(number)
        if call is None or call.unit != unit:
            return None
        self._ghosts.pop(number, None)
        return self.open.pop(number, None) or call

    def is_open(self, call: Call) -> bool:
        """Whether it has not ended as far as is known."""
        return call.number in self.open

    def lose(self, unit: str) -> list[Call]:
        """A unit is lost: its open invocations, which are taken out of the books; nobody wants their results."""
        gone = [call for call in self.open.values() if call.unit == unit]
        for call in gone:
            self._ghosts[call.number] = self.open.pop(call.number)
            call.wanted = False
        return gone

    def fetching(self, source: str) -> set[str]:
        """Units that may wait for blobs of this one."""
        return {call.unit for call in self.open.values() if source in call.sources and call.unit != source}

    def sending(self) -> dict[str, float]:
        """Seconds that each unit's largest message keeps its way to itself: what it says of itself waits behind it."""
        found: defaultdict[str, float] = defaultdict(float)
        tasks = {task.name: task for task in self._tasks()}
        for call in self.open.values():
            if (task := tasks.get(call.task)) is None:
                continue
            sends = [(source, call.unit, task.job.weights) for source in call.sources if source != call.unit]
            leg = task.round.legs.get(call.owner) if task.round is not None else None
            if leg is not None and leg.cut is not None and leg.server and call.unit == leg.owner:
                sends.append((leg.owner, leg.server, leg.cut.up_bytes))
            for source, to, size in sends:
                found[source] = max(found[source], self._registry.seconds(source, to, size))
        return found

    def back(self, unit: str, *, new: bool) -> None:
        """A unit that was lost speaks again: nobody wants what it still does; a ``new`` one does nothing."""
        for call in [call for call in self._ghosts.values() if call.unit == unit]:
            if new:
                del self._ghosts[call.number]
            else:
                self._cancel(unit, call.number)

    def of(self, task: str, function: str = "", role: Role = "") -> list[Call]:
        """Open invocations of a task that are wanted; of a function, if one is named."""
        return [call for call in self.open.values() if call.task == task and call.wanted
                and function in ("", call.function) and (not function or call.role == role)]  # fmt: skip

    def ends(self, task: str, function: str) -> bool:
        """Whether an invocation of a function that is for a whole round has still to end, wanted or not."""
        return any(call.task == task and call.function == function for call in self.open.values())

    def kept(self) -> dict[str, int]:
        """Bytes that are kept on each unit for rounds under way, and taken by all else that is open."""
        found: defaultdict[str, int] = defaultdict(int)
        for task in self._tasks():
            if (round := task.round) is None:
                continue
            for unit, amount in kept_for(task, round):
                found[unit] += amount
            if round.phase == "train":
                for unit, amount in self._apart(task, round).items():
                    found[unit] += max(amount - _for_end(task, round, unit), 0)
        for call in self.open.values():
            if not self._is_kept_for(call):
                found[call.unit] += call.memory
        return found

    def fits_apart(self, task: TaskState, round: Round, unit: str, memory: int) -> bool:
        """Whether a round's layers can be taken apart on a unit: in what is kept for its end, or beside all."""
        # An averaging that has been given up takes a moment to end.
        ending = sum(call.memory for call in self.open.values() if call.function in (AGGREGATE, EVALUATE)
                     and call.task == task.name and call.unit == unit)  # fmt: skip
        kept = max(_for_end(task, round, unit) - self._apart(task, round).get(unit, 0) - ending, 0)
        return self._registry.alive(unit) and memory <= kept + self.free()[unit]

    def fits_end(self, task: TaskState, round: Round, unit: str, memory: int) -> bool:
        """Whether a round can be averaged (or evaluated) on another unit than it was placed on.

        One comes after the other: what is kept there for either will do for both, one after the other.
        """
        return self._registry.alive(unit) and memory <= _for_end(task, round, unit) + self.free()[unit]

    def _apart(self, task: TaskState, round: Round) -> dict[str, int]:
        """Bytes that taking a round's layers apart takes, by unit."""
        found: defaultdict[str, int] = defaultdict(int)
        for call in self.open.values():
            if (call.function, call.role, call.task, call.round) == (BROADCAST, "", task.name, round.number):
                found[call.unit] += call.memory
        return found

    def free(self) -> dict[str, int]:
        """Bytes that nothing is kept for, by unit."""
        kept = self.kept()
        return {name: self._registry.total(name) - kept.get(name, 0)
                for name in self._registry.names("device", "edge", "cloud")}  # fmt: skip

    def fits(self, unit: str, memory: int) -> bool:
        """Whether a unit has so many bytes beside all that is kept."""
        return self._registry.alive(unit) and self.free().get(unit, 0) >= memory

    def _is_kept_for(self, call: Call) -> bool:
        """Whether memory is kept for it by its task's round: then it is counted there."""
        task = next((task for task in self._tasks() if task.name == call.task), None)
        if task is None or task.round is None or task.round.number != call.round:
            return False
        if call.function == BROADCAST:
            return call.role == "" and task.round.phase == "train"
        if call.function in (AGGREGATE, EVALUATE):
            return call.unit == (task.round.aggregator if call.function == AGGREGATE else task.round.evaluator)
        leg = task.round.legs.get(call.owner)
        if leg is None or not leg.holds or call.number not in leg.calls:
            return False
        if call.unit == call.owner and (call.role == "device" or call.function == SELECT):
            return True
        return call.role == "edge" and call.unit == leg.server


def misled(call: Call, ended: CallEnded) -> bool:
    """Whether an invocation has failed because a unit that it was sent to for a blob does not have that any more."""
    return ended.kind == outcomes.MISSING and any(unit in call.sources for _, unit in ended.lacks)


def _for_end(task: TaskState, round: Round, unit: str) -> int:
    """Bytes that are kept on a unit for the end of a round."""
    average = memory_of(task.job, AGGREGATE) if unit == round.aggregator else 0
    evaluated = memory_of(task.job, EVALUATE) if unit == round.evaluator and task.job.evaluate_s > 0 else 0
    return average + evaluated


def kept_for(task: TaskState, round: Round) -> list[tuple[str, int]]:
    """Unit and bytes of all that a round keeps memory for."""
    job = task.job
    found = [(round.aggregator, memory_of(job, AGGREGATE))]
    if job.evaluate_s > 0:
        found.append((round.evaluator, memory_of(job, EVALUATE)))
    for leg in round.legs.values():
        if leg.holds and leg.cut is not None:
            select = memory_of(job, SELECT) if job.select is not None and leg.owner not in task.keeps else 0
            found.append((leg.owner, max(leg.cut.device_memory, select)))
            if leg.server:
                found.append((leg.server, leg.cut.edge_memory))
    return found


def _numbered(message: InvokeOn, call: Call) -> InvokeOn:
    return msgspec.structs.replace(message, call=call.number, memory=call.memory or None, task=call.task)
