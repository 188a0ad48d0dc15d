"""The first stage of a pipeline, on the device: it alone decides where the others are, and begins each round with them.

A round: the aggregator says that it begins; the driver chooses a layout, opens the stages that are new or changed and
tells the others; every stage, this one too, fetches the weights of its own layers and says that it is ready. Then
micro-batches go through the stages in their fixed order. So only the device's own layers cross its link.
"""

from __future__ import annotations

import torch

from nodes.errors import WireError
from nodes.events import Span
from nodes.policies.layouts import Layout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._base import stage_role
from nodes.schemes._plan import first_layout, own_batches
from nodes.schemes._stage import PipelineStage
from nodes.wire.codec import Tensors
from nodes.wire.control import Progress
from nodes.wire.messages import Body, Model, Open, Opened, PartId

WAIT_S = 0.001
"""A device that has nothing to do for so long waits, and says so."""


class Driver(PipelineStage):
    """The stage on the device that has the data."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._data = own_batches(context, part.owner)
        self._batch: tuple[tuple[int, int], torch.Tensor, torch.Tensor] | None = None
        self._waiting: set[int] = set()  # stages that have not said that they are ready

    def rehearse(self) -> None:
        """A few steps on nothing: the first ones of a process are slow."""
        layout = self._plan()
        for stage, node in enumerate(layout.nodes):
            if node == self._context.node:
                self._rehearse(*layout.layers(stage))

    def begin(self) -> None:
        """Connect to the aggregator, and to where stages will be: nobody connects to devices."""
        self._context.connect(self._context.where(self._aggregator)[0])
        self._connect(self._plan())

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A round that begins, a stage that is ready, weights, or gradients."""
        match body:
            case Model() if not tensors:
                if body.round > self._round:
                    self._open(body.round, body.attempt)
            case Opened():
                if (body.round, body.attempt) == (self._round, self._attempt):
                    self._waiting.discard(body.stage)
                    self._go_on()
            case Open():
                raise WireError(f"{self.id} is opened by nobody")
            case _:
                super().receive(src, body, tensors)

    # --- a round ----------------------------------------------------------------------------------------

    def _plan(self) -> Layout:
        """The layout of the next round. What chooses better, or anew, comes in here."""
        return first_layout(self._context, self.id.owner)

    def _open(self, number: int, attempt: int) -> None:
        """Begin a round with all stages."""
        layout, before = self._plan(), self._layout
        assert self._data is not None
        self._connect(layout)
        if before is None or before.layers(0) != layout.layers(0) or before.depths[0] != layout.depths[0]:
            self._take_layout(layout, len(self._data))
        self._layout, self._batches = layout, len(self._data)
        self._waiting = set(range(layout.stages))
        for stage in range(1, layout.stages):
            part, node = PartId(self.id.task, stage_role(stage), self.id.owner), layout.nodes[stage]
            if layout == before:
                self._context.send(self.id, part, Model(number, attempt), node=node)
            else:
                version = self._context.place(part, node)
                self._context.send(self.id, part, Open(number, attempt, version, layout, self._batches), node=node)
        self._begin(number, attempt)

    def _connect(self, layout: Layout) -> None:
        for node in layout.nodes:
            if node != self._context.node:
                self._context.connect(node)

    def _opened(self) -> None:
        self._waiting.discard(self.stage)
        self._go_on()

    def _go_on(self) -> None:
        if not self._waiting:
            super()._go_on()

    # --- changes, for what decides on them --------------------------------------------------------------

    @property
    def layout(self) -> Layout | None:
        """The layout of now, with the nodes on which stages are known to be; None before the first round."""
        return self._layout

    @property
    def place_in_training(self) -> tuple[int, int]:
        """Round, and first batch of it that has not begun; where all have, batch 0 of the next round."""
        raise NotImplementedError

    @property
    def changing(self) -> bool:
        """Whether a change that was asked for is not complete yet; others wait for it, in the order of asking."""
        raise NotImplementedError

    def relocate(self, stage: int, node: str, *, go: bool) -> None:
        """Move a whole stage to another node now, in the middle of whatever it does; no weight hangs on that.

        Args:
            stage: Which one; not the first, nor one whose labels stay on this device.
            node: Where to; empty without ``go``: keep no standby any more.
            go: Move; the stage's standby takes over if it is there, else its state is copied. Without: keep a standby
                there from now on, until told otherwise.

        Raises:
            RunError: This stage stays on the device.
        """
        raise NotImplementedError

    def relay(self, layout: Layout) -> None:
        """Change cuts, depths, or the number of stages, from the first batch on that has not begun.

        The pipeline drains there, layers change hands, and it goes on. Where all batches of the round have begun, the
        next round opens with the layout. Of several that wait, the last one counts.

        Raises:
            InputError: It is no layout of this model, or not one for this device.
        """
        raise NotImplementedError

    def reopen(self, layout: Layout, why: str) -> None:
        """Begin this round again with another layout, from the round's global weights: a new attempt.

        Nothing that was done in the attempt before counts. All changes that wait, or are under way, are off.

        Raises:
            InputError: It is no layout of this model, or not one for this device.
        """
        raise NotImplementedError

    # --- a micro-batch ----------------------------------------------------------------------------------

    def _input(self, op: Op) -> tuple[torch.Tensor, torch.Tensor | None]:
        key = (self._round, op.batch)
        if self._batch is None or self._batch[0] != key:
            assert self._data is not None
            self._batch = (key, *self._data.get(*key))
        x, labels = (part.chunk(self._settings.micro)[op.micro] for part in self._batch[1:])
        return x, None if self._settings.labels == "stay" else labels

    def _do(self, op: Op) -> None:
        super()._do(op)
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

    # --- its end ----------------------------------------------------------------------------------------

    def _finish_round(self) -> None:
        super()._finish_round()
        task = self._context.task
        self._context.emit(
            Span(
                kind="round", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=self._record.begin, end=self._record.end,
                attrs={"batches": self._batches, "device": self.id.owner, "attempt": self._attempt},
            )
        )  # fmt: skip

    def _samples(self) -> int:
        assert self._data is not None
        return len(self._data.shard)
