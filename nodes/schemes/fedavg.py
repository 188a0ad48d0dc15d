"""``fedavg``: the whole model on every device, averaged in the cloud (McMahan et al., 2017)."""

from nodes.schemes._aggregator import Aggregator
from nodes.schemes._base import AGGREGATOR, Scheme, frozen, place_whole
from nodes.schemes._whole import Whole

SCHEME = Scheme(
    name="fedavg",
    split=False,
    strategies=("none",),
    roles=frozen({AGGREGATOR: lambda part, context: Aggregator(part, context, "whole"), "whole": Whole}),
    place=place_whole,
    source="McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017",
)
