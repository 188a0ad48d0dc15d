from __future__ import annotations

import json

import pytest
import torch

from nodes.errors import InputError
from nodes.learn import models, reference
from nodes.learn.reference import OPS, Reference


def test_measured_by_operation_and_stored() -> None:
    measured = reference.measure("cnn", 2, 4, 1, (3, 8, 8), seconds=0.0)
    assert set(measured.ops) == set(measured.spread) == set(OPS)
    assert all(0 < seconds < 1 for seconds in measured.ops.values())
    assert measured.repeats >= 5
    assert measured.key == reference.key("cnn", 2, 4, 1, (3, 8, 8))
    assert Reference.from_dict(json.loads(json.dumps(measured.as_dict()))) == measured


def test_a_neighbour_on_the_core_does_not_change_what_a_step_takes() -> None:
    calm, disturbed = [1.0 + i / 1000 for i in range(20)], [1.3 + i / 100 for i in range(60)]
    assert reference.calm(calm + disturbed) == pytest.approx(1.0, rel=0.02)
    assert reference.calm([2.0, 1.0]) == pytest.approx(1.1)


@pytest.mark.parametrize("cut", [0, 5])
def test_a_side_without_layers_can_be_measured(cut: int) -> None:
    measured = reference.measure("cnn", cut, 4, 1, (3, 8, 8), seconds=0.0)
    empty, full = ("head.forward", "tail.step") if cut == 0 else ("tail.step", "whole.step")
    assert measured.ops[empty] < measured.ops[full]


@pytest.mark.parametrize(
    ("done", "elapsed", "more"),
    # Asked to take 3 s: until then, and to eight repeats; a slow model ends at three of them, or after 15 s.
    [(0, 0.0, True), (50, 2.9, True), (50, 3.1, False), (7, 3.1, True), (8, 3.1, False),
     (1, 60.0, True), (3, 60.0, False), (5, 14.0, True), (5, 16.0, False)],
)  # fmt: skip
def test_a_slow_model_is_measured_less_often(done: int, elapsed: float, more: bool) -> None:
    assert reference.wants_more(done, elapsed, seconds=3.0) is more


def test_more_work_takes_longer() -> None:
    small = reference.measure("cnn", 2, 2, 1, seconds=0.0)
    large = reference.measure("cnn", 2, 64, 1, seconds=0.0)
    for op in ("head.forward", "tail.step", "whole.step"):
        assert large.ops[op] > 2 * small.ops[op]


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    reference.measure("cnn", 2, 2, 2, (3, 8, 8), seconds=0.0)
    assert torch.get_num_threads() == before


def test_key_names_all_that_it_depends_on() -> None:
    base = reference.key("vgg5", 4, 16, 1)
    assert torch.__version__ in base
    assert reference.cpu_model() in base
    others = {
        reference.key("cnn", 4, 16, 1),
        reference.key("vgg5", 3, 16, 1),
        reference.key("vgg5", 4, 32, 1),
        reference.key("vgg5", 4, 16, 2),
        reference.key("vgg5", 4, 16, 1, (1, 32, 32)),
    }
    assert len(others | {base}) == 6
    assert reference.key("vgg5", 4, 16, 1, torch_version="2.0") == base.replace(torch.__version__, "2.0")


def test_steps_of_a_layout_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    steps = reference.Steps("cnn", 2, 4, (3, 8, 8))
    for _ in range(2):
        for op in OPS:
            steps.do(op)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(InputError, match="no operation"):
        steps.do("sleep")


@pytest.mark.parametrize("model", ["mlp", "cnn1d", "transformer"])
def test_steps_on_something_else_than_images(model: str) -> None:
    steps = reference.Steps(model, 1, 4, models.usual_shape(model), 6)
    for op in OPS:
        steps.do(op)
    assert steps._x.dtype == (torch.int64 if model == "transformer" else torch.float32)
    key = reference.key(model, 1, 4, 1, classes=6)
    shape = "x".join(map(str, models.usual_shape(model)))
    assert key.endswith(f"; {model} {shape} cut 1 batch 4 threads 1 classes 6")
    assert reference.key(model, 1, 4, 1, models.usual_shape(model), classes=6) == key


def test_stored_data_that_is_none() -> None:
    good = reference.measure("cnn", 2, 2, 1, (3, 8, 8), seconds=0.0).as_dict()
    for bad in ({}, {**good, "ops": {}}, {**good, "repeats": "x"}, {**good, "ops": None}):
        with pytest.raises(InputError, match="not a reference"):
            Reference.from_dict(bad)
    for seconds in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="none"):
            Reference.from_dict({**good, "ops": {**good["ops"], "tail.step": seconds}})
