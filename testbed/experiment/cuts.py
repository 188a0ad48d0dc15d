"""How a cut is written: as a number of layers, as the last layer on the device, or by its name in the literature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from nodes.policies.layers import LAYERS, NAMED
from testbed.experiment.units import UnitError

CUTS: Mapping[str, int] = {
    "vgg5": 4, "cnn": 2, "vgg11": 4, "resnet18": 5, "mobilenetv3-small": 5,
    "mlp": 1, "cnn1d": 2, "transformer": 1,
}  # fmt: skip
"""Layers on the device unless the file says: FedFly's split for its own model, for others about as early."""


def _cut(value: Any) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise UnitError("this is not a cut", wanted="a number of layers, a layer's name, or SP1 to SP3", found=value)


Cut = Annotated[
    int | str,
    BeforeValidator(_cut),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
"""A cut as the file has it; `nodes.policies.layers.cut_at` makes a number of it."""


def described(model: str, low: int, high: int) -> str:
    """The cuts that a model may have, in words."""
    layers = ", ".join(f"{i} {name}" for i, name in enumerate(LAYERS[model], 1))
    names = "".join(f", {name} is {cut}" for name, cut in NAMED.get(model, {}).items())
    return f"{low} to {high}: the number of layers that stay on the device ({layers}{names})"


def names(model: str) -> Iterator[str]:
    """Every word that stands for a cut of a model."""
    yield from NAMED.get(model, {})
    yield from LAYERS[model]
