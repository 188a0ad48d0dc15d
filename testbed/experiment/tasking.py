"""What the user writes about the serverless platform: the learning tasks that come to it, and how it decides."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from testbed.experiment.cuts import Cut
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.training import Data, Model, NotNegative, Optimizer, Scheme, Strategy, Whole, Workload
from testbed.experiment.units import DURATION_SCHEMA, DURATION_UNITS, Duration, Fraction, UnitError, parse_duration

POLICIES = (
    "greedy", "exact", "all-cloud", "all-edge", "all-device", "random", "blind-battery", "blind-network", "blind-speed",
)  # fmt: skip
"""Those of `nodes.policies.baselines`, which would import a solver."""
WHOLE = "whole"
"""Among cuts: the whole model stays on the device."""
MOST = 1000
"""Tasks that one entry may bring, and that may wait."""
_OFTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*/\s*(s|min|h)\s*")


def parse_often(value: object) -> float:
    """``0.1/s`` as arrivals a second, more than 0."""
    match = _OFTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or float(match[1]) <= 0:
        raise UnitError("this is not how often tasks come", wanted="more than 0 a time, such as 0.1/s (s, min, h)",
                        found=value, remedy="write for example 0.1/s, or 6/min")  # fmt: skip
    return float(match[1]) / DURATION_UNITS[match[2]]


def parse_times(value: object) -> list[float]:
    """A time, or several."""
    return [parse_duration(one) for one in (value if isinstance(value, list) else [value])]


def _raw(value: object) -> object:
    if value in ("leave", "leaves"):
        raise UnitError("raw samples never leave a device here: no function takes them to a server", wanted="stays",
                        found=value, remedy="take it out")  # fmt: skip
    return value


def _policy(name: str) -> str:
    if name not in POLICIES:
        raise UnitError(f"unknown policy {name!r}", wanted=", ".join(POLICIES), found=name,
                        remedy=did_you_mean(name, POLICIES))  # fmt: skip
    return name


def _some(value: float) -> float:
    if value <= 0:
        raise UnitError("this is nothing", wanted="more than 0", found=f"{value:g}", remedy="leave it out for none")
    return value


Often = Annotated[
    float,
    BeforeValidator(parse_often),
    WithJsonSchema({"type": "string", "pattern": r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*/\s*(s|min|h)\s*$",
                    "description": "How often", "examples": ["0.1/s", "6/min"]}),
]  # fmt: skip
Times = Annotated[
    list[float],
    BeforeValidator(parse_times),
    Field(max_length=MOST),
    WithJsonSchema({"anyOf": [*DURATION_SCHEMA["anyOf"], {"type": "array", "items": DURATION_SCHEMA}],
                    "description": "A time, or a list of times", "examples": ["0s", ["0s", "12s"]]}),
]  # fmt: skip
Policy = Annotated[str, AfterValidator(_policy), WithJsonSchema({"type": "string", "enum": list(POLICIES)})]
Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]


class Arrivals(Section):
    """Tasks that come by chance: copies, called ``<name>-1``, ``<name>-2`` and so on."""

    poisson: Often
    """How often one comes on average, ``0.1/s``; times between two are drawn from an exponential distribution."""
    count: Count
    """How many come in all, at most 1000."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None
    """Of what is drawn. By default the experiment's."""


class Privacy(Section):
    """What may leave the devices."""

    raw: Annotated[Literal["stays"], BeforeValidator(_raw)] = "stays"
    """Raw samples: they always stay."""
    labels: Literal["leave", "stay"] = "leave"
    """Labels. Schemes that split the model have the loss computed on the server, which takes them: where labels are to
    ``stay``, the whole model stays on the device (``cuts: [whole]``, or scheme ``fedavg``)."""


class Task(Section):
    """A learning task, as it comes to the platform once or several times."""

    like: str | None = None
    """Another task, of which this one has all that it does not say itself (but for when it comes)."""
    scheme: Scheme = "splitfed"
    """How training is organised: ``fedavg``, ``splitfed`` or ``fedfly``. Pipelines are no tasks of the platform."""
    model: Model = "vgg5"
    """The network, as in [workload](#workload)."""
    cuts: Annotated[list[Cut], Field(min_length=1)] | None = None
    """Cuts that the platform may choose from, for each device and round: numbers of layers that stay on the device,
    names of the last of them, or ``whole`` for all of it. By default every cut with layers on both sides. Not for
    ``fedavg``."""
    data: Data = Data()
    """Data set, and how it is divided among the owners. A task has no random control of its own: write one beside
    it."""
    owners: Annotated[list[str], Field(min_length=1)] | None = None
    """Devices that have data for it, by name, or by entry for all of that entry. By default all."""
    rounds: Whole = 4
    """Rounds at most."""
    batch: Whole = 16
    """Samples a batch; no owner may have fewer."""
    local_epochs: Whole = 1
    """Passes over an owner's data in a round."""
    optimizer: Optimizer = Optimizer()
    """Stochastic gradient descent."""
    strategy: Strategy | None = None
    """What becomes of the edge half when its device moves within a round: ``restart``, ``migrate`` or ``relay``. By
    default the scheme's own."""
    target: Annotated[Fraction, AfterValidator(_some)] | None = None
    """Accuracy at which it is done, before its last round. By default it does all rounds."""
    deadline: Annotated[Duration, AfterValidator(_some)] | None = None
    """How long it may take after it has come. One that cannot be met is refused, with the best that can be. By default
    there is none."""
    privacy: Privacy = Privacy()
    """What may leave the devices."""
    least: Whole = 1
    """Fewest owners that take part in a round. With fewer left the task fails, and its best model is kept."""
    absent: NotNegative = 30.0
    """What leaving out an owner of a round counts for, in the units of the objective: with a weight of 1, as much as so
    many seconds. With 0 no more than ``least`` take part."""
    at: Times | None = None
    """When it comes, after the start: a time, or a list for several copies. By default at the start. ``[]``: only when
    ``testbed submit`` asks for it."""
    arrivals: Arrivals | None = None
    """Instead of ``at``: by chance."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.at is not None and self.arrivals is not None:
            raise UnitError("a task comes in two ways", wanted="at or arrivals", found="both",
                            remedy="keep one of them")  # fmt: skip
        return self

    def workload(self, cut: Cut | None) -> Workload:
        """What of it a workload says, too, cut there."""
        shared = {key: getattr(self, key) for key in
                  ("model", "data", "rounds", "batch", "local_epochs", "optimizer", "strategy")}  # fmt: skip
        made = Workload(scheme=[self.scheme], cut=cut)
        return made.model_copy(update=shared)


class Objective(Section):
    """What counts how much when the platform decides."""

    time: NotNegative = 1.0
    """A second of a round."""
    energy: NotNegative = 0.0
    """A joule that a device takes from training."""
    price: NotNegative = 0.0
    """A unit of price, in the money of the profiles."""


class Platform(Section):
    """How the serverless platform runs tasks."""

    policy: Policy = "greedy"
    """Who decides who trains what where: the orchestrator (``greedy``, or ``exact`` for small cases), or one of those
    that it is compared with. See [the orchestrator](serverless-design.md)."""
    weights: Objective = Objective()
    """What counts how much."""
    keep_alive: Duration = Field(default="60s", validate_default=True)
    """How long an instance of a function is kept with nothing to do."""
    provisioned: bool = False
    """Whether units begin with an instance of each built-in function for all that the tasks may ask of them at once, as
    far as their memory goes, so that the first rounds have no cold starts; ``keep_alive`` is theirs, too."""
    queue: Count = 64
    """Tasks that may wait at most; one more is refused."""
    retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 2
    """How often an owner's share of a round is begun again before the round goes on without it."""
    functions: str | None = None
    """A file of functions of your own, relative to the experiment file: those that are called as built-in ones replace
    them. See [functions](serverless-functions.md)."""
    linger: Duration = 0.0
    """How long the run waits for `testbed submit` when no task is left."""

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.provisioned and not self.keep_alive:
            raise UnitError("instances that are provisioned would end at once", wanted="keep_alive above 0", found="0s",
                            remedy="set a keep_alive, or leave provisioned out")  # fmt: skip
        if not any(value for _, value in self.weights):
            raise UnitError("nothing counts: whatever is decided is as good", wanted="one weight above 0",
                            found="time, energy and price of 0", remedy="leave weights out, or set one")  # fmt: skip
        return self


def as_cut(value: Any, layers: int) -> Any:
    """A cut as the file has it, with ``whole`` as the number of all layers."""
    return layers if value == WHOLE else value
