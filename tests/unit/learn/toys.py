"""Small data and models that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor

from nodes.learn.models import build, cut, takes_tokens, usual_shape
from nodes.learn.shards import Shard
from nodes.learn.stage import Sgd, Stage
from nodes.policies.designs import WORDS

SGD = Sgd(lr=0.05, momentum=0.9, weight_decay=1e-3)


def shard(samples: int = 40, classes: int = 10, side: int = 8) -> Shard:
    """Noise with a little of the class in it."""
    draw = torch.Generator().manual_seed(1)
    y = torch.arange(samples) % classes
    x = torch.randint(0, 128, (samples, 3, side, side), generator=draw, dtype=torch.uint8)
    x += (y * 12).to(torch.uint8).view(-1, 1, 1, 1)
    return Shard(x, y, classes, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def in_shape(model: str, side: int = 8) -> tuple[int, ...]:
    """Small images for those who take images, what is usual for the others."""
    usual = usual_shape(model)
    return (3, side, side) if len(usual) == 3 else usual


def batches(number: int, size: int = 6, side: int = 8, model: str = "vgg5") -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(2)
    shape = (size, *in_shape(model, side))
    if takes_tokens(model):
        return [
            (torch.randint(WORDS, shape, generator=draw), torch.randint(10, (size,), generator=draw))
            for _ in range(number)
        ]
    return [
        (torch.randn(shape, generator=draw), torch.randint(10, (size,), generator=draw)) for _ in range(number)
    ]


def halves(model: str, k: int, seed: int = 7, side: int = 8, sgd: Sgd = SGD) -> tuple[Stage, Stage]:
    head, tail = cut(build(model, seed, in_shape(model, side)), k)
    return Stage(head, sgd, first=True), Stage(tail, sgd, first=k == 0)


def split_step(head: Stage, tail: Stage, x: Tensor, y: Tensor) -> float:
    crossing = head.forward(x)
    gradient, loss = tail.train_step_tail(crossing, y)
    head.backward(crossing if gradient is None else gradient)  # none where the tail is everything
    head.step()
    return loss
