"""What a node is told of a task before it begins (`control.StartTask`): where its parts are, and all settings."""

from __future__ import annotations

from typing import Any

import msgspec

from nodes.policies.decisions import Decision
from nodes.policies.layouts import PipelineLayout
from nodes.policies.plans import Problem
from nodes.wire.messages import PartId


class Placed(msgspec.Struct, frozen=True):
    """One row of the placement table."""

    part: PartId
    node: str


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """How a task's batches go through stages; see ``workload.pipeline`` in docs/experiment.md.

    ``plan`` has a node (or ``device``, ``nearest``) and its number of layers by stage; empty: the driver chooses.
    ``layouts`` has the layouts that owners begin with, where those were chosen before the training.
    ``times`` are unthrottled seconds by layer and way for one micro-batch (`nodes.policies.stage_times`).

    What may change a layout while training goes on is off unless it is said. ``memory`` is what nodes have for stages,
    workers themselves left out. ``decisions`` are those of another run, of all owners, to be done again at the same
    places instead of any of its own; None: it makes its own. Seconds are the experiment's, as with ``Task.patience``.
    """

    micro: int = 4
    schedule: str = "1f1b"
    depth: int | None = None           # micro-batches under way on the device; None: by the number of stages
    stages: int = 2                    # most of them
    keep: int = 1                      # layers that never leave the device
    labels: str = "leave"              # or "stay"
    plan: tuple[tuple[str, int | None], ...] = ()
    compress: str = "none"             # or "fp16", "int8": activations and gradients between nodes
    times: dict[str, float] = {}
    layouts: dict[str, PipelineLayout] = {}
    profile: str = "approximate"       # or "full": which layers a probe measures
    probing: str = "off"               # or "adaptive", "every"
    every: float = 0.0                 # s between two probes of "every"
    budget: float = 0.02               # share of time, and of bytes on the access link, that probes may take
    adapt: str = "static"              # or "reactive", "proactive"
    memory: dict[str, int] = {}        # bytes by node
    decisions: tuple[Decision, ...] | None = None
    problems: dict[str, Problem] = {}  # what is known before the training of what is to be planned, by owner
    chosen: tuple[str, ...] = ()       # owners whose layout was chosen from that, and may be bettered before it begins


class Select(msgspec.Struct, frozen=True):
    """Which of its samples a device trains on; see ``workload.data.select`` in docs/experiment.md."""

    rule: str
    share: float
    by: str = "centroid"
    features: str = "samples"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """All that a node needs to take its share of one task."""

    id: str
    scheme: str
    strategy: str                      # what happens to the edge half on a move
    seed: int
    model: str
    cut: int
    in_shape: tuple[int, ...]
    classes: int
    rounds: int
    batch: int
    local_epochs: int
    lr: float
    momentum: float
    weight_decay: float
    threads: int
    augment: bool
    owners: tuple[str, ...]            # devices that train, sorted
    samples: dict[str, int]            # training samples by owner
    placement: tuple[Placed, ...]
    reference: dict[str, float]        # unthrottled seconds by operation
    data: dict[str, str]               # node -> its shard inside its container
    edges: tuple[str, ...] = ()        # edge servers that a device may turn to
    patience: float = 3.0              # s of the experiment without an answer before a device asks what is wrong
    options: dict[str, Any] = {}
    cuts: dict[str, int] = {}          # owner -> its cut, where that is not `cut`
    references: dict[int, dict[str, float]] = {}  # cut -> its reference, where that is not `cut`
    drop_s: float | None = None        # s of the experiment after which a round goes on with those that came
    hierarchical: bool = False         # edge servers average their devices before the cloud averages them
    pipeline: Pipeline | None = None   # of schemes that divide batches into micro-batches
    select: Select | None = None       # None: devices train on all that they have
    pair: int = 0                      # number of the training: see `nodes.wire.messages.Envelope`

    def cut_of(self, owner: str) -> int:
        """Layers that stay on an owner's device."""
        return self.cuts.get(owner, self.cut)

    def reference_of(self, owner: str) -> dict[str, float]:
        """Unthrottled seconds by operation, for parts of an owner (nobody's are as most are)."""
        return self.references.get(self.cut_of(owner), self.reference)
