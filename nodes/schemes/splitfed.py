"""``splitfed``: one edge half per device; a device that moves restarts its round on the new edge server.

The restart is a clean one: both halves and both optimizers go back to the start of the round (the published
baseline keeps the device's half and momentum).
"""

from nodes.schemes._base import AGGREGATOR, COLLECTOR, Scheme, place_split

SCHEME = Scheme(
    name="splitfed",
    split=True,
    strategies=("restart", "migrate", "relay", "shadow", "carry"),
    roles={
        AGGREGATOR: "nodes.schemes._tiers:aggregator",
        COLLECTOR: "nodes.schemes._tiers:Collector",
        "head": "nodes.schemes._split:Head",
        "tail": "nodes.schemes._split:Tail",
    },
    place=place_split,
    movable=("tail",),
    source="Thapa et al., SplitFed: When Federated Learning Meets Split Learning, AAAI 2022",
)
