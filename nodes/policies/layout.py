"""Where each layer of a model lives: the cuts of a pipeline and the node of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nodes.errors import InputError


@dataclass(frozen=True)
class Layout:
    """A model cut into stages.

    Attributes:
        bounds: ``(0, k1, .., L)``: stage ``s`` holds layers ``bounds[s]`` to ``bounds[s + 1]`` (not included). Only
            the first stage may be empty: raw samples leave the device then.
        nodes: Node of each stage. A node stands here once; the device may also hold the last stage (U-shape).
    """

    bounds: tuple[int, ...]
    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.nodes) < 1 or len(self.bounds) != len(self.nodes) + 1 or self.bounds[0] != 0:
            raise InputError("no layout", wanted="bounds 0, k1, .., layers and one node a stage", found=str(self))
        empty = [s for s, (i, j) in enumerate(pairwise(self.bounds)) if j - i < (0 if s == 0 else 1)]
        if empty or self.bounds[-1] < 1:
            raise InputError(
                "a stage of a layout has no layers", wanted="one layer at least behind the first stage", found=str(self)
            )
        inner = self.nodes[:-1] if self.ends_on_device else self.nodes
        if len(set(inner)) < len(inner):
            raise InputError(
                "a node has two stages of a layout", found=str(self), wanted="one stage a node; the device may also"
                " have the last one",
            )  # fmt: skip

    def __str__(self) -> str:
        return " | ".join(f"{node} {i}..{j}" for node, (i, j) in zip(self.nodes, pairwise(self.bounds), strict=False))

    @property
    def device(self) -> str:
        """Whose data it is: the node of the first stage."""
        return self.nodes[0]

    @property
    def layers(self) -> int:
        """Number of layers in all."""
        return self.bounds[-1]

    @property
    def servers(self) -> tuple[str, ...]:
        """Nodes other than the device, in order."""
        return tuple(node for node in self.nodes if node != self.device)

    @property
    def ends_on_device(self) -> bool:
        """Whether the last stage is on the device as well (U-shape), and there are others between."""
        return len(self.nodes) > 2 and self.nodes[-1] == self.nodes[0]

    def node_of(self, layer: int) -> str:
        """Node that holds a layer, by its index."""
        return next(node for node, (i, j) in zip(self.nodes, pairwise(self.bounds), strict=True) if i <= layer < j)

    def moved(self, to: Layout) -> tuple[tuple[int, str, str], ...]:
        """Layers that change their node on the way to another layout: index, from, to."""
        pairs = ((k, self.node_of(k), to.node_of(k)) for k in range(self.layers))
        return tuple((k, a, b) for k, a, b in pairs if a != b)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be sent or written down."""
        return {"bounds": list(self.bounds), "nodes": list(self.nodes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Layout:
        """Inverse of `as_dict` (InputError if it is something else)."""
        try:
            return cls(tuple(int(k) for k in data["bounds"]), tuple(str(node) for node in data["nodes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("not a layout", found=repr(error)) from None

    @classmethod
    def of(cls, stages: Sequence[tuple[str, int | None]], layers: int) -> Layout:
        """A layout as one writes it: node and number of layers of each stage; of one stage the rest (None).

        Raises:
            InputError: The numbers do not make up the model's layers.
        """
        open_ = [s for s, (_, count) in enumerate(stages) if count is None]
        said = sum(count for _, count in stages if count is not None)
        told = ", ".join(f"{node} {'the rest' if count is None else count}" for node, count in stages)
        if len(open_) > 1 or not stages:
            raise InputError("one stage of a plan may do without its number of layers", found=told or "no stages")
        rest = layers - said
        if rest < 0 or (rest > 0 and not open_):
            raise InputError(
                "the stages of a plan are not the model's layers", wanted=f"{layers} layers in all", found=told,
                remedy="leave the number of the last stage out: it takes the rest",
            )  # fmt: skip
        bounds = [0]
        for _, count in stages:
            bounds.append(bounds[-1] + (rest if count is None else count))
        return cls(tuple(bounds), tuple(node for node, _ in stages))
