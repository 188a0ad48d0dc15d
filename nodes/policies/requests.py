"""What the orchestrator is asked, and what it answers: the next round of every task, and who does what in it.

Plain data. How it is judged stands in `nodes.policies.predicting`, how it is solved in `nodes.policies.milp` and
`nodes.policies.greedy`. What tasks that are not asked about take of a unit now is off its speed and memory already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from nodes.errors import InputError
from nodes.policies.units import Path, Unit

Place = Literal["device", "split", "server"]
"""Where an owner's model is trained: all of it on the device, in two halves, or all of it on a server."""

SELECT, TRAIN_DEVICE, TRAIN_EDGE = "select-data", "train-device", "train-edge"
AGGREGATE, EVALUATE = "aggregate", "evaluate"
"""Names of the functions, as a unit's ``warm`` has them."""


@dataclass(frozen=True)
class Cut:
    """One way to train, as costs of a batch: seconds on a unit of speed 1, and bytes.

    Attributes:
        index: Layers on the device.
        place: ``device``: all of them, and there is no edge half; ``server``: none, and raw samples leave the device.
        device_s, edge_s: Work of each half a batch, forward, backward and update.
        up_bytes: What a batch sends up: activations with labels, or raw samples.
        down_bytes: What comes back: gradients.
        device_weights, edge_weights: Bytes of weights of each half.
        device_memory, edge_memory: Bytes that an instance of each half takes.
        labels_leave: Whether labels leave the device.
    """

    index: int
    place: Place
    device_s: float
    edge_s: float = 0.0
    up_bytes: int = 0
    down_bytes: int = 0
    device_weights: int = 0
    edge_weights: int = 0
    device_memory: int = 0
    edge_memory: int = 0
    labels_leave: bool = True

    def __post_init__(self) -> None:
        numbers = (self.device_s, self.edge_s, self.up_bytes, self.down_bytes, self.device_weights, self.edge_weights,
                   self.device_memory, self.edge_memory)  # fmt: skip
        if self.index < 0 or not all(math.isfinite(one) and one >= 0 for one in numbers):
            raise InputError(f"cut {self.index} has a cost that is none", found=str(self))
        on_server = (self.edge_s, self.up_bytes, self.down_bytes, self.edge_weights, self.edge_memory)
        if self.place == "device" and any(on_server):
            raise InputError(f"cut {self.index} trains on the device, and has costs elsewhere", found=str(self))
        if self.place == "server" and (self.device_s or self.device_weights or self.down_bytes):
            raise InputError(f"cut {self.index} trains on a server, and has costs on the device", found=str(self))


@dataclass(frozen=True)
class Owner:
    """A device that has data for a task: batches of a round on all of it, and samples that a selection would score."""

    device: str
    batches: int
    samples: int = 0


@dataclass(frozen=True)
class Request:
    """One task's next round.

    Attributes:
        task: Its name.
        owners: Candidates.
        cuts: Ways to train that its scheme allows; no index twice.
        source: Unit that has the weights that the round begins with.
        weights: Bytes of the whole model.
        least: Fewest participants.
        absent: What leaving out an owner costs in the objective. With 0 no more than ``least`` take part.
        raw_stays, labels_stay: What may not leave a device.
        share: Share of its data that an owner trains on, in (0, 1].
        select_s, select_memory: Work a sample and bytes of choosing that share; 0 s: nothing is chosen.
        aggregate_s, aggregate_memory: Work a participant and bytes of averaging.
        evaluate_s, evaluate_memory: Work and bytes of evaluating; 0 s: it is not evaluated.
        deadline_s: Seconds left for all rounds left; None: no deadline.
        rounds_left: This one counts.
        least_rate: Least bit/s each way between a device and its server.
        holders: Units whose store has the round's weights; the source has them anyway.
        finishers: Units that may aggregate and evaluate; empty: every edge server and cloud.
    """

    task: str
    owners: tuple[Owner, ...]
    cuts: tuple[Cut, ...]
    source: str
    weights: int
    least: int = 1
    absent: float = 0.0
    raw_stays: bool = True
    labels_stay: bool = False
    share: float = 1.0
    select_s: float = 0.0
    select_memory: int = 0
    aggregate_s: float = 0.0
    aggregate_memory: int = 0
    evaluate_s: float = 0.0
    evaluate_memory: int = 0
    deadline_s: float | None = None
    rounds_left: int = 1
    least_rate: float = 0.0
    holders: frozenset[str] = field(default_factory=frozenset)
    finishers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"task {self.task}"
        if not 0 < self.share <= 1:
            raise InputError("no share of data", wanted="above 0, at most 1", found=f"{self.share:g}", where=where)
        if self.least < 1 or self.rounds_left < 1:
            raise InputError("a round needs a participant", found=f"least {self.least}, rounds left {self.rounds_left}",
                             wanted="1 or more of each", where=where)  # fmt: skip
        numbers = (self.weights, self.absent, self.select_s, self.select_memory, self.aggregate_s,
                   self.aggregate_memory, self.evaluate_s, self.evaluate_memory, self.least_rate)  # fmt: skip
        if not all(math.isfinite(one) and one >= 0 for one in numbers):
            raise InputError("a cost that is none", wanted="numbers of 0 or more", found=str(numbers), where=where)
        if self.deadline_s is not None and math.isnan(self.deadline_s):
            raise InputError("no deadline", wanted="seconds, or none", found="nan", where=where)
        indices = [cut.index for cut in self.cuts]
        if not indices or len(set(indices)) < len(indices):
            raise InputError("cuts of a task", wanted="one at least, none twice", found=str(indices), where=where)
        if any(owner.batches < 1 or owner.samples < 0 for owner in self.owners):
            raise InputError("an owner without a batch", wanted="leave it out", where=where)
        if len({owner.device for owner in self.owners}) < len(self.owners):
            raise InputError("an owner twice", where=where)

    @property
    def round_limit(self) -> float:
        """Seconds that a round may take for the deadline to be met; all rounds left take the same."""
        return math.inf if self.deadline_s is None else self.deadline_s / self.rounds_left

    @property
    def allowed(self) -> tuple[Cut, ...]:
        """Cuts that keep on the device what stays there."""
        return tuple(cut for cut in self.cuts if not self.objections(cut))

    def objections(self, cut: Cut) -> tuple[str, ...]:
        """Names of the privacy constraints that a cut breaks."""
        raw = self.raw_stays and cut.place == "server"
        labels = self.labels_stay and cut.place != "device" and cut.labels_leave
        return ("raw-data",) * raw + ("labels",) * labels

    def batches(self, owner: Owner) -> int:
        """Batches of a round on the share that is chosen."""
        return max(1, math.ceil(self.share * owner.batches - 1e-9))


@dataclass(frozen=True)
class Shared:
    """A link that several units share, such as an access point or a backhaul.

    Attributes:
        name: What it is.
        units: Units behind it.
        up: Bit/s for all that they send; math.inf: no limit.
        down: The same for what they receive.
        beyond: Units on its other side; empty: all.
    """

    name: str
    units: frozenset[str]
    up: float = math.inf
    down: float = math.inf
    beyond: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (self.up > 0 and self.down > 0):
            raise InputError(f"no rate of {self.name}", wanted="above 0", found=f"{self.up:g}, {self.down:g}")

    def way(self, a: str, b: str) -> tuple[str, float] | None:
        """Which way, up or down, who sends from ``a`` to ``b`` goes here, and its bit/s; None: nothing is shared."""
        for way, inner, outer, rate in (("up", a, b, self.up), ("down", b, a, self.down)):
            if inner in self.units and (not self.beyond or outer in self.beyond):
                return (way, rate) if math.isfinite(rate) else None
        return None


@dataclass(frozen=True)
class Weights:
    """What a second of a round, a joule of a device, and a unit of price count for."""

    time: float = 1.0
    energy: float = 0.0
    price: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(one) and one >= 0 for one in (self.time, self.energy, self.price)):
            raise InputError("no weights of an objective", wanted="numbers of 0 or more", found=str(self))


@dataclass(frozen=True)
class Problem:
    """All that a decision is made from.

    Attributes:
        units: By name.
        paths: Directed, by the names of two units. A pair that is missing cannot reach each other.
        requests: The next round of each task, in the order in which the tasks came.
        weights: Of the objective.
        shared: Links that several units share.
    """

    units: Mapping[str, Unit]
    paths: Mapping[tuple[str, str], Path]
    requests: tuple[Request, ...]
    weights: Weights = field(default_factory=Weights)
    shared: tuple[Shared, ...] = ()

    def __post_init__(self) -> None:
        names = [request.task for request in self.requests]
        if len(set(names)) < len(names):
            raise InputError("a task is asked for twice", found=", ".join(names))
        for unit in self.units.values():
            if not (0 < unit.speed < math.inf):
                raise InputError(f"no speed of {unit.name}", wanted="a number above 0", found=f"{unit.speed:g}")
        for request in self.requests:
            gone = {request.source, *request.finishers, *(owner.device for owner in request.owners)} - set(self.units)
            if gone:
                raise InputError(f"task {request.task} names units that are not there", found=", ".join(sorted(gone)),
                                 wanted="units of the registry")  # fmt: skip

    def finishers(self, request: Request) -> list[str]:
        """Units that may aggregate and evaluate a task."""
        return list(request.finishers or self._servers)

    @cached_property
    def _servers(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units.values() if unit.kind != "device")


@dataclass(frozen=True)
class Assignment:
    """What an owner does: a cut's index, and the server that has the edge half (none: "")."""

    cut: int
    server: str = ""


@dataclass(frozen=True)
class Round:
    """A task's round: what each participant does, and the units that aggregate and evaluate."""

    participants: Mapping[str, Assignment]
    aggregator: str
    evaluator: str


@dataclass(frozen=True)
class Placement:
    """Rounds by task."""

    rounds: Mapping[str, Round]


@dataclass(frozen=True)
class Decision:
    """What a policy says.

    Attributes:
        policy: Its name.
        placement: None: there is none that meets every constraint, as far as the policy can tell.
        objective: As the policy counts it; infinite without a placement.
        unmet: Names of the constraints that stand in the way, by task ("": of all together); empty with a placement.
        bound: What no placement's objective is below, as far as the policy knows.
    """

    policy: str
    placement: Placement | None
    objective: float
    unmet: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bound: float = -math.inf
