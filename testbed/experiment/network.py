"""What the user writes about the network: sites, nodes, profiles and links.

Descriptions are the reference documentation (``docs/experiment.md``); they say what a key means, never how it is done.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.units import Duration, Fraction, Queue, Rate, Size

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Speed = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=1000)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are refused, and one left blank has all its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _blank_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class BothWays(Section):
    """A value for both directions, or ``{up: …, down: …}``."""

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: Any) -> Any:
        return value if isinstance(value, dict | BothWays) else {"up": value, "down": value}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A single value is as good as a mapping."""
        body = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [dict(body["properties"]["up"]), dict(body)]}


class RateBothWays(BothWays):
    """A rate in each direction."""

    up: Rate
    down: Rate


class DurationBothWays(BothWays):
    """A time in each direction."""

    up: Duration
    down: Duration


class FractionBothWays(BothWays):
    """A share in each direction."""

    up: Fraction
    down: Fraction


class QueueBothWays(BothWays):
    """A queue in each direction."""

    up: Queue
    down: Queue


class LinkSettings(Section):
    """What a link does to packets.

    Every value may be one for both directions or ``{up: …, down: …}``. *Up* leaves the node: from a device to its
    access point, from an edge server to its access point; on a link ``x -- y`` it goes from ``x`` to ``y``.
    """

    rate: RateBothWays | None = None
    """Layer-2 bits per second."""
    delay: DurationBothWays | None = None
    """One-way delay, on top of the time a packet takes at ``rate``."""
    jitter: DurationBothWays | None = None
    """Half-width of the even spread around ``delay``; packets stay in order. At most ``delay``."""
    loss: FractionBothWays | None = None
    """Share of packets that are lost at random, below 100%."""
    queue: QueueBothWays | None = None
    """What may wait for the wire before packets are dropped: a time at ``rate``, a size, or full packets (``100p``).
    By default 100ms, and never less than two packets."""


class Links(BaseModel):
    """Links of the experiment: the two defaults and the backhaul."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, LinkSettings] = Field(init=False)

    access: LinkSettings = LinkSettings()
    """Between a device and the access point it is on. Unless set: 50Mbit, 2ms, no jitter, no loss."""
    edge: LinkSettings = LinkSettings()
    """Between an edge server and its own access point. Unless set: 1Gbit, 0.2ms, no jitter, no loss."""

    @model_validator(mode="before")
    @classmethod
    def _blank_is_default(cls, value: Any) -> Any:
        return {} if value is None else value

    @property
    def backhaul(self) -> dict[str, LinkSettings]:
        """The links ``x -- y``, as they were written."""
        return self.__pydantic_extra__ or {}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Keys other than the named ones have the form ``x -- y``."""
        body = handler.resolve_ref_schema(handler(schema))
        settings = dict(body["properties"]["access"])
        for key in ("description", "default"):
            settings.pop(key, None)
        body["additionalProperties"] = False
        body["patternProperties"] = {
            r"^\S+\s*--\s*\S+$": {
                **settings,
                "description": "Between two sites, or a site and `cloud` (or a host of its own). "
                "Unless set: 100Mbit, 5ms, no jitter, no loss.",
            }
        }
        return body


class Profile(Section):
    """A class of hardware. Keys left out keep the value of the shipped profile of that name."""

    speed: Speed | None = None
    """Training speed as a share of one unthrottled core of this machine. Training steps are paced to it."""
    memory: Size | None = None
    """Limit of memory (and swap together). Nodes that train need 256MiB."""
    cpus: Speed | None = None
    """CPU quota in cores, a guard above the speed. By default 1.5 x speed."""
    period: Duration = Field(default="100ms", validate_default=True)
    """Period over which the quota is enforced. Shorter is smoother, and costs a little speed."""


class Edge(Section):
    """An edge server."""

    profile: str = "edge-server"
    """Class of hardware: a shipped profile or one of ``profiles``."""
    name: str | None = None
    """Name of the node. By default ``edge-<site>``."""


def _no_edge(value: Any) -> Any:
    """``none`` is a site without an edge server, an edge left blank the usual one."""
    if value is None:
        return {}
    return None if value == "none" else value


class Site(Section):
    """An access point and the edge server behind it."""

    at: tuple[Number, Number] = (0.0, 0.0)
    """Where the access point is: x and y in metres. Traces need it."""
    edge: Annotated[Edge | None, BeforeValidator(_no_edge)] = Edge()
    """The edge server; ``none`` for an access point without one."""
    access: LinkSettings = LinkSettings()
    """What differs here from ``links.access``, for every device while it is at this site."""
    edge_link: LinkSettings = LinkSettings()
    """What differs here from ``links.edge``."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """No edge server is written ``none``, which the model holds as None."""
        body = handler.resolve_ref_schema(handler(schema))
        edge = body["properties"]["edge"]
        edge["anyOf"] = [{"const": "none"} if o == {"type": "null"} else o for o in edge["anyOf"]]
        return body


class Cloud(Section):
    """The cloud: it aggregates and evaluates. The node is called ``cloud``."""

    profile: str = "cloud"
    """Class of hardware: a shipped profile or one of ``profiles``."""


class Devices(Section):
    """One device, or ``count`` equal ones."""

    profile: str
    """Class of hardware: a shipped profile or one of ``profiles``."""
    count: Count | None = None
    """How many: they are called ``<name>-1``, ``<name>-2`` … One, or none given, keeps the bare name."""
    at: str | None = None
    """Site where they start. With a trace, devices that it names start where it has them."""


class Host(Section):
    """A container with any program, not part of the training."""

    at: str | None = None
    """Site it is at. Left out, the host has a switch of its own and takes part in ``links`` by its name."""
    profile: str = "small-host"
    """Class of hardware: a shipped profile or one of ``profiles``."""
    image: str | None = None
    """Image to run. By default that of the nodes."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """Program and its arguments, as a list. By default the image's own, or idling on the nodes' image."""

