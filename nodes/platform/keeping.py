"""Which of a task's models are kept, and where: the last one where it is safe, and the best."""

from __future__ import annotations

import math
from collections import deque

from nodes.platform import invoking
from nodes.platform.books import Books
from nodes.platform.states import BROADCAST, Call, Model, TaskState, memory_of
from nodes.policies.layers import LAYERS
from nodes.wire import control as ctl

_COPIES = 3
"""How often it is tried to copy a model to where it is safe; then it stays where it is."""


class Keeping:
    """Sees to models that are done."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._ended: deque[TaskState] = deque()  # whose best models are kept
        self._bytes = 0

    def made(self, task: TaskState, model: Model) -> None:
        """A round's model is done; it is the task's, perhaps its best."""
        task.models[model.round] = model
        if task.best is None or _better(model, task.best):
            self._best(task, model)

    def _best(self, task: TaskState, model: Model) -> None:
        task.best = model
        self._books.act.say(ctl.Kept(task.name, model.digest, model.accuracy))

    def ended(self, task: TaskState) -> None:
        """A task has ended: its best model is kept, and those of tasks that ended long ago make room for it."""
        if task.best is None:
            return
        self._ended.append(task)
        task.kept = True
        self._bytes += task.job.weights
        while self._bytes > self._books.settings.kept_bytes and len(self._ended) > 1:
            old = self._ended.popleft()
            old.kept = False
            self._bytes -= old.job.weights
            assert old.best is not None
            self._books.holdings.release(old.best.digest)
            for call in self._books.calls.of(old.name):
                self._books.calls.cancel(call)

    def keep_safe(self, task: TaskState) -> None:
        """A copy of the last model where it is safe; then those before it go, but for the best."""
        model, holdings = task.model, self._books.holdings
        if model is None or not self.copied(task, model):
            return
        for number in [number for number, one in task.models.items() if one is not model and one is not task.best]:
            if task.round is None or task.round.model is not task.models[number]:
                holdings.release(task.models.pop(number).digest)

    def copied(self, task: TaskState, model: Model) -> bool:
        """Whether a model is safe, or as safe as can be; if it is not, a copy is made when there is room for that."""
        books = self._books
        home = books.asking.home(books.clock())
        kept = books.holdings.kept(model.digest)  # what was only fetched may go there at any time
        if home in kept or any(books.registry.kind(name) == "cloud" for name in kept):
            return True
        source, memory = books.asking.source(model.digest), memory_of(task.job, BROADCAST)
        if not source or not home or task.tries["copy"] > _COPIES:
            return True
        if not books.calls.of(task.name, BROADCAST, "copy") and books.calls.fits(home, memory):
            call = Call(0, home, BROADCAST, task.name, model.round, role="copy", digest=model.digest, memory=memory)
            layers = LAYERS[task.job.task.model]
            # A round begins meanwhile, whose messages would wait behind it.
            books.calls.begin(call, invoking.broadcast(task.job, model.digest, source, layers, gently=task.open))
        return False

    def forget(self, task: TaskState) -> None:
        """Models that nobody has any more are none."""
        for number, model in list(task.models.items()):
            if not self._books.asking.source(model.digest):
                self._books.holdings.release(model.digest)
                del task.models[number]
        if task.best is not None and task.best not in task.models.values():
            task.best = None
            for model in task.models.values():
                if model.round and (task.best is None or _better(model, task.best)):
                    self._best(task, model)


def _better(model: Model, than: Model) -> bool:
    """Whether a model is better than another one; of models of which nothing is known, the later one."""
    if model.accuracy is None or math.isnan(model.accuracy):
        return than.accuracy is None or math.isnan(than.accuracy)
    return than.accuracy is None or math.isnan(than.accuracy) or model.accuracy > than.accuracy
