from __future__ import annotations

import pytest
import torch

from nodes.learn.digest import weights_digest
from nodes.learn.evaluate import evaluate
from nodes.learn.models import build
from nodes.learn.stage import Sgd, Stage
from tests.unit.learn.toys import shard


class Knows(torch.nn.Module):
    """Reads the class off the first pixel, wrongly for class 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        label = x[:, 0, 0, 0].round().long()
        return torch.nn.functional.one_hot(label.where(label > 0, 1), 10).float()


def test_accuracy_and_loss_by_hand() -> None:
    made = shard(25)
    made.x[:, :, 0, 0] = made.y.to(torch.uint8).view(-1, 1)
    plain = type(made)(made.x, made.y, 10, (0.0,) * 3, (1 / 255,) * 3)
    result = evaluate(Knows(), plain, batch=7)
    assert result.samples == 25
    assert result.accuracy == 22 / 25  # labels 0..9 twice, 0..4: three zeros
    e = torch.e
    hit, miss = -torch.log(torch.tensor([e / (e + 9), 1 / (e + 9)])).double()
    assert result.loss == pytest.approx(float(22 * hit + 3 * miss) / 25, rel=1e-5)


def test_leaves_the_model_as_it_was() -> None:
    model = build("vgg5", 0, (3, 8, 8))
    before = weights_digest(model.state_dict())
    first = evaluate(model, shard())
    assert model.training
    assert model[0].training
    assert weights_digest(model.state_dict()) == before
    assert evaluate(model, shard()) == first


def test_training_shows() -> None:
    made = shard(60)
    stage = Stage(build("cnn", 0, (3, 8, 8)), Sgd(0.1), first=True)
    before = evaluate(stage.layers, made)
    for _ in range(30):
        stage.train_step_tail(made.normalise(made.x), made.y)
    after = evaluate(stage.layers, made)
    assert after.loss < before.loss
    assert after.accuracy > before.accuracy
