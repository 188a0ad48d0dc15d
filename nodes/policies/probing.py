"""When to probe edge servers again: often while predictions fail, seldom while they hold, within a budget.

Our design (EdgeMove's abstract says that it probes adaptively, not how). The interval starts at ``least``. It doubles,
up to ``most``, with each probe that found what was predicted,

    |measured - predicted| / predicted < eps

and falls back to ``least`` on a larger error (of a probe, or of the training itself, which is watched without cost),
when the link changes, and while a handover is near. Alternatives: ``every`` (always the same interval) and ``off``.

The budget is a share of time and a share of bytes:

    spent + what the next probe may cost <= budget x max(all so far, what the whole run is expected to be)

A probe's cost is set aside when it is begun and corrected when it comes back; one that never returns has cost it all.
What may not be spent is put off, counted and recorded. So the budget holds at every moment, if no probe costs more
than was said; and with ``expected`` left at 0 there is nothing to spend at the very beginning. A budget of 0 means no
probes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nodes.errors import InputError
from nodes.policies.decisions import Decision


@dataclass(frozen=True)
class ProbePolicy:
    """How often to probe.

    Attributes:
        kind: ``adaptive``, ``every`` or ``off``.
        least: Shortest interval, s; the interval of ``every``.
        most: Longest, s.
        growth: By how much it grows.
        eps: Relative error below which a prediction has held.
        budget: Share of time, and of bytes.
        margin: Seconds before a handover from which on it is near.
    """

    kind: str = "adaptive"
    least: float = 2.0
    most: float = 60.0
    growth: float = 2.0
    eps: float = 0.1
    budget: float = 0.02
    margin: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("adaptive", "every", "off"):
            raise InputError(f"no way of probing {self.kind}", wanted="adaptive, every or off")
        if not (0 < self.least <= self.most < math.inf and 1 <= self.growth < math.inf):
            raise InputError("no interval of probes", wanted="0 < least <= most, growth of 1 at least",
                             found=f"{self.least:g} to {self.most:g} s, growth {self.growth:g}")  # fmt: skip
        if not (0 <= self.budget <= 1 and 0 <= self.eps < math.inf and 0 <= self.margin < math.inf):
            raise InputError("no budget of probes", wanted="0 to 1; eps and margin not negative",
                             found=f"{self.budget:g}, eps {self.eps:g}, margin {self.margin:g}")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of a probe: seconds during which training stands still or is slowed down for it, and bytes on the access link."""

    seconds: float
    bytes: float


FREE = Cost(0.0, 0.0)


@dataclass(frozen=True)
class Probing:
    """What there is to remember.

    Attributes:
        begun: When the run began, s.
        interval: At present, s.
        due: When the next probe is due, s.
        held: Before that none is begun, s: the budget has nothing left for it.
        last: When the last one was begun, s; None: there was none.
        spent: By all probes, with what is set aside.
        expected: What the whole run will take at least, if that is known.
        probes, put_off: How many were begun; how many were put off.
    """

    begun: float
    interval: float
    due: float
    held: float = -math.inf
    last: float | None = None
    spent: Cost = FREE
    expected: Cost = FREE
    probes: int = 0
    put_off: int = 0

    def share(self, now: float, total_bytes: float) -> tuple[float, float]:
        """Shares of time and bytes that went into probes so far; of nothing 0."""
        elapsed = now - self.begun
        return (self.spent.seconds / elapsed if elapsed > 0 else 0.0,
                self.spent.bytes / total_bytes if total_bytes > 0 else 0.0)  # fmt: skip


def begin(policy: ProbePolicy, now: float, expected: Cost = FREE) -> Probing:
    """At the start of a run: the first probe is due at once."""
    return Probing(now, policy.least, now, expected=expected)


def look(
    policy: ProbePolicy,
    state: Probing,
    now: float,
    cost: Cost,
    total_bytes: float,
    handover_in: float | None = None,
) -> tuple[Decision, Probing]:
    """Whether to probe now.

    Args:
        policy: How often to probe.
        state: What is remembered.
        now: Seconds.
        cost: What the probe costs at most, of all servers together.
        total_bytes: Of everything on the device's access link so far, probes included.
        handover_in: Seconds until the next handover, if one is expected.

    Returns:
        ``probe``, ``wait`` or ``put off`` (its figure ``next`` says when to look again), and what to remember.
    """
    if policy.kind == "off" or policy.budget == 0:
        why = "probing is off" if policy.kind == "off" else "the budget is 0"
        return _told("wait", why, now, state, math.inf, cost), state
    near = handover_in is not None and handover_in <= policy.margin
    if near:
        state = alarm(policy, state, now)
    due = max(state.due, state.held)
    if now < due:
        return _told("wait", f"next in {due - now:.3g} s", now, state, due, cost), state
    seconds, amount = state.spent.seconds + cost.seconds, state.spent.bytes + cost.bytes
    elapsed = max(now - state.begun, state.expected.seconds)
    carried = max(total_bytes, state.expected.bytes)
    over = [name for name, wanted, of in (("time", seconds, elapsed), ("bytes", amount, carried))
            if wanted > policy.budget * of]  # fmt: skip
    if over:
        # When the time will do is known; bytes come as they come: look again after the shortest interval.
        at = max(now + policy.least, state.begun + seconds / policy.budget if "time" in over else 0.0)
        state = replace(state, held=at, put_off=state.put_off + 1)
        why = f"above the budget of {policy.budget:.3g} of {' and '.join(over)}"
        return _told("put off", why, now, state, at, cost), state
    state = replace(state, last=now, due=now + state.interval, spent=Cost(seconds, amount), probes=state.probes + 1)
    why = "a handover is near" if near else f"due every {state.interval:.3g} s"
    return _told("probe", why, now, state, state.due, cost), state


def returned(state: Probing, said: Cost, took: Cost) -> Probing:
    """A probe came back: what it took goes in the place of what was set aside for it."""
    seconds = state.spent.seconds - said.seconds + took.seconds
    return replace(state, spent=Cost(max(seconds, 0.0), max(state.spent.bytes - said.bytes + took.bytes, 0.0)))


def learnt(policy: ProbePolicy, state: Probing, now: float, predicted: float, measured: float) -> Probing:
    """A probe found ``measured`` where ``predicted`` was expected (both in seconds of the same thing)."""
    if policy.kind != "adaptive":
        return state
    if error(predicted, measured) >= policy.eps:
        return alarm(policy, state, now)
    interval = min(policy.growth * state.interval, policy.most)
    begun = now if state.last is None else state.last
    return replace(state, interval=interval, due=max(state.due, begun + interval))


def watched(policy: ProbePolicy, state: Probing, now: float, predicted: float, measured: float) -> Probing:
    """The training itself took ``measured``: an error shortens the interval; that it holds lengthens nothing."""
    failed = policy.kind == "adaptive" and error(predicted, measured) >= policy.eps
    return alarm(policy, state, now) if failed else state


def alarm(policy: ProbePolicy, state: Probing, now: float) -> Probing:
    """The link changed, a handover is near, a prediction failed: the shortest interval since the last probe."""
    if policy.kind != "adaptive":
        return state
    soonest = now if state.last is None else max(now, state.last + policy.least)
    return replace(state, interval=policy.least, due=min(state.due, soonest))


def error(predicted: float, measured: float) -> float:
    """Relative error of a prediction; of one that is not above 0 it is without bounds, unless it is right."""
    if predicted > 0 and math.isfinite(measured):
        return abs(measured - predicted) / predicted
    return 0.0 if measured == predicted else math.inf


def _told(act: str, why: str, now: float, state: Probing, at: float, cost: Cost) -> Decision:
    figures = {"interval": state.interval, "next": at, "cost_s": cost.seconds, "cost_bytes": cost.bytes,
               "spent_s": state.spent.seconds, "spent_bytes": state.spent.bytes}  # fmt: skip
    return Decision("probe", act, why, now, figures=figures)
