"""The verdict: why the numbers of a run should not be trusted, in words. No reason means ``ok``.

One cause gives one reason: nodes that suffered from it are named together, and what followed (late steps, missed
speeds) stands with it. Waiting for a link is no reason, and neither is waiting that did no harm: nodes that wait for
each other's cores are judged by their late steps and speeds, nodes that others starved also by the time lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from testbed.emulation.links.shape import LinkCalibration
from testbed.experiment.plan import Plan
from testbed.run.seen import NodeSeen, Seen
from testbed.run.speed import LEAST_S, NodeSpeed

_WORTH_NAMING = 0.1
"""Cores that other programs must use, and of these the share that one must use, to be named as a cause."""
_MOST_NAMES = 4
_HELD_BACK = 0.05
"""Share of the time that the own CPU quota of a node that is late or too slow must hold it back, to be the cause."""

_MOST_DIGITS = 6
"""Of a percentage."""


def reasons(
    plan: Plan, links: Sequence[LinkCalibration], rows: Mapping[str, Mapping[str, Any]], seen: Seen,
    trained: Mapping[str, NodeSpeed], notes: Sequence[str],
) -> list[str]:  # fmt: skip
    """Reasons against a task's numbers.

    Args:
        plan: With its tolerances.
        links: Their calibration.
        rows: Per node, see `testbed.run.summary.node_rows`.
        seen: What the watch saw.
        trained: Speeds while nodes trained.
        notes: What else went wrong, in words.
    """
    found = [problem for link in links for problem in link.problems]
    tolerated = plan.tolerances
    starved = {name: node for name, node in seen.nodes.items() if _starved(node) > tolerated.starved}
    late = {
        name: row["late_share"] for name, row in rows.items()
        if _too_many(row["late_share"] * row["steps"], tolerated.late_steps * row["steps"])
    }  # fmt: skip
    off = {
        name: speed for name, speed in trained.items()
        if speed.error is not None and abs(speed.error) > tolerated.speed and speed.took_s >= LEAST_S
    }  # fmt: skip
    followed = [text for text in (_late(late, tolerated.late_steps), _missed(off, tolerated.speed)) if text]
    if starved:
        found.append("; ".join([f"{_starvation(starved)}: {cause(seen)}", *followed, *_relay_late(plan, seen)]))
    elif followed:
        behind = [*late, *(name for name in off if name not in late)]
        held = [name for name in behind if name in seen.nodes and _throttled(seen.nodes[name]) > _HELD_BACK]
        slow = list(dict.fromkeys(f"{rows[name]['speed']:g}" for name in late if name not in held))
        why = [_held_back(plan, held, seen)] if held else []
        if slow:
            why.append(f"the machine could not deliver speed{'s' * (len(slow) > 1)} {_listed(slow)} all the time")
        found.append("; ".join([followed[0], *why, *followed[1:]]))
    return [*found, *([] if starved else _relay_late(plan, seen)), *notes]


def cause(seen: Seen) -> str:
    """What the machine was busy with in the seconds in which nodes were starved."""
    found = []
    if seen.others >= _WORTH_NAMING:
        programs = [name for name, cpu_s in seen.programs.items() if cpu_s >= _WORTH_NAMING * seen.others * seen.bad_s]
        named = f", such as {_listed(programs[:_MOST_NAMES])}" if programs else ""
        found.append(f"the machine was busy with something else{named} ({seen.others:.1f} of its {seen.cores} cores)")
    if seen.steal >= 0.01:
        found.append(f"the hypervisor took {seen.steal:.0%} of the machine")
    return " and ".join(found) or "the machine was busy with something else"


def _too_many(late: float, tolerated: float) -> bool:
    """Whether more steps were late than tolerated, and than chance makes of that many one time in twenty (Poisson)."""
    return late > tolerated + 1.65 * math.sqrt(tolerated)


def _starved(node: NodeSeen) -> float:
    return node.share(node.starved_by_others_s) or 0.0


def _throttled(node: NodeSeen) -> float:
    return node.share(node.throttled_s) or 0.0


def _held_back(plan: Plan, held: Sequence[str], seen: Seen) -> str:
    profiles = list(dict.fromkeys(f"profiles.{plan.node(name).profile}.cpus" for name in held))
    share = _up_to(_throttled(seen.nodes[name]) for name in held)
    whose = "their own CPU quotas" if len(held) > 1 else "its own CPU quota"
    return (
        f"{_listed(held)} {'were' if len(held) > 1 else 'was'} held back by {whose} for {share} of the time, as what a "
        f"node does beside its steps takes CPU, too: set {_listed(profiles)} higher"
    )


def _starvation(starved: Mapping[str, NodeSeen]) -> str:
    def lost(node: NodeSeen) -> str:
        return f"{_seconds(node.starved_by_others_s or 0.0)} ({_starved(node):.0%} of the training)"

    names = sorted(starved, key=lambda name: -_starved(starved[name]))
    if len(names) == 1:
        return f"{names[0]} was starved for {lost(starved[names[0]])}"
    return f"{_listed(names)} were starved, {names[0]} the most, for {lost(starved[names[0]])}"


def _late(late: Mapping[str, float], tolerated: float) -> str:
    if not late:
        return ""
    whose = "its" if len(late) == 1 else "their"
    share = _up_to(late.values(), tolerated)
    return f"{_listed(late)}: {share} of {whose} training steps ended late (tolerated: {100 * tolerated:g}%)"


def _missed(off: Mapping[str, NodeSpeed], tolerated: float) -> str:
    if not off:
        return ""
    errors = {name: speed.error or 0.0 for name, speed in off.items()}
    if len(off) == 1:
        [(name, speed)] = off.items()
        return (
            f"{name} trained at speed {speed.measured:.3g}, {errors[name]:+.1%} of the {speed.asked:g} asked "
            f"(tolerated: {tolerated:.0%})"
        )
    slow = all(error < 0 for error in errors.values())
    how = "too slowly" if slow else "at other speeds than asked"
    return f"{_listed(errors)} trained {how}, by {_up_to(map(abs, errors.values()))} (tolerated: {tolerated:.0%})"


def _up_to(values: Iterable[float], beyond: float | None = None) -> str:
    """The largest share, with as many digits as it takes for it to read as more than ``beyond``, which it is."""
    values = list(values)
    most, digits = max(values), 0
    while beyond is not None and digits < _MOST_DIGITS and float(f"{100 * most:.{digits}f}") <= round(100 * beyond, 9):
        digits += 1
    return f"{'up to ' if len(values) > 1 else ''}{most:.{digits}%}"


def _relay_late(plan: Plan, seen: Seen) -> list[str]:
    # A frame or two that are late in one second say nothing about a run.
    if seen.lates < 2 or seen.late_s <= plan.tolerances.link_late_share * seen.took_s:
        return []
    return [
        f"the relay handed frames over late in {_seconds(seen.late_s)} of the training, one in a thousand by up to "
        f"{1e3 * (seen.late_worst_s or 0.0):.1f} ms (tolerated: {1e3 * plan.tolerances.link_late:g} ms)"
    ]


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 9.5 else f"{value:.1f} s"
