"""How fast nodes are: asked, set and measured.

At bring-up all nodes that train do the experiment's own steps at once, under their limits, and each tells how long
these took, by windows of five seconds (`check`). While they train, windows of their paced steps come as events of
kind ``speed`` (`trained`). Both are measured by work done: the time that a window's steps should have taken, by the
stored reference and the node's speed, over the time that they took. All times and speeds here are virtual.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nodes import schemes
from nodes.events import Span
from nodes.learn.pacing import WINDOW_S, Window
from nodes.policies.samples import FORMS
from nodes.wire import control as ctl
from testbed.emulation.fleet import AppliedLimits
from testbed.emulation.governor import Kept
from testbed.experiment.plan import NodePlan, Plan

if TYPE_CHECKING:
    from testbed.run.session import Session

LEAST_S = 1.0
"""A window says something about a node's speed if its steps took so long in all."""

DRIFTED = 0.1
"""A reference further from today's free speed is worth a note."""

_PREPARE_S = 60.0
_SOON_S = 0.2


@dataclass(frozen=True)
class NodeSpeed:
    """One node's speed.

    Attributes:
        asked: Share of one unthrottled core, by the stored reference.
        paced: Whether its steps are paced to that; if not, it is a share of CPU time, and what is measured follows.
        cpus: CPU quota in force, read back, in cores. period: Its period, s. Both are None before limits are.
        measured: Speed over all windows. windows: Speed in each that holds enough work.
        worst: The one of them that is furthest from what was asked (None if no window holds enough).
        steps: How many steps were done. late_share: Share of them that were late.
        took_s: How long they took in all, s.
    """

    asked: float
    paced: bool
    cpus: float | None
    period: float | None
    measured: float | None
    windows: tuple[float, ...]
    worst: float | None
    steps: int
    late_share: float
    took_s: float

    @property
    def error(self) -> float | None:
        """Measured against asked, as a share; None where steps are not paced or there were none."""
        return None if self.measured is None or not self.paced else self.measured / self.asked - 1

    @property
    def worst_error(self) -> float | None:
        """The same of the worst window."""
        return None if self.worst is None or not self.paced else self.worst / self.asked - 1


def rate(plan: Plan, node: NodePlan, limits: AppliedLimits | None, windows: Sequence[Window]) -> NodeSpeed:
    """What windows of steps say about a node."""
    base = node.speed if node.paced else plan.dilation  # where steps are not paced, their time is asked at speed 1
    took, steps = sum(w.took_s for w in windows), sum(w.steps for w in windows)
    full = tuple(base * w.asked_s / w.took_s for w in windows if w.took_s >= LEAST_S)
    return NodeSpeed(
        asked=node.speed,
        paced=node.paced,
        cpus=limits.read_back.cpus if limits else None,
        period=limits.read_back.period if limits else None,
        measured=base * sum(w.asked_s for w in windows) / took if took else None,
        windows=full,
        worst=max(full, key=lambda speed: abs(speed / node.speed - 1), default=None),
        steps=steps,
        late_share=sum(w.late for w in windows) / steps if steps else 0.0,
        took_s=took,
    )


def check(session: Session, reference: Mapping[str, float]) -> dict[str, NodeSpeed]:
    """Have all nodes train at once for as long as the plan says, apart from all training; nothing if that is 0.

    Raises:
        NodeError: A node failed, or did not answer.
    """
    plan, seconds, names = session.plan, session.real.speed_check, session.workers
    if not seconds:
        return {}
    work, slowest = plan.workload, 0.0
    samples = FORMS[work.data.set]
    for name in names:
        ops, cut = operations(plan.node(name).kind, work.schemes), work.cut_of(name)
        times = dict(session.references.get(cut, reference))
        slowest = max(slowest, *times.values())
        ask_for = ctl.PrepareSpeed(
            work.model, cut, work.batch, work.threads, samples.shape, ops, times, samples.classes
        )
        session.control.send(name, ask_for)
    with session.live.phase("having all nodes train at once to measure their speeds", 2 + seconds):
        session.collect(ctl.SpeedReady, names, _PREPARE_S * plan.dilation, "prepare its training steps")
        ask = ctl.CheckSpeed(time.monotonic() + _SOON_S, seconds, WINDOW_S * plan.dilation)
        for name in names:
            session.control.send(name, ask)
        slowest /= min(node.speed for node in session.real.nodes)
        said = session.collect(ctl.SpeedChecked, names, seconds + _PREPARE_S + 50 * slowest, "tell its speed")
    found = {}
    for one in said:
        assert isinstance(one.message, ctl.SpeedChecked)
        windows = [session.time.window(window) for window in one.message.windows]
        found[one.node] = rate(plan, plan.node(one.node), session.limits.get(one.node), windows)
    return found


def operations(kind: str, names: Iterable[str]) -> tuple[str, ...]:
    """Operations that a node of this kind does in these schemes, or might: all nodes are kept busy."""
    split = {schemes.get(name).split for name in names}
    if kind != "device":
        return ("tail.step",) if True in split else ("whole.step",)
    halves = ("head.forward", "head.backward") if True in split else ()
    return (*halves, "whole.step") if False in split else halves


def trained(plan: Plan, limits: Mapping[str, AppliedLimits], spans: Iterable[Span]) -> dict[str, NodeSpeed]:
    """Speeds while nodes trained, from the events of a task; only nodes that did paced steps."""
    windows: dict[str, list[Window]] = defaultdict(list)
    for span in spans:
        if span.kind == "speed":
            windows[span.node].append(Window(span.begin, span.end, **span.attrs))
    return {
        node.name: rate(plan, node, limits.get(node.name), windows[node.name])
        for node in plan.nodes
        if node.name in windows
    }


def ratio_error(speeds: Mapping[str, NodeSpeed], *, windows: bool = False) -> float | None:
    """How far the speeds of any two paced nodes are from their asked ratio, at most.

    With ``windows`` also in each window, which must then be the same stretches of time for all.
    """
    paced = [speed for speed in speeds.values() if speed.paced and speed.measured and speed.took_s >= LEAST_S]
    if len(paced) < 2:
        return None
    series = [(speed.measured or 0.0, *(speed.windows if windows else ())) for speed in paced]
    shares = [[value / speed.asked for value in values] for speed, values in zip(paced, series, strict=True)]
    return max(float(max(moment) / min(moment) - 1) for moment in zip(*shares, strict=False))


def governed(plan: Plan, kept: Mapping[str, Kept]) -> dict[str, dict[str, Any]]:
    """What governors set and found, in virtual time: shares of a core while a node wanted CPU."""
    n, rows = plan.dilation, {}
    for name, node in kept.items():
        windows = [share * n for share in node.windows]
        asked = node.speed * n
        rows[name] = {
            "asked": asked,
            "cpus": node.cpus * n,
            "cpus_lowest": node.lowest * n,
            "cpus_highest": node.highest * n,
            "period": node.period / n,
            "measured": None if node.share is None else node.share * n,
            "windows": windows,
            "worst": max(windows, key=lambda share: abs(share / asked - 1), default=None),
            "wanted_s": node.wanted_s / n,
            "disturbed": node.disturbed,
        }
    return rows


def drift(stored: Mapping[str, float], today: Mapping[str, float], ops: Iterable[str]) -> dict[str, Any]:
    """Today's free speed against the stored reference: -0.1 is a machine that is 10 % slower than it was.

    Reported and never acted upon: runs that are paced by different numbers could not be compared.
    """
    used = sorted(set(ops))
    value = sum(stored[op] for op in used) / sum(today[op] for op in used) - 1
    note = None
    if abs(value) > DRIFTED:
        note = (
            f"this machine is {abs(value):.0%} {'faster' if value > 0 else 'slower'} today than the stored reference; "
            "nodes are paced by the stored one all the same"
        )
    return {"value": value, "ops": {op: stored[op] / today[op] - 1 for op in used}, "note": note}


def section(
    plan: Plan, checked: Mapping[str, NodeSpeed], training: Mapping[str, NodeSpeed],
    reference_drift: Mapping[str, Any] | None, governed: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The ``speed`` of a summary."""
    return {
        "window_s": WINDOW_S,
        "reference_drift": None if reference_drift is None else dict(reference_drift),
        "check": _part(checked, aligned=True) | {"seconds": plan.speed_check},
        "training": _part(training, aligned=False),
        "governed": dict(governed),
    }


def problems(plan: Plan, speeds: Mapping[str, NodeSpeed], when: str) -> list[str]:
    """Nodes whose speed over all missed the tolerance, in words."""
    tolerated = plan.tolerances.speed
    return [
        f"{name}: trained at speed {speed.measured:.3g} {when} ({error:+.1%} of the {speed.asked:g} asked; "
        f"tolerated: {tolerated:.0%})"
        for name, speed in speeds.items()
        if (error := speed.error) is not None and abs(error) > tolerated and speed.took_s >= LEAST_S
    ]


def _part(speeds: Mapping[str, NodeSpeed], *, aligned: bool) -> dict[str, Any]:
    rows = {
        name: asdict(speed) | {"error": speed.error, "worst_error": speed.worst_error} for name, speed in speeds.items()
    }
    worst = [abs(s.worst_error) for s in speeds.values() if s.worst_error is not None]
    return {"nodes": rows, "worst_error": max(worst, default=None), "ratio_error": ratio_error(speeds, windows=aligned)}
