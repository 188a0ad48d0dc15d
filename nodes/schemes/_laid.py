"""What a stage of a pipeline is made of: its layers, and its place among the others."""

from __future__ import annotations

import torch

from nodes.errors import RunError, WireError
from nodes.learn import models
from nodes.learn.shards import Batches
from nodes.learn.stage import Sgd
from nodes.learn.stash import StashStage
from nodes.learn.state import TrainingState, capture
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.stage_times import StageTimes
from nodes.runtime.part import Context, Quiet
from nodes.schemes._admission import bytes_of, refusal, stage_need
from nodes.schemes._base import AGGREGATOR, stage_role
from nodes.schemes._plan import first_layout, own_micro_batches
from nodes.wire.messages import Body, Open, PartId
from nodes.wire.task import Pipeline

REHEARSALS = 3


class LaidOut(Quiet):
    """A stage with its layers, that does nothing by itself."""

    def __init__(self, part: PartId, context: Context) -> None:
        task = context.task
        if task.pipeline is None:
            raise RunError(f"{task.scheme} without settings of a pipeline", where=context.node)
        self.id = part
        self.stage = int(part.role.removeprefix("stage"))
        self._context = context
        self._settings: Pipeline = task.pipeline
        self._times = StageTimes.of(task.pipeline.times, LAYERS[task.model])
        self._aggregator = PartId(task.id, AGGREGATOR, "")
        self._layout: PipelineLayout | None = None
        self._layers: StashStage | None = None
        self._names: tuple[str, ...] = ()
        self._data: Batches | None = None    # of a stage on the owner's device
        self._batches = 0

    def rehearse(self) -> None:
        """A few steps on nothing, of all layers that may come to an edge server: the first ones are slow."""
        if self.stage == 1:
            bytes_of(self._context.task)  # counted once, and not when a stage is opened
            self._rehearse(first_layout(self._context, self.id.owner).bounds[1], len(LAYERS[self._context.task.model]))

    def need(self) -> int:
        """Bytes of its layers, and of the micro-batches that it may have under way."""
        return 0 if self._layout is None else stage_need(self._context.task, self._layout, self.stage)

    def _no_room(self, layout: PipelineLayout) -> str | None:
        """Why this node cannot take this stage of a layout, if it cannot. An owner's device has to."""
        owner = self.id.owner
        return None if self._context.node == owner else refusal(self._context, layout, self.stage, owner)

    def _rehearse(self, first: int, last: int) -> None:
        task = self._context.task
        shape = models.shapes(task.model, tuple(task.in_shape), task.classes)[first]
        stage, size = self._build(first, last), task.batch // self._settings.micro
        words = first == 0 and models.takes_tokens(task.model)
        nothing = torch.zeros(size, *shape, dtype=torch.int64 if words else torch.float32)
        for _ in range(REHEARSALS if first < last else 0):
            out = stage.forward(nothing)
            meta, frames = capture(stage, copy=False).to_frames()
            state = TrainingState.from_frames(meta, frames)
            state.digest()
            state.restore(stage)  # as where a stage moves: what is under way goes forward again
            stage.backward(out)
            stage.step()

    def _build(self, first: int, last: int) -> StashStage:
        task = self._context.task
        layers = models.layers(task.model, first, last, tuple(task.in_shape), task.classes)
        return StashStage(layers, Sgd(task.lr, task.momentum, task.weight_decay), first=first == 0)

    def _lay(self, body: Open) -> None:
        if body.layout is None or not 0 < self.stage < body.layout.stages:
            raise WireError(f"no layout for {self.id}", found=str(body.layout))
        self._take_layout(body.layout, body.batches)

    def _take_layout(self, layout: PipelineLayout, batches: int) -> None:
        first, last = layout.layers(self.stage)
        self._layout, self._batches = layout, batches
        self._layers = self._build(first, last)
        self._names = LAYERS[self._context.task.model][first:last]
        if self._settings.labels == "stay" and layout.last(self.stage) and self._data is None:
            self._data = own_micro_batches(self._context, self.id.owner)

    def _all(self) -> StashStage:
        assert self._layers is not None, "a stage at work has been laid out"
        return self._layers

    def _index(self, batch: int, micro: int) -> int:
        return batch * self._settings.micro + micro

    def _part(self, stage: int) -> PartId:
        return PartId(self.id.task, stage_role(stage), self.id.owner)

    def _tell_driver(self, body: Body) -> None:
        self._context.send(self.id, self._part(0), body)
