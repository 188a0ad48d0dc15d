"""Partition, prediction, cost and adaptation together, against the simulation, in scenarios at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.policies.adapting import NOTHING, Adapting, AdaptPolicy, Choice, Outlook, decide, move_cost
from nodes.policies.decisions import Decision, changes, lines, read
from nodes.policies.layout import Layout
from nodes.policies.partition import partition
from nodes.policies.plans import Plan, Problem, predict
from tests.unit.policies.problems import models, problem, server

HYSTERESIS, DWELL = 0.1, 1.0


@dataclass
class Run:
    """One run through phases of conditions, each so many batches long: what it took, batch by batch as simulated."""

    phases: list[tuple[Problem, int]]
    policy: AdaptPolicy
    foresees: bool = True
    seconds: float = 0.0
    costs: float = 0.0
    slowest: float = 0.0
    highest: float = 0.0

    def __post_init__(self) -> None:
        self.plans: dict[tuple[int, Layout | None], Plan] = {}
        self.decisions: list[Decision] = []
        self.state = Adapting(self.plan(0).layout, -math.inf)
        for phase, (_, count) in enumerate(self.phases):
            for batch in range(count):
                self.batch(phase, batch)

    def plan(self, phase: int, layout: Layout | None = None) -> Plan:
        """The best plan of a phase, or what a layout takes in it."""
        if (phase, layout) not in self.plans:
            made = self.phases[phase][0]
            self.plans[phase, layout] = partition(made) if layout is None else predict(made, layout)
        return self.plans[phase, layout]

    def choice(self, phase: int) -> Choice:
        now, best = self.plan(phase, self.state.layout), self.plan(phase)
        same = now.layout == best.layout
        cost = NOTHING if same else move_cost(self.phases[phase][0].world, now, best)
        self.highest = max(self.highest, cost.seconds)
        return Choice(now.seconds, best, cost)

    def batch(self, phase: int, batch: int) -> None:
        here = self.plan(phase, self.state.layout).seconds
        left = sum(count for _, count in self.phases[phase:]) - batch
        outlook = None
        if self.foresees and phase + 1 < len(self.phases):
            ahead = (self.phases[phase][1] - batch) * here
            outlook = Outlook("next", self.seconds + ahead, self.choice(phase + 1))
        choice = self.choice(phase)
        decision, self.state = decide(self.policy, self.state, self.seconds, choice, left, outlook, (0, phase, batch))
        self.decisions.append(decision)
        if decision.act == "change":
            assert choice.cost is not None
            self.seconds += choice.cost.seconds
            self.costs += choice.cost.seconds
        taken = self.plan(phase, self.state.layout).seconds
        self.seconds += taken
        self.slowest = max(self.slowest, taken)


@st.composite
def scenarios(draw: st.DrawFn) -> list[tuple[Problem, int]]:
    profile = draw(models(most=5))
    schedule = draw(st.sampled_from(["1f1b", "sync", "sequential"]))
    some = st.sampled_from([2e5, 1e6, 5e6, 20e6])
    ratio = st.sampled_from([0.1, 0.5, 2.0])
    phases = []
    for _ in range(draw(st.integers(1, 4))):
        offers = [server(name, draw(ratio), draw(some)) for name in ("a", "b")]
        made = problem(profile, *offers, stages=draw(st.sampled_from([2, 3])), schedule=schedule)
        phases.append((made, draw(st.integers(1, 30))))
    return [(replace(made, stages=phases[0][0].stages), count) for made, count in phases]


@settings(max_examples=60, deadline=None)
@given(scenarios(), st.sampled_from(["reactive", "proactive"]))
def test_adaptive_is_never_worse_than_static_by_more_than_its_stated_cost(phases, kind):
    """The same bound as for two plans, with plans, times and costs as they are made."""
    static = Run(phases, AdaptPolicy("static"))
    run = Run(phases, AdaptPolicy(kind, HYSTERESIS, DWELL))
    assert (static.state.changes, static.costs) == (0, 0)
    lost = len(phases) * run.highest + run.state.changes * (DWELL + run.slowest)
    assert run.seconds <= static.seconds / (1 - HYSTERESIS) + run.costs + lost + 1e-6
    if len(phases) == 1:
        assert run.seconds <= static.seconds + 1e-6


@settings(max_examples=30, deadline=None)
@given(scenarios())
def test_what_is_prepared_is_what_the_next_phase_wants(phases):
    run = Run(phases, AdaptPolicy("proactive", HYSTERESIS, DWELL))
    for one in run.decisions:
        if one.act == "prepare":
            _, phase, _ = one.position
            assert one.layout == run.plan(phase + 1).layout
            assert one.figures["handover_in"] > 0


@settings(max_examples=30, deadline=None)
@given(scenarios(), st.sampled_from(["reactive", "proactive"]))
def test_a_run_that_is_given_the_decisions_does_the_same(phases, kind):
    run = Run(phases, AdaptPolicy(kind, HYSTERESIS, DWELL))
    told = changes(read("".join(lines(run.decisions))), "")
    layout, seconds = run.plan(0).layout, 0.0
    for phase, (made, count) in enumerate(phases):
        for batch in range(count):
            one = told.get((0, phase, batch))
            if one is not None and one.layout is not None:
                seconds += move_cost(made.world, run.plan(phase, layout), run.plan(phase, one.layout)).seconds
                layout = one.layout
            seconds += run.plan(phase, layout).seconds
    assert layout == run.state.layout
    assert abs(seconds - run.seconds) <= 1e-6 * max(1.0, seconds)
    assert Run(phases, AdaptPolicy(kind, HYSTERESIS, DWELL)).decisions == run.decisions
