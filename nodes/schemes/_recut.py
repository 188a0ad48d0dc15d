"""A stage of a pipeline whose cuts can change between two batches: layers change hands, and all is done once.

The driver says until which batch the present segment of the round goes (`Until`), before anybody has begun that batch.
So each stage has done a part of the work that it would do in any case, and ends its order there: the pipeline drains.
A stage that has done all of it hands its layers, their momentum and what it had summed up to those that have them from
then on, and is over if its number is on another node then, or on none. A stage that has all of its layers says so; when
all have, the driver begins with the batch. Stages that are new on a node are opened while the others still drain.

All of it is our design.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nodes.errors import WireError
from nodes.learn.aggregate import split
from nodes.learn.digest import weights_digest
from nodes.learn.stage import copy_into
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.runtime.part import Context, payload
from nodes.schemes._arrays import to_arrays, to_torch
from nodes.schemes._mobile import MobileStage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Body, Gradients, Open, PartId
from nodes.wire.pipeline_messages import Layers, Refused, Until


@dataclass(frozen=True)
class Handed:
    """Some layers as they came from a stage: their tensors, what it had summed up, and bytes that crossed a link."""

    tensors: Mapping[str, Tensor]
    loss_sum: float = 0.0
    size: int = 0


class RecutStage(MobileStage):
    """A stage behind the first, with all that it can do; see `nodes.schemes._driver` for the first one."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._until: Until | None = None  # the change that is under way
        self._drained = False             # all of the segment before it is done
        self._prepared = False            # its layers are made, with no weights yet
        self._handed: dict[tuple[int, tuple[str, ...]], Handed] = {}  # by segment and layers
        self._before = ""                 # where this stage's number was before it was opened
        self._passed: set[tuple[str, int, int]] = set()

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """Where the segment ends, layers of the next one, and what `MobileStage` knows."""
        match body:
            case Until():
                self._end_at(body)
            case Layers():
                self._take_layers(body, tensors)
            case Open() if body.layout is not None and (why := self._no_room(body.layout)) is not None:
                self._tell_driver(Refused(body.round, body.attempt, self.stage, why, full=True))
            case Open() if body.segment and body.layout is not None:
                self._join(body, body.layout)
            case Open() if body.layout is not None:
                self._learn(body.layout, body.versions)
                super().receive(src, body, tensors)
            case _:
                super().receive(src, body, tensors)

    # --- the end of a segment ---------------------------------------------------------------------------

    def _end_at(self, until: Until) -> None:
        """Cuts change from this batch on."""
        if (until.round, until.attempt) != (self._round, self._attempt):
            return
        if self._until is not None or until.segment <= self._segment or not self._running:
            return  # it came twice
        self._until, self._end, self._drained = until, until.batch, False
        self._follow()
        self._go_on()

    def _ended(self) -> None:
        if self._until is None or self._muted:
            super()._ended()
        else:
            self._hand_over(self._until)

    def _hand_over(self, until: Until) -> None:
        """All of the segment is done: its layers go where they are from now on."""
        self._tell_record()
        layout, node = until.layout, self._context.node
        stays = self.stage < layout.stages and layout.nodes[self.stage] == node
        whole = {f"weights/{name}": t for name, t in self._all().layers.state_dict().items()}
        whole |= {f"momentum/{name}": t for name, t in self._all().momentum.items()}
        left = 0.0 if stays else self._loss_sum
        for stage in range(layout.stages):
            names = tuple(name for name in self._of(layout, stage) if name in self._names)
            if not names:
                continue
            tensors = _of_layers(whole, names)
            if stays and stage == self.stage:
                self._handed[until.segment, names] = Handed(tensors)
                continue
            body = Layers(
                until.round, until.attempt, until.segment, until.versions[stage], names, weights_digest(tensors), left
            )
            self._context.send(self.id, self._part(stage), body, to_arrays(tensors), node=layout.nodes[stage])
            left = 0.0  # the first one takes it along
        if stays:
            self._drained = True
            self._gather()
        elif self.stage < layout.stages:
            self._context.retire(self.id, layout.nodes[self.stage], until.versions[self.stage])
        else:
            self._context.retire(self.id, node, self._context.where(self.id)[1])

    # --- the begin of one -------------------------------------------------------------------------------

    def _join(self, body: Open, layout: PipelineLayout) -> None:
        """This stage is new on this node, in the middle of a round."""
        self._forget()
        self._take_layout(layout, body.batches)
        self._round, self._attempt, self._before = body.round, body.attempt, body.before
        self._segment, self._first, self._prepared = body.segment - 1, body.first, True
        self._taken = dict.fromkeys(self._taken, self._index(body.first, 0))
        self._until = Until(body.round, body.attempt, body.segment, body.first, layout, body.versions)
        self._drained = True
        self._gather()

    def _take_layers(self, body: Layers, tensors: Tensors) -> None:
        """Layers from another stage, perhaps before this one knows what they are for."""
        if (body.round, body.attempt) != (self._round, self._attempt) or body.segment <= self._segment:
            return  # of what is over, or for the second time
        came = to_torch(tensors)
        if weights_digest(came) != body.digest:
            reason = f"layers that came are not those that were sent: {', '.join(body.layers)}"
            self._tell_driver(Refused(self._round, self._attempt, self.stage, reason))
            return
        self._handed.setdefault((body.segment, body.layers), Handed(came, body.loss_sum, payload(tensors)))
        self._gather()

    def _gather(self) -> None:
        """Begin the segment if all that it takes is here."""
        until = self._until
        if until is None or not self._drained:
            return
        handed = {names: some for (segment, names), some in self._handed.items() if segment == until.segment}
        if not {name for names in handed for name in names}.issuperset(self._of(until.layout, self.stage)):
            return
        if not self._prepared:  # also where the layers are those of before: they are loaded from their own tensors
            self._take_layout(until.layout, self._batches)
        self._until, self._handed, self._drained, self._prepared = None, {}, False, False
        both = {name: tensor for some in handed.values() for name, tensor in some.tensors.items()}
        self._all().load({name.removeprefix("weights/"): t for name, t in both.items() if name.startswith("weights/")})
        momentum = {name.removeprefix("momentum/"): t for name, t in both.items() if name.startswith("momentum/")}
        copy_into(self._all().momentum, momentum, "momentum")
        self._loss_sum += sum(some.loss_sum for some in handed.values())
        self._learn(until.layout, until.versions)
        self._reset(until.segment, until.batch)
        self._opened(sum(some.size for some in handed.values()))

    def _forget(self) -> None:
        super()._forget()
        self._until, self._drained, self._prepared, self._before = None, False, False, ""
        self._handed.clear()
        self._passed.clear()

    def _late(self, body: Activations | Gradients, tensors: Tensors) -> None:
        """Of a batch before this stage was opened here: whoever sent it did not know yet, or did not care."""
        key = (body.work.direction, body.work.batch, body.work.micro)
        if self._before and body.work.batch < self._first and key not in self._passed:
            self._passed.add(key)
            self._context.send(self.id, self.id, body, tensors, node=self._before)

    # --- words ------------------------------------------------------------------------------------------

    def _of(self, layout: PipelineLayout, stage: int) -> tuple[str, ...]:
        """Names of a stage's layers."""
        first, last = layout.layers(stage)
        return LAYERS[self._context.task.model][first:last]

    def _learn(self, layout: PipelineLayout, versions: tuple[int, ...]) -> None:
        """Where all stages are."""
        if len(versions) != layout.stages:
            raise WireError("a layout without the versions of its placements", found=f"{layout}, {versions}")
        for stage, (node, version) in enumerate(zip(layout.nodes, versions, strict=True)):
            self._context.learn(self._part(stage), node, version)


def _of_layers(whole: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of these layers, under ``weights/`` and ``momentum/``."""
    found: dict[str, Tensor] = {}
    for group in ("weights/", "momentum/"):
        own = {name.removeprefix(group): t for name, t in whole.items() if name.startswith(group)}
        found |= {group + name: t for name, t in split(own, names).items()}
    return found
