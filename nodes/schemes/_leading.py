"""The first stage of a pipeline as the one that leads: it alone decides where the others are, and what they have.

    relocate   a whole stage goes to another node, or gets a standby there, whatever it does
    relay      cuts, depths or the number of stages change between two batches
    reopen     the round begins again, with another layout

What is asked for is done in the order of asking, one change at a time, except that stages move side by side: cuts
change while nobody moves, and nobody moves while cuts change. All falls between two pieces of this stage's work.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from nodes.errors import InputError, RunError
from nodes.policies import layouts
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.order import Op
from nodes.runtime.part import Context
from nodes.schemes._relocating import RelocatingStage
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, Open, PartId
from nodes.wire.pipeline_messages import Refused, Until


@dataclass(frozen=True)
class Change:
    """A change that was asked for at a time: ``relocate`` (stage, node, go), ``relay`` or ``reopen`` (layout, why)."""

    kind: str
    asked: float
    stage: int = 0
    node: str = ""
    go: bool = False
    behind: float | None = None  # a time (s): go when the first micro-batch behind it is due, and send that one there
    layout: PipelineLayout | None = None
    why: str = ""


class LeadingStage(RelocatingStage):
    """The stage that has the others move and change their layers."""

    def __init__(self, part: PartId, context: Context) -> None:
        super().__init__(part, context)
        self._later: deque[Change] = deque()
        self._told: tuple[Change, str, int] | None = None  # a change of the layout: from what, batches given up
        self._idle: float | None = None                    # since when this stage waits for the others' layers
        self._working = False

    def receive(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """A stage that cannot go on; else as `RelocatingStage`."""
        if not isinstance(body, Refused):
            super().receive(src, body, tensors)
        elif (body.round, body.attempt) == (self._round, self._attempt):
            self._refused(body)

    # --- for what decides -------------------------------------------------------------------------------

    @property
    def layout(self) -> PipelineLayout | None:
        """The layout of now, with the nodes on which stages are known to be; None before the first round."""
        return self._layout

    @property
    def place_in_training(self) -> tuple[int, int]:
        """Round, and first batch of it that has not begun; where all have, batch 0 of the next round."""
        if 0 < self._batches <= self._begun:
            return self._round + 1, 0
        return max(self._round, 1), self._begun

    @property
    def changing(self) -> bool:
        """Whether a change that was asked for is not complete yet; others wait for it, in the order of asking."""
        return bool(self._later or self._moving or self._told)

    def foresees(self, behind: float) -> bool:
        """Whether it can be told which micro-batch of this round is the first one behind a time (CLOCK_MONOTONIC)."""
        layout, first = self._layout, self._pace.first_behind(behind)
        ready = layout is not None and layout.stages == 2 and not self._stays(1) and not self.changing
        return ready and self._running and first is not None and first < self._index(self._end, 0)

    def relocate(self, stage: int, node: str, *, go: bool, behind: float | None = None) -> None:
        """Move a whole stage to another node now, in the middle of whatever it does; no weight hangs on that.

        Args:
            stage: Which one; not the first, nor one whose labels stay on this device.
            node: Where to; empty without ``go``: keep no standby any more.
            go: Move; the stage's standby takes over if it is there, else its state is copied. Without: keep a standby
                there from now on, until told otherwise.
            behind: A time (CLOCK_MONOTONIC): go not now, but before the first micro-batch behind it, which is sent
                there already; of use where a handover is due then. Where that cannot be foreseen (`foresees`): now.

        Raises:
            RunError: This stage stays on the device, or there is nowhere to go.
        """
        if stage < 1 or (go and not node) or self._stays(stage):
            raise RunError(
                f"stage {stage} cannot move to {node or 'nowhere'}", wanted="a stage behind the first, and without"
                " labels that stay on the device", found=str(self._layout),
            )  # fmt: skip
        self._ask(Change("relocate", self._context.now(), stage, node, go, behind))

    def relay(self, layout: PipelineLayout) -> None:
        """Change cuts, depths, or the number of stages, from the first batch on that has not begun.

        The pipeline drains there, layers change hands, and it goes on. Where all batches of the round have begun, the
        next round opens with the layout. Of several that wait, the last one counts.

        Raises:
            InputError: It is no layout of this model, or not one for this device.
        """
        self._require(layout)
        self._later = deque(change for change in self._later if change.kind != "relay")
        self._ask(Change("relay", self._context.now(), layout=layout))

    def reopen(self, layout: PipelineLayout, why: str) -> None:
        """Begin this round again with another layout, from the round's global weights: a new attempt.

        Nothing that was done in the attempt before counts. All changes that wait, or are under way, are off.

        Raises:
            InputError: It is no layout of this model, or not one for this device.
        """
        self._require(layout)
        self._later.clear()
        self._ask(Change("reopen", self._context.now(), layout=layout, why=why))

    def _require(self, layout: PipelineLayout) -> None:
        layouts.require(layout, len(LAYERS[self._context.task.model]), least=1)
        device, stay = self._context.node, self._settings.labels == "stay"
        if layout.nodes[0] != device or (stay and layout.nodes[-1] != device):
            raise InputError(
                "a layout for another device, or with labels that would leave this one",
                wanted=f"stages that begin{' and end' if stay else ''} on {device}", found=layout.describe(),
            )  # fmt: skip

    # --- one change after the other ---------------------------------------------------------------------

    def _ask(self, change: Change) -> None:
        self._later.append(change)
        self._proceed()

    def _proceed(self) -> None:
        """Carry out what was asked for, as far as it can be done now."""
        while self._later and not self._working and self._able(self._later[0]):
            change = self._later.popleft()
            match change.kind:
                case "relocate":
                    foreseen = change.behind is not None and self.foresees(change.behind)
                    behind = change.behind if foreseen else None
                    self._relocate(change.stage, change.node, change.asked, go=change.go, behind=behind)
                case "relay":
                    self._recut(change)
                case _:
                    self._begin_again(change)

    def _able(self, change: Change) -> bool:
        match change.kind:
            case "relocate":
                if self._target or self._layout is None:
                    return False
                here = change.stage in self._made or change.stage >= self._layout.stages
                return here and change.stage not in self._moving
            case "relay":  # else the next round opens with it
                return self._whole() and self._running and not self._moving and self._begun < self._batches
        return True

    def _recut(self, change: Change) -> None:
        """Have the segment end before the first batch that has not begun, and stages opened that are new."""
        layout, old = change.layout, self._layout
        assert layout is not None, "such a change has one"
        assert old is not None, "all stages stand"
        if layout == old:
            return
        self._connect(layout)
        kept = [stage < old.stages and old.nodes[stage] == layout.nodes[stage] for stage in range(layout.stages)]
        known = [self._context.where(self._part(stage))[1] for stage in range(layout.stages)]
        versions = tuple(version if same else version + 1 for version, same in zip(known, kept, strict=True))
        segment, batch = self._announced + 1, self._begun
        self._relaid(self._round, batch, layout)
        until = Until(self._round, self._attempt, segment, batch, layout, versions)
        for stage in range(1, old.stages):
            self._context.send(self.id, self._part(stage), until)
        for stage in range(1, layout.stages):
            if not kept[stage]:
                before = old.nodes[stage] if stage < old.stages else ""
                body = Open(
                    self._round, self._attempt, versions[stage], layout, self._batches, versions, segment, batch, before
                )
                self._context.send(self.id, self._part(stage), body, node=layout.nodes[stage])
        self._announced, self._told, self._idle = segment, (change, old.describe(), 0), None
        self._stood, self._target = {}, layout
        self._made &= {stage for stage, same in enumerate(kept) if same}
        self._end_at(until)

    def _relaid(self, number: int, batch: int, layout: PipelineLayout) -> None:
        """A change of cuts that was asked for takes effect with this batch of the round."""

    def _hand_over(self, until: Until) -> None:
        self._idle = self._context.now()
        super()._hand_over(until)

    def _begin_again(self, change: Change) -> None:
        """A new attempt of the round; before the first round, this is what it opens with."""
        if self._round:
            given_up = self.position()[2]
            self._told = (change, self._layout.describe() if self._layout else "", given_up)
            self._open(self._round, self._attempt + 1, change.layout)
        else:
            self._later.append(replace(change, kind="relay"))

    def _refused(self, body: Refused) -> None:
        """A stage cannot do its share: begin the round again."""
        layout = self._until.layout if self._until else self._layout
        assert layout is not None
        self._context.note(f"stage {body.stage} cannot go on ({body.reason}): round {body.round} begins again")
        self.reopen(layout, body.reason)

    # --- a round ----------------------------------------------------------------------------------------

    def _open(self, number: int, attempt: int, layout: PipelineLayout | None = None) -> None:
        self._idle = None
        super()._open(number, attempt, layout)

    def _new_layout(self, number: int) -> PipelineLayout | None:
        """With other cuts, if those are what was asked for first; they take effect with the round."""
        layout, before = super()._new_layout(number), self._layout
        if self._later and self._later[0].kind == "relay":
            change = self._later.popleft()
            if layout or change.layout != before:
                self._told, layout = (change, before.describe() if before else "", 0), change.layout
                assert layout is not None, "such a change has one"
                self._relaid(number, 0, layout)
        return layout

    def _all_stand(self) -> None:
        if self._told is None:
            return
        (change, before, given_up), self._told = self._told, None
        assert change.layout is not None
        idle, self._idle = self._idle, None
        since = change.asked if change.kind == "reopen" else idle
        self._tell_change(
            change.kind, change.asked, sum(self._stood.values()),
            {
                "stage": -1, "from": before, "to": change.layout.describe(),
                "stall_s": 0.0 if since is None else self._context.now() - since,
                **({"why": change.why, "batches": given_up} if change.kind == "reopen" else {}),
            },
        )  # fmt: skip

    def _step(self) -> bool:
        self._proceed()
        return super()._step()

    def _do(self, op: Op) -> None:
        self._working = True
        super()._do(op)
        self._working = False
