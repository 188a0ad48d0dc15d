"""What the user writes about pipelines: micro-batches, their order, which layers are where, and what may change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nodes.policies.layouts import MOST
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.units import DURATION_SCHEMA, Fraction, UnitError, parse_duration

PROBING = ("adaptive", "off")
"""Ways of probing that need no interval."""


def _depth(value: Any) -> int | None:
    if value is None or value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UnitError(
            "this is no depth", wanted="auto, or a whole number from 1 on", found=str(value), remedy="leave it out"
        )
    return value


Depth = Annotated[
    int | None,
    BeforeValidator(_depth),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}]}),
]


def parse_probing(value: Any) -> str | float:
    """``adaptive``, ``off``, or of ``{every: 10s}`` the seconds."""
    wanted = "adaptive, off or {every: 10s}"
    if isinstance(value, str) and value in PROBING:
        return value
    if not isinstance(value, Mapping) or set(value) != {"every"}:
        word = value if not isinstance(value, Mapping) or len(value) != 1 else next(iter(value))
        remedy = did_you_mean(word, [*PROBING, "every"])
        if value is False or word in ("none", "never"):
            remedy = "write off"
        elif word == "every":
            remedy = "say how often: {every: 10s}"
        raise UnitError("this is no way of probing", wanted=wanted, found=value, remedy=remedy)
    try:
        every = parse_duration(value["every"])
    except UnitError as error:
        raise error.about("every") from None
    if every <= 0:
        raise UnitError(
            "every: probes would follow each other without end", wanted="more than 0s", found=value["every"],
            remedy="write for example {every: 10s}, or off for no probes",
        )  # fmt: skip
    return every


Probing = Annotated[
    str | float,
    BeforeValidator(parse_probing),
    WithJsonSchema({"anyOf": [
        {"enum": list(PROBING)},
        {"type": "object", "properties": {"every": DURATION_SCHEMA}, "required": ["every"],
         "additionalProperties": False},
    ]}),
]  # fmt: skip


class PlannedStage(Section):
    """One stage of a pipeline: a node, and how many layers it has."""

    node: str
    """``device`` (the one whose data it is), ``nearest`` (the edge server of the site where that device starts), or an
    edge server's name."""
    layers: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Number of layers. One stage may leave it out: it has those that are left."""


def _plan(value: Any) -> Any:
    if value is None or value == "auto":
        return []
    if isinstance(value, str):
        raise UnitError(
            f"unknown plan {value!r}", wanted="auto, or a list of stages", found=value,
            remedy="write a list: [{node: device, layers: 2}, {node: nearest}]",
        )  # fmt: skip
    if value == []:
        raise UnitError("a plan without stages", wanted="auto, or a list of stages", found="an empty list",
                        remedy="leave it out")  # fmt: skip
    return value


class _OrAuto:
    """``auto`` is as good as what it stands beside."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"const": "auto"}, handler(schema)]}


class Pipeline(Section):
    """How batches go through a pipeline of stages (``edgemove``), or are divided at all (``local``)."""

    micro: Annotated[int, Field(strict=True, ge=1)] = 4
    """Micro-batches that a batch is divided into, of equal size. Gradients are accumulated over them. BatchNorm sees
    them one by one."""
    schedule: Literal["1f1b", "sync", "sequential"] = "1f1b"
    """The order of work on each stage. ``sync`` as GPipe: exact gradients, and every batch fills and drains the
    pipeline. ``1f1b`` as PipeDream: no draining within a round; weights are stashed, and may be a batch old (that is
    recorded). ``sequential``: one micro-batch at a time, the same weights as ``sync``; to compare with."""
    depth: Depth = None
    """With ``1f1b``, micro-batches under way on the device at most; ``auto``: 1, and 3 for each further stage, up to
    ``micro``. Above ``micro``, weights may be more than one batch old. On further stages it goes down evenly to 1."""
    stages: Annotated[int, Field(strict=True, ge=2, le=MOST)] = 2
    """Most stages that a plan which is chosen may have, 2 to 4."""
    keep: Annotated[int, Field(strict=True, ge=0)] = 1
    """Layers that never leave the device, for privacy; 0 lets raw samples leave it."""
    labels: Literal["leave", "stay"] = "leave"
    """``leave``: they go along with activations. ``stay``: they do not leave the device, which has the last stage, too
    (a U-shaped pipeline)."""
    plan: Annotated[list[PlannedStage], BeforeValidator(_plan), _OrAuto()] = Field(default_factory=list)
    """Stages in order, or ``auto``: chosen before the training from times by layer, speeds, links and memory, as
    ``testbed validate`` shows. Where the file has a ``cut``, and where nothing can be chosen, the simple plan: the
    device's layers up to the cut, the others on its edge server; with labels that stay, the last one on the device."""
    compress: Literal["none", "fp16", "int8"] = "none"
    """How activations and gradients are packed between nodes. What that loses is recorded."""
    profile: Literal["approximate", "full"] = "approximate"
    """Which layers a probe measures on an edge server: ``approximate`` the heaviest ones, and takes the others to be as
    much faster or slower as these; ``full`` all of them, which costs more."""
    probing: Probing = "adaptive"
    """When edge servers are probed during the training: ``adaptive`` (often while predictions fail and handovers are
    near, seldom while they hold), ``{every: 10s}``, or ``off``. See [policies](edgemove-policies.md)."""
    probe_budget: Fraction = 0.02
    """Share of the training's time, and of the bytes on the device's access link, that probes may take at most. What
    would be more is put off, and counted. ``0`` means no probes."""
    adapt: Literal["proactive", "reactive", "static"] = "proactive"
    """When stages move or layers go to other stages: ``reactive`` by what was measured, ``proactive`` also ahead of
    handovers that are expected, ``static`` never, unless the pipeline cannot go on. A ``plan`` or ``cut``
    that is given is what training begins with; with ``static`` it stays."""
