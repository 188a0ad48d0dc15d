from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nodes.learn.crossing import crossing
from nodes.learn.models import build
from nodes.learn.stage import Stage
from nodes.learn.stash import StashStage


def test_a_gradient_that_is_given_goes_backward_as_autograd_takes_it() -> None:
    layers = build("cnn", 3, (1, 8, 8))[:3]
    x = torch.randn(4, 1, 8, 8, requires_grad=True)
    out = layers(x)
    gradient = torch.randn_like(out)
    wanted = [x, *layers.parameters()]
    plain = torch.autograd.grad(out, wanted, gradient, retain_graph=True)
    ours = torch.autograd.grad(crossing(out, gradient), wanted)
    assert all(torch.equal(a, b) for a, b in zip(plain, ours, strict=True))
    assert any(g.any() for g in ours)


@pytest.mark.parametrize("kind", [Stage, StashStage])
def test_the_first_batch_of_a_process_imports_nothing_that_takes_its_time(kind: type[Stage]) -> None:
    code = f"""
import sys, torch
from {kind.__module__} import {kind.__name__} as Kind
from nodes.learn import models
from nodes.learn.stage import Sgd
from nodes.policies.layers import LAYERS
for model in LAYERS:
    shape, tokens = models.usual_shape(model), models.takes_tokens(model)
    head, tail = models.cut(models.build(model, 1, shape), 2)
    head, tail = Kind(head, Sgd(), first=True), Kind(tail, Sgd())
    sent = head.forward(torch.zeros(4, *shape, dtype=torch.long if tokens else torch.float32))
    gradient, _ = tail.train_step_tail(sent, torch.zeros(4, dtype=torch.long))
    head.backward(gradient)
    head.step()
    assert not sys.modules.keys() & {{"sympy", "torch._dynamo"}}, model
"""
    subprocess.run([sys.executable, "-c", code], check=True)
