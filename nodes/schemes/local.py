"""``local``: the whole model on every device, in the micro-batches of a pipeline; what a pipeline is compared with."""

from nodes.schemes._base import AGGREGATOR, Scheme, place_whole

SCHEME = Scheme(
    name="local",
    split=False,
    pipelined=True,
    strategies=("none",),
    roles={AGGREGATOR: "nodes.schemes._aggregator:OverDevices", "whole": "nodes.schemes._whole:Accumulating"},
    place=place_whole,
    source="ours: as fedavg, with gradients accumulated over micro-batches (what a pipeline comes to on one node)",
)
