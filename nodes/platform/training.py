"""``train-device`` and ``train-edge``: one round of one owner, done by the parts of the task's scheme.

Invoked with the model of a round, they host the part that the task's placement has on this node (`hosting`). The whole
model's invocation is for itself. Of a split model's the two halves are invoked as a pair, and stream batches to each
other by way of their agents (docs/serverless-functions.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.platform.builtin import TORCH_MEMORY
from nodes.platform.functions import Tensors, Value, function
from nodes.wire.codec import Tensors as Arrays
from nodes.wire.task import Task

if TYPE_CHECKING:
    from nodes.learn.pacing import Pacer
    from nodes.platform.instance import Stream

_IMPORTS = ("nodes.platform.hosting", "nodes.schemes._split", "nodes.schemes._whole")
_VALUES = {
    "task": Value(Task),
    "node": Value(str),              # this unit
    "owner": Value(str),
    "round": Value(int),
    "dilation": Value(float, 1.0),
}
_KEEP = Tensors({"indices": ("int64", (None,))}, optional=True)
_DONE = {
    "weights": Tensors(optional=True),  # the whole model of the round; of a head: none, its weights go to its tail
    "samples": Value(int),
    "batches": Value(int),
    "loss_sum": Value(float),
    "moved": Value(str),             # node that the part has moved to and goes on at; empty: it has not
    "pacing": Value(dict[str, float]),
}
_ROUND_LIMIT = 3600.0


@function(
    name="train-device",
    inputs={"weights": Tensors(optional=True), "keep": _KEEP, **_VALUES},
    outputs=_DONE, memory=TORCH_MEMORY, torch=True, time_limit=_ROUND_LIMIT, imports=_IMPORTS, streams=True, paced=True,
)  # fmt: skip
def train_device(
    weights: Arrays | None, keep: Arrays | None, task: Task, node: str, owner: str, round: int, dilation: float,
    stream: Stream, pacer: Pacer,
) -> dict[str, Any]:  # fmt: skip
    """The device's share of a round: all of it (``whole``), or that of the first layers (``head``).

    Of the model, the layers that the part has are taken; a head without ``weights`` waits for its tail to send them.
    ``keep``: the samples of the shard to train on; none: all of them.
    """
    from nodes.platform.hosting import train

    return train(
        task, node, owner, round, weights, stream, pacer, dilation=dilation,
        keep=None if keep is None else keep["indices"],
    )  # fmt: skip


@function(
    name="train-edge",
    inputs={"weights": Tensors(optional=True), "ship": Value(bool, False), **_VALUES},
    outputs=_DONE, memory=TORCH_MEMORY, torch=True, time_limit=_ROUND_LIMIT, imports=_IMPORTS, streams=True, paced=True,
)  # fmt: skip
def train_edge(
    weights: Arrays | None, ship: bool, task: Task, node: str, owner: str, round: int, dilation: float,
    stream: Stream, pacer: Pacer,
) -> dict[str, Any]:  # fmt: skip
    """The edge server's share of a round (``tail``).

    ``ship``: send the device's layers to it first; otherwise its store has them. Where the placement has the tail on
    another node, it waits for it to come from there with its state (``migrate``), or to be opened here (``restart``).
    """
    from nodes.platform.hosting import train

    return train(task, node, owner, round, weights, stream, pacer, dilation=dilation, ship=ship)
