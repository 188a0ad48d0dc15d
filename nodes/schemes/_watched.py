"""The first stage of a pipeline as one that outlives its servers: a `Watch` hears what happens, and has it go on."""

from __future__ import annotations

from nodes.policies.layouts import PipelineLayout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._leading import Change, LeadingStage
from nodes.schemes._watching import Watch
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Gradients, Holds, PartId
from nodes.wire.pipeline_messages import Delivered, Refused


class WatchedStage(LeadingStage):
    """The stage that leads, and looks after the servers of the others."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._watch = Watch(self, context)
        self._left: PipelineLayout | None = None  # the layout before the last change of cuts

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """What servers have, and that a round is over; else as `LeadingStage`."""
        match body:
            case Holds():
                self._watch.answered(src, body)
            case Delivered():
                if body.round == self._round:
                    self._delivered(body.attempt)
            case _:
                if isinstance(body, Gradients):
                    self._watch.heard(gradients=True)
                super().receive(src, body, tensors)
                self._watch.heard()

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """The device is at another edge server's site now."""
        if done:
            self._watch.near = edge

    def lost(self, node: str) -> None:
        """A node has died."""
        self._watch.lost(node)

    def awake(self, token: int) -> None:
        """No answer has come for a while."""
        self._watch.awake(token)

    # --- for the watch ----------------------------------------------------------------------------------

    @property
    def wanted(self) -> PipelineLayout | None:
        """The layout of now, or the one that is being changed to."""
        return self._target or self._layout

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes without which the attempt under way comes to no end."""
        under_way = (self._left, self._target) if self._target else ()  # who is left has layers to hand over
        ahead = () if self._early is None else (self._early.node,)
        return frozenset(node for known in (self._layout, *under_way) if known for node in known.nodes).union(ahead)

    @property
    def at_work(self) -> bool:
        """Whether micro-batches are what is waited for, and no weights."""
        return self._running and self._whole()

    def went_around(self, layout: PipelineLayout) -> None:
        """Servers were lost, and this is the layout of this round from its begin, or of the next one."""

    # --- what becomes of it -----------------------------------------------------------------------------

    def _plan(self) -> PipelineLayout:
        return self._watch.usable(super()._plan())

    def _open(self, number: int, attempt: int, layout: PipelineLayout | None = None) -> None:
        super()._open(number, attempt, layout)
        self._watch.begin(number)

    def _recut(self, change: Change) -> None:
        self._left = self._layout
        super()._recut(change)

    def _do(self, op: Op) -> None:
        super()._do(op)
        self._watch.heard()

    def _refused(self, body: Refused) -> None:
        self._watch.refused(body)

    def _delivered(self, attempt: int) -> None:
        """The aggregator has the whole model of this round, of this attempt or of an earlier one."""
        if attempt != self._attempt:
            self._forget()
            self._told = None  # what was begun again was not needed; the next round goes on from there
        self._watch.rest()
