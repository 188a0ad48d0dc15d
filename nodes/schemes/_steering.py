"""What steers a pipeline: it tells the device's policies what happens, and has the driver do what they decide.

The policies (`nodes.policies.steering`) are plain and know no network and no clock. What they get and give is of the
experiment: seconds since the training began, and rates as if nothing were dilated.

A run that is given the decisions of another one makes no decisions of its own: it changes its layout where that one did
and probes nothing, so it ends with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from nodes.errors import InputError
from nodes.events import Span
from nodes.policies import decisions, layouts, order
from nodes.policies.adapting import AdaptPolicy
from nodes.policies.decisions import Decision, Position
from nodes.policies.layers import LAYERS
from nodes.policies.layout import Layout as Bare
from nodes.policies.layouts import Layout
from nodes.policies.offers import Found, NodeOffer
from nodes.policies.probing import Cost, ProbePolicy
from nodes.policies.steering import Steering, seconds_at_least
from nodes.runtime.part import Context
from nodes.schemes._base import stage_role
from nodes.schemes._plan import first_layout
from nodes.schemes._probes import Probes
from nodes.wire.codec import Tensors
from nodes.wire.messages import Body, PartId
from nodes.wire.task import Pipeline

SOON_S = 1.0
"""A handover of which it is not known when is expected so soon, s: what takes it into account begins at once."""
TOLD = ("prepare", "change", "probe", "put off")
"""Decisions that are written down; to wait and to keep are none."""


class Steered(Protocol):
    """What is steered: the driver."""

    @property
    def layout(self) -> Layout | None:
        """The layout of now, with the nodes on which stages are known to be."""

    @property
    def place_in_training(self) -> tuple[int, int]:
        """Round, and first batch of it that has not begun."""

    def relocate(self, stage: int, node: str, *, go: bool) -> None:
        """Keep a standby of a stage on a node, or move it there."""

    def relay(self, layout: Layout) -> None:
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
        self._layout: Layout | None = None            # at work, or decided on
        self._standbys: dict[int, str] = {}           # by stage, as they were asked for
        self._standing: dict[int, str] = {}           # of them, those that have the state
        self._asked: set[str] = set()                 # servers whose probes are to return
        self._probed = False                          # any has
        self._pending: tuple[Layout, Decision] | None = None  # other cuts that were asked for
        self._then: Callable[[], None] | None = None  # what waits for them
        self._zero = context.now()
        self._batch_began = 0.0

    # --- before and between rounds ----------------------------------------------------------------------

    def rehearse(self) -> None:
        """Measure the device's own times by layer."""
        if self._probes is not None:
            self._probes.measure()

    def begin(self) -> None:
        """The training begins, and with it the clock that decisions have."""
        self._zero = self._context.now()
        if not self._steers:
            return
        owner, settings = self._part.owner, self._settings
        base = settings.problems[owner]
        self._expect(base.servers)
        kind = "off" if self._probes is None else settings.probing
        least = settings.every if kind == "every" else ProbePolicy.least
        probe = ProbePolicy(kind, least, max(least, ProbePolicy.most), budget=settings.budget)
        layout = first_layout(self._context, owner)
        near = next(p.node for p in self._context.task.placement if p.part == self._stage(1))
        expected = seconds_at_least(base, self._context.task.rounds * self._batches)
        self._steering = Steering(
            base, near, Bare(layout.bounds, layout.nodes), 0.0, probe, AdaptPolicy(settings.adapt), expected
        )
        self._profiled()

    def before(self, number: int, then: Callable[[], None]) -> None:
        """A round is to begin: go on when its layout can be chosen.

        The first one waits for the first probes, where its layout is ours to choose. Later ones begin at once.
        """
        self._standing = {}  # each round begins with other weights, which standbys are to be sent
        if number == 1 and self._part.owner in self._settings.chosen and self._probe():
            self._then = then
        else:
            then()

    def layout(self, number: int, now: Layout | None) -> Layout:
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
        if self._steering is not None and self._probed and self._part.owner in self._settings.chosen:
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

    def reopened(self, layout: Layout) -> None:
        """The round begins again with a layout that nobody here has decided on."""
        self._taken(layout)
        if self._steering is not None:
            self._steering.at_work(Bare(layout.bounds, layout.nodes), self._now())

    def settled(self, layout: Layout) -> None:
        """Stages that were to move have come to rest, where they were to or elsewhere."""
        if self._layout is not None and layout != self._layout:
            self.reopened(layout)

    def relaid(self, number: int, batch: int, layout: Layout) -> None:
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
        self._probe()
        self._decide()

    def paced(self, slowdown: float) -> None:
        """The device's own work on a batch took so many times its reference times."""
        if self._probes is not None and self._probes.slowed(slowdown):
            self._profiled()

    def notice(self, edge: str, done: bool) -> None:
        """A handover to the site of an edge server comes, or is done."""
        if self._steering is None:
            return
        if done:
            self._expect(self._steering.behind(edge, self._now()))
            self._steering.handed_over(edge, self._now())
        else:
            self._steering.foretold(edge, self._now() + SOON_S)
        self._decide()
        if done:
            self._probe()

    def forecast(self, edge: str, in_s: float | None) -> None:
        """A handover is expected, in so many seconds where that is known; empty: none is any more."""
        if self._steering is not None:
            self._steering.foretold(edge, self._now() + (SOON_S if in_s is None else in_s))
            self._decide()

    def take(self, src: PartId, body: Body, tensors: Tensors) -> None:
        """An answer to a probe."""
        if self._probes is None or self._steering is None:
            return
        found = self._probes.take(src, body, tensors)
        if found is not None:
            self._probed = True
            self._steering.learnt(src.owner, self._told(found), self._now())
            self._returned(src.owner)

    def awake(self, token: int) -> None:
        """A timer has run out; maybe a probe's."""
        silent = None if self._probes is None else self._probes.expired(token)
        if silent is not None and self._steering is not None:
            self._steering.silent(silent)
            self._returned(silent)

    def lost(self, node: str) -> None:
        """A node has died."""
        if self._steering is not None:
            self._steering.gone(node)
        self._standbys = {stage: home for stage, home in self._standbys.items() if home != node}
        self._standing = {stage: home for stage, home in self._standing.items() if home != node}
        if self._probes is not None and self._probes.lost(node) is not None:
            self._returned(node)

    def refused(self, node: str) -> None:
        """A node would not have a stage, or does not answer for one."""
        if self._steering is not None:
            self._steering.silent(node)

    # --- what is done -----------------------------------------------------------------------------------

    def _probe(self) -> bool:
        """Probe all servers if it is time to; whether that is under way."""
        if self._probes is None or self._steering is None or self._asked:
            return bool(self._asked)
        servers = self._steering.servers
        costs = [self._cost(self._probes.cost(server)) for server in servers]
        cost = Cost(sum(one.seconds for one in costs), sum(one.bytes for one in costs))
        decision = self._steering.probe(self._now(), cost, self._context.carried())
        self._tell(decision)
        if decision.act != "probe" or not servers:
            return False
        self._asked = set(servers)
        for server in servers:
            self._probes.start(server)
        return True

    def _profiled(self) -> None:
        """Have the device's own times taken for what they were found to be."""
        if self._probes is not None and self._steering is not None:
            own = self._probes.own
            self._steering.profiled(own.scaled(1 / self._context.dilation, own.kind))

    def _expect(self, offers: Iterable[NodeOffer]) -> None:
        """Have probes made for links as they are believed to be."""
        if self._probes is None:
            return
        slower = self._context.dilation
        for offer in offers:
            self._probes.expect(offer.name, offer.up / slower, offer.down / slower, offer.rtt * slower)

    def _returned(self, server: str) -> None:
        assert self._probes is not None
        assert self._steering is not None
        self._steering.paid(self._cost(self._probes.said), self._cost(self._probes.took))
        self._asked.discard(server)
        if self._asked:
            return
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
                self._now(), max(left, 0), (number, batch, 0),
                ready=bool(self._standbys) and self._standing == self._standbys,
            )  # fmt: skip
        except InputError:
            return  # there is nothing to choose from, nor can it go on as it is: that shows by itself
        if decision.act == "change":
            self._change(decision)
        elif decision.act == "prepare":
            self._tell(decision)
            self._prepare(decision)
        elif self._standbys and self._steering.prepared is None:
            self._drop()

    def _prepare(self, decision: Decision) -> None:
        """Have standbys where stages will be. Other cuts cannot be prepared, only decided on."""
        assert decision.layout is not None
        if self._layout is not None and decision.layout.bounds == self._layout.bounds:
            self._stand_by(_differing(self._layout, decision.layout))

    def _change(self, decision: Decision) -> None:
        """Whole stages move at once; other cuts come with the first batch that has not begun."""
        here, layout = self._driver.layout or self._layout, self._full(decision)
        assert here is not None
        assert self._layout is not None
        assert decision.layout is not None
        if not layout.bounds == self._layout.bounds == here.bounds:
            self._drop()
            self._pending = (layout, decision)  # it is told of where it takes effect
            self._layout = layout
            self._driver.relay(layout)
            return
        # Depths stay: with others the order of work, and so the weights, would be different from here on.
        self._layout = Layout(layout.bounds, layout.nodes, self._layout.depths)
        moves = _differing(here, decision.layout)
        self._tell(decision)
        if not moves:
            self._drop()  # it is there still: the move before this one has not begun
        for stage, node in moves.items():
            self._driver.relocate(stage, node, go=True)
        self._standbys, self._standing = {}, {}

    def standing(self, stage: int, node: str) -> None:
        """A standby that was asked for has the state."""
        if self._standbys.get(stage) == node:
            self._standing[stage] = node

    def _stand_by(self, wanted: dict[int, str]) -> None:
        """Have these standbys, by stage, and no others."""
        for stage in self._standbys.keys() - wanted.keys():
            self._driver.relocate(stage, "", go=False)
        for stage, node in wanted.items():
            if self._standbys.get(stage) != node:
                self._standing.pop(stage, None)
                self._driver.relocate(stage, node, go=False)
        self._standbys = wanted
        self._standing = {stage: node for stage, node in self._standing.items() if wanted.get(stage) == node}

    def _drop(self) -> None:
        self._stand_by({})

    # --- words ------------------------------------------------------------------------------------------

    def _taken(self, layout: Layout) -> Layout:
        self._layout, self._standbys, self._standing = layout, {}, {}
        return layout

    def _full(self, decision: Decision) -> Layout:
        """A decision's layout with depths: a depth that is asked for, or that the schedule has, is not up to it."""
        assert decision.layout is not None
        asked, count = self._settings, len(decision.layout.nodes)
        own = asked.schedule == "1f1b" and asked.depth is None and len(decision.depths) == count
        depths = decision.depths if own else order.depths(asked.schedule, count, asked.micro, asked.depth)
        layout = Layout(decision.layout.bounds, decision.layout.nodes, depths)
        layouts.require(layout, len(LAYERS[self._context.task.model]))
        return layout

    def _now(self) -> float:
        return (self._context.now() - self._zero) / self._context.dilation

    def _cost(self, real: Cost) -> Cost:
        return Cost(real.seconds / self._context.dilation, real.bytes)

    def _told(self, found: Found) -> Found:
        """What a probe found, of the experiment."""
        slower = self._context.dilation
        return replace(
            found, up=None if found.up is None else found.up * slower,
            down=None if found.down is None else found.down * slower,
            rtt=None if found.rtt is None else found.rtt / slower,
            profile=None if found.profile is None else found.profile.scaled(1 / slower, found.profile.kind),
        )  # fmt: skip

    def _stage(self, stage: int) -> PartId:
        return PartId(self._part.task, stage_role(stage), self._part.owner)

    def _tell(self, decision: Decision) -> None:
        """Write a decision down."""
        if decision.act not in TOLD:
            return
        finite = {name: value for name, value in decision.figures.items() if math.isfinite(value)}
        now, task = self._context.now(), self._context.task
        self._context.emit(
            Span(
                kind="decision", node=self._context.node, scheme=task.scheme, task=task.id, part=str(self._part),
                round=decision.position[0], batch=decision.position[1], begin=now, end=now,
                attrs=replace(decision, figures=finite).as_dict(),
            )
        )  # fmt: skip


def _differing(here: Layout, there: Bare) -> dict[int, str]:
    """Nodes of the stages that are elsewhere in another layout of the same cuts."""
    pairs = zip(here.nodes, there.nodes, strict=True)
    return {stage: b for stage, (a, b) in enumerate(pairs) if a != b}
