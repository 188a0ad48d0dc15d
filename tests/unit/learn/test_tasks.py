"""The tasks that need no download can be learnt, in seconds, on one core; real ones are read as they came."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nodes.learn import datasets
from nodes.learn.evaluate import evaluate
from nodes.learn.models import build
from nodes.learn.shards import Batches, Shard
from nodes.learn.stage import Sgd, Stage


def trained(model: str, name: str, lr: float, rounds: int) -> tuple[list[float], list[float]]:
    """Mean loss of each round, and accuracy after it."""
    data = datasets.load(name, seed=1)
    own = Shard(torch.from_numpy(data.train_x), torch.from_numpy(data.train_y), data.classes, data.mean, data.std)
    tests = Shard(torch.from_numpy(data.test_x), torch.from_numpy(data.test_y), data.classes, data.mean, data.std)
    stage = Stage(build(model, 1, data.train_x.shape[1:], data.classes), Sgd(lr=lr), first=True)
    batches = Batches(own, 1, "a", 16)
    losses, accuracies = [], []
    for number in range(1, rounds + 1):
        losses.append(np.mean([stage.train_step_tail(*batches.get(number, i))[1] for i in range(len(batches))]))
        accuracies.append(evaluate(stage.layers, tests).accuracy)
    return losses, accuracies


@pytest.mark.parametrize(
    ("model", "name", "lr", "rounds", "least"),
    # Of six activities, and of twelve packages of which the largest has a seventh of all docstrings.
    [("cnn1d", "motion", 0.01, 2, 0.8), ("mlp", "motion", 0.01, 1, 0.65), ("transformer", "docstrings", 0.03, 2, 0.35)],
)
def test_training_shows(model: str, name: str, lr: float, rounds: int, least: float) -> None:
    losses, accuracies = trained(model, name, lr, rounds)
    assert losses == sorted(losses, reverse=True)
    assert accuracies[-1] > least
