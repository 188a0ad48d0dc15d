"""Stages with weight versions: against plain gradient accumulation, and against copies of the weights by hand."""

from __future__ import annotations

import copy

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from nodes.errors import RunError, WireError
from nodes.learn.digest import weights_digest
from nodes.learn.models import build, cut
from nodes.learn.stage import Sgd, Stage
from nodes.learn.stash import StashStage
from nodes.learn.state import TrainingState, capture
from nodes.policies.layers import LAYERS
from tests.unit.learn.toys import SGD, batches, in_shape

SIDE = {"vgg5": 8, "cnn": 8}


def stash(model: str = "cnn", sgd: Sgd = SGD) -> StashStage:
    return StashStage(build(model, 7, (3, 8, 8)), sgd, first=True)


def pieces(x: torch.Tensor, y: torch.Tensor, micro: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(x.chunk(micro), y.chunk(micro), strict=True))


@given(model=st.sampled_from(sorted(LAYERS)), micro=st.sampled_from([1, 2, 3]), momentum=st.sampled_from([0.0, 0.9]))
@settings(max_examples=20, deadline=None)
def test_accumulates_as_torch_does(model: str, micro: int, momentum: float) -> None:
    side, sgd = SIDE.get(model, 16), Sgd(0.05, momentum, 1e-3)
    ours = StashStage(build(model, 7, in_shape(model, side)), sgd, first=True)
    plain = Stage(build(model, 7, in_shape(model, side)), sgd, first=True)
    for x, y in batches(2, size=6, side=side, model=model):
        for some, labels in pieces(x, y, micro):
            assert ours.loss_backward(some, labels, 1 / micro) == plain.loss_backward(some, labels, 1 / micro)
        ours.step()
        plain.step()
    assert weights_digest(ours.layers.state_dict()) == weights_digest(plain.layers.state_dict())
    assert weights_digest(ours.momentum) == weights_digest(plain.momentum)


@pytest.mark.parametrize("kind", [Stage, StashStage])
@pytest.mark.parametrize("model", ["mlp", "cnn", "cnn1d"])
def test_where_tensors_begin_in_memory_changes_nothing(kind: type[Stage], model: str) -> None:
    [(x, y)] = batches(1, size=2, model=model)
    found = set()
    for offset in range(0, 16, 2):
        whole = build(model, 7, in_shape(model))
        moved = torch.empty(x.numel() + offset)[offset:].view(x.shape).copy_(x)
        stage = kind(whole, SGD, first=True)
        assert torch.equal(moved, x)
        out = stage.forward(moved)
        gradient = torch.empty(out.numel() + offset)[offset:].view(out.shape).copy_(functional.one_hot(y, 10))
        stage.backward(gradient)
        stage.step()
        found.add(weights_digest(stage.layers.state_dict()))
    assert len(found) == 1


@given(depth=st.integers(1, 5), model=st.sampled_from(["cnn", "vgg5"]))
@settings(max_examples=15, deadline=None)
def test_a_micro_batch_goes_backward_through_the_weights_of_its_forward(depth: int, model: str) -> None:
    """With ``depth`` micro-batches under way and an update after each: the gradient is that of the old weights."""
    ours, by_hand = stash(model), build(model, 7, (3, 8, 8)).train()
    momentum = {name: torch.zeros_like(p) for name, p in by_hand.named_parameters()}
    crossing = [functional.one_hot(y, 10).float() for _, y in batches(8)]  # stands for the gradients that come back
    data = [x for x, _ in batches(8)]
    kept: dict[int, torch.nn.Module] = {}
    order = [("F", i) for i in range(depth)]
    for i in range(8):
        order += [("B", i)] + ([("F", i + depth)] if i + depth < 8 else [])
    for act, i in order:
        if act == "F" and i < 8:
            out = ours.forward(data[i], i)
            kept[i] = copy.deepcopy(by_hand)
            assert torch.equal(by_hand(data[i]).detach(), out)  # moves the statistics of BatchNorm on
        elif act == "B" and i in kept:
            assert ours.staleness(i) == min(i, depth - 1)
            assert ours.backward(crossing[i], i) is None
            ours.step()
            old = kept.pop(i)
            torch.autograd.backward(old(data[i]), crossing[i])
            with torch.no_grad():
                for (name, parameter), (_, was) in zip(by_hand.named_parameters(), old.named_parameters(), strict=True):
                    gradient = was.grad.add(parameter, alpha=SGD.weight_decay)  # type: ignore[union-attr]
                    gradient = momentum[name].mul_(SGD.momentum).add_(gradient)
                    parameter.add_(gradient, alpha=-SGD.lr)
    assert ours.version == 8
    assert not ours.busy
    assert weights_digest(ours.layers.state_dict()) == weights_digest(by_hand.state_dict())


def test_without_waiting_graphs_nothing_is_copied() -> None:
    stage = stash()
    before = [p.data_ptr() for p in stage.layers.parameters()]
    [(x, y)] = batches(1)
    stage.loss_backward(x, y)
    stage.step()
    assert [p.data_ptr() for p in stage.layers.parameters()] == before
    stage.forward(x)
    stage.loss_backward(x, y)
    stage.step()
    assert not set(before) & {p.data_ptr() for p in stage.layers.parameters()}
    assert list(stage.layers.state_dict()) == list(build("cnn", 1).state_dict())


@pytest.mark.parametrize("k", range(len(LAYERS["cnn"]) + 1))
def test_a_state_in_the_middle_of_a_batch_goes_on_elsewhere(k: int) -> None:
    [(x, y)] = batches(1, size=8)

    def halves() -> tuple[StashStage, StashStage]:
        front, back = cut(build("cnn", 7, (3, 8, 8)), k)
        return StashStage(front, SGD, first=True), StashStage(back, SGD, first=k == 0)

    def train(head: StashStage, tail: StashStage, moved: bool) -> tuple[str, str]:
        for at, (some, labels) in enumerate(pieces(x, y, 4)):
            if moved and at == 2:
                before, head, tail = (head, tail), *halves()
                for old, new in zip(before, (head, tail), strict=True):
                    state = capture(old)
                    assert bool(state.gradients) == any(True for _ in old.layers.parameters())
                    meta, frames = state.to_frames()
                    arrived = TrainingState.from_frames(meta, {n: t.detach().numpy().copy() for n, t in frames})
                    assert arrived.digest() == state.digest()
                    assert arrived.nbytes() == state.nbytes()
                    arrived.restore(new)
            crossing = head.forward(some, at)
            gradient, _ = tail.loss_backward(crossing, labels, 0.25)
            head.backward(crossing if gradient is None else gradient, at)
        head.step()
        tail.step()
        return weights_digest(head.layers.state_dict()), weights_digest(tail.layers.state_dict())

    assert train(*halves(), moved=True) == train(*halves(), moved=False)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    [(x, y)] = batches(1)
    stage, other = stash(), stash()
    stage.loss_backward(x, y)
    state = capture(stage)
    before = weights_digest(other.layers.state_dict())
    state.weights = {name: t + 1 for name, t in state.weights.items()}
    state.gradients["fc.linear.bias"] = torch.zeros(3)
    with pytest.raises(RunError, match=r"gradients: fc\.linear\.bias does not fit"):
        state.restore(other)
    state.gradients = {"conv9.weight": torch.zeros(3)}
    with pytest.raises(RunError, match="gradients of another model"):
        state.restore(other)
    assert weights_digest(other.layers.state_dict()) == before
    assert not other.gradients
    with pytest.raises(RunError, match="takes whole batches"):
        state.restore(Stage(build("cnn", 7, (3, 8, 8)), SGD, first=True))


def travelled(state: TrainingState) -> TrainingState:
    meta, frames = state.to_frames()
    meta = msgspec.msgpack.decode(msgspec.msgpack.encode(meta))
    return TrainingState.from_frames(meta, {n: t.detach().numpy().copy() for n, t in frames})


@given(depth=st.integers(1, 5), model=st.sampled_from(["cnn", "vgg5"]), at=st.sets(st.integers(0, 40), max_size=6),
       micro=st.sampled_from([1, 2, 3]))  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_graphs_under_way_go_on_elsewhere(depth: int, model: str, at: set[int], micro: int) -> None:
    """Captured at any moment, with weights of several versions in use, and restored on a stage with other weights."""
    data = batches(8)
    crossing = [functional.one_hot(y, 10).float() for _, y in data]
    order = [("F", i) for i in range(depth)]
    for i in range(8):
        order += [("B", i)] + ([("U", i)] if i % micro == micro - 1 else []) + [("F", i + depth)]

    def train(moments: set[int]) -> tuple[str, str, int]:
        stage = stash(model)
        for moment, (act, i) in enumerate(order):
            if moment in moments:
                state = capture(stage)
                arrived = travelled(state)
                assert arrived.digest() == state.digest()
                old, stage = stage, StashStage(build(model, 8, (3, 8, 8)), Sgd(lr=9.0), first=True)
                arrived.restore(stage)
                assert capture(stage).digest() == state.digest()
                assert {m: old.staleness(m) for m in old.under_way} == {m: stage.staleness(m) for m in stage.under_way}
            if act == "F" and i < 8:
                stage.forward(data[i][0], i)
            elif act == "B":
                stage.backward(crossing[i], i)
            elif act == "U":
                stage.step()
        return weights_digest(stage.layers.state_dict()), weights_digest(stage.momentum), stage.version

    assert train(at) == train(set())


def test_only_the_old_weights_that_are_needed_travel() -> None:
    stage = stash()
    [(x, y)] = batches(1)
    for micro in range(3):
        stage.forward(x, micro)
        stage.loss_backward(x, y)
        stage.step()
    assert sorted(capture(stage).older) == [0, 1, 2]
    stage.backward(functional.one_hot(y, 10).float(), 1)
    state = capture(stage)
    assert sorted(state.older) == [0, 2]
    assert state.went == [(0, 0), (2, 2)]
    whole = sum(t.nbytes for t in stage.layers.state_dict().values())
    parameters = sum(p.nbytes for p in stage.layers.parameters())
    gradients = sum(g.nbytes for g in stage.gradients.values())
    assert state.nbytes() == whole + (1 + 2) * parameters + gradients + 2 * x.nbytes
    state.older[2].popitem()
    with pytest.raises(RunError, match="version 2"):
        state.restore(stash())
    meta, frames = capture(stage).to_frames()
    with pytest.raises(WireError, match="without the inputs"):
        TrainingState.from_frames(meta, [(name, t) for name, t in frames if name != "inputs/2"])
    with pytest.raises(RunError, match="takes whole batches"):
        capture(stage).restore(Stage(build("cnn", 7, (3, 8, 8)), SGD, first=True))


def test_a_graph_is_used_once() -> None:
    stage = stash()
    [(x, _)] = batches(1)
    out = stage.forward(x, 5)
    with pytest.raises(RunError, match="twice"):
        stage.forward(x, 5)
    with pytest.raises(RunError, match="did not go forward"):
        stage.backward(out, 4)
    with pytest.raises(RunError, match="does not fit"):
        stage.backward(out[:1], 5)
    stage.backward(out, 5)
    plain = Stage(build("cnn", 7, (3, 8, 8)), SGD, first=True)
    plain.forward(x)
    with pytest.raises(RunError, match="middle of a batch"):
        capture(plain)


def test_weights_are_loaded_into_a_stage_that_was_in_the_middle() -> None:
    stage = stash()
    [(x, y)] = batches(1)
    start = {name: t.clone() for name, t in stage.layers.state_dict().items()}
    stage.forward(x)
    stage.loss_backward(x, y)
    stage.step()
    stage.loss_backward(x, y)
    stage.load(start)
    assert (stage.version, stage.busy, stage.gradients) == (0, False, {})
    assert weights_digest(stage.layers.state_dict()) == weights_digest(start)
    assert all(not m.any() for m in stage.momentum.values())
