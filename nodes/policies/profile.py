"""What each layer of a model costs: seconds, and bytes at the cut behind it.

A *full* profile has each layer measured on the node that it is for. An *approximate* one takes the device's own times
and scales them by one ratio, from a few layers that were probed on the server; that layers keep their proportions from
node to node is its assumption. Both are our design: EdgeMove's abstract says that it bootstraps with an approximate
partition, not how.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nodes.errors import InputError

FULL, APPROXIMATE = "full", "approximate"
SHARES = {"none": 1.0, "fp16": 0.5, "int8": 0.25}
"""What packing leaves of activations and gradients."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer, for one micro-batch.

    Attributes:
        name: As the model has it.
        forward, backward: Seconds.
        update: Seconds; once a batch, however many micro-batches it has.
        activation: Bytes that cross a cut behind this layer on the way forward.
        gradient: Bytes that cross it on the way back.
        weights: Bytes of its weights, buffers included.
        memory: Bytes that a micro-batch leaves for the way back.
        spread: Half the distance between the quartiles of its times, as a share of the median.
    """

    name: str
    forward: float
    backward: float
    update: float
    activation: int
    gradient: int
    weights: int
    memory: int
    spread: float = 0.0


@dataclass(frozen=True)
class ModelProfile:
    """All layers of a model, on one node, for micro-batches of one size.

    Attributes:
        model: Its name.
        samples: Of a micro-batch.
        layers: In order.
        input: Bytes of a micro-batch's samples, as they would cross a cut before the first layer.
        labels: Bytes of its labels, which go along with the activations.
        loss: Seconds of the loss, forward and backward, on the node with the last layer.
        kind: ``full`` or ``approximate``.
    """

    model: str
    samples: int
    layers: tuple[LayerProfile, ...]
    input: int = 0
    labels: int = 0
    loss: float = 0.0
    kind: str = FULL

    def __post_init__(self) -> None:
        if not self.layers or self.samples < 1:
            raise InputError("no profile", wanted="one layer and one sample at least", found=self.model)
        for layer in self.layers:
            if not all(math.isfinite(value) and value >= 0 for name, value in vars(layer).items() if name != "name"):
                raise InputError(f"a profile of {self.model} has a number that is none", found=str(layer))
        if not all(math.isfinite(v) and v >= 0 for v in (self.input, self.labels, self.loss)):
            raise InputError(f"a profile of {self.model} has a number that is none",
                             found=f"input {self.input}, labels {self.labels}, loss {self.loss}")  # fmt: skip

    @property
    def step(self) -> float:
        """Seconds of a micro-batch forward and back through all layers, without update."""
        return sum(layer.forward + layer.backward for layer in self.layers) + self.loss

    def crossing(self, cut: int) -> tuple[int, int]:
        """Bytes that cross a cut before layer ``cut``: forward (without labels), back. Raw samples need no way back."""
        return (self.input, 0) if cut == 0 else (self.layers[cut - 1].activation, self.layers[cut - 1].gradient)

    def scaled(self, ratio: float, kind: str = APPROXIMATE) -> ModelProfile:
        """The same on a node that takes ``ratio`` times as long for everything.

        Raises:
            InputError: The ratio is not a number above 0.
        """
        if not (math.isfinite(ratio) and ratio > 0):
            raise InputError("no ratio of speeds", wanted="a number above 0", found=f"{ratio:g}")
        layers = tuple(
            replace(one, forward=one.forward * ratio, backward=one.backward * ratio, update=one.update * ratio)
            for one in self.layers
        )
        return replace(self, layers=layers, loss=self.loss * ratio, kind=kind)

    def compressed(self, share: float) -> ModelProfile:
        """The same with activations and gradients sent at this share of their bytes (fp16: 0.5, int8: about 0.25)."""
        layers = tuple(
            replace(one, activation=math.ceil(one.activation * share), gradient=math.ceil(one.gradient * share))
            for one in self.layers
        )
        return replace(self, layers=layers)

    def ratio(self, probed: Mapping[str, float]) -> float:
        """How many times as long a node takes, from what it took for a few layers.

        Args:
            probed: Seconds forward and backward by layer. Their sum is compared with the sum here, so that long
                layers, whose times are the most certain, count the most.

        Raises:
            InputError: None was probed, one is not of this model, or a time is none.
        """
        own = {layer.name: layer.forward + layer.backward for layer in self.layers}
        unknown = sorted(set(probed) - set(own))
        if unknown or not probed:
            raise InputError(f"a probe of {self.model} has the wrong layers", found=", ".join(unknown) or "none",
                             wanted=", ".join(own))  # fmt: skip
        there, here = sum(probed.values()), sum(own[name] for name in probed)
        if not (math.isfinite(there) and there > 0 and here > 0):
            raise InputError(f"a probe of {self.model} took no time", found=f"{there:g} s against {here:g} s")
        return there / here

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored or sent."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelProfile:
        """Inverse of `as_dict` (InputError if it is something else)."""
        try:
            layers = tuple(
                LayerProfile(
                    str(one["name"]), float(one["forward"]), float(one["backward"]), float(one["update"]),
                    int(one["activation"]), int(one["gradient"]), int(one["weights"]), int(one["memory"]),
                    float(one.get("spread", 0.0)),
                )
                for one in data["layers"]
            )  # fmt: skip
            return cls(
                str(data["model"]), int(data["samples"]), layers, int(data.get("input", 0)), int(data.get("labels", 0)),
                float(data.get("loss", 0.0)), str(data.get("kind", FULL)),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError("not a profile of a model", found=repr(error)) from None


def middle(times: Sequence[float]) -> tuple[float, float]:
    """Median of repeated times, and half the distance between their quartiles as a share of it.

    Raises:
        InputError: There are none.
    """
    if not times:
        raise InputError("no times to take a median of", wanted="one repeat at least")
    median = statistics.median(times)
    if len(times) < 2 or median == 0:
        return median, 0.0
    low, _, high = statistics.quantiles(times, n=4)
    return median, (high - low) / 2 / median
