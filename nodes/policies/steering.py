"""What a device decides on what it knows of the servers around it: when to probe, and where its stages go.

Our design (EdgeMove's abstract names adaptive probing and proactive adaptation, not how): `servers`, `probing`,
`partition` and `adapting` put together, without a clock or a network. Whoever drives a pipeline says what happens, asks
what to do, and does it.

**Behind a handover** nothing has been measured yet. `proactive` plans ahead of time on what is expected there
(`Servers.behind`), `reactive` once the device is there; both until a probe has found better.

**Following** a device with the stage that was near it, layers as they are, can be prepared by a standby in step, which
no change of cuts can. So it goes before the best plan where it is not worse by more than the hysteresis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from nodes.errors import InputError
from nodes.policies import adapting, probing
from nodes.policies.adapting import Adapting, AdaptPolicy, Choice, Outlook
from nodes.policies.decisions import Decision, Position
from nodes.policies.layout import Layout
from nodes.policies.offers import Found, NodeOffer
from nodes.policies.partition import partition
from nodes.policies.plans import Plan, Problem, predict
from nodes.policies.probing import FREE, Cost, ProbePolicy, Probing
from nodes.policies.profile import ModelProfile
from nodes.policies.servers import Servers

LONG_AGO = -math.inf
KEEPS_UP = 0.8
"""Share of a link between servers that keeping a standby in step may take: the state is to get there, too."""


class Steering:
    """The knowledge and the decisions of one device.

    Args:
        base: What is to be planned; its offers are what is known before any probe, its profile the device's.
        near: Edge server of the site where the device is.
        layout: At work.
        now: Seconds, as everywhere here on one clock.
        probe: How often to probe. adapt: When to change.
        expected: What the whole run will take at least.
    """

    def __init__(
        self, base: Problem, near: str, layout: Layout, now: float, probe: ProbePolicy, adapt: AdaptPolicy,
        expected: Cost = FREE,
    ) -> None:  # fmt: skip
        self._base = base
        self._probe, self._adapt = probe, adapt
        self.probing: Probing = probing.begin(probe, now, expected)
        self.adapting = Adapting(layout, now)
        self._servers = Servers(base.servers, base.links, near, now)
        self._ahead: tuple[str, float] | None = None  # the handover that is expected: to whose site, and when
        self._certain = False  # the modem has told of it
        self._now: tuple[Plan | None, Plan] | None = None  # layout at work and best plan, by what is known
        self._then: tuple[Plan, Plan] | None = None  # the same behind the handover that is expected

    @property
    def layout(self) -> Layout:
        """At work, as far as was decided."""
        return self.adapting.layout

    @property
    def prepared(self) -> Layout | None:
        """What a handover has been prepared for."""
        return self.adapting.prepared

    @property
    def servers(self) -> tuple[str, ...]:
        """Servers that are not known to be dead, the near one first."""
        return self._servers.names

    def offers(self, now: float) -> tuple[NodeOffer, ...]:
        """What is known of each server."""
        return self._servers.offers(now)

    def behind(self, edge: str, now: float) -> tuple[NodeOffer, ...]:
        """Offers as they are expected where ``edge`` is near; see `Servers.behind`."""
        return self._servers.behind(edge, now)

    # --- what happens -----------------------------------------------------------------------------------

    def learnt(self, server: str, found: Found, now: float) -> None:
        """A probe of a server came back."""
        for was, took in self._servers.learn(server, found, now):
            # Of rates and speeds alike what counts is the time that the work takes by them.
            self.probing = probing.learnt(self._probe, self.probing, now, took, was)
        self._forget()

    def profiled(self, profile: ModelProfile) -> None:
        """The device's own times are others than was known. Servers are as fast as before, so ratios to it change."""
        changed = self._base.profile.step / profile.step if profile.step else 1.0
        self._servers.rescale(changed)
        self._base = replace(self._base, profile=profile)
        self._forget()

    def silent(self, server: str) -> None:
        """A probe never came back, or the server turned work down."""
        self._servers.silent(server)
        self._forget()

    def gone(self, server: str) -> None:
        """A server has died."""
        self._servers.gone(server)
        if self.prepared is not None and server in self.prepared.nodes:
            self.adapting = replace(self.adapting, prepared=None)
        self._forget()

    def foretold(self, edge: str, at: float, *, certain: bool = False) -> None:
        """A handover to the site of an edge server is expected; with an empty name none is any more."""
        self._ahead = (edge, at) if edge and edge != self._servers.near else None
        self._certain = certain and self._ahead is not None
        if self._ahead is None:
            self.adapting = replace(self.adapting, prepared=None)
        self._then = None

    def handed_over(self, edge: str, now: float) -> None:
        """The device is at another site."""
        if edge == self._servers.near:
            return
        self._servers.move(edge, now)
        self._ahead, self._certain = None, False
        # What a plan is kept for a while against is noise. This is none: where the stages are may be wrong from now on.
        self.adapting = replace(self.adapting, since=LONG_AGO)
        self.probing = probing.alarm(self._probe, self.probing, now)
        self._forget()

    def at_work(self, layout: Layout, now: float) -> None:
        """Another layout is at work than was decided: a server had failed, or would not have it."""
        self.adapting = Adapting(layout, now, None, self.adapting.changes)
        self._forget()

    def watched(self, seconds: float, now: float) -> None:
        """The training took so long for a batch."""
        current = self._plans(now)[0]
        if current is not None:
            self.probing = probing.watched(self._probe, self.probing, now, current.seconds, seconds)

    # --- what to do -------------------------------------------------------------------------------------

    def probe(self, now: float, cost: Cost, total_bytes: float) -> Decision:
        """Whether to probe all servers now, at that cost; see `probing.look`.

        Not just before a handover: what is found until then does not hold behind it, and trains that are under way when
        links change are as long as they were for the old ones.
        """
        near = None if self._ahead is None else self._ahead[1] - now
        if near is not None and 0 <= near < cost.seconds:
            return Decision("probe", "wait", "a handover comes first", now, device=self._base.device)
        decision, self.probing = probing.look(self._probe, self.probing, now, cost, total_bytes, near)
        return replace(decision, device=self._base.device)

    def paid(self, said: Cost, took: Cost) -> None:
        """Probes have cost something else than was said."""
        self.probing = probing.returned(self.probing, said, took)

    def plan(
        self, now: float, remaining: int, position: Position, *, ready: bool = True, ahead: bool = False
    ) -> Decision:
        """Whether to keep the layout, to prepare another one, or to change.

        Args:
            now: Seconds.
            remaining: Batches still to come.
            position: First batch that has not begun.
            ready: Whether standbys of what is prepared have the state. Without, training waits for its copy.
            ahead: Whether it can be gone there just as the device is handed over.
        """
        if self._adapt.kind == "static":
            return Decision("plan", "keep", "static", now, position, self._base.device)
        current, best = self._plans(now)
        cost = _cost(self._problem(now), current, best)
        if cost is not None and cost.standby and not (ready and best.layout == self.prepared):
            cost = replace(cost, stall_s=cost.stall_s + cost.copy_s, slowed_s=0.0)
        choice = Choice(None if current is None else current.seconds, best, cost)
        decision, self.adapting = adapting.decide(
            self._adapt, self.adapting, now, choice, remaining, self._outlook(now, ahead), position, self._base.device
        )
        if decision.act == "change":
            self._forget()
        elif self.prepared is not None and self._ahead is None:
            self.adapting = replace(self.adapting, prepared=None)  # the handover is over, and it was of no use
            self._forget()
        return decision

    # --- plans ------------------------------------------------------------------------------------------

    def best(self, now: float) -> Plan:
        """The best plan by what is known.

        Raises:
            InputError: There is none.
        """
        return partition(self._problem(now))

    def _forget(self) -> None:
        self._now = self._then = None

    def _problem(self, now: float, offers: Iterable[NodeOffer] | None = None) -> Problem:
        return replace(self._base, servers=tuple(self.offers(now) if offers is None else offers))

    def _plans(self, now: float) -> tuple[Plan | None, Plan]:
        """The layout at work, None if it cannot go on, and what is best; without a plan the one at work is."""
        if self._now is None:
            self._now = self._judged(self._problem(now))
        return self._now

    def _judged(self, problem: Problem, follow: Layout | None = None) -> tuple[Plan | None, Plan]:
        try:
            current: Plan | None = predict(problem, self.layout)
        except InputError:
            current = None
        try:
            best = partition(problem)
        except InputError:
            if current is None:
                raise
            best = current
        wanted = follow if follow is not None else self.prepared
        if wanted is not None and wanted != best.layout:
            try:
                same = predict(problem, wanted)
            except InputError:
                return current, best
            if (1 - self._adapt.hysteresis) * same.seconds <= best.seconds:
                return current, same
        return current, best

    def _outlook(self, now: float, ahead: bool) -> Outlook | None:
        if self._ahead is None or self._adapt.kind != "proactive":
            return None
        edge, at = self._ahead
        if edge not in self._servers.names:
            return None
        if self._then is None:
            try:
                current, best = self._judged(self._problem(now, self.behind(edge, now)), self._following(edge))
            except InputError:
                return None
            if current is None:
                return None
            self._then = (current, best)
        current, best = self._then
        here = self._problem(now)
        if not _keeps_up(here, self._plans(now)[0] or current, best):
            return None
        # The state moves while the links are still those of here.
        cost = _cost(here, current, best)
        return Outlook(edge, at, Choice(current.seconds, best, cost), go=self._certain and ahead)

    def _following(self, edge: str) -> Layout | None:
        """The layout at work with the stage of the server near by on another one; None if that is no layout."""
        nodes, near = self.layout.nodes, self._servers.near
        if edge in nodes or near not in nodes:
            return None
        return Layout(self.layout.bounds, tuple(edge if node == near else node for node in nodes))


def _keeps_up(problem: Problem, current: Plan, best: Plan) -> bool:
    """Whether standbys of stages that move can be kept in step: all that comes to a stage is sent on to its standby."""
    if current.layout.bounds != best.layout.bounds:
        return True  # nothing that standbys are for
    world, bounds, last = problem.world, current.layout.bounds, len(current.layout.nodes) - 1
    for stage, (a, b) in enumerate(zip(current.layout.nodes, best.layout.nodes, strict=True)):
        if a == b:
            continue
        link = world.links.get((a, b))
        back = world.profile.crossing(bounds[stage + 1])[1] if stage < last else 0
        amount = world.forward_bytes(bounds[stage]) + back
        if link is None or 8 * amount * current.micro > KEEPS_UP * link.rate * current.seconds:
            return False
    return True


def _cost(problem: Problem, current: Plan | None, best: Plan) -> adapting.MoveCost | None:
    if current is None or current.layout == best.layout:
        return adapting.NOTHING
    try:
        return adapting.move_cost(problem.world, current, best)
    except InputError:
        return None


def seconds_at_least(base: Problem, batches: int) -> Cost:
    """What a run of so many batches takes at least: the layers that stay on the device, and the narrowest cut.

    Both are certain before anything is known of servers, so budgets may count on them (ours).
    """
    kept = base.profile.layers[: base.keep]
    seconds = sum(one.forward + one.backward + one.update / base.micro for one in kept)
    cuts = range(base.keep, len(base.profile.layers))
    amount = min((sum(base.profile.crossing(cut)) for cut in cuts), default=0)
    return Cost(batches * base.micro * seconds, float(batches * base.micro * amount)) if batches else FREE
