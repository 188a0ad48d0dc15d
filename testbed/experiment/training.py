"""What the user writes about training and movement: workload and mobility."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nodes import schemes
from nodes.policies.layers import LAYERS
from nodes.policies.samples import FORMS
from testbed.experiment.averaging import Aggregation, Late
from testbed.experiment.cuts import Cut
from testbed.experiment.movement import Association, Forecast, Movement, RadioModel
from testbed.experiment.pipelining import Pipeline
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.selecting import Select
from testbed.experiment.trace_settings import Presence, Trace
from testbed.experiment.units import Duration, Fraction, UnitError

SCHEMES: Mapping[str, bool] = dict.fromkeys(schemes.names(), True)
"""Schemes by name, from the files in ``nodes/schemes``; False: named in the design and not built yet."""
PIPELINED_SCHEMES = tuple(name for name in schemes.names() if schemes.get(name).pipelined)
"""Schemes that divide batches into micro-batches."""
HALVING_SCHEMES = tuple(
    name for name in schemes.names() if schemes.get(name).split and name not in PIPELINED_SCHEMES
)
"""Schemes that leave one half of the model on an edge server."""
SPLIT_SCHEMES = (*HALVING_SCHEMES, *(name for name in PIPELINED_SCHEMES if schemes.get(name).split))
"""Schemes that leave part of the model on edge servers."""
STRATEGIES: Mapping[str, bool] = {"restart": True, "migrate": True, "relay": True, "shadow": True, "carry": True}
"""What to do with an edge half whose device moves; False: not built yet."""
DATA_SETS: Mapping[str, bool] = dict.fromkeys(FORMS, True)


def _known(what: str, names: Mapping[str, bool]) -> AfterValidator:
    """A validator that takes only names that are built."""
    built = [name for name, is_built in names.items() if is_built]

    def check(name: str) -> str:
        if name in built:
            return name
        wanted = ", ".join(built)
        if name in names:
            remedy = f"use {' or '.join(built)}"
            raise UnitError(f"{what} {name!r} is not built yet", wanted=wanted, found=name, remedy=remedy)
        raise UnitError(f"unknown {what} {name!r}", wanted=wanted, found=name, remedy=did_you_mean(name, names))

    return AfterValidator(check)


def _choice(names: Mapping[str, bool]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [n for n, built in names.items() if built]})


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Scheme = Annotated[str, _known("scheme", SCHEMES), _choice(SCHEMES)]
Schemes = Annotated[
    list[Scheme],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [
        {"type": "string", "enum": [n for n, built in SCHEMES.items() if built]},
        {"type": "array", "minItems": 1, "uniqueItems": True,
         "items": {"type": "string", "enum": [n for n, built in SCHEMES.items() if built]}},
    ]}),
]  # fmt: skip
_MODELS = dict.fromkeys(LAYERS, True)
Model = Annotated[str, _known("model", _MODELS), _choice(_MODELS)]
DataSet = Annotated[str, _known("data set", DATA_SETS), _choice(DATA_SETS)]
Strategy = Annotated[str, _known("strategy", STRATEGIES), _choice(STRATEGIES)]
Whole = Annotated[int, Field(strict=True, ge=1)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]

_SENTENCE = re.compile(
    r"\s*(?P<device>\S+)\s+to\s+(?P<to>\S+)\s+at\s+"
    r"(?:(?P<progress>\S+|\S+\s+%)\s+of\s+round\s+(?P<round>[0-9]+)|(?P<at>\S+|\S+\s+\S+))\s*"
)
_OFTEN = re.compile(
    r"\s*(?P<device>\S+)\s+to\s+(?P<to>\S+)(?:\s+at\s+(?P<progress>\S+|\S+\s+%)\s+of)?"
    r"\s+every\s+(?P<every>[0-9]+)\s+rounds\s*"
)


def keys_of_move(sentence: str) -> dict[str, Any] | None:
    """The keys that a move written as a sentence stands for; None if it is no such sentence."""
    match = _OFTEN.fullmatch(sentence) or _SENTENCE.fullmatch(sentence)
    if match is None:
        return None
    found = {k: v for k, v in match.groupdict().items() if v is not None}
    return {**found, **{key: int(found[key]) for key in ("round", "every") if key in found}}


class Move(Section):
    """A handover at a point of the training, or at a time.

    Also as a sentence: ``pi3-1 to south at 50% of round 2``, ``pi3-1 to south at 12s``, ``pi3-1 to south every 10
    rounds``, ``pi3-1 to south at 50% of every 10 rounds``.
    """

    device: str
    """Device that moves."""
    to: str
    """Where to: a site, or the edge server of that site."""
    round: Whole | None = None
    """Round in which it moves, counted from 1."""
    every: Whole | None = None
    """Instead of ``round``: it moves in each round that is a multiple of this, there and back in turn."""
    progress: Fraction | None = None
    """Share of the device's batches of that round that are done when it moves. Without it: 0%."""
    at: Duration | None = None
    """Time after the start of training; instead of ``round``."""

    @model_validator(mode="before")
    @classmethod
    def _from_sentence(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = keys_of_move(value)
        if found is None:
            raise UnitError(
                "this is not a move", wanted="'dev1 to edge-b at 50% of round 2', '… at 12s', '… every 10 rounds'",
                found=value,
            )  # fmt: skip
        return found

    @model_validator(mode="after")
    def _one_moment(self) -> Self:
        wanted = "round (or every) and progress, or at"
        given = [key for key in ("at", "round", "every") if getattr(self, key) is not None]
        if len(given) > 1 or (self.at is not None and self.progress is not None):
            raise UnitError("a move has two moments", wanted=wanted, found="both", remedy="keep one of them")
        if not given:
            found = "progress without round" if self.progress is not None else "neither"
            raise UnitError("a move has no moment", wanted=wanted, found=found, remedy="add round: 2, or at: 12s")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A sentence is as good as a mapping."""
        body = dict(handler.resolve_ref_schema(handler(schema)))
        return {"anyOf": [{"type": "string", "pattern": r"^\s*\S+\s+to\s+\S+\s+(at|every)\s+\S.*$"}, body]}


class Mobility(Section):
    """Who goes where, and when."""

    moves: list[Move] = Field(default_factory=list)
    """Scripted moves."""
    trace: Trace | None = None
    """Instead of ``moves``: a file of recorded movement, relative to the experiment file, or a file and what of it is
    used."""
    model: Movement | None = None
    """Instead of a trace: movement made up, ``random-waypoint``, ``gauss-markov`` or ``manhattan``."""
    association: Association = Field(default_factory=lambda: Association.model_validate("nearest"))
    """Which access point a moving device is on: ``nearest`` (unless set), ``strongest`` or ``least-loaded``."""
    radio: RadioModel | None = None
    """What a device's access link carries follows from where it is: ``wifi`` or ``lte``. Its rate, delay and loss
    then vary, and out of coverage it is down. By default links are as they are set, everywhere."""
    presence: Presence = Field(default="always", validate_default=True)
    """Devices that come and go: ``trace``, each is there only while the trace has positions of it (traces whose rows
    are corners, ns-2 and BonnMotion, do not say that); ``{file: …}``, as a table says. While a device is not there,
    its link is down."""
    gap: Duration | None = None
    """With ``presence: trace``, how long a device may be missing in the trace before it counts as gone."""
    interruption: Duration = 0.0
    """How long a device's link is down in each handover."""
    prediction: Forecast | None = None
    """How the next handover is predicted: ``none``, ``oracle`` or ``linear``. By default not at all."""
    lead: Duration = Field(default="300ms", validate_default=True)
    """Time between the device's notice of a handover and the handover."""
    enabled: Annotated[bool, Field(strict=True)] = True
    """``false`` keeps every device where it starts (what ``--no-moves`` sets)."""

    @property
    def moving(self) -> bool:
        """Whether devices move along tracks, recorded or made up."""
        return self.trace is not None or self.model is not None


class Split(Section):
    """How samples are divided among devices."""

    dirichlet: Positive | None = None
    """Uneven in classes, by a Dirichlet distribution of this alpha: 0.1 very uneven, 100 nearly even."""
    fractions: dict[str, Fraction] | None = None
    """Share of each device by name; they add up to 100%."""

    @model_validator(mode="before")
    @classmethod
    def _equal(cls, value: Any) -> Any:
        if value is None or value == "equal":
            return {}
        if isinstance(value, str):
            raise UnitError(
                f"unknown split {value!r}", wanted="equal, {dirichlet: 0.5} or {fractions: {…}}", found=value,
                remedy=did_you_mean(value, ["equal"]),
            )  # fmt: skip
        return value

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.dirichlet is not None and self.fractions is not None:
            raise UnitError(
                "a split has two rules", wanted="dirichlet or fractions", found="both", remedy="keep one of them"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """``equal`` or a mapping."""
        return {"anyOf": [{"const": "equal"}, dict(handler.resolve_ref_schema(handler(schema)))]}


class Data(Section):
    """The data set and its owners."""

    set: DataSet = "digits"
    """Data set: images (``digits``, ``cifar10``, ``fashion-mnist``), motion (``motion``, which is synthetic, and
    ``wisdm``) or text (``docstrings``, ``passages``, ``sms``). ``digits`` (8x8 pixels, brought to 32x32), ``motion``,
    ``docstrings`` and ``passages`` (of this Python's library) are built in; the others are read from ``dir``."""
    dir: str | None = None
    """Directory of the data set's standard files, relative to the experiment file. By default ``data/<set>``. Not for
    those that are built in."""
    split: Split = Split()
    """How samples are divided among devices: ``equal``, ``{dirichlet: 0.5}`` or ``{fractions: {…}}``."""
    train: Whole | None = None
    """Use only so many training samples."""
    test: Whole | None = None
    """Use only so many test samples."""
    select: Select | None = None
    """Which of its own samples each device trains on: ``{rule: hard, share: 30%}``. By default all of them."""


class Optimizer(Section):
    """Stochastic gradient descent."""

    lr: Annotated[float, Field(strict=True, gt=0, le=10, allow_inf_nan=False)] = 0.01
    """Learning rate, at most 10."""
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] = 0.9
    """Momentum."""
    weight_decay: NotNegative = 0.0
    """Weight decay (L2)."""


class Workload(Section):
    """What is trained, and how."""

    scheme: Schemes = Field(default_factory=lambda: ["fedfly"])
    """How training is organised. A list is run one after the other on the same seed and compared: ``fedavg`` (whole
    model on the device), ``splitfed`` (split; a move restarts the round), ``fedfly`` (split; a move migrates),
    ``edgemove`` (a `pipeline` of stages), ``local`` (the whole model on the device, in the same micro-batches)."""
    model: Model = "vgg5"
    """The network: for images ``vgg5`` as FedFly defines it, a small ``cnn``, or one of the usual ones for 32x32; for
    motion ``mlp`` or ``cnn1d``; for text a small ``transformer``. ``mlp`` takes images too."""
    cut: Cut | None = None
    """What stays on the device: a number of layers, the name of the last of them, or ``SP1`` to ``SP3`` of ``vgg5``.
    By default as the table of models has it; no matter to ``fedavg`` and ``local``. Devices may have a `cut` of their
    own."""
    pipeline: Pipeline = Field(default_factory=Pipeline)
    """Micro-batches and stages, of ``edgemove`` and ``local``."""
    data: Data = Data()
    """Data set, and how it is divided among devices."""
    rounds: Whole = 4
    """Rounds; each ends with an aggregation."""
    batch: Whole = 16
    """Samples a batch; no device may have fewer."""
    local_epochs: Whole = 1
    """Passes over a device's own data in a round."""
    optimizer: Optimizer = Optimizer()
    """Stochastic gradient descent, on the device and on its edge half alike."""
    aggregation: Aggregation = "flat"
    """``hierarchical``: each edge server averages its devices' models before the cloud averages the edge servers'. For
    schemes that split. The mean is the same but for rounding, so weights have another digest than with ``flat``."""
    late: Late = Late()
    """What becomes of a round when devices are late or lost: ``wait`` for them, or ``{drop: 30s}``."""
    threads: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """Threads of torch. Belongs to the task: it changes the order of sums, and so the digest."""
    strategy: Strategy | None = None
    """What becomes of the edge half when its device moves: it starts the round again (`restart`), goes with it
    (`migrate`), follows to a standby that was kept in step there (`shadow`), stays where it is, across the backhaul
    (`relay`), or goes with it in the device's own memory (`carry`), for edge servers that do not reach each other; then
    the notice has to come early (`mobility.lead`). By default the scheme's own; no matter to
    `fedavg` and `local`, which have no edge half, nor to `edgemove`, whose stages stay where they are."""
