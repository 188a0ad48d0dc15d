"""What the work of a stage takes on one unthrottled core: the sum of its layers' reference times.

One set of numbers by layer serves every way to cut a model, so that a layout can be chosen, and changed, without
anything being measured anew. That layers cost a little less in one piece than one by one is left to the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodes.errors import InputError

WAYS = ("forward", "backward", "update")


@dataclass(frozen=True)
class StageTimes:
    """Reference seconds by layer for one micro-batch: to go forward and backward, to update, and the loss in all."""

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    update: tuple[float, ...]
    loss: float

    @classmethod
    def of(cls, ops: Mapping[str, float], layers: Sequence[str]) -> StageTimes:
        """From times by operation as they are stored (``forward.conv1``, .. and ``loss``).

        Raises:
            InputError: A layer has no times.
        """
        missing = [name for name in operations(layers) if name not in ops]
        if missing:
            raise InputError("layers without reference times", found=", ".join(missing[:4]))
        forward, backward, update = (tuple(ops[f"{way}.{layer}"] for layer in layers) for way in WAYS)
        return cls(forward, backward, update, ops["loss"])

    def op(self, kind: str, first: int, last: int) -> float:
        """Seconds of an operation (`nodes.policies.order`) on layers ``first`` to ``last``, not included.

        ``whole`` is a micro-batch of a model that is all in one place: the same as ``tail``.
        """
        forward, backward = sum(self.forward[first:last]), sum(self.backward[first:last])
        match kind:
            case "forward":
                return forward
            case "backward":
                return backward
            case "tail" | "whole":
                return forward + self.loss + backward
            case "update":
                return sum(self.update[first:last])
        raise InputError(f"no operation {kind}", wanted="forward, backward, tail, whole or update", found=kind)


def operations(layers: Sequence[str]) -> tuple[str, ...]:
    """Names under which the times of these layers are stored."""
    return (*(f"{way}.{layer}" for way in WAYS for layer in layers), "loss")
