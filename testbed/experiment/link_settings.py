"""What the user writes about links.

Descriptions are the reference documentation (``docs/experiment.md``); docs/links.md says more.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.link_values import LinkRate, Loss, Queue
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, Fraction

Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]


class BothWays(Section):
    """A value for both directions, or ``{up: …, down: …}``."""

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: Any) -> Any:
        return value if isinstance(value, dict | BothWays) else {"up": value, "down": value}

    def way(self, name: str) -> Any:
        """The value going ``up`` or ``down``."""
        return getattr(self, name)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A single value is as good as a mapping."""
        body = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [dict(body["properties"]["up"]), dict(body)]}


class RateBothWays(BothWays):
    """A rate in each direction."""

    up: LinkRate
    down: LinkRate


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


class LossBothWays(BothWays):
    """Losses in each direction."""

    up: Loss
    down: Loss

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: Any) -> Any:
        """A loss may be a mapping itself."""
        each = isinstance(value, BothWays) or (isinstance(value, dict) and not {"up", "down"}.isdisjoint(value))
        return value if each else {"up": value, "down": value}


class TextBothWays(BothWays):
    """A name in each direction."""

    up: Text
    down: Text


class FlagBothWays(BothWays):
    """Yes or no in each direction."""

    up: Flag
    down: Flag


class LinkSettings(Section):
    """What a link does to packets.

    Every value may be one for both directions or ``{up: …, down: …}``. *Up* leaves the node: from a device to its
    access point, from an edge server to its access point; on a link ``x -- y`` it goes from ``x`` to ``y``.
    """

    rate: RateBothWays | None = None
    """Layer-2 bits per second, from 8kbit to less than 100Gbit; `trace` where a Mahimahi trace says it."""
    delay: DurationBothWays | None = None
    """One-way delay, on top of the time a packet takes at `rate`. With jitter, at most 10min."""
    jitter: DurationBothWays | None = None
    """How far the delay varies around `delay`; packets stay in order. Half-width of an even spread, the unit of any
    other's table (the standard deviation of `normal`). Delays may not come out below 0: an even spread is at most
    `delay`, of another at most 1 in 100 (which are 0 then)."""
    distribution: TextBothWays | None = None
    """How the delay is spread: `uniform` (unless set), `normal`, `pareto`, or a table of iproute2's format: a file
    that ends in `.dist`."""
    loss: LossBothWays | None = None
    """Packets lost: a share of them, each by itself (`1%`); in bursts of so many on average (`{burst: 4, share: 1%}`);
    or the Gilbert-Elliott model in full (`{enter: 0.3%, leave: 25%, bad: 100%, good: 0%}`). Below 100%."""
    queue: QueueBothWays | None = None
    """What may wait for the wire before packets are dropped: a time at `rate`, a size, or full packets, counted
    (`100p`). At least two packets, at most 256MiB. Unless set: 100ms, brought within these bounds."""
    reorder: FractionBothWays | None = None
    """Share of packets that skip the delay and so overtake others. Needs a delay."""
    duplicate: FractionBothWays | None = None
    """Share of packets that come twice."""
    corrupt: FractionBothWays | None = None
    """Share of packets in which a bit is turned over."""
    trace: TextBothWays | None = None
    """File that says how rate, delay and loss vary from the start of the training on: CSV (`t,rate,delay,loss`) or
    Mahimahi's (which takes the place of `rate`); `none` where there is none. Before and after the training, a link is
    as its other settings say."""
    loop: FlagBothWays | None = None
    """Whether the trace begins again at its end. By default Mahimahi's do; after others, what was last in force
    stays."""


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
