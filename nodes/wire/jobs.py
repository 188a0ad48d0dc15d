"""Learning tasks as they are submitted to the serverless platform, and what its orchestrator is told before any comes.

Plain data that the controller and the cloud's unit agree on. Seconds are the experiment's, work is counted in seconds
on a unit of speed 1.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodes.policies.requests import Cut, Shared
from nodes.policies.units import Power
from nodes.wire.task import Select, Task

CutCosts: TypeAlias = Cut
"""Costs of a batch with one cut, as the policies have them."""

JobState = Literal["queued", "running", "done", "refused", "failed", "cancelled"]


class UnitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is told that is to be a unit of the platform.

    Attributes:
        memory: Bytes that instances may take together.
        orchestrator: Node whose unit has the orchestrator.
        store: Directory of the blobs. store_bytes: Most bytes of them; None: no limit.
        keep_alive: Seconds of the experiment after which an instance with nothing to do ends.
        at: Of a device: the edge server that it is near at the begin.
        reserve_j: Joules that are to stay in its battery; None: it has none.
    """

    memory: int
    orchestrator: str
    store: str
    store_bytes: int | None = 256 << 20
    keep_alive: float = 60.0
    at: str = ""
    reserve_j: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One learning task.

    Attributes:
        name: Its name, which is its ``task.id``, too.
        task: All settings. Its placement is made anew for each round, by the orchestrator.
        cuts: Ways to train that are allowed. layers: Bytes of the device's half by cut, where they are known.
        weights: Bytes of the model.
        batches: Batches of a round by owner, on all data. samples: Samples by owner.
        least: Fewest participants of a round. absent: What leaving out an owner costs in the objective.
        raw_stays, labels_stay: What may not leave a device.
        select: Which share of the data is trained on; None: all.
        select_s: Work a sample of choosing. aggregate_s: Work a participant. evaluate_s: Work of evaluating.
        memories: Bytes of an instance by function; one that is not there takes what it declares.
        limits: Seconds of the experiment that an invocation of a user's function may take, as it declares.
        deadline_s: Seconds from its submission. target: Accuracy at which it is done before its last round.
        sources: Users' functions: file inside the containers, by the name of the built-in function that it replaces.
    """

    name: str
    task: Task
    cuts: tuple[CutCosts, ...]
    weights: int
    layers: dict[int, int] = {}
    batches: dict[str, int]
    samples: dict[str, int]
    least: int = 1
    absent: float = 0.0
    raw_stays: bool = True
    labels_stay: bool = False
    share: float = 1.0
    select: Select | None = None
    select_s: float = 0.0
    aggregate_s: float = 0.0
    evaluate_s: float = 0.0
    memories: dict[str, int] = {}
    limits: dict[str, float] = {}
    deadline_s: float | None = None
    target: float | None = None
    sources: dict[str, str] = {}


class PlatformSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the orchestrator knows of the units beside what they say of themselves, and how it is to decide.

    Attributes:
        policy: Name of one of `nodes.policies.baselines`. weights: Of a second, a joule and a unit of price.
        keep_alive: Seconds after which an instance with nothing to do ends.
        queue: Most tasks that wait. retries: How often an owner's round is begun again before it goes on without it.
        kept_bytes: Most bytes of the best models of tasks that have ended; the one that ended last stays in any case.
        seed: Of what is drawn.
        prices: Of a GB-second, and of a GB sent, by unit.
        powers: Of devices. batteries: Of devices: joules when full, now, and not to be touched.
        sites: Edge server of the site that a device is at in the beginning.
        paths: From a unit to another one: payload bit/s, and seconds there and back. A device's are those by way of
            any site.
        shared: Links that several units share.
        message_s: What a message takes one way beside its links: out of an instance, by two agents, into another one.
    """

    policy: str = "greedy"
    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    keep_alive: float = 60.0
    queue: int = 64
    retries: int = 2
    kept_bytes: int = 128 << 20
    seed: int = 0
    prices: dict[str, tuple[float, float]] = {}
    powers: dict[str, Power] = {}
    batteries: dict[str, tuple[float, float, float]] = {}
    sites: dict[str, str] = {}
    paths: tuple[tuple[str, str, float, float], ...] = ()
    shared: tuple[Shared, ...] = ()
    message_s: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task is.

    Attributes:
        round: Rounds that are done. accuracy, best: After the last one, and the best of all.
        reason: Why it ended as it did. since: Second of the experiment at which its state began.
    """

    name: str
    state: JobState
    round: int = 0
    rounds: int = 0
    accuracy: float | None = None
    best: float | None = None
    reason: str = ""
    since: float = 0.0
