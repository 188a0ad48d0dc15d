"""A stage of a pipeline: some layers of an owner's model on one node.

A stage does its work in an order that is fixed ahead (`nodes.policies.order`), each piece as soon as what it needs is
here; messages wait in between. So weights hang on nothing but the data, however long messages take, and what is under
way is bounded by the depth. How a stage moves is in `nodes.schemes._mobile`, how cuts change in `nodes.schemes._recut`.

At the start of a round a stage takes the global weights of its layers, and a fresh optimizer, from the aggregator; at
its end it hands them back. Labels go along with activations, or stay on the device, where the last stage is then.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from nodes.errors import WireError
from nodes.events import Span
from nodes.learn import packing
from nodes.policies.order import Op, order
from nodes.runtime.part import Context
from nodes.schemes._admission import stage_need
from nodes.schemes._arrays import copies, to_arrays, to_torch
from nodes.schemes._laid import LaidOut
from nodes.schemes._record import Record
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Body, Fetch, Gradients, Model, Open, PartId, Update, Work
from nodes.wire.pipeline_messages import Opened

SPANS = {"forward": "forward", "backward": "backward", "tail": "tail-step", "update": "update"}
"""Kinds of events by kinds of operations."""


class PipelineStage(LaidOut):
    """A stage that stays where it is, with the layers that it has."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._round = 0
        self._attempt = 0
        self._segment = 0                    # of the round, between changes of cuts
        self._first = self._end = 0          # its first batch, and the one that it ends before
        self._awaited = False                # the round's weights are on their way
        self._running = False                # they are here, and the round is not over
        self._ops: Iterator[Op] = iter(())
        self._next: Op | None = None
        self._done = 0                       # operations of the segment that are done
        self._muted = False                  # it is a standby: what it does is nobody else's business
        self._going = False
        self._came: dict[tuple[str, int, int], tuple[float, dict[str, torch.Tensor]]] = {}  # by way, batch and micro
        self._taken = {"forward": 0, "backward": 0}  # micro-batches that came and were used, each way
        self._loss_sum = 0.0
        self._record = Record()

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A layout and a round, the weights of a round, or a micro-batch on its way there or back."""
        match body:
            case Open():
                self._lay(body)
                self._begin(body.round, body.attempt)
            case Model() if tensors:
                self._start(body.round, body.attempt, to_torch(tensors))
            case Model():
                self._begin(body.round, body.attempt)
            case Activations() | Gradients():
                self._arrive(body, tensors)
            case _:
                raise WireError(f"{type(body).__name__} for {self.id}")

    def position(self) -> tuple[int, int, int, bool]:
        """Round, attempt, first batch whose update was not applied, and whether the round is over."""
        applied = 0 if self._layers is None or self._awaited else self._first + self._layers.version
        return self._round, self._attempt, applied, 0 < self._batches == applied and not self._running

    def need(self) -> int:
        """Bytes that this stage takes of what its node has for stages."""
        return 0 if self._layout is None else stage_need(self._context.task, self._layout, self.stage)

    # --- a round ----------------------------------------------------------------------------------------

    def _begin(self, number: int, attempt: int) -> None:
        """A round begins: have its weights sent."""
        if self._layout is None or (number, attempt) <= (self._round, self._attempt):
            return  # nobody has opened it, or it came twice
        self._forget()
        self._round, self._attempt, self._awaited = number, attempt, True
        if self._all().layers.state_dict():
            self._context.send(self.id, self._aggregator, Fetch(number, attempt, self._names))
        else:
            self._start(number, attempt, {})

    def _start(self, number: int, attempt: int, weights: dict[str, torch.Tensor]) -> None:
        """The round's weights are here."""
        if (number, attempt) != (self._round, self._attempt) or not self._awaited:
            return  # of a round or attempt that is over, or for the second time
        self._awaited = False
        self._all().load(weights)
        self._loss_sum = 0.0
        self._reset(0, 0)
        self._opened()

    def _forget(self) -> None:
        """What was under way is over."""
        self._running = self._awaited = False
        self._came.clear()
        self._ops, self._next = iter(()), None

    def _opened(self, size: int = 0) -> None:
        """Ready for the first micro-batch of the segment: say so to the driver. ``size``: bytes of layers that came."""
        self._tell_driver(Opened(self._round, self._attempt, self.stage, self._segment, size))
        self._go_on()

    def _reset(self, segment: int, first: int) -> None:
        """A segment of the round begins here, with this batch."""
        self._segment, self._first, self._end, self._done = segment, first, self._batches, 0
        self._taken = dict.fromkeys(self._taken, self._index(first, 0))
        self._record, self._running = Record(), True
        self._follow()

    def _follow(self) -> None:
        """Go on in the segment's order behind what is done."""
        assert self._layout is not None
        ops = order(
            self._settings.schedule, self._settings.micro, self._end, self._layout.depths[self.stage],
            last=self._layout.last(self.stage), first=self._first,
        )  # fmt: skip
        self._ops = islice(ops, self._done, None)
        self._next = next(self._ops, None)

    def _arrive(self, body: Activations | Gradients, tensors: Tensors) -> None:
        """A micro-batch came; what came twice, or belongs to a round or attempt that is over, is nothing."""
        work = body.work
        key = (work.direction, work.batch, work.micro)
        if (work.round, body.attempt) != (self._round, self._attempt) or key in self._came:
            return
        if self._index(work.batch, work.micro) < self._taken[work.direction]:
            self._late(body, tensors)
            return
        self._came[key] = body.loss if isinstance(body, Gradients) else 0.0, to_torch(tensors)
        if not self._muted:
            self._context.replay(self.id, body, tensors)  # now, so that both compute at the same time
        self._go_on()

    def _late(self, body: Activations | Gradients, tensors: Tensors) -> None:
        """A micro-batch came that was used already."""

    def _go_on(self) -> None:
        """Do what comes next, again and again, as long as all that it needs is here."""
        if self._going:
            return  # somebody decided something during a piece of work
        self._going = True
        try:
            while self._step():
                pass
        finally:
            self._going = False

    def _step(self) -> bool:
        """Do the next thing; False if there is nothing that can be done."""
        if not self._running:
            return False
        if self._next is None:
            self._running = False
            self._ended()
            return True
        if not self._ready(self._next):
            return False
        op, self._next = self._next, next(self._ops, None)
        self._done += 1
        self._do(op)
        return True

    def _ended(self) -> None:
        """All of the order is done."""
        self._finish_round()

    def _ready(self, op: Op) -> bool:
        if op.kind == "update" or (self.stage == 0 and op.kind in ("forward", "tail")):
            return True
        way = "backward" if op.kind == "backward" else "forward"
        return (way, op.batch, op.micro) in self._came

    # --- a micro-batch ----------------------------------------------------------------------------------

    def _do(self, op: Op) -> None:
        match op.kind:
            case "forward":
                self._forward(op, *self._input(op))
            case "tail":
                x, labels = self._input(op)
                self._tail(op, x, self._labels(op) if labels is None else labels)
            case "backward":
                self._backward(op, *self._take("backward", op))
            case _:
                with self._work(op):
                    self._all().step()

    def _input(self, op: Op) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Activations of a micro-batch, and its labels if they came along."""
        _, tensors = self._take("forward", op)
        return packing.unpack("x", tensors), tensors.get("y")

    def _labels(self, op: Op) -> torch.Tensor:
        """Labels of a micro-batch, that have not left this device."""
        if self._data is None:
            raise WireError(f"activations without labels for {self.id}")
        return self._data.labels(self._round, op.batch).chunk(self._settings.micro)[op.micro]

    def _forward(self, op: Op, x: torch.Tensor, labels: torch.Tensor | None) -> None:
        with self._work(op):
            out = self._all().forward(x, self._index(op.batch, op.micro)) if self._names else x
        self._send(op, self.stage + 1, "x", out, {} if labels is None else {"y": labels})

    def _tail(self, op: Op, x: torch.Tensor, labels: torch.Tensor) -> None:
        with self._work(op):
            gradient, loss = self._all().loss_backward(x, labels, 1 / self._settings.micro)
        self._record.stale(0)
        self._loss_sum += loss / self._settings.micro
        if self.stage:
            self._send(op, self.stage - 1, "g", gradient, {}, loss)

    def _backward(self, op: Op, loss: float, tensors: dict[str, torch.Tensor]) -> None:
        index, gradient = self._index(op.batch, op.micro), None
        if self._names:
            arrived = packing.unpack("g", tensors)
            self._record.stale(self._all().staleness(index))
            with self._work(op):
                gradient = self._all().backward(arrived, index)
        if self.stage:
            self._send(op, self.stage - 1, "g", gradient, {}, loss)

    def _take(self, way: str, op: Op) -> tuple[float, dict[str, torch.Tensor]]:
        self._taken[way] += 1
        return self._came.pop((way, op.batch, op.micro))

    def _work(self, op: Op) -> Any:
        assert self._layout is not None
        layers = self._layout.layers(self.stage)
        attrs: dict[str, Any] = {"stage": self.stage, "attempt": self._attempt}
        if op.kind == "update":
            attrs["layers"] = list(layers)  # those of all stages make up the model: that is checked behind
        seconds = self._times.op(op.kind, *layers)
        return self._record.timing(
            self._context.work(
                self.id, "replay-step" if self._muted else SPANS[op.kind], None,
                seconds=seconds, round=self._round, batch=op.batch, micro=op.micro,
                attrs=attrs,
            ),
            seconds,
        )  # fmt: skip

    def _send(
        self, op: Op, to: int, name: str, tensor: torch.Tensor | None, more: dict[str, torch.Tensor], loss: float = 0.0
    ) -> None:
        """Hand a micro-batch on to a neighbour, packed if it lives on another node."""
        if self._muted:
            return
        node, early = self._heading(op, to)
        way = self._settings.compress if node != self._context.node else "none"
        packed = {} if tensor is None else packing.pack(name, tensor, way, self._record.packed)
        body: Activations | Gradients
        if name == "x":
            body = Activations(Work(self._round, op.batch, op.micro, to, "forward"), self._attempt, early=early)
        else:
            body = Gradients(Work(self._round, op.batch, op.micro, to, "backward"), loss, self._attempt)
        self._hand_on(to, body, to_arrays({**packed, **more}), node)

    def _hand_on(self, to: int, body: Activations | Gradients, tensors: Tensors, node: str) -> None:
        self._context.send(self.id, self._part(to), body, tensors, node=node)

    def _heading(self, op: Op, to: int) -> tuple[str, bool]:
        """The node that a neighbour's work is sent to, and whether the neighbour is yet to come there."""
        return self._context.where(self._part(to))[0], False

    # --- its end ----------------------------------------------------------------------------------------

    def _finish_round(self) -> None:
        update = Update(self._round, self._samples(), self._batches, self._loss_sum, self._attempt)
        self._context.send(self.id, self._aggregator, update, copies(self._all().layers.state_dict()))
        self._tell_record()

    def _tell_record(self) -> None:
        """What this stage was busy with in the segment of the round that is over."""
        layout, task = self._layout, self._context.task
        assert layout is not None
        self._context.emit(
            Span(
                kind="pipeline", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, begin=self._record.begin, end=self._record.end,
                attrs={
                    "device": self.id.owner, "stage": self.stage, "stages": layout.stages,
                    "layers": list(layout.layers(self.stage)), "schedule": self._settings.schedule,
                    "micro": self._settings.micro, "depth": layout.depths[self.stage],
                    "batches": self._end - self._first, "first": self._first, "segment": self._segment,
                    "attempt": self._attempt, **self._record.as_dict(),
                },
            )
        )  # fmt: skip

    def _samples(self) -> int:
        """What the aggregator weighs the model by, told by the first stage alone."""
        return 0
