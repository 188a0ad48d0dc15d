"""Time dilation: an experiment that asks for more than the machine has, run N times slower in every respect.

A plan is in virtual time. What is made real is its `dilated` plan: speeds, quotas and rates divided by the factor,
delays, schedules, moves and deadlines multiplied by it. Sizes stay: memory, queues in bytes, what crosses a link.
Everything measured is told in virtual time again (`testbed.run.virtual`), the factor beside it.
"""

from __future__ import annotations

import math
from dataclasses import astuple, replace

from nodes.policies.energy import Supply
from nodes.policies.prediction import Guess, Prediction
from nodes.policies.units import Power
from testbed.emulation.links.shape import Schedule, Shape, Step
from testbed.experiment.changes import FaultPlan, Move, Outage
from testbed.experiment.plan import LinkPlan, NodePlan, Plan, SitePlan, Tolerances

AUTO = 0.0
"""`Plan.dilation` that is still to be chosen, by `settled`."""
LONGEST_PERIOD = 1.0
"""Longest period of a CPU quota that the kernel takes, s."""


def factor_that_fits(plan: Plan, room: float) -> float:
    """The smallest dilation, in hundredths, at which the plan fits into ``room`` cores and no node exceeds one."""
    speeds = [node.speed for node in plan.nodes]
    least = max(math.fsum(speeds) / room if room > 0 else math.inf, max(speeds, default=0.0), 1.0)
    return least if math.isinf(least) else math.ceil(least * 100 - 1e-6) / 100


def settled(plan: Plan, room: float) -> Plan:
    """The plan with its dilation chosen, where the file says ``auto``."""
    return replace(plan, dilation=factor_that_fits(plan, room)) if plan.dilation == AUTO else plan


def dilated(plan: Plan) -> Plan:
    """The plan as it is made real: every time N times longer, every rate and speed N times lower."""
    n = plan.dilation
    if n == 1:
        return plan
    return replace(
        plan,
        nodes=tuple(_node(node, n) for node in plan.nodes),
        sites=tuple(_site(site, n) for site in plan.sites),
        links=tuple(_link(link, n) for link in plan.links),
        moves=tuple(_move(move, n) for move in plan.moves),
        faults=tuple(_fault(fault, n) for fault in plan.faults),
        lead=plan.lead * n,
        outages=tuple(_outage(outage, n) for outage in plan.outages),
        interruption=plan.interruption * n,
        predictions=tuple(_prediction(prediction, n) for prediction in plan.predictions),
        tolerances=_tolerances(plan.tolerances, n),
        speed_check=plan.speed_check * n,
    )


def _node(node: NodePlan, n: float) -> NodePlan:
    # What a node draws is N times less, for N times as long: batteries keep their joules.
    power = None if node.power is None else Power(*(watts / n for watts in astuple(node.power)))
    charging = tuple(Supply(one.at * n, one.watts / n) for one in node.charging)
    return replace(
        node, speed=node.speed / n, cpus=node.cpus / n, period=min(node.period * n, LONGEST_PERIOD),
        power=power, charging=charging,
    )  # fmt: skip


def _site(site: SitePlan, n: float) -> SitePlan:
    return replace(
        site,
        access_up=dilated_shape(site.access_up, n),
        access_down=dilated_shape(site.access_down, n),
        access_up_trace=_schedule(site.access_up_trace, n),
        access_down_trace=_schedule(site.access_down_trace, n),
    )


def _link(link: LinkPlan, n: float) -> LinkPlan:
    return replace(
        link,
        ab=dilated_shape(link.ab, n),
        ba=dilated_shape(link.ba, n),
        ab_trace=_schedule(link.ab_trace, n),
        ba_trace=_schedule(link.ba_trace, n),
    )


def _move(move: Move, n: float) -> Move:
    return move if move.at is None else replace(move, at=move.at * n)


def _fault(fault: FaultPlan, n: float) -> FaultPlan:
    at, lasting = (None if seconds is None else seconds * n for seconds in (fault.at, fault.lasting))
    return replace(fault, at=at, lasting=lasting)


def _outage(outage: Outage, n: float) -> Outage:
    return replace(outage, begin=outage.begin * n, end=None if outage.end is None else outage.end * n)


def _prediction(prediction: Prediction, n: float) -> Prediction:
    guess = prediction.guess
    return replace(
        prediction, made=prediction.made * n, guess=None if guess is None else Guess(guess.to, guess.at * n)
    )


def _tolerances(tolerances: Tolerances, n: float) -> Tolerances:
    deadline = tolerances.round_deadline
    return replace(
        tolerances,
        rtt=tolerances.rtt * n,
        link_late=tolerances.link_late * n,
        node_silence=tolerances.node_silence * n,
        round_deadline=None if deadline is None else deadline * n,
    )


def dilated_shape(shape: Shape, n: float) -> Shape:
    """One direction of a link, N times slower. Its queue keeps its bytes, which last N times longer."""
    if shape.unshaped:
        return shape
    return replace(
        shape,
        rate=None if shape.rate is None else shape.rate / n,
        delay=shape.delay * n,
        jitter=shape.jitter * n,
        queue=shape.queue_bytes or None,
    )


def _schedule(schedule: Schedule | None, n: float) -> Schedule | None:
    if schedule is None:
        return None
    steps = tuple(
        Step(
            step.at * n,
            None if step.rate is None else step.rate / n,
            None if step.delay is None else step.delay * n,
            step.loss,
        )
        for step in schedule.steps
    )
    deliveries = tuple(round(chance * n) for chance in schedule.deliveries)
    return replace(schedule, steps=steps, deliveries=deliveries, length=schedule.length * n)
