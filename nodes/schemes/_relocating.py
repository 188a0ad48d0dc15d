"""The first stage of a pipeline as the one that has whole stages move, or keep standbys, whatever they do just then.

Where a handover can be foreseen, micro-batches go ahead of the stage (`nodes.schemes._ahead`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from nodes.events import Span
from nodes.policies.layouts import PipelineLayout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._ahead import Early, Gate, Pace
from nodes.schemes._base import PROBER
from nodes.schemes._opening import OpeningStage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Activations, Body, Close, Gradients, PartId
from nodes.wire.pipeline_messages import Fill, Settled, Steer


class RelocatingStage(OpeningStage):
    """The stage that has the others move."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._moving: dict[int, tuple[str, float]] = {}  # stages on their way: from where, and since when
        self._versions: dict[int, int] = {}              # of placements, as stages that have moved said themselves
        self._pace = Pace()
        self._early: Early | None = None                 # where micro-batches go already, ahead of the stage
        self._gate = Gate(self._wish)                    # what is sent there waits for the handover

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A stage that has moved; else as `OpeningStage`."""
        if isinstance(body, Settled):
            self._settle(body)
        else:
            super().receive(src, body, tensors)

    def _stays(self, stage: int) -> bool:
        """Whether a stage needs the labels that this device keeps to itself."""
        return self._layout is not None and self._layout.last(stage) and self._settings.labels == "stay"

    def _relocate(self, stage: int, node: str, asked: float, *, go: bool, behind: float | None) -> None:
        """Have a stage move, or without ``go`` keep a standby.

        Args:
            stage: Which one.
            node: Where to.
            asked: When that was asked for (CLOCK_MONOTONIC).
            go: Move.
            behind: A time for which it is foreseen which micro-batches go ahead; None: none.
        """
        layout, part = self._layout, self._part(stage)
        assert layout is not None
        if stage >= layout.stages or self._stays(stage):
            self._context.note(f"stage {stage} does not move to {node}: it is another one by now")
            return
        # A stage that left this very node is believed to be here until its state is acknowledged, which comes later.
        version = max(self._context.where(part)[1], self._versions.get(stage, 0))
        here = layout.nodes[stage]
        if node:
            self._context.connect(node)
        if not go:
            self._context.send(self.id, part, Steer(version, standby=node))
        elif node != here:
            before = None
            if behind is not None:
                first = self._pace.first_behind(behind)
                assert first is not None, "it was foreseen"
                self._early, before = Early(stage, node, first), (self._round, self._attempt, first)
                self._gate.shut()
            self._moving[stage] = (here, asked)
            self._context.send(self.id, part, Steer(version, move_to=node, before=before))

    def _settle(self, body: Settled) -> None:
        """A stage that was on its way goes on."""
        part, layout = self._part(body.stage), self._layout
        node, version = self._context.where(part)
        if body.version < version and body.node != node:  # it was opened elsewhere while it was on its way
            self._context.send(self.id, part, Close(node, version), node=body.node)
        if body.version < version or body.stage not in self._moving or layout is None:
            return
        before, asked = self._moving.pop(body.stage)
        self._early = None
        self._gate.open()
        self._versions[body.stage] = body.version
        nodes = tuple(body.node if stage == body.stage else home for stage, home in enumerate(layout.nodes))
        self._layout = replace(layout, nodes=nodes)
        self._tell_change(
            "relocate", asked, body.bytes,
            {"stage": body.stage, "from": before, "to": body.node, "stall_s": body.stall_s},
        )  # fmt: skip
        self._go_on()

    def _lay_out(self, layout: PipelineLayout, number: int, attempt: int) -> None:
        super()._lay_out(layout, number, attempt)
        self._moving, self._early = {}, None
        self._gate.forget()

    # --- what goes ahead of a stage ---------------------------------------------------------------------

    def _heading(self, op: Op, to: int) -> tuple[str, bool]:
        index, early = self._index(op.batch, op.micro), self._early
        self._pace.sent(index, self._context.now())
        if early is not None and to == early.stage and index >= early.index:
            return early.node, True
        return super()._heading(op, to)

    def _arrive(self, body: Activations | Gradients, tensors: Tensors) -> None:
        if isinstance(body, Gradients) and (body.work.round, body.attempt) == (self._round, self._attempt):
            self._pace.returned(self._index(body.work.batch, body.work.micro), self._context.now())
        super()._arrive(body, tensors)

    def _hand_on(self, to: int, body: Activations | Gradients, tensors: Tensors, node: str) -> None:
        send = partial(super()._hand_on, to, body, tensors, node)
        if isinstance(body, Activations) and body.early:
            self._gate.send(send, sum(tensor.nbytes for tensor in tensors.values()))
        else:
            send()

    def _wish(self, size: int) -> bool:
        """Be sent so many bytes by the node where the stage will be; False: only edge servers can do that."""
        node = "" if self._early is None else self._early.node
        prober = PartId(self.id.task, PROBER, node)
        if all(placed.part != prober for placed in self._context.task.placement):
            return False
        self._context.send(self.id, prober, Fill(size))
        return True

    # --- words ------------------------------------------------------------------------------------------

    def _tell_change(self, kind: str, begin: float, size: int, attrs: dict[str, Any]) -> None:
        task, now = self._context.task, self._context.now()
        self._context.emit(
            Span(
                kind=kind, node=self._context.node, scheme=task.scheme, task=task.id, part=str(self.id),
                round=self._round, batch=self._first, begin=begin, end=now, bytes=size,
                attrs={"device": self.id.owner, "attempt": self._attempt, **attrs},
            )
        )  # fmt: skip
