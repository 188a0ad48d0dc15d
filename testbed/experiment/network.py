"""What the user writes about the network: sites, nodes and profiles.

Descriptions are the reference documentation (``docs/experiment.md``); they say what a key means, never how it is done.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.experiment.cuts import Cut
from testbed.experiment.link_settings import LinkSettings
from testbed.experiment.powering import Battery, Chargings, Power, Price
from testbed.experiment.section import Section
from testbed.experiment.units import Duration, Size, UnitError
from testbed.mobility.row import FAR

Coordinate = Annotated[float, Field(strict=True, ge=-FAR, le=FAR, allow_inf_nan=False)]
Speed = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=1000)]


class Profile(Section):
    """A class of hardware. Keys left out keep the value of the shipped profile of that name."""

    speed: Speed | None = None
    """Training speed as a share of one unthrottled core of this machine. Training steps are paced to it. At most 1
    (times `dilation`)."""
    share: Speed | None = None
    """Instead of `speed`: a plain share of a core, as a quota. Steps are not paced, and take as long as they take:
    training is slower than the share suggests, by how much depends on machine and model."""
    memory: Size | None = None
    """Limit of memory (and swap together). Nodes that train need 256MiB, and what their model takes."""
    cpus: Speed | None = None
    """CPU quota in cores, a guard above the speed. By default 2.5 x speed, at most half a core above it. Not with
    `share`."""
    period: Duration = Field(default="100ms", validate_default=True)
    """Period over which the quota is enforced. Shorter is smoother, and costs a little speed."""
    power: Power = Power()
    """What it draws. Of nodes without it no energy is told."""
    battery: Battery | None = None
    """Of devices: what they live on. By default they are on the mains."""
    charging: Chargings | None = None
    """When the battery is charged: times, or a CSV file. By default never."""
    price: Price = Price()
    """What work costs there. By default nothing."""

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        for other in ("speed", "cpus"):
            if self.share is not None and getattr(self, other) is not None:
                raise UnitError(
                    f"a profile has both share and {other}", wanted="speed (and perhaps cpus), or share alone",
                    found=f"share {self.share:g}, {other} {getattr(self, other):g}",
                    remedy=f"keep share for a plain quota, or take it out: {other} goes with paced steps",
                )  # fmt: skip
        return self


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

    at: tuple[Coordinate, Coordinate] = (0.0, 0.0)
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
    cut: Cut | None = None
    """What stays on these devices, if it is not what ``workload.cut`` says."""


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

