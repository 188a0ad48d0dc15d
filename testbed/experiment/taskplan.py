"""Tasks of the serverless platform in the plan, every name resolved, all in base units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.experiment.plan import WorkloadPlan


@dataclass(frozen=True)
class TaskPlan:
    """An entry of ``tasks``.

    Attributes:
        name: The entry's.
        work: How it trains; it has one scheme, and the first of the cuts.
        cuts: Numbers of layers on the device that the platform may choose from; that of all layers: the whole model.
        owners: Devices that have data for it, sorted.
        comes: Names of the tasks that come by themselves and when, s after the start, in order of time.
        target: Accuracy at which it is done; None: it does all rounds.
        deadline: s after it has come; None: there is none.
        labels_stay: Whether labels have to stay on the devices.
        least: Fewest owners of a round. absent: What leaving out one counts for in the objective.
    """

    name: str
    work: WorkloadPlan
    cuts: tuple[int, ...]
    owners: tuple[str, ...]
    comes: tuple[tuple[str, float], ...] = ()
    target: float | None = None
    deadline: float | None = None
    labels_stay: bool = False
    least: int = 1
    absent: float = 0.0


@dataclass(frozen=True)
class OwnFunction:
    """What a user's function declares: s that an invocation may take, bytes that its process may have resident."""

    time_limit: float
    memory: int


@dataclass(frozen=True)
class PlatformPlan:
    """How the platform runs tasks; see docs/experiment.md.

    ``weights`` are those of a second, a joule, and a unit of price. ``functions`` is the user's file, and ``replaced``
    has the functions in it that stand in for built-in ones, by name.
    """

    policy: str = "greedy"
    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)
    keep_alive: float = 60.0
    queue: int = 64
    retries: int = 2
    functions: str | None = None
    replaced: Mapping[str, OwnFunction] = field(default_factory=dict)
    linger: float = 0.0
    provisioned: bool = False
