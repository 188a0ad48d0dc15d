"""``fedavg``: the whole model on every device, averaged in the cloud (McMahan et al., 2017)."""

from nodes.schemes._base import AGGREGATOR, Scheme, place_whole

SCHEME = Scheme(
    name="fedavg",
    split=False,
    strategies=("none",),
    roles={AGGREGATOR: "nodes.schemes._aggregator:OverDevices", "whole": "nodes.schemes._whole:Whole"},
    place=place_whole,
    source="McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017",
)
