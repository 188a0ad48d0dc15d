from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nodes.errors import InputError, RunError, WireError
from nodes.learn import tensorfile
from nodes.learn.digest import Digest, raw, weights_digest
from nodes.learn.stage import Sgd, Stage
from nodes.learn.state import TrainingState, capture
from tests.unit.learn.toys import batches, halves, split_step


def trained(k: int = 4, model: str = "vgg5") -> tuple[Stage, Stage]:
    head, tail = halves(model, k)
    for x, y in batches(3):
        split_step(head, tail, x, y)
    return head, tail


def sample() -> TrainingState:
    _, tail = trained()
    gradient = torch.arange(12.0).reshape(3, 4)
    return capture(
        tail,
        pending=gradient,
        round=2,
        next_batch=3,
        last_applied=(2, 2, 0, 1, "backward"),
        loss_sum=0.1 + 0.2,
        loss_count=3,
        extra={"attempt": 1},
    )


def travelled(state: TrainingState) -> TrainingState:
    """As it arrives on another node: header through msgpack, tensors as bytes."""
    meta, tensors = state.to_frames()
    meta = msgspec.msgpack.decode(msgspec.msgpack.encode(meta))
    frames = [
        (name, torch.frombuffer(bytearray(raw(t)), dtype=t.dtype).reshape(t.shape)) for name, t in tensors
    ]
    return TrainingState.from_frames(meta, frames)


@pytest.mark.parametrize("k", [1, 4, 5])
def test_moved_in_mid_round_trains_on_bit_for_bit(k: int) -> None:
    head, tail = halves("vgg5", k)
    other_head, other_tail = halves("vgg5", k)
    _, elsewhere = halves("vgg5", k, seed=8)  # what the next node had before
    elsewhere.sgd = Sgd(lr=9.0)
    work = batches(8)
    for at, (x, y) in enumerate(work):
        split_step(other_head, other_tail, x, y)
        crossing = head.forward(x)
        gradient, _ = tail.train_step_tail(crossing, y)
        if at == 3:  # after the step and before the gradient returns
            state = capture(tail, pending=gradient, next_batch=at + 1)
            arrived = travelled(state)
            assert arrived.digest() == state.digest()
            arrived.restore(elsewhere)
            tail, gradient = elsewhere, arrived.pending
        assert gradient is not None
        head.backward(gradient)
        head.step()
    for moved, stayed in ((head, other_head), (tail, other_tail)):
        assert weights_digest(moved.layers.state_dict()) == weights_digest(stayed.layers.state_dict())
        assert weights_digest(moved.momentum) == weights_digest(stayed.momentum)


def test_without_momentum_the_move_shows() -> None:
    """The test above could not fail if momentum did not matter."""
    _, tail = trained()
    _, other = halves("vgg5", 4)
    other.load(dict(tail.layers.state_dict()))
    x, y = torch.ones(4, 64, 2, 2), torch.arange(4)
    tail.train_step_tail(x, y)
    other.train_step_tail(x, y)
    assert weights_digest(tail.layers.state_dict()) != weights_digest(other.layers.state_dict())


def test_frames_and_back_keep_everything() -> None:
    state = sample()
    back = travelled(state)
    assert back.digest() == state.digest()
    for name in ("round", "next_batch", "last_applied", "loss_sum", "loss_count", "threads", "sgd", "extra"):
        assert getattr(back, name) == getattr(state, name), name
    assert back.pending is not None
    assert torch.equal(back.pending, torch.arange(12.0).reshape(3, 4))


def test_frames_are_in_the_order_of_names_and_not_copied() -> None:
    state = sample()
    _, tensors = state.to_frames()
    assert [name for name, _ in tensors] == sorted(name for name, _ in tensors)
    shared = dict(tensors)["weights/fc2.weight"]
    assert shared.data_ptr() == state.weights["fc2.weight"].data_ptr()
    assert state.nbytes() == sum(t.nbytes for _, t in tensors)


def test_scalars_keep_their_shape() -> None:
    back = travelled(sample())
    assert back.weights["conv3.norm.num_batches_tracked"].shape == ()


def test_copy_is_independent_and_view_is_not() -> None:
    _, tail = trained()
    own, view = capture(tail), capture(tail, copy=False)
    before = own.digest()
    assert view.digest() == before
    tail.train_step_tail(torch.ones(4, 64, 2, 2), torch.arange(4))
    assert own.digest() == before
    assert view.digest() != before


def test_restore_is_a_copy() -> None:
    state = sample()
    before = state.digest()
    _, tail = halves("vgg5", 4)
    state.restore(tail)
    tail.train_step_tail(torch.ones(4, 64, 2, 2), torch.arange(4))
    assert state.digest() == before


def test_no_state_in_the_middle_of_a_batch() -> None:
    head, _ = halves("vgg5", 4)
    [(x, _)] = batches(1)
    crossing = head.forward(x)
    with pytest.raises(RunError, match="middle of a batch"):
        capture(head)
    head.backward(crossing)
    with pytest.raises(RunError, match="middle of a batch"):
        capture(head)


def test_restore_ends_the_batch_in_the_middle() -> None:
    head, _ = halves("vgg5", 4)
    start = capture(head)
    [(x, _)] = batches(1)
    head.forward(x)
    start.restore(head)
    assert not head.busy
    assert capture(head).digest() == start.digest()


def test_restore_refuses_what_does_not_fit_and_changes_nothing() -> None:
    state = sample()
    _, other_cut = halves("vgg5", 5)
    before = capture(other_cut).digest()
    with pytest.raises(RunError, match="another model"):
        state.restore(other_cut)
    assert capture(other_cut).digest() == before
    _, tail = halves("vgg5", 4)
    before = capture(tail).digest()
    state.momentum["fc2.weight"] = state.momentum["fc2.weight"][:1]
    with pytest.raises(RunError, match=r"momentum/fc2\.weight does not fit"):
        state.restore(tail)
    assert capture(tail).digest() == before
    state = sample()
    state.threads = 2
    with pytest.raises(RunError, match="number of threads"):
        state.restore(tail)


ALTERED: list[tuple[str, Any]] = [
    ("round", 3),
    ("next_batch", 4),
    ("pending", None),
    ("last_applied", (2, 1, 0, 1, "backward")),
    ("loss_sum", 0.3),
    ("loss_count", 4),
    ("threads", 2),
    ("sgd", Sgd(lr=0.02)),
    ("extra", {}),
]


@pytest.mark.parametrize(("name", "value"), ALTERED)
def test_digest_covers_every_field(name: str, value: Any) -> None:
    state = sample()
    before = state.digest()
    setattr(state, name, value)
    assert state.digest() != before


@settings(max_examples=60, deadline=None, database=None)
@given(st.data())
def test_digest_changes_with_any_single_bit(data: st.DataObject) -> None:
    state = TrainingState(
        weights={"a": torch.tensor([1.0, -2.0]), "n": torch.tensor(3)},
        momentum={"a": torch.tensor([0.0, 0.5])},
        pending=torch.tensor([[1.5]]),
    )
    before = state.digest()
    _, tensors = state.to_frames()
    _, tensor = data.draw(st.sampled_from(tensors))
    flat = tensor.reshape(-1).view(torch.uint8)
    at = data.draw(st.integers(0, len(flat) - 1))
    flat[at] ^= 1 << data.draw(st.integers(0, 7))
    assert state.digest() != before


def test_digest_tells_names_types_and_shapes_apart() -> None:
    zero = torch.zeros(4)
    seen = {
        weights_digest(weights)
        for weights in (
            {"a": zero},
            {"b": zero},
            {"a": zero.view(2, 2)},
            {"a": torch.zeros(4, dtype=torch.int32)},
            {"a": zero[:2], "b": zero[2:]},
            {"a": zero, "b": torch.zeros(0)},
            {"a": -zero},  # equal as numbers
        )
    }
    assert len(seen) == 7


def test_weights_digest_ignores_order_and_memory_layout() -> None:
    a, b = torch.rand(3, 4), torch.rand(2)
    assert weights_digest({"a": a, "b": b}) == weights_digest({"b": b, "a": a.t().contiguous().t()})


def test_digest_in_chunks_is_that_of_the_whole() -> None:
    tensor = torch.rand(100)
    whole, chunked = Digest(), Digest()
    whole.tensor("x", tensor)
    chunked.begin("x", tensor.dtype, (100,))
    for at in range(0, 400, 64):
        chunked.update(raw(tensor)[at : at + 64])
    assert whole.hexdigest() == chunked.hexdigest()


def test_file_keeps_everything(tmp_path: Path) -> None:
    state = sample()
    state.save(tmp_path / "state.safetensors")
    assert TrainingState.load(tmp_path / "state.safetensors").digest() == state.digest()
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_files_that_hold_no_state(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(InputError, match=r"state\.safetensors"):
        TrainingState.load(path)
    sample().save(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="cannot be read"):
        TrainingState.load(path)
    tensorfile.write(path, {"x": torch.zeros(1).numpy()}, {})
    with pytest.raises(InputError, match="no training state"):
        TrainingState.load(path)


def broken(change: dict[str, Any], drop: str = "") -> dict[str, Any]:
    meta, _ = sample().to_frames()
    meta = copy.deepcopy(meta) | change
    meta.pop(drop, None)
    return meta


@pytest.mark.parametrize(
    "meta", [broken({"v": 2}), broken({"more": 1}), broken({}, "round"), broken({"sgd": {"rate": 1}}), {}]
)
def test_header_that_is_none(meta: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        TrainingState.from_frames(meta, {})


def test_tensor_without_a_place() -> None:
    meta, _ = sample().to_frames()
    tensors: dict[str, Tensor] = {"code/x": torch.zeros(1)}
    with pytest.raises(WireError, match="code/x"):
        TrainingState.from_frames(meta, tensors)
