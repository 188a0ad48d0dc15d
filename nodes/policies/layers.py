"""Names of each model's layers and cuts: all that a cut needs to know, without torch."""

from __future__ import annotations

from collections.abc import Mapping

from nodes.policies.designs import DESIGNS

LAYERS: dict[str, tuple[str, ...]] = {model: tuple(design) for model, design in DESIGNS.items()}
"""Model name to layer names. A cut of ``k`` leaves the first ``k`` layers on the device."""

NAMED: Mapping[str, Mapping[str, int]] = {"vgg5": {"SP1": 2, "SP2": 4, "SP3": 5}}
"""Names that cuts have in the literature: FedFly's split points, after one, two and three convolutions with what
follows them."""


def cut_at(model: str, cut: int | str) -> int | None:
    """Number of layers before a cut given as a number, a layer's name (it is the last on the device) or a cut's name.

    None if the model has no such layer or cut; numbers are taken as they are.
    """
    if isinstance(cut, int):
        return cut
    if cut in LAYERS[model]:
        return LAYERS[model].index(cut) + 1
    return NAMED.get(model, {}).get(cut.upper())
