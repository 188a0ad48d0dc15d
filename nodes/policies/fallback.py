"""What the driver of a pipeline does when servers do not answer, refuse, or have died: plain decisions on plain data.

A round is exact only if all of its micro-batches are of one attempt, so nothing is saved of one that a server was lost
in: the round begins again, with the next layout (`following`). Whether a server is lost is found out by asking: `weigh`
goes by what they answer, asking by asking. All of that is our design.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from nodes.policies.layouts import PipelineLayout
from nodes.policies.offers import NodeOffer
from nodes.policies.order import depths
from nodes.wire.messages import Holds

SURE = 2
"""Askings in a row that a server leaves unanswered while others answer, until it counts as lost."""

MOVING = 10
"""Askings for which a stage may be on its way to another node, while all servers answer."""


# --- which layout is next -------------------------------------------------------------------------------


def following(
    layout: PipelineLayout, gone: Collection[str], spare: Sequence[str], *, schedule: str, micro: int, depth: int | None
) -> PipelineLayout:
    """The layout that comes after one whose servers ``gone`` cannot be used any more.

    Each of them is replaced by another server, for the same layers; when no other is left, its layers go to the server
    before it, or else to the one behind it, and there is a stage fewer; when none is left at all, the device has the
    whole model, as one stage. So the first stage never has fewer layers, and labels that stay do so.

    Args:
        layout: The layout that was.
        gone: Servers that have died, are silent or refuse.
        spare: Other servers, the best first; those that the layout has already, and those gone, are passed over.
        schedule: As the settings of the pipeline have it.
        micro: The same.
        depth: The same.
    """
    device = layout.nodes[0]
    left = [node for node in dict.fromkeys(spare) if node not in gone and node not in layout.nodes]
    instead: dict[str, str] = {}
    for node in layout.nodes:
        if node in gone and node != device and node not in instead and left:
            instead[node] = left.pop(0)
    nodes = [instead.get(node, node) for node in layout.nodes]
    if not set(nodes) & set(gone):
        return replace(layout, nodes=tuple(nodes))
    kept = _heirs(nodes, device, gone)
    if kept is None:
        return PipelineLayout((0, layout.bounds[-1]), (device,), (1,))
    ends = [(kept[s], layout.bounds[s + 1]) for s in range(layout.stages)]
    runs = [(heir, [end for _, end in run]) for heir, run in groupby(ends, key=lambda row: row[0])]
    return PipelineLayout(
        (0, *(run[-1] for _, run in runs)), tuple(nodes[heir] for heir, _ in runs),
        depths(schedule, len(runs), micro, depth),
    )  # fmt: skip


def _heirs(nodes: Sequence[str], device: str, gone: Collection[str]) -> list[int] | None:
    """Of each stage, the stage that has its layers when those on ``gone`` are no more; None if no server is left."""
    servers = [s for s, node in enumerate(nodes) if node != device and node not in gone]
    if not servers:
        return None
    return [
        s if node == device or node not in gone else max((k for k in servers if k < s), default=servers[0])
        for s, node in enumerate(nodes)
    ]


def preferred(servers: Collection[str], near: str = "", offers: Mapping[str, NodeOffer] | None = None) -> list[str]:
    """Servers in the order in which they are tried, without those that are known to refuse.

    Args:
        servers: All that there are.
        near: The one that the device is at.
        offers: What is known of them. Those of which something is known go first: those with the least time for a
            layer, then those with the fastest way there and back.
    """
    known = offers or {}

    def rank(name: str) -> tuple[bool, float, float, bool, str]:
        offer = known.get(name)
        if offer is None:
            return True, 0.0, 0.0, name != near, name
        return False, offer.ratio, -min(offer.up, offer.down), name != near, name

    return sorted((s for s in servers if s not in known or known[s].refusal is None), key=rank)


# --- whether a server is lost ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Doubt:
    """What askings have found since anything went on.

    Attributes:
        asked: How many somebody has answered.
        silent: By server: those in a row in which it said nothing, and others did.
        astray: By stage: those in a row in which its server was there, and did not have it in this attempt.
        leaving: By stage: those in a row in which it was on its way to another node.
    """

    asked: int = 0
    silent: Mapping[str, int] = field(default_factory=dict)
    astray: Mapping[int, int] = field(default_factory=dict)
    leaving: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What to do: wait, or (``reopen``) begin the round again, without the servers ``gone``; and why, in words."""

    reopen: bool = False
    gone: tuple[str, ...] = ()
    why: str = ""


WAIT = Verdict()


def weigh(
    doubt: Doubt, layout: PipelineLayout, mine: tuple[int, int], answers: Mapping[tuple[int, str], Holds],
    reached: bool, also: Collection[str] = (), asked: Collection[str] = (),
) -> tuple[Doubt, Verdict]:
    """What an asking says, together with those before it.

    Args:
        doubt: Those before.
        layout: Where the stages should be.
        mine: Round and attempt of the driver.
        answers: What servers said, by stage and server.
        reached: Whether anybody answered at all, a server or the aggregator. If nobody did, the device is out of reach
            of all, and there is nothing to be done but to ask again.
        also: Further servers that must not be lost: those that are to hand their layers over yet.
        asked: All that were asked. A stage that is on its way may be on its way to one that has said nothing.
    """
    if not reached:
        return Doubt(doubt.asked), WAIT
    there = {node for _, node in answers}
    servers = [node for node in dict.fromkeys((*layout.nodes, *also)) if node != layout.nodes[0]]
    silent = {node: doubt.silent.get(node, 0) + 1 for node in servers if node not in there}
    astray: dict[int, int] = {}
    leaving: dict[int, int] = {}
    for stage, node in enumerate(layout.nodes):
        if stage == 0 or node not in there:
            continue
        found = [one for (which, _), one in answers.items() if which == stage and _has(one, mine)]
        if not found:
            astray[stage] = doubt.astray.get(stage, 0) + 1
        elif all(one.leaving for one in found):
            leaving[stage] = doubt.leaving.get(stage, 0) + 1
    now = Doubt(doubt.asked + 1, silent, astray, leaving)
    gone = tuple(node for node, times in silent.items() if times >= SURE)
    if gone:
        return now, Verdict(True, gone, f"{' and '.join(gone)} did not answer")
    most = MOVING if there.issuperset(asked) else SURE
    for stage in [s for s, times in astray.items() if times > SURE] + [s for s, n in leaving.items() if n > most]:
        how = "did not come to its new node" if stage in leaving else "was lost"
        return now, Verdict(True, (), f"stage {stage} {how}")
    return now, WAIT


def stalled(layout: PipelineLayout, times: int) -> Verdict:
    """What to do when all servers answer and yet nothing goes on for long: for the ``times``-th time in a round.

    The first time a message may have been lost. Then one server may not reach another: there is only one from then on.
    Then that one may not reach the aggregator.
    """
    servers = [node for node in dict.fromkeys(layout.nodes) if node != layout.nodes[0]]
    gone = () if times < 2 else tuple(servers[1:]) or tuple(servers)
    return Verdict(True, gone, "nothing went on although all servers answered")


def _has(holds: Holds, mine: tuple[int, int]) -> bool:
    return holds.held and not holds.standby and (holds.round, holds.attempt) == mine
