"""The first stage of a pipeline as the one that opens the others for a round, and begins when all of them stand."""

from __future__ import annotations

from nodes.policies.layouts import PipelineLayout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._plan import first_layout
from nodes.schemes._recut import RecutStage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Close, Model, Open, PartId
from nodes.wire.pipeline_messages import Opened


class OpeningStage(RecutStage):
    """The stage that opens the others."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._announced = 0                 # segment of the round that all have been told of
        self._begun = 0                     # batches of the round that have begun
        self._stood: dict[int, int] = {}    # stages that are ready for it, and bytes of layers they took
        self._made: set[int] = set()        # stages that are where they are thought to be
        self._target: PipelineLayout | None = None  # of new cuts, while not all stages are ready for them

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A stage that is ready; else as `RecutStage`."""
        if isinstance(body, Opened):
            if (body.round, body.attempt, body.segment) == (self._round, self._attempt, self._announced):
                self._stands(body.stage, body.bytes)
        else:
            super().receive(src, body, tensors)

    # --- a round begins ---------------------------------------------------------------------------------

    def _plan(self) -> PipelineLayout:
        """The layout of now; at first the one that training begins with."""
        return self._layout or first_layout(self._context, self.id.owner)

    def _open(self, number: int, attempt: int, layout: PipelineLayout | None = None) -> None:
        """Begin a round with all stages, opened anew where there is another ``layout``."""
        if layout is None:
            layout = self._new_layout(number)
        if layout is None:
            assert self._layout is not None
            for stage in range(1, self._layout.stages):
                self._context.send(self.id, self._part(stage), Model(number, attempt))
        else:
            self._lay_out(layout, number, attempt)
        self._announced, self._begun = 0, 0
        self._stood, self._target = {}, None
        self._begin(number, attempt)

    def _new_layout(self, number: int) -> PipelineLayout | None:
        """With which layout stages are opened anew for a round; None: as they are, they only need to be told."""
        if self._layout is None or not self._made.issuperset(range(1, self._layout.stages)):
            return self._target or self._plan()  # they have not said that they stand: opened again, they do in any case
        return self._target

    def _lay_out(self, layout: PipelineLayout, number: int, attempt: int) -> None:
        """Have all stages made where they are to be, and given up where they are, or were about to be."""
        self._connect(layout)
        old = [known for known in (self._layout, self._target) if known]
        versions = [self._context.where(self.id)[1]]
        for stage in range(1, max(known.stages for known in (layout, *old))):
            part = self._part(stage)
            home, known_version = self._context.where(part)
            versions.append(known_version + 2)  # a move that may be under way has the one between
            node = layout.nodes[stage] if stage < layout.stages else home
            homes = {known.nodes[stage] for known in old if stage < known.stages}
            for place in sorted(homes if stage >= layout.stages else homes - {node}):
                if place == self._context.node:
                    self._context.retire(part, node, versions[stage])
                else:
                    self._context.send(self.id, part, Close(node, versions[stage]), node=place)
            self._context.learn(part, node, versions[stage])
        self._made = set()
        self._take_layout(layout, self._count())
        every = tuple(versions[: layout.stages])
        for stage in range(1, layout.stages):
            body = Open(number, attempt, versions[stage], layout, self._batches, every)
            self._context.send(self.id, self._part(stage), body, node=layout.nodes[stage])

    def _count(self) -> int:
        """Batches of a round."""
        raise NotImplementedError

    def _connect(self, layout: PipelineLayout) -> None:
        for node in layout.nodes:
            if node != self._context.node:
                self._context.connect(node)

    # --- who is ready -----------------------------------------------------------------------------------

    def _opened(self, size: int = 0) -> None:
        self._stands(0, size)

    def _stands(self, stage: int, size: int) -> None:
        """A stage is ready for the first micro-batch of the segment that was announced last."""
        self._stood[stage] = size
        self._made.add(stage)
        if self._whole():
            self._target = None
            self._all_stand()
        self._go_on()

    def _all_stand(self) -> None:
        """All stages are ready for the segment that was announced last."""

    def _whole(self) -> bool:
        """Whether all stages are ready for the segment that was announced last, this one too."""
        layout = self._layout
        return layout is not None and self._segment == self._announced and len(self._stood) == layout.stages

    def _step(self) -> bool:
        if self._segment == self._announced and not self._whole():
            return False
        return super()._step()

    def _do(self, op: Op) -> None:
        if op.kind in ("forward", "tail"):
            self._begun = op.batch + 1
        super()._do(op)
