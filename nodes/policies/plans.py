"""A plan: a layout, what it is predicted to take, and why it is the one; and the problem that it solves.

Predictions of time come from `nodes.policies.simulate`, so they have fill, drain, updates and the fixed order in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from nodes.errors import InputError
from nodes.policies import depths as in_turn
from nodes.policies.costs import SCHEDULES, Chain, World, in_flight
from nodes.policies.layout import Layout
from nodes.policies.offers import LinkOffer, NodeOffer
from nodes.policies.profile import ModelProfile
from nodes.policies.simulate import play, staleness

MOST_STAGES = 4


@dataclass(frozen=True)
class Problem:
    """What is to be planned.

    Attributes:
        device: Name of the device whose data it is.
        profile: The model's times on it, by micro-batch.
        servers: What the edge servers offer.
        links: The ways between them.
        micro: Micro-batches a batch.
        schedule: ``1f1b``, ``sync`` or ``sequential``.
        stages: Most stages; the device's last one of a U-shape counts.
        fewest: Least stages: 2 leaves out the device alone.
        keep: First layers that stay on the device.
        labels: ``leave``, or ``stay``: the last stage is on the device.
        memory: Bytes that the device has for training; None: no limit.
        depth: Most micro-batches in flight with 1f1b; None: ``micro``, so that weights are one update old at most.
    """

    device: str
    profile: ModelProfile
    servers: tuple[NodeOffer, ...] = ()
    links: tuple[LinkOffer, ...] = ()
    micro: int = 4
    schedule: str = "1f1b"
    stages: int = 2
    fewest: int = 1
    keep: int = 1
    labels: str = "leave"
    memory: int | None = None
    depth: int | None = None

    def __post_init__(self) -> None:
        layers, model = len(self.profile.layers), self.profile.model
        if not 0 <= self.keep <= layers:
            raise InputError(f"keep is beyond the model {model}", wanted=f"0 to {layers} layers", found=str(self.keep))
        if not 1 <= self.fewest <= self.stages <= MOST_STAGES:
            raise InputError("no number of stages", wanted=f"1 to {MOST_STAGES}", found=f"{self.fewest}..{self.stages}")
        if self.fewest > layers + (self.keep == 0):
            raise InputError(f"{model} has fewer layers than stages", wanted=f"{layers} stages at most",
                             found=str(self.fewest))  # fmt: skip
        if self.micro < 1 or (self.depth is not None and self.depth < 1):
            raise InputError("micro-batches and depth are 1 at least", found=f"micro {self.micro}, depth {self.depth}")
        if self.schedule not in SCHEDULES:
            raise InputError(f"no schedule {self.schedule}", wanted=", ".join(SCHEDULES))
        if self.labels not in ("leave", "stay"):
            raise InputError(f"labels {self.labels}", wanted="leave or stay")
        names = [offer.name for offer in self.servers]
        if len(set(names)) < len(names) or self.device in names:
            raise InputError("a server is offered twice, or is the device", found=", ".join(names))

    @property
    def cap(self) -> int:
        """Most micro-batches in flight."""
        return self.depth or self.micro

    @cached_property
    def world(self) -> World:
        """Everything that costs follow from; servers that refuse are left out."""
        return World(
            self.device,
            self.profile,
            {offer.name: offer for offer in sorted(self.servers, key=lambda o: o.name) if offer.refusal is None},
            {(link.a, link.b): link for link in self.links},
            self.labels == "stay",
            self.memory,
        )

    @property
    def refusals(self) -> tuple[str, ...]:
        """Servers that cannot be part of any plan, and why."""
        return tuple(why for offer in sorted(self.servers, key=lambda o: o.name) if (why := offer.refusal) is not None)

    def objection(self, layout: Layout) -> str | None:
        """Why a layout cannot be; None if it can."""
        if layout.device != self.device:
            return f"the first stage is on {layout.device}, not on the device {self.device}"
        if layout.layers != len(self.profile.layers):
            return f"{layout.layers} layers, where {self.profile.model} has {len(self.profile.layers)}"
        if layout.bounds[1] < self.keep:
            return f"{layout.bounds[1]} layers on the device, where the first {self.keep} are to stay there"
        if self.labels == "stay" and layout.nodes[-1] != self.device:
            return f"the last stage is on {layout.nodes[-1]}, where labels are to stay on the device"
        if self.labels == "leave" and layout.ends_on_device:
            return "the last stage is on the device, where labels may leave it"
        refused = {offer.name: offer.refusal for offer in self.servers}
        for node in layout.servers:
            if node not in refused or refused[node] is not None:
                return refused.get(node) or f"{node}: not offered"
        for a, b in zip(layout.servers, layout.servers[1:], strict=False):
            for pair in ((a, b), (b, a)):
                if pair not in self.world.links or self.world.links[pair].rate <= 0:
                    return f"no way from {pair[0]} to {pair[1]}"
        return next((why for node, need in self.needs(layout).items() if (why := self.lack(node, need))), None)

    def lack(self, node: str, need: int, least: str = "") -> str | None:
        """What memory a node is short of, in words; None if it suffices."""
        has = self.world.limit(node)
        if has is None or need <= has:
            return None
        return f"{node}: needs {least}{math.ceil(need / 2**20)} MiB, has {has >> 20}"

    def needs(self, layout: Layout) -> dict[str, int]:
        """Bytes that a layout takes of each node, with as many micro-batches in flight as there may be."""
        found: dict[str, int] = {}
        for s, (node, first, end) in enumerate(zip(layout.nodes, layout.bounds, layout.bounds[1:], strict=False)):
            held = in_flight(self.schedule, s == len(layout.nodes) - 1, self.micro, self.cap)
            found[node] = found.get(node, 0) + self.world.need(first, end, held, self.schedule)
        return found


@dataclass(frozen=True)
class Candidate:
    """A chain of nodes that was looked at: its best score (s a micro-batch), or why it has none."""

    nodes: tuple[str, ...]
    score: float | None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """A layout and what it is predicted to take.

    Attributes:
        layout: Nodes and cuts.
        schedule, micro, samples: Order of work, micro-batches a batch, samples a micro-batch.
        busy: Seconds that a micro-batch takes of each node and wire.
        bottleneck: Which of them is the slowest.
        bound: Its seconds: no order of work takes less a micro-batch.
        latency: Seconds of one micro-batch through the empty pipeline and back (its fill).
        needed: Micro-batches in flight on the device that keep the bottleneck busy with 1f1b.
        depths: Micro-batches in flight of each stage; with 1f1b not above the most that there may be.
        staleness: Updates by which weights are old at most; 0 but with 1f1b.
        batch_s: Seconds a batch, by schedule, once the pipeline is full.
        needs: Bytes of memory by node.
        score: What was minimised, s a micro-batch.
        chain: What each step takes.
        refused: Servers that could not be used, and why.
        considered: Chains of nodes, if they were asked for.
    """

    layout: Layout
    schedule: str
    micro: int
    samples: int
    busy: dict[str, float]
    bottleneck: str
    bound: float
    latency: float
    needed: int
    depths: tuple[int, ...]
    staleness: int
    batch_s: dict[str, float]
    needs: dict[str, int]
    score: float
    chain: Chain
    refused: tuple[str, ...] = ()
    considered: tuple[Candidate, ...] = ()

    @property
    def seconds(self) -> float:
        """Predicted seconds a batch with its own schedule."""
        return self.batch_s[self.schedule]

    @property
    def rate(self) -> float:
        """Predicted samples a second with its own schedule."""
        return self.micro * self.samples / self.seconds if self.seconds else math.inf

    @property
    def efficiency(self) -> float:
        """Share of the bound that its schedule is predicted to reach."""
        return self.micro * self.bound / self.seconds if self.seconds else 1.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be written down."""
        return {**asdict(self), "layout": self.layout.as_dict(), "seconds": self.seconds, "rate": self.rate}


def predict(problem: Problem, layout: Layout, *, score: float | None = None) -> Plan:
    """What a layout is predicted to take.

    Raises:
        InputError: It cannot be, and why.
    """
    why = problem.objection(layout)
    if why is not None:
        raise InputError("a plan that cannot be", found=str(layout), wanted=why)
    chain = problem.world.chain(layout)
    name, bound = chain.bottleneck(problem.micro)
    depths, best = settle(chain, "1f1b", problem.micro, problem.cap)
    inner = len(depths) - 1
    batch_s = {"1f1b": best, **{one: batch_seconds(chain, one, problem.micro) for one in ("sync", "sequential")}}
    return Plan(
        layout, problem.schedule, problem.micro, problem.profile.samples, chain.busy(problem.micro), name, bound,
        chain.latency, _saturating(chain, bound),
        {"1f1b": depths, "sync": (*[problem.micro] * inner, 1), "sequential": (1,) * (inner + 1)}[problem.schedule],
        staleness(depths[0], problem.micro) if problem.schedule == "1f1b" and len(depths) > 1 else 0,
        batch_s, problem.needs(layout), batch_s[problem.schedule] / problem.micro if score is None else score, chain,
        problem.refusals,
    )  # fmt: skip


def score_of(problem: Problem, chain: Chain) -> float:
    """What is minimised (`nodes.policies.partition`), s a micro-batch; by closed forms: in a U-shape a lower bound."""
    m, update = problem.micro, chain.stages[0].update
    if problem.schedule == "1f1b":
        return in_turn.choose(chain, m, problem.cap)[1]
    return chain.latency + update / m if problem.schedule == "sequential" else (chain.flush(m) + update) / m


def batch_seconds(chain: Chain, schedule: str, micro: int, depths: Sequence[int] = ()) -> float:
    """Seconds a batch once the pipeline is full, as played."""
    if schedule != "1f1b":
        return play(chain, schedule, micro, 3).period(1)
    fill, drain, span = 1 + -(-2 * depths[0] // micro), -(-depths[0] // micro), 1 + -(-12 // micro)
    return play(chain, schedule, micro, fill + span + drain, depths).period(fill, drain)


def settle(chain: Chain, schedule: str, micro: int, cap: int) -> tuple[tuple[int, ...], float]:
    """Depths of 1f1b, and seconds a batch, as played.

    In a U-shape the device's stages wait for each other, which no closed form has: a micro-batch more in flight is
    tried, up to the cap, as long as it helps.
    """
    depths, _ = in_turn.choose(chain, micro, cap)
    seconds = batch_seconds(chain, schedule, micro, depths)
    if schedule != "1f1b" or chain.stages[0].node != chain.stages[-1].node:
        return depths, seconds
    deeper = depths
    while len(depths) > 1 and min(deeper[:-1]) < cap:
        deeper = (*(min(cap, one + 1) for one in deeper[:-1]), 1)
        more = batch_seconds(chain, schedule, micro, deeper)
        if more > seconds * (1 - 1e-3):
            break
        depths, seconds = deeper, more
    return depths, seconds


def speedup_bound(sequential: Plan, pipeline: Plan) -> float:
    """How many times as fast as unpipelined training a pipeline can be at best: the bound of its slowest part."""
    return sequential.batch_s["sequential"] / (pipeline.micro * pipeline.bound) if pipeline.bound else math.inf


def rows(plan: Plan) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A plan as a table: headings, and a row for each node and wire in the order in which a micro-batch meets them."""
    head = ("what", "layers", "s a micro-batch", "busy", "memory")
    bounds = plan.layout.bounds
    held: dict[str, list[str]] = {}
    for s, node in enumerate(plan.layout.nodes):
        held.setdefault(node, []).append(f"{bounds[s]}..{bounds[s + 1]}")
    names = [plan.layout.nodes[0]]
    for s, transfer in enumerate(plan.chain.there):
        names += [transfer.wire, plan.layout.nodes[s + 1]]
    names += [transfer.wire for transfer in reversed(plan.chain.back)]
    period = plan.seconds / plan.micro
    table: list[tuple[str, ...]] = []
    for name in dict.fromkeys(names):
        memory = f"{math.ceil(plan.needs[name] / 2**20)} MiB" if name in plan.needs else ""
        mark = " <- slowest" if name == plan.bottleneck else ""
        share = f"{plan.busy[name] / period:.0%}{mark}" if period else mark.strip()
        table.append((name, ", ".join(held.get(name, [])), f"{plan.busy[name]:.4g}", share, memory))
    return head, table


def _saturating(chain: Chain, bound: float) -> int:
    return in_turn.needed(in_turn.round_trips(chain), len(chain.stages), bound)[0] if bound else 1
