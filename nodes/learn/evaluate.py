"""How good a model is on samples it was not trained on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from nodes.learn.shards import Shard


@dataclass(frozen=True)
class Evaluation:
    """Share of samples classified rightly, and mean cross entropy."""

    accuracy: float
    loss: float
    samples: int


@torch.inference_mode()
def evaluate(
    model: nn.Module, shard: Shard, batch: int = 256,
    work: Callable[[int], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> Evaluation:  # fmt: skip
    """Accuracy and mean loss over the whole shard, in batches, in eval mode (BatchNorm's running values).

    Each batch is done in the ``work`` of so many samples.
    """
    training = model.training
    model.eval()
    right, loss = 0, 0.0
    try:
        for begin in range(0, len(shard), batch):
            labels = shard.y[begin : begin + batch]
            with work(len(labels)):
                logits = model(shard.normalise(shard.x[begin : begin + batch]))
                right += int((logits.argmax(1) == labels).sum())
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
    finally:
        model.train(training)
    return Evaluation(right / len(shard), loss / len(shard), len(shard))
