"""The first stage of a pipeline, on the device: it has the data, and begins each round with the others.

A round: the aggregator says that it begins; the driver opens the stages, or tells them of it if they stand already
(`nodes.schemes._leading`); every stage, this one too, fetches the weights of its own layers and says that it is ready.
Then micro-batches go through the stages in their fixed order. So only the device's own layers cross its link.
"""

from __future__ import annotations

from functools import partial

import torch

from nodes.errors import WireError
from nodes.events import Span
from nodes.policies.layouts import PipelineLayout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._data import rehearse_selection, select
from nodes.schemes._plan import own_micro_batches
from nodes.schemes._steering import Helm
from nodes.schemes._watched import WatchedStage
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress
from nodes.wire.messages import Body, Model, Open, PartId
from nodes.wire.pipeline_messages import Fill, Pong, Probe, Probed, Settled, Standing

WAIT_S = 0.001
"""A device that has nothing to do for so long waits, and says so."""


class Driver(WatchedStage):
    """The stage on the device that has the data."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._data = own_micro_batches(context, part.owner)
        self._batch: tuple[tuple[int, int], torch.Tensor, torch.Tensor] | None = None
        self._since: tuple[int, float] = (0, 0.0)  # when a round's first piece of work began
        self._asked = (0, 0, 0)  # round, attempt and batch before which the helm was asked last
        self._paced = (0.0, 0.0)  # seconds of work, and its reference times, when a batch was done last
        self._helm = Helm(context, part, self, len(self._data))
        self._watch.tell = lambda node, why: self._helm.refused(node)

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        layout = self._plan()
        for stage, node in enumerate(layout.nodes):
            if node == self._context.node:
                self._rehearse(*layout.layers(stage))
        assert self._data is not None
        rehearse_selection(self._context, self.id.owner, self._data)
        self._helm.rehearse()

    def begin(self) -> None:
        """Select what is trained on; connect to the aggregator and to where stages will be: nobody does to devices."""
        assert self._data is not None
        select(self._context, self.id, self._data)
        self._context.connect(self._context.where(self._aggregator)[0])
        self._connect(self._plan())
        self._helm.begin()

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A round that begins; else as `WatchedStage`."""
        match body:
            case Model() if not tensors:
                self._helm.before(body.round, partial(self._begins, body.round, body.attempt))
            case Standing():
                if body.version == self._context.where(src)[1]:
                    self._helm.standing(body.stage, body.node)
            case Pong() | Probe() | Probed():
                self._helm.take(src, body)
                if isinstance(body, Probed) and body.admits:
                    self._watch.forgive(src.owner)
            case Fill():
                self._gate.filled(body.left)
            case Open():
                raise WireError(f"{self.id} is opened by nobody")
            case _:
                super().receive(src, body, tensors)

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """See `Part.notice`."""
        super().notice(edge, done, in_s)
        if done:
            self._gate.arrived()
        self._helm.notice(edge, done, in_s)

    def forecast(self, edge: str, in_s: float | None = None) -> None:
        """See `Part.forecast`."""
        self._helm.forecast(edge, in_s)

    def lost(self, node: str) -> None:
        """See `Part.lost`."""
        self._helm.lost(node)
        super().lost(node)

    def awake(self, token: int) -> None:
        """A timer has run out."""
        super().awake(token)
        self._helm.awake(token)

    def _settle(self, body: Settled) -> None:
        super()._settle(body)
        if not self.changing and self._layout is not None:
            self._helm.settled(self._layout)

    def went_around(self, layout: PipelineLayout) -> None:
        """See `WatchedStage.went_around`."""
        self._helm.reopened(layout)

    def _relaid(self, number: int, batch: int, layout: PipelineLayout) -> None:
        self._helm.relaid(number, batch, layout)

    def _begins(self, number: int, attempt: int) -> None:
        if number > self._round:
            layout = self._helm.layout(number, self._layout)
            if self._layout is not None and layout != self._layout:
                self.relay(layout)
            self._open(number, attempt, layout if self._layout is None else None)

    # --- a micro-batch ----------------------------------------------------------------------------------

    def _input(self, op: Op) -> tuple[torch.Tensor, torch.Tensor | None]:
        key = (self._round, op.batch)
        if self._batch is None or self._batch[0] != key:
            assert self._data is not None
            self._batch = (key, *self._data.get(*key))
        x, labels = (part.chunk(self._settings.micro)[op.micro] for part in self._batch[1:])
        return x, None if self._settings.labels == "stay" else labels

    def _step(self) -> bool:
        op = self._next
        if op is not None and op.kind in ("forward", "tail") and not op.micro:
            here = (self._round, self._attempt, op.batch)
            if here > self._asked:
                self._asked = here
                self._helm.batch_begins(self._round, op.batch)
        if self._helm.repeats:  # what was changed before this batch then is changed before it now
            self._proceed()
            if any(change.kind == "relay" for change in self._later):
                return False
        return super()._step()

    def _do(self, op: Op) -> None:
        super()._do(op)
        if self._since[0] != self._round:
            self._since = (self._round, self._record.begin)
        task, (since, until) = self._context.task, self._record.waited
        if op.kind == "backward" and until - since >= WAIT_S:
            self._context.emit(
                Span(
                    kind="wait", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                    round=self._round, batch=op.batch, micro=op.micro, begin=since, end=until,
                )
            )  # fmt: skip
        if op.kind == "update":
            done = Progress(task.id, self.id.owner, self._round, op.batch + 1, self._batches, self._attempt)
            self._context.tell(done)
            busy, asked = self._record.busy_s, self._record.asked_s
            before, self._paced = self._paced, (busy, asked)
            if asked > before[1]:  # of one record: each round, and each segment of it, has its own
                self._helm.paced((busy - before[0]) / (asked - before[1]))
            self._helm.batch_done(op.batch + 1)

    # --- its end ----------------------------------------------------------------------------------------

    def _finish_round(self) -> None:
        super()._finish_round()
        task = self._context.task
        self._context.emit(
            Span(
                kind="round", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=self._since[1], end=self._record.end,
                attrs={"batches": self._batches, "device": self.id.owner, "attempt": self._attempt},
            )
        )  # fmt: skip

    def _count(self) -> int:
        assert self._data is not None
        return len(self._data)

    def _samples(self) -> int:
        assert self._data is not None
        return self._data.samples
