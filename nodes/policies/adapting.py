"""When to change the plan of a pipeline that runs: only where that repays.

Our design (EdgeMove's abstract says that it adapts proactively, not how). A change is made when

    (seconds a batch now - with the better plan) x batches that remain  >  cost of the change
    with the better plan  <  (1 - hysteresis) x now
    the last change was at least ``dwell`` ago, unless the device has been handed over since

so that a plan does not flap. Kinds:

- ``static``: never, unless the plan cannot go on.
- ``reactive``: by what is so now.
- ``proactive``: also by what is expected behind the next handover. The move is *prepared* so early that its state is
  there in time, and until then changes for the present count only the batches that are left of it. Once the handover is
  certain, the change is made ahead of it, to take effect with it, where that can be done: the way to the old server,
  which has to agree, is short yet.

A plan that cannot go on (its server died or is out of reach) is changed at once by every kind: that is no adaptation.

What a change costs, in seconds of training:

    whole stages on other nodes   a standby is brought into step while the training goes on: one round trip to compare
                                  digests, and what its copy takes from transfers on the same wires
    other cuts                    drain (the old latency) + moved bytes over their links + refill (the new latency)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nodes.errors import InputError
from nodes.policies.costs import World
from nodes.policies.decisions import Decision, Position
from nodes.policies.layout import Layout
from nodes.policies.plans import Plan

STATE_COPIES = 3
"""What moves of a layer, in copies of its weights: they, their momentum, their gradients so far in the batch."""


@dataclass(frozen=True)
class AdaptPolicy:
    """When to change.

    Attributes:
        kind: ``proactive``, ``reactive`` or ``static``.
        hysteresis: Share by which a plan has to be better.
        dwell: Seconds that a plan is kept at least.
        margin: Seconds by which a prepared move is to be ready before its handover. A connection between servers that
            has been idle takes about a second to become as fast as a standby needs it.
    """

    kind: str = "proactive"
    hysteresis: float = 0.1
    dwell: float = 5.0
    margin: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in ("proactive", "reactive", "static"):
            raise InputError(f"no way to adapt {self.kind}", wanted="proactive, reactive or static")
        if not (0 <= self.hysteresis < 1 and 0 <= self.dwell < math.inf and 0 <= self.margin < math.inf):
            raise InputError("no hysteresis", wanted="hysteresis 0 to below 1, dwell and margin not negative",
                             found=f"{self.hysteresis:g}, {self.dwell:g} s, {self.margin:g} s")  # fmt: skip


@dataclass(frozen=True)
class MoveCost:
    """What a change of the plan costs.

    Attributes:
        bytes: That move.
        copy_s: Seconds that they take.
        stall_s: Seconds for which training stands still.
        slowed_s: Seconds that it loses to the copy on shared wires.
        standby: Whether the training goes on meanwhile.
    """

    bytes: int = 0
    copy_s: float = 0.0
    stall_s: float = 0.0
    slowed_s: float = 0.0
    standby: bool = True

    @property
    def seconds(self) -> float:
        """Of training, in all."""
        return self.stall_s + self.slowed_s


NOTHING = MoveCost()
NO_FIGURES: Mapping[str, float] = {}


def move_cost(world: World, old: Plan, new: Plan) -> MoveCost:
    """What it costs to go from one plan to another.

    Args:
        world: The links as they will be while state moves.
        old: The plan at work.
        new: The plan to come.

    Raises:
        InputError: State would have to move where there is no way: it is lost to this move.
    """
    moved = old.layout.moved(new.layout)
    if not moved:
        return NOTHING
    amounts: dict[tuple[str, str], int] = {}
    for layer, a, b in moved:
        amount = STATE_COPIES * world.profile.layers[layer].weights
        amounts[a, b] = amounts.get((a, b), 0) + amount
    ways = [world.transfer(a, b, amount) for (a, b), amount in sorted(amounts.items())]
    wires: dict[str, float] = {}
    for way in ways:
        wires[way.wire] = wires.get(way.wire, 0.0) + way.busy
    delay = max(way.delay for way in ways)
    copy = max(wires.values()) + delay
    total = sum(amounts.values())
    if old.layout.bounds != new.layout.bounds:
        return MoveCost(total, copy, old.latency + copy + new.latency, standby=False)
    # The copy takes its turn on wires that the pipeline uses: where one is always busy, all of the copy is lost.
    period = old.seconds / old.micro
    slowed = sum(seconds * min(1.0, old.busy.get(wire, 0.0) / period) for wire, seconds in wires.items() if period > 0)
    return MoveCost(total, copy, 2 * delay, slowed)


@dataclass(frozen=True)
class Choice:
    """What there is to choose from, at one time.

    Attributes:
        current: Seconds a batch with the layout at work; None: it cannot go on.
        best: The best plan.
        cost: Of going there; None: there is no way for the state (it begins anew then, if it must).
    """

    current: float | None
    best: Plan
    cost: MoveCost | None


@dataclass(frozen=True)
class Outlook:
    """A handover that is expected, and the choice behind it.

    Attributes:
        to: The site.
        at: When, s.
        choice: By what links and servers will be like there.
        sure: How sure the prediction is, 0 to 1: the gain counts by so much.
        go: Whether the change can be made ahead of it, to take effect with it: it is certain, and all is prepared.
    """

    to: str
    at: float
    choice: Choice
    sure: float = 1.0
    go: bool = False

    @property
    def imminent_s(self) -> float:
        """Seconds before the handover that a change is made ahead.

        What its servers need to agree, a batch, and what a micro-batch takes there and back.
        """
        agree = 0.0 if self.choice.cost is None else self.choice.cost.stall_s
        return agree + (self.choice.current or 0.0) + self.choice.best.latency


@dataclass(frozen=True)
class Adapting:
    """What to remember: the layout at work, since when (s), what is prepared, and how many changes there were."""

    layout: Layout
    since: float
    prepared: Layout | None = None
    changes: int = 0


def decide(
    policy: AdaptPolicy,
    state: Adapting,
    now: float,
    choice: Choice,
    remaining: int,
    outlook: Outlook | None = None,
    position: Position = (0, 0, 0),
    device: str = "",
) -> tuple[Decision, Adapting]:
    """Whether to keep the layout, prepare another one, or change.

    Args:
        policy: When to change.
        state: What is remembered.
        now: Seconds.
        choice: What there is to choose from now.
        remaining: Batches that are still to come, as far as is known (of all rounds).
        outlook: A handover that is expected.
        position: From where in the training on a change would take effect.
        device: Whose training it is.

    Returns:
        ``keep``, ``prepare`` or ``change``, and what to remember.
    """
    best = choice.best

    def told(act: str, why: str, plan: Plan | None = None, figures: Mapping[str, float] = NO_FIGURES) -> Decision:
        current = math.inf if choice.current is None else choice.current
        known = {"current_s": current, "best_s": best.seconds, "remaining": float(remaining), **figures}
        return Decision("plan", act, why, now, position, device, plan.layout if plan else None,
                        plan.depths if plan else (), known)  # fmt: skip

    def change(why: str, figures: Mapping[str, float] = NO_FIGURES) -> tuple[Decision, Adapting]:
        return told("change", why, best, figures), Adapting(best.layout, now, None, state.changes + 1)

    if choice.current is None:
        if best.layout == state.layout:
            return told("keep", "the plan cannot go on, and there is no other one"), state
        return change("the plan cannot go on")
    if policy.kind == "static":
        return told("keep", "static"), state
    here = remaining
    if policy.kind == "proactive" and outlook is not None and outlook.at > now:
        here = min(remaining, _batches(outlook.at - now, choice.current))
        ahead, state = _ahead(policy, state, now, outlook, remaining - here)
        if ahead is not None:
            plan, why, figures = ahead
            return told("prepare", why, plan, figures), state
        behind = outlook.choice.best
        if outlook.go and behind.layout == state.prepared and outlook.at - now <= outlook.imminent_s:
            figures = {"handover_in": outlook.at - now}
            then = Adapting(behind.layout, now, None, state.changes + 1)
            return told("change", f"as prepared, before the handover to {outlook.to}", behind, figures), then
    if best.layout == state.layout:
        return told("keep", "the best there is"), state
    why_not, figures = _repays(policy, choice, here)
    if why_not is not None:
        return told("keep", why_not, figures=figures), state
    left = policy.dwell - (now - state.since)
    if left > 0 and best.layout != state.prepared:
        return told("keep", f"changed {now - state.since:.3g} s ago", figures=figures), state
    return change("as prepared" if best.layout == state.prepared else "it repays", figures)


def _ahead(
    policy: AdaptPolicy, state: Adapting, now: float, outlook: Outlook, behind: int
) -> tuple[tuple[Plan, str, dict[str, float]] | None, Adapting]:
    """What to prepare for a handover, and what to remember; None: nothing, or not yet, or it has been."""
    best, cost = outlook.choice.best, outlook.choice.cost
    if best.layout == state.layout or cost is None:
        # What was prepared for another prediction is of no use.
        return None, replace(state, prepared=None)
    if best.layout == state.prepared:
        return None, state
    why_not, figures = _repays(policy, outlook.choice, behind, outlook.sure)
    if why_not is not None or outlook.at - now > cost.copy_s + policy.margin:
        return None, state
    figures = {**figures, "handover_in": outlook.at - now}
    return (best, f"a handover to {outlook.to} is near", figures), replace(state, prepared=best.layout)


def _repays(
    policy: AdaptPolicy, choice: Choice, batches: int, sure: float = 1.0
) -> tuple[str | None, dict[str, float]]:
    """Why a change does not repay, None if it does; and its figures."""
    if choice.cost is None:
        return "there is no way for the state", {}
    best = choice.best.seconds
    if choice.current is None:
        return None, {"cost_s": choice.cost.seconds, "bytes": float(choice.cost.bytes)}
    gain = sure * (choice.current - best) * batches
    figures = {"gain_s": gain, "cost_s": choice.cost.seconds, "bytes": float(choice.cost.bytes)}
    if best >= (1 - policy.hysteresis) * choice.current:
        return "not better by the hysteresis", figures
    return (None if gain > choice.cost.seconds else "it does not repay"), figures


def _batches(seconds: float, each: float) -> int:
    """Batches that begin within some seconds."""
    return int(min(seconds / each, 1e9)) + 1 if each > 0 else 10**9
