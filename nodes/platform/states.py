"""What the orchestrator remembers of a task: its rounds, each owner's share of one, the invocations that are open.

Only data, and what follows from it at once. What happens next is in `nodes.platform.rounds`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from nodes.platform.builtin import PLAIN_MEMORY, TORCH_MEMORY
from nodes.policies.requests import Cut
from nodes.wire.jobs import Job, JobState, Status

INITIALISE, BROADCAST = "initialise", "broadcast"
"""Functions that a decision says nothing about; the others' names are in `nodes.policies.requests`."""

LegState = Literal["wanted", "placed", "training", "ending", "done", "out"]
Role = Literal["", "device", "edge", "next", "copy"]
"""Of an invocation: the device's or the edge server's half, the edge half at the server that a device moves to, or the
copying of a model to where it is safe."""


@dataclass
class Call:
    """An open invocation.

    ``memory`` is what is reserved for it. ``sources``: units that its blobs may come from. ``wanted``: whether its
    result is; if not, it has been cancelled.
    """

    number: int
    unit: str
    function: str
    task: str
    round: int = 0
    owner: str = ""
    role: Role = ""
    layers: tuple[str, ...] = ()
    digest: str = ""
    memory: int = 0
    sources: frozenset[str] = frozenset()
    wanted: bool = True


@dataclass
class Model:
    """A task's model after a round: its digest, and how good it is; None: that is not known."""

    round: int
    digest: str
    accuracy: float | None = None
    loss: float | None = None


@dataclass
class Leg:
    """An owner's share of a round.

    It is ``wanted`` until it has a placement, ``placed`` until its inputs are there, ``training``, then ``done``. What
    fails is ``ending`` until its invocations have ended, and then what ``then`` says: wanted again, or out.

    Attributes:
        attempt: How often it was invoked before. failures: How often it failed of itself. pair: Number of the pair of
            invocations that are at it; no two are alike.
        since: When it was last wanted, s. seconds, joules: What its round is predicted to take. begun: When, s.
        stranded: Server that its device moves to and that has no room for its edge half.
        digest, samples: Of its trained model.
    """

    owner: str
    state: LegState = "wanted"
    cut: Cut | None = None
    server: str = ""
    attempt: int = 0
    pair: int = 0
    failures: int = 0
    since: float = 0.0
    seconds: float = 0.0
    joules: float = 0.0
    begun: float = 0.0
    then: LegState = "wanted"
    reason: str = ""
    stranded: str = ""
    digest: str = ""
    samples: float = 0.0
    calls: dict[int, Call] = field(default_factory=dict)

    @property
    def lives(self) -> bool:
        """Whether it may still come to something."""
        return self.state not in ("out",) and not (self.state == "ending" and self.then == "out")

    @property
    def holds(self) -> bool:
        """Whether memory is kept for it."""
        return self.state in ("placed", "training") or (self.state == "ending" and self.cut is not None)

    def call(self, role: Role) -> Call | None:
        """Its open invocation of a role."""
        return next((call for call in self.calls.values() if call.role == role), None)


@dataclass
class Round:
    """A task's round under way.

    Attributes:
        number: From 1 on. model: That it began with. legs: By owner.
        parts: Digests of layers alone, by their names.
        phase: train, then aggregate, then evaluate, as its legs have it. made: The averaged model.
        begun: When it was placed, s. seconds: As predicted. tries: Failures by function.
    """

    number: int
    model: Model
    legs: dict[str, Leg]
    aggregator: str
    evaluator: str
    begun: float
    seconds: float = 0.0
    parts: dict[tuple[str, ...], str] = field(default_factory=dict)
    phase: Literal["train", "aggregate", "evaluate"] = "train"
    made: Model | None = None
    tries: Counter[str | tuple[str, str]] = field(default_factory=Counter)

    def count(self, *states: LegState) -> int:
        """Legs in these states."""
        return sum(leg.state in states for leg in self.legs.values())

    @property
    def alive(self) -> int:
        """Legs that may still come to something."""
        return sum(leg.lives for leg in self.legs.values())


@dataclass
class TaskState:
    """A task, from when it is submitted on.

    Attributes:
        submitted: s. state, reason, since: As of `nodes.wire.jobs.Status`.
        checked: Whether it has been found that it can be done.
        models: Models that are kept, by round: the last one, those before it until that is safe, and the best.
        kept: Whether its best model is kept although it has ended.
        keeps: Digest of the samples that an owner has chosen. out: Owners that it goes on without, and why.
        stuck: Since when it has had no placement although nothing is in its way, s. unmet: What it would break.
        late: Its deadline cannot be kept any more as far as is known: it goes on without until that has passed.
        later_s: Predicted seconds of a round without cold starts.
    """

    job: Job
    submitted: float
    state: JobState = "queued"
    reason: str = ""
    since: float = 0.0
    checked: bool = False
    models: dict[int, Model] = field(default_factory=dict)
    best: Model | None = None
    kept: bool = False
    keeps: dict[str, str] = field(default_factory=dict)
    out: dict[str, str] = field(default_factory=dict)
    round: Round | None = None
    stuck: float | None = None
    waits: float | None = None
    unmet: tuple[str, ...] = ()
    late: bool = False
    later_s: float = 0.0
    tries: Counter[str | tuple[str, str]] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """Its name."""
        return self.job.name

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("queued", "running")

    @property
    def model(self) -> Model | None:
        """The last one."""
        return self.models[max(self.models)] if self.models else None

    @property
    def done(self) -> int:
        """Rounds that are done."""
        return max(self.models, default=0)

    @property
    def deadline(self) -> float | None:
        """Second of the experiment at which it ends."""
        return None if self.job.deadline_s is None else self.submitted + self.job.deadline_s

    def status(self) -> Status:
        """As the controller is told."""
        model = self.model
        return Status(
            name=self.name, state=self.state, round=self.done, rounds=self.job.task.rounds,
            accuracy=model.accuracy if model else None, best=self.best.accuracy if self.best else None,
            reason=self.reason, since=self.since,
        )  # fmt: skip


def memory_of(job: Job, function: str) -> int:
    """Bytes that an instance of a function is given for a task."""
    return job.memories.get(function) or (PLAIN_MEMORY if function == BROADCAST else TORCH_MEMORY)
