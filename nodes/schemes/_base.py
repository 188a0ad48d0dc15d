"""What a scheme declares: roles, first placement, what happens on a move. It opens no socket."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nodes.runtime.part import Context, Part
from nodes.wire.messages import PartId
from nodes.wire.task import Placed

AGGREGATOR = "aggregator"
COLLECTOR = "collector"
"""Role of the parts that average an edge server's devices, where averaging is hierarchical."""
PROBER = "prober"
"""Role of the parts that answer devices' probes, one on each edge server, whose name stands for an owner's."""


@dataclass(frozen=True)
class Members:
    """Who takes part: devices in name order, the edge server each is near at the start, the cloud, all edge servers."""

    devices: tuple[str, ...]
    edge_of: Mapping[str, str]
    cloud: str
    edges: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scheme:
    """A way to organise training.

    Attributes:
        name: As written in experiments. split: Whether the model is cut (``cut`` then matters).
        pipelined: Whether batches are divided into micro-batches (``workload.pipeline`` then matters).
        strategies: What may happen to the edge half on a move, the first being the default.
        roles: By role, the class of its parts as ``module:class``. Names, not classes: the host reads
            declarations without importing torch. place: First placement of all parts of a task.
        movable: Roles that may come to another edge server; each edge server rehearses them.
        source: Where the idea comes from, or that it is ours.
    """

    name: str
    split: bool
    strategies: tuple[str, ...]
    roles: Mapping[str, str]
    place: Callable[[str, Members], list[Placed]]
    source: str
    movable: tuple[str, ...] = ()
    pipelined: bool = False

    def make(self, part: PartId, context: Context) -> Part:
        """Build a part of this scheme (KeyError for a role it does not have)."""
        module, _, name = self.roles[part.role].partition(":")
        made: Part = getattr(importlib.import_module(module), name)(part, context)
        return made


def place_split(task: str, members: Members) -> list[Placed]:
    """One head on each device, its tail on the nearest edge server, the aggregator in the cloud."""
    rows = [Placed(PartId(task, AGGREGATOR, ""), members.cloud)]
    for device in members.devices:
        rows.append(Placed(PartId(task, "head", device), device))
        rows.append(Placed(PartId(task, "tail", device), members.edge_of[device]))
    return rows


def place_collectors(task: str, edges: Iterable[str]) -> list[Placed]:
    """One collector on each edge server."""
    return [Placed(PartId(task, COLLECTOR, edge), edge) for edge in edges]


def stage_role(stage: int) -> str:
    """Role of a stage of a pipeline, counted from 0 on the device."""
    return f"stage{stage}"


def place_pipeline(task: str, members: Members) -> list[Placed]:
    """The first stage on each device, the aggregator in the cloud; other stages are where the first one opens them.

    Until then their addresses stand for the edge server nearest to the device. Each edge server has a prober.
    """
    rows = [Placed(PartId(task, AGGREGATOR, ""), members.cloud)]
    for device in members.devices:
        rows.append(Placed(PartId(task, stage_role(0), device), device))
        rows += [Placed(PartId(task, stage_role(stage), device), members.edge_of[device]) for stage in (1, 2, 3)]
    return rows + [Placed(PartId(task, PROBER, edge), edge) for edge in members.edges]


def place_whole(task: str, members: Members) -> list[Placed]:
    """The whole model on each device, the aggregator in the cloud."""
    rows = [Placed(PartId(task, AGGREGATOR, ""), members.cloud)]
    rows += [Placed(PartId(task, "whole", device), device) for device in members.devices]
    return rows
