"""What steers a pipeline: it tells the device's policies what happens, and has the driver do what they decide.

The policies (`nodes.policies.steering`) are plain and know no network and no clock. What they get and give is of the
experiment: seconds since the training began, and rates as if nothing were dilated.

A run that is given the decisions of another one makes no decisions of its own: it changes its layout where that one did
and probes nothing, so it ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from nodes.errors import InputError
from nodes.policies import decisions
from nodes.policies.decisions import Decision, Position
from nodes.policies.layout import Layout
from nodes.policies.layouts import PipelineLayout
from nodes.policies.steering import Steering
from nodes.runtime.part import Context
from nodes.schemes._decided import differing, full, write_down
from nodes.schemes._plan import first_layout, first_policies
from nodes.schemes._probes import Probes
from nodes.schemes._scout import Scout
from nodes.schemes._standbys import Standbys
from nodes.wire.messages import Body, PartId
from nodes.wire.task import Pipeline

SOON_S = 1.0
"""A handover of which it is not known when is expected so soon, s: what takes it into account begins at once."""


class Steered(Protocol):
    """What is steered: the driver."""

    @property
    def layout(self) -> PipelineLayout | None:
        """The layout of now, with the nodes on which stages are known to be."""

    @property
    def place_in_training(self) -> tuple[int, int]:
        """Round, and first batch of it that has not begun."""

    def foresees(self, behind: float) -> bool:
        """See `LeadingStage.foresees`."""

    def relocate(self, stage: int, node: str, *, go: bool, behind: float | None = None) -> None:
        """Keep a standby of a stage on a node, or move it there."""

    def relay(self, layout: PipelineLayout) -> None:
        """Take other cuts from the first batch on that has not begun."""


class Helm:
    """Steers one owner's pipeline.

    Args:
        context: The runtime.
        part: The driver's address.
        driver: It.
        batches: Of a round.
    """

    def __init__(self, context: Context, part: PartId, driver: Steered, batches: int) -> None:
        settings = context.task.pipeline
        assert settings is not None, "the scheme has settings of a pipeline"
        self._context, self._part, self._driver, self._batches = context, part, driver, batches
        self._settings: Pipeline = settings
        self._written: dict[Position, Decision] | None = None
        if settings.decisions is not None:
            self._written = decisions.changes(settings.decisions, part.owner)
        known = part.owner in settings.problems and self._written is None
        self._probes = Probes(context, part, settings) if known and settings.probing != "off" else None
        self._steers = known and (self._probes is not None or settings.adapt != "static")
        self._steering: Steering | None = None
        self._layout: PipelineLayout | None = None    # at work, or decided on
        self._pending: tuple[PipelineLayout, Decision] | None = None  # other cuts that were asked for
        self._standbys = Standbys(driver.relocate)
        self._scout: Scout | None = None              # none before the training begins
        self._then: Callable[[], None] | None = None  # what waits for the first probes
        self._zero = context.now()
        self._batch_began = 0.0
        self._due = 0.0                               # of the handover that was told of last, on the machine's clock

    # --- before and between rounds ----------------------------------------------------------------------

    def rehearse(self) -> None:
        """Measure the device's own times by layer."""
        if self._probes is not None:
            self._probes.device.measure()

    def begin(self) -> None:
        """The training begins, and with it the clock that decisions have."""
        self._zero = self._context.now()
        if not self._steers:
            return
        owner, probes = self._part.owner, self._probes
        self._steering = first_policies(self._context, owner, self._batches, probing=probes is not None)
        if probes is not None:
            self._scout = Scout(self._context, probes, self._steering, self._now, self._tell, self._looked)
            self._scout.expect(self._settings.problems[owner].servers)

    def before(self, number: int, then: Callable[[], None]) -> None:
        """A round is to begin: go on when its layout can be chosen.

        The first one waits for the first probes, where its layout is ours to choose. Later ones begin at once.
        """
        self._standbys.anew()
        if number == 1 and self._part.owner in self._settings.chosen and self._look():
            self._then = then
        else:
            then()

    def layout(self, number: int, now: PipelineLayout | None) -> PipelineLayout:
        """The layout of a round that begins.

        Args:
            number: Of the round.
            now: The one of the round before; None in the first one.
        """
        if self._written is not None and (number, 0, 0) in self._written:
            return self._taken(self._full(self._written[number, 0, 0]))
        if now is not None:
            return now
        first = first_layout(self._context, self._part.owner)
        found = self._scout is not None and self._scout.found
        if self._steering is not None and found and self._part.owner in self._settings.chosen:
            try:
                best = self._steering.best(self._now())
            except InputError as error:
                self._context.note(f"no layout by what probes found ({error.message}): as it was chosen before")
                return self._taken(first)
            figures = {"best_s": best.seconds}
            chosen = Decision(
                "plan", "change", "the best by what is known at the begin", self._now(), (number, 0, 0),
                self._part.owner, best.layout, best.depths, figures,
            )  # fmt: skip
            self._tell(chosen)
            self._steering.at_work(best.layout, self._now())
            return self._taken(self._full(chosen))
        return self._taken(first)

    def reopened(self, layout: PipelineLayout) -> None:
        """The round begins again with a layout that nobody here has decided on."""
        self._taken(layout)
        if self._steering is not None:
            self._steering.at_work(Layout(layout.bounds, layout.nodes), self._now())

    def settled(self, layout: PipelineLayout) -> None:
        """Stages that were to move have come to rest, where they were to or elsewhere."""
        if self._layout is not None and layout != self._layout:
            self._standbys.want({})  # asked for since, with the stages in mind where they were to go
            self.reopened(layout)

    def relaid(self, number: int, batch: int, layout: PipelineLayout) -> None:
        """Cuts have been changed from this batch on; the weights of 1f1b hang on where, so that is written down."""
        if self._pending is not None and self._pending[0] == layout:
            self._tell(replace(self._pending[1], position=(number, batch, 0)))
        self._pending = None

    @property
    def repeats(self) -> bool:
        """Whether this run does what another one did."""
        return self._written is not None

    # --- what happens -----------------------------------------------------------------------------------

    def batch_begins(self, number: int, batch: int) -> None:
        """The first forward step of a batch comes next: what another run decided for here is done."""
        written = None if self._written is None or not batch else self._written.get((number, batch, 0))
        if written is not None:
            self._change(written)

    def batch_done(self, done: int) -> None:
        """A batch of the round is done: so many are by now."""
        now, began = self._now(), self._batch_began
        self._batch_began = now
        if self._steering is None:
            return
        if began and done > 1:
            self._steering.watched(now - began, now)
        self._look()
        self._decide()

    def paced(self, slowdown: float) -> None:
        """The device's own work on a batch took so many times its reference times."""
        if self._scout is not None:
            self._scout.paced(slowdown)

    def notice(self, edge: str, done: bool, in_s: float | None = None) -> None:
        """A handover to the site of an edge server comes, in so many seconds where that is known, or is done."""
        if self._steering is None:
            return
        if done:
            if self._scout is not None:
                self._scout.expect(self._steering.behind(edge, self._now()))
            self._steering.handed_over(edge, self._now())
        else:
            soon = SOON_S if in_s is None else in_s
            self._due = self._context.now() + soon * self._context.dilation
            self._steering.foretold(edge, self._now() + soon, certain=in_s is not None)
        self._decide()
        if done:
            self._look()

    def forecast(self, edge: str, in_s: float | None) -> None:
        """A handover is expected, in so many seconds where that is known; empty: none is any more."""
        if self._steering is not None:
            self._steering.foretold(edge, self._now() + (SOON_S if in_s is None else in_s))
            self._decide()

    def take(self, src: PartId, body: Body) -> None:
        """An answer to a probe."""
        if self._scout is not None:
            self._scout.take(src, body)

    def awake(self, token: int) -> None:
        """A timer has run out; maybe a probe's."""
        if self._scout is not None:
            self._scout.awake(token)

    def lost(self, node: str) -> None:
        """A node has died."""
        if self._steering is not None:
            self._steering.gone(node)
        self._standbys.lost(node)
        if self._scout is not None:
            self._scout.lost(node)

    def refused(self, node: str) -> None:
        """A node would not have a stage, or does not answer for one."""
        if self._steering is not None:
            self._steering.silent(node)

    # --- what is done -----------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Probe all servers if it is time to; whether that is under way."""
        return self._scout is not None and self._scout.look()

    def _looked(self) -> None:
        """All probes that were under way have returned."""
        then, self._then = self._then, None
        if then is not None:
            then()
        else:
            self._decide()

    def _decide(self) -> None:
        if self._steering is None or self._layout is None:
            return
        number, batch = self._driver.place_in_training
        left = (self._context.task.rounds - number + 1) * self._batches - batch
        try:
            decision = self._steering.plan(
                self._now(), max(left, 0), (number, batch, 0), ready=self._standbys.ready,
                ahead=self._standbys.ready and self._driver.foresees(self._due),
            )  # fmt: skip
        except InputError:
            return  # there is nothing to choose from, nor can it go on as it is: that shows by itself
        if decision.act == "change":
            self._change(decision, self._due if "handover_in" in decision.figures else None)
        elif decision.act == "prepare":
            self._tell(decision)
            self._prepare(decision)
        elif self._standbys and self._steering.prepared is None:
            self._standbys.want({})

    def _prepare(self, decision: Decision) -> None:
        """Have standbys where stages will be. Other cuts cannot be prepared, only decided on."""
        assert decision.layout is not None
        assert self._layout is not None
        same = decision.layout.bounds == self._layout.bounds
        self._standbys.want(differing(self._layout, decision.layout) if same else {})

    def _change(self, decision: Decision, behind: float | None = None) -> None:
        """Whole stages move at once, or ``behind`` a time; other cuts come with the first batch that has not begun."""
        here, layout = self._driver.layout or self._layout, self._full(decision)
        assert here is not None
        assert self._layout is not None
        assert decision.layout is not None
        if not layout.bounds == self._layout.bounds == here.bounds:
            self._standbys.want({})
            self._pending = (layout, decision)  # it is told of where it takes effect
            self._layout = layout
            self._driver.relay(layout)
            return
        # Depths stay: with others the order of work, and so the weights, would be different from here on.
        self._layout = PipelineLayout(layout.bounds, layout.nodes, self._layout.depths)
        self._tell(decision)
        # Nowhere, if the move before this one has not begun.
        self._standbys.go(differing(here, decision.layout), behind)

    def standing(self, stage: int, node: str) -> None:
        """A standby that was asked for has the state."""
        self._standbys.stands(stage, node)

    # --- words ------------------------------------------------------------------------------------------

    def _taken(self, layout: PipelineLayout) -> PipelineLayout:
        self._layout = layout
        self._standbys.forget()
        return layout

    def _full(self, decision: Decision) -> PipelineLayout:
        return full(decision, self._settings, self._context.task.model)

    def _now(self) -> float:
        return (self._context.now() - self._zero) / self._context.dilation

    def _tell(self, decision: Decision) -> None:
        write_down(decision, self._context, self._part)
