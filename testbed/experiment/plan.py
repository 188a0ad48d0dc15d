"""The plan: an experiment with every default filled in and every name resolved.

Rooms that make things real (`emulation`, `run`) read the plan and nothing of the user's file. All
quantities are in base units: seconds, bytes, bits per second, fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nodes import schemes
from nodes.policies.decisions import Decision
from nodes.policies.energy import Supply
from nodes.policies.layers import LAYERS
from nodes.policies.layouts import PipelineLayout, fixed
from nodes.policies.prediction import Prediction
from nodes.policies.units import Battery, Power
from testbed.emulation.links.shape import Schedule, Shape
from testbed.errors import InputError
from testbed.experiment.changes import FaultPlan, Move, Outage
from testbed.experiment.taskplan import PlatformPlan, TaskPlan


@dataclass(frozen=True)
class Price:
    """What work on a node costs: a GB-second of its memory limit, a GB that it sends (of 1e9 bytes, in any money)."""

    gb_second: float = 0.0
    gb: float = 0.0


@dataclass(frozen=True)
class NodePlan:
    """One container.

    Attributes:
        name: Unique, a DNS label. kind: ``device``, ``edge``, ``cloud`` or ``host``.
        profile: Name of the hardware class.
        speed: Training speed as a fraction of one unthrottled core of this machine; steps are
            paced to it.
        cpus: CPU quota in cores, the guard (2.5 x speed, at most half a core more, unless the file says otherwise).
        period: CFS period, s. memory: limit of memory + swap, bytes. threads: torch threads.
        site: Site that an edge belongs to or a device starts at; None for the cloud.
        bridge: Bridge that the node's link hangs on at the start (``ap-<site>`` or ``sw-<name>``).
        image: Image to run, None for the node image. command: None for the worker.
        paced: Whether training steps are paced to ``speed``. Where the profile gives a share they are not: they
            get ``cpus`` (then equal to ``speed``) of a core, and are as fast as that makes them.
        power: What it draws, None where that is not known. battery: What a device lives on when training begins, None
            for the mains. charging: What arrives in it, s after that. price: What work there costs.
    """

    name: str
    kind: str
    profile: str
    speed: float
    cpus: float
    period: float
    memory: int
    threads: int = 1
    site: str | None = None
    bridge: str = ""
    image: str | None = None
    command: tuple[str, ...] | None = None
    paced: bool = True
    power: Power | None = None
    battery: Battery | None = None
    charging: tuple[Supply, ...] = ()
    price: Price = Price()


@dataclass(frozen=True)
class SitePlan:
    """A place with an access point (a bridge) and at most one edge server behind it."""

    name: str
    at: tuple[float, float]  # metres
    bridge: str              # "ap-<name>"
    edge: str | None         # node name
    access_up: Shape         # what a device's link is while it is here, device to access point
    access_down: Shape
    access_up_trace: Schedule | None = None
    access_down_trace: Schedule | None = None


@dataclass(frozen=True)
class LinkPlan:
    """A point-to-point link between a node and a bridge or between two bridges.

    ``kind`` is ``access`` (a: device, b: its access point's bridge), ``edge`` (a: edge server, b: bridge),
    ``wire`` (a: cloud or host, b: its bridge; unshaped) or ``backhaul`` (bridge to bridge). The traces of an access
    link are those of the site that it hangs on at the start, and at another site that one's; with ``roams`` they are
    its device's own, wherever it hangs.
    """

    name: str
    kind: str
    a: str
    b: str
    ab: Shape
    ba: Shape
    ab_trace: Schedule | None = None   # how it varies, from the start of the training on
    ba_trace: Schedule | None = None
    roams: bool = False


@dataclass(frozen=True)
class SelectPlan:
    """Which of its samples a device trains on, as `testbed.experiment.selecting.Select` has it.

    ``control``: whether each scheme also trains on a random subset of the same size.
    """

    rule: str
    share: float
    by: str = "centroid"
    features: str = "samples"
    control: bool = True


@dataclass(frozen=True)
class DataPlan:
    """Data set and its split among the devices."""

    set: str
    dir: str | None
    dirichlet: float | None               # None: equal or by fractions
    fractions: dict[str, float] | None    # device -> share
    train_samples: int | None = None      # take only so many
    test_samples: int | None = None
    synthetic: bool = False               # made up
    select: SelectPlan | None = None      # None: devices train on all that they have


@dataclass(frozen=True)
class PipelinePlan:
    """How batches go through stages.

    ``plan`` has a node (or ``device``, ``nearest``) and its number of layers (one of them None: those that are left) by
    stage; empty where the device is to choose. ``depth`` None follows from the number of stages. ``probing`` is
    ``adaptive``, ``every`` (each ``every`` s) or ``off``; ``budget`` the share of time and of bytes that it may take.
    """

    micro: int = 4
    schedule: str = "1f1b"
    depth: int | None = None
    stages: int = 2
    keep: int = 1
    labels: str = "leave"
    plan: tuple[tuple[str, int | None], ...] = ()
    compress: str = "none"
    profile: str = "approximate"
    probing: str = "adaptive"
    every: float = 0.0
    budget: float = 0.02
    adapt: str = "proactive"


@dataclass(frozen=True)
class WorkloadPlan:
    """One task (``schemes`` names the variants to run on it, in order)."""

    schemes: tuple[str, ...]
    model: str
    cut: int
    data: DataPlan
    rounds: int
    batch: int
    local_epochs: int
    lr: float
    momentum: float
    weight_decay: float
    threads: int
    strategy: str | None                  # overrides what the scheme does on a move
    options: dict[str, object] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)  # device -> its cut, where that is not `cut`
    drop: float | None = None             # s after which a round goes on with those that came; None: it waits for all
    hierarchical: bool = False            # edge servers average their devices before the cloud averages them
    pipeline: PipelinePlan = PipelinePlan()
    cuts_written: tuple[str, ...] = ()    # devices whose cut the file gives; others have the model's usual one

    def cut_of(self, node: str) -> int:
        """Layers that stay on a device."""
        return self.cuts.get(node, self.cut)

    @property
    def pipelined(self) -> bool:
        """Whether a scheme divides batches into micro-batches."""
        return any(schemes.get(name).pipelined for name in self.schemes)

    @property
    def micro_size(self) -> int:
        """Samples of a micro-batch."""
        return self.batch // self.pipeline.micro


@dataclass(frozen=True)
class Tolerances:
    """Thresholds of the verdict; see docs/experiment.md."""

    rate: float = 0.02                 # fraction
    rtt: float = 0.0005                # s
    speed: float = 0.02                # fraction, of a node's speed over the run
    late_steps: float = 0.05           # share of paced steps that ended late
    starved: float = 0.02              # share of the training time that a node wanted a core and had none
    link_late: float = 0.005           # s that the relay handed a frame over late, 99.9th percentile of a second
    link_late_share: float = 0.02      # share of the training's seconds in which the relay may be so late
    node_silence: float = 15.0         # s without a heartbeat before a node counts as hung
    round_deadline: float | None = None  # s; None: from the reference and the links, generously


@dataclass(frozen=True)
class Plan:
    """Everything that a run needs to know."""

    name: str
    seed: int
    nodes: tuple[NodePlan, ...]
    sites: tuple[SitePlan, ...]
    bridges: tuple[str, ...]
    links: tuple[LinkPlan, ...]
    moves: tuple[Move, ...]
    workload: WorkloadPlan
    link_backend: str                  # "auto", "netem" or "relay"
    lead: float                        # s between a device's notice of a handover and the handover
    tolerances: Tolerances
    source: str                        # path of the file
    rendered: str                      # the YAML as it was understood, with every --set applied
    faults: tuple[FaultPlan, ...] = ()
    dilation: float = 1.0              # real seconds a virtual one takes; everything else here is virtual
    outages: tuple[Outage, ...] = ()   # in order of time, then of device
    interruption: float = 0.0          # s that a device's link is down in each handover
    predictions: tuple[Prediction, ...] = ()  # what is expected of the next handovers, in order of time
    predictor: str | None = None       # the policy that expects it, and how far ahead: "oracle, 5 s ahead"
    speed_check: float = 5.0           # s that bring-up has all nodes train at once to measure their speeds; 0: not
    ipv6: bool = False                 # whether nodes have an IPv6 address beside the other
    decisions: tuple[Decision, ...] | None = None  # of another run's pipelines, to be done again; None: their own
    tasks: tuple[TaskPlan, ...] = ()   # of the serverless platform; `workload` is then what speeds are measured with
    platform: PlatformPlan = field(default_factory=PlatformPlan)
    places: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)  # see `where`

    def where(self, *keys: str) -> str:
        """``file:line`` of the first of these that is known (`testbed.experiment.places` names them), or the file."""
        return next((self.places[key] for key in keys if key in self.places), self.source)

    @property
    def trains(self) -> bool:
        """Whether there is who trains: devices and a cloud. A topology without only stands."""
        kinds = {node.kind for node in self.nodes}
        return {"device", "cloud"} <= kinds

    def require_training(self) -> None:
        """Refuse to train where nobody could.

        Raises:
            InputError: There are no devices, or there is no cloud.
        """
        if not self.trains:
            kinds = {node.kind for node in self.nodes}
            missing = [f"no {kind}s" if kind == "device" else f"no {kind}" for kind in ("device", "cloud")
                       if kind not in kinds]  # fmt: skip
            raise InputError(
                "there is nobody to train", wanted="devices, sites where they are, and a cloud",
                found=", ".join(missing), where=self.source,
                remedy="add 'cloud: {}', sites and devices, or let it only stand: testbed up FILE",
            )  # fmt: skip

    def node(self, name: str) -> NodePlan:
        """The node of that name (KeyError if there is none)."""
        return next(n for n in self.nodes if n.name == name)

    def layouts(self) -> dict[str, PipelineLayout]:
        """Where the stages of each device's pipeline are at the start, empty without such a scheme.

        Raises:
            InputError: The settings of the pipeline make up none.
        """
        work, asked = self.workload, self.workload.pipeline
        if not any(schemes.get(name).pipelined and schemes.get(name).split for name in work.schemes):
            return {}
        found = {}
        for node in self.nodes:
            if node.kind == "device":
                found[node.name] = fixed(
                    asked.plan, layers=len(LAYERS[work.model]), cut=max(work.cut_of(node.name), asked.keep),
                    device=node.name, nearest=self.site(node.site or "").edge or "", schedule=asked.schedule,
                    micro=asked.micro, depth=asked.depth, stages=asked.stages, labels=asked.labels,
                )  # fmt: skip
        return found

    def site(self, name: str) -> SitePlan:
        """The site of that name (StopIteration is a programming error: names are checked on loading)."""
        return next(s for s in self.sites if s.name == name)
