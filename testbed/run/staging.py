"""Where the stages of pipelines are at the start: as the file says, or (``plan: auto``) by what is known before.

Known are the reference times of each layer and the speeds of nodes, rates and delays of links as the file asks for
them at the start (what varies them later is not looked at), and memory. `nodes.policies.partition` chooses from these.
Devices choose one after the other, in the order of their names: each takes an edge server to be slower by those that
have chosen it before, and its memory to be what they leave. That is our design, and no best plan for all together.

Where nothing can be chosen the simple plan of `nodes.policies.layouts.pieces` stays, and why is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import networkx as nx

from nodes.errors import InputError
from nodes.policies import layouts, order
from nodes.policies.decisions import begins
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout
from nodes.policies.offers import LinkOffer, NodeOffer
from nodes.policies.partition import best_sequential, partition
from nodes.policies.plans import Plan as Prediction
from nodes.policies.plans import Problem, speedup_bound
from nodes.policies.profile import FULL, SHARES, LayerProfile, ModelProfile
from nodes.policies.samples import FORMS, taken
from nodes.policies.stage_times import StageTimes
from testbed.emulation import forwarding
from testbed.emulation.links.shape import MTU_FRAME
from testbed.experiment import footprint
from testbed.experiment.plan import LinkPlan, Plan

PAYLOAD = 1448 / MTU_FRAME
"""Share of a full frame that is a message's own."""
UNSHAPED = 10e9
"""Bit/s that a link without a rate is taken to have."""
AGAIN = "as in the run whose decisions are done again"
UNMEASURED = "times by layer are not measured yet; a run measures them, and chooses then"


@dataclass(frozen=True)
class Staging:
    """The stages of one device's pipeline.

    Attributes:
        device: Its name.
        layout: Where they are.
        prediction: What they are predicted to take, where they were chosen.
        over_turns: How many times as fast as the same micro-batches one at a time, at the best layout for that, it is
            at most, where they were chosen.
        why: Why they were not, if they were to be.
        problem: What there was to be planned, as far as it is known; what changes them later goes on from there.
    """

    device: str
    layout: PipelineLayout
    prediction: Prediction | None = None
    over_turns: float | None = None
    why: str = ""
    problem: Problem | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the manifest."""
        found: dict[str, Any] = {
            "bounds": list(self.layout.bounds), "nodes": list(self.layout.nodes), "depths": list(self.layout.depths),
            "chosen": self.prediction is not None, "why_not": self.why,
        }  # fmt: skip
        if self.prediction is not None:
            found |= {"prediction": self.prediction.as_dict(), "over_turns_bound": self.over_turns}
        return found


def stagings(plan: Plan, times: Mapping[str, float] | None) -> dict[str, Staging]:
    """The stages of each device's pipeline at the start, by device; none without such a scheme.

    Args:
        plan: The experiment.
        times: Reference seconds by layer and way for one micro-batch; None or nothing where they are not known.

    Raises:
        InputError: Settings of the pipeline make up no layout.
    """
    simple = plan.layouts()
    again = {
        device: PipelineLayout(one.layout.bounds, one.layout.nodes, one.depths)
        for device, one in begins(plan.decisions or ()).items() if one.layout is not None
    }  # fmt: skip
    found: dict[str, Staging] = {}
    used: Counter[str] = Counter()  # bytes
    there: Counter[str] = Counter()  # devices
    for device in sorted(simple):
        if device in again:
            staging = Staging(device, again[device], why=AGAIN, problem=_known(plan, device, times, used, there))
        elif plan.workload.pipeline.plan:
            staging = Staging(device, simple[device], problem=_known(plan, device, times, used, there))
        elif device in plan.workload.cuts_written:
            why = "the file has a cut"
            staging = Staging(device, simple[device], why=why, problem=_known(plan, device, times, used, there))
        elif not times:
            staging = Staging(device, simple[device], why=UNMEASURED)
        else:
            staging = _choose(plan, device, times, simple[device], used, there)
        found[device] = staging
        occupy(staging, used, there)
    return found


def occupy(staging: Staging, used: Counter[str], there: Counter[str]) -> None:
    """Take what a device's stages need of edge servers from what is left for those that choose after it."""
    for node in set(staging.layout.nodes) - {staging.device}:
        there[node] += 1
        if staging.prediction is not None:
            used[node] += staging.prediction.needs[node]


def _choose(
    plan: Plan, device: str, times: Mapping[str, float], simple: PipelineLayout, used: Mapping[str, int],
    there: Mapping[str, int],
) -> Staging:  # fmt: skip
    work = plan.workload
    try:
        problem = problem_of(plan, device, times, used, there)
        best = partition(problem)
        over_turns = speedup_bound(best_sequential(problem), best)
        # A depth that is asked for, or that follows from the schedule alone, is not up to the choice.
        asked = work.pipeline
        own = asked.schedule == "1f1b" and asked.depth is None
        depths = best.depths if own else order.depths(asked.schedule, len(best.layout.nodes), asked.micro, asked.depth)
        layout = PipelineLayout(best.layout.bounds, best.layout.nodes, depths)
        layouts.require(layout, len(LAYERS[work.model]))
    except InputError as error:
        return Staging(device, simple, why=f"{error.message}: {error.found}" if error.found else error.message)
    return Staging(device, layout, best, over_turns, problem=problem)


def _known(
    plan: Plan, device: str, times: Mapping[str, float] | None, used: Mapping[str, int], there: Mapping[str, int]
) -> Problem | None:
    """What there is to be planned; None where times are not known, or settings leave nothing to be planned."""
    if not times:
        return None
    try:
        return problem_of(plan, device, times, used, there)
    except InputError:
        return None


def problem_of(
    plan: Plan, device: str, times: Mapping[str, float], used: Mapping[str, int], there: Mapping[str, int]
) -> Problem:
    """What is to be planned for a device, where others have taken so many bytes, and are so many, on edge servers.

    Raises:
        InputError: A layer has no times.
    """
    asked, node = plan.workload.pipeline, plan.node(device)
    network, has = Network(plan), memory(plan)
    edges = sorted(n.name for n in plan.nodes if n.kind == "edge")
    servers = []
    for edge in edges:
        up, down, rtt = network.between(device, edge)
        own = plan.node(edge)
        servers.append(
            NodeOffer(
                edge, up, down, rtt, max(0, has[edge] - used.get(edge, 0)),
                node.speed / own.speed * (1 + there.get(edge, 0)),
            )
        )  # fmt: skip
    links = tuple(LinkOffer(*way) for way in backhaul(plan))
    return Problem(
        device, profile_of(plan, times).scaled(1 / node.speed, FULL), tuple(servers), links, asked.micro,
        asked.schedule, asked.stages, 3 if asked.labels == "stay" else 2, asked.keep, asked.labels,
        has[device], asked.depth,
    )  # fmt: skip


def backhaul(plan: Plan) -> tuple[tuple[str, str, float, float], ...]:
    """Each way between two edge servers at the start: from, to, payload bit/s (0: there is none), round-trip time in s.

    That much an operator knows of its own wired network; devices need not measure it.
    """
    network = Network(plan)
    edges = sorted(n.name for n in plan.nodes if n.kind == "edge")
    ways = ((a, b, network.between(a, b)) for a, b in permutations(edges, 2))
    return tuple((a, b, rate, rtt) for a, b, (rate, _, rtt) in ways)


def memory(plan: Plan) -> dict[str, int]:
    """Bytes that devices and edge servers have for stages, by node: what the worker and its data leave."""
    work = plan.workload
    every = footprint.layers(work.model, taken(work.data.set, work.model))
    # The largest tensor once more, as a gradient on its way; see `footprint`.
    aside = footprint.BASE + round(
        footprint.WASTE * footprint.NUMBER * work.micro_size * max(layer.largest for layer in every)
    )
    return {
        node.name: max(0, node.memory - aside - (_held(plan, node.name) if node.kind == "device" else 0))
        for node in plan.nodes if node.kind in ("device", "edge")
    }  # fmt: skip


def profile_of(plan: Plan, times: Mapping[str, float]) -> ModelProfile:
    """The model's times and bytes by layer for one micro-batch, on one unthrottled core.

    Raises:
        InputError: A layer has no times.
    """
    work, size = plan.workload, plan.workload.micro_size
    like = taken(work.data.set, work.model)
    known = StageTimes.of(times, LAYERS[work.model])
    rows = zip(
        LAYERS[work.model], known.forward, known.backward, known.update, footprint.layers(work.model, like),
        strict=True,
    )  # fmt: skip
    layers = tuple(
        LayerProfile(
            name, forward, backward, update, 4 * size * layer.output, 4 * size * layer.output, 4 * layer.parameters,
            4 * size * layer.kept,
        )
        for name, forward, backward, update, layer in rows
    )  # fmt: skip
    whole = ModelProfile(work.model, size, layers, 4 * size * like.numbers, 8 * size, known.loss)
    return whole.compressed(SHARES[work.pipeline.compress])


def _held(plan: Plan, device: str) -> int:
    """Bytes of a device's samples, about."""
    data = plan.workload.data
    form = FORMS[data.set]
    devices = sum(node.kind == "device" for node in plan.nodes)
    share = (data.fractions or {}).get(device, 1 / devices)
    return int(share * min(data.train_samples or form.train, form.train)) * form.nbytes


class Network:
    """Rates and delays between nodes as they are at the start."""

    def __init__(self, plan: Plan) -> None:
        self._links: dict[str, LinkPlan] = {link.name: link for link in plan.links}
        self._at = forwarding.attachments(plan.links)
        self._graph: nx.DiGraph[str] = forwarding.graph(plan.bridges, plan.links)
        self._columns: dict[str, forwarding.Column] = {}

    def between(self, a: str, b: str) -> tuple[float, float, float]:
        """Payload bit/s there, and back, and round-trip time in s; 0 bit/s where there is no way."""
        there, delay = self._way(a, b)
        back, again = self._way(b, a)
        return there, back, delay + again

    def _way(self, a: str, b: str) -> tuple[float, float]:
        start, end = self._at[a], self._at[b]
        if b not in self._columns:
            self._columns[b] = forwarding.column(self._graph, end.b, end.name)
        here, shapes = start.b, [start.ab]
        while here != end.b:
            if here not in self._columns[b]:
                return 0.0, 0.0
            link = self._links[self._columns[b][here]]
            here, shape = (link.b, link.ab) if link.a == here else (link.a, link.ba)
            shapes.append(shape)
        shapes.append(end.ba)
        return min(s.rate or UNSHAPED for s in shapes) * PAYLOAD, sum(s.delay for s in shapes)
