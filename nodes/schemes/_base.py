"""What a scheme declares: roles, first placement, what happens on a move. It opens no socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nodes.runtime.part import Context, Part
from nodes.wire.control import Placed
from nodes.wire.messages import PartId

AGGREGATOR = "aggregator"

Maker = Callable[[PartId, Context], Part]


@dataclass(frozen=True)
class Members:
    """Who takes part: devices in name order, the edge server each is near at the start, and the cloud."""

    devices: tuple[str, ...]
    edge_of: Mapping[str, str]
    cloud: str


@dataclass(frozen=True)
class Scheme:
    """A way to organise training.

    Attributes:
        name: As written in experiments. split: Whether the model is cut (``cut`` then matters).
        strategies: What may happen to the edge half on a move, the first being the default.
        roles: Builds the part of each role. place: First placement of all parts of a task.
        source: Where the idea comes from, or that it is ours.
    """

    name: str
    split: bool
    strategies: tuple[str, ...]
    roles: Mapping[str, Maker]
    place: Callable[[str, Members], list[Placed]]
    source: str

    def make(self, part: PartId, context: Context) -> Part:
        """Build a part of this scheme (KeyError for a role it does not have)."""
        return self.roles[part.role](part, context)


def place_split(task: str, members: Members) -> list[Placed]:
    """One head on each device, its tail on the nearest edge server, the aggregator in the cloud."""
    rows = [Placed(PartId(task, AGGREGATOR, ""), members.cloud)]
    for device in members.devices:
        rows.append(Placed(PartId(task, "head", device), device))
        rows.append(Placed(PartId(task, "tail", device), members.edge_of[device]))
    return rows


def place_whole(task: str, members: Members) -> list[Placed]:
    """The whole model on each device, the aggregator in the cloud."""
    rows = [Placed(PartId(task, AGGREGATOR, ""), members.cloud)]
    rows += [Placed(PartId(task, "whole", device), device) for device in members.devices]
    return rows


def frozen(roles: dict[str, Maker]) -> Mapping[str, Maker]:
    """Roles that nobody changes afterwards."""
    return MappingProxyType(roles)
