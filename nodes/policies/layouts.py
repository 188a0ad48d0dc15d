"""Layouts of a pipeline: which layers are on which node, and how many micro-batches are under way there.

`fixed` makes one of what an experiment asks for, or the simplest one where it asks for none; a policy that chooses by
what it knows of nodes and links takes its place (among `nodes.policies.layout.Layout`, which say nothing of
micro-batches). Plain functions of plain data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from nodes.errors import InputError
from nodes.policies.order import depths, require_depths

DEVICE = "device"
"""In a plan: the node whose data it is."""
NEAREST = "nearest"
"""In a plan: the edge server of the site where the device is at the start."""
MOST = 4
"""Most stages of a pipeline."""


@dataclass(frozen=True)
class PipelineLayout:
    """Stages in order, from the data to the loss.

    Attributes:
        bounds: Stage ``s`` has layers ``bounds[s]`` to ``bounds[s + 1]``, not included: from 0 to all.
        nodes: Node of each stage; the first is the owner's device.
        depths: Micro-batches under way on each stage at most; see `nodes.policies.order`.
    """

    bounds: tuple[int, ...]
    nodes: tuple[str, ...]
    depths: tuple[int, ...]

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.nodes)

    def layers(self, stage: int) -> tuple[int, int]:
        """First layer of a stage, and the one after its last."""
        return self.bounds[stage], self.bounds[stage + 1]

    def last(self, stage: int) -> bool:
        """Whether this stage computes the loss."""
        return stage == len(self.nodes) - 1

    def describe(self) -> str:
        """In words: ``pi4-1 0-2, edge-north 2-5``."""
        rows = zip(self.nodes, pairwise(self.bounds), strict=True)
        return ", ".join(f"{node} {first}-{last}" for node, (first, last) in rows)


def alone(device: str, layers: int) -> PipelineLayout:
    """All layers on the device: what is left where no edge server can be had."""
    return PipelineLayout((0, layers), (device,), (1,))


Piece = tuple[str, int | None]
"""One stage as a plan has it: a node, and its number of layers; None: all that are left."""


def pieces(labels: str, stages: int, layers: int, cut: int) -> tuple[Piece, ...]:
    """The simplest plan there is (``plan: auto`` for now): two stages, or three where labels stay on the device.

    Args:
        labels: ``leave`` or ``stay``.
        stages: Most stages that there may be.
        layers: Layers of the model.
        cut: Layers of the first stage.

    Raises:
        InputError: The model has too few layers, or there may not be as many stages.
    """
    if labels == "leave":
        return ((DEVICE, cut), (NEAREST, None))
    if stages < 3 or cut + 2 > layers:
        raise InputError(
            "labels cannot stay on the device: that takes a third stage, behind the edge server's",
            wanted=f"3 stages or more, and a cut of at most {layers - 2}",
            found=f"{stages} stages, cut {cut}",
        )
    return ((DEVICE, cut), (NEAREST, layers - cut - 1), (DEVICE, 1))


def bounds(plan: Sequence[Piece], layers: int) -> tuple[int, ...]:
    """Bounds of a plan's stages in a model of that many layers.

    Raises:
        InputError: Layers are left over or too few, or a stage behind the first has none.
    """
    left = layers - sum(count or 0 for _, count in plan)
    unsaid = [i for i, (_, count) in enumerate(plan) if count is None]
    if len(unsaid) > 1:
        raise InputError(
            "a plan leaves more than one stage's layers open", wanted="at most one stage without layers",
            found=f"{len(unsaid)} of {len(plan)}",
        )  # fmt: skip
    counts = [left if count is None else count for _, count in plan]
    if sum(counts) != layers or counts[0] < 0 or min(counts[1:], default=1) < 1:
        raise InputError(
            "the stages of a plan do not make up the model",
            wanted=f"{layers} layers in all, at least 1 for each stage behind the first",
            found=" + ".join(map(str, counts)),
        )
    return (0, *accumulate(counts))


def fixed(
    plan: Sequence[Piece], *, layers: int, cut: int, device: str, nearest: str,
    schedule: str, micro: int, depth: int | None, stages: int, labels: str,
) -> PipelineLayout:  # fmt: skip
    """The layout of a plan; of no plan (``auto``) that of `pieces`.

    Raises:
        InputError: See `pieces`, `bounds` and `nodes.policies.order.depths`.
    """
    chosen = tuple(plan) or pieces(labels, stages, layers, cut)
    names = {DEVICE: device, NEAREST: nearest}
    found = PipelineLayout(
        bounds(chosen, layers),
        tuple(names.get(node, node) for node, _ in chosen),
        depths(schedule, len(chosen), micro, depth),
    )
    require(found, layers)
    return found


def require(layout: PipelineLayout, layers: int, least: int = 2) -> None:
    """Refuse what is no layout for a model of that many layers (InputError); ``least``: stages that it must have."""
    limits = layout.bounds
    if len(limits) != len(layout.nodes) + 1 or len(layout.depths) != len(layout.nodes) or limits[0] != 0:
        raise InputError("a layout needs bounds, nodes and depths that belong together", found=str(layout))
    if limits[-1] != layers or any(a >= b for a, b in pairwise(limits[1:])) or limits[1] < 0:
        raise InputError("a layout's stages do not make up the model", wanted=f"{layers} layers", found=str(limits))
    if not least <= layout.stages <= MOST:
        raise InputError(f"a pipeline has {least} to {MOST} stages", found=str(layout.stages))
    require_depths(layout.depths)
