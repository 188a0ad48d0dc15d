from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nodes.errors import WireError
from nodes.learn.packing import Loss, pack, unpack
from nodes.wire import codec
from nodes.wire.messages import Envelope, Hello, PartId

NOBODY = PartId("", "", "")
arrays = hnp.arrays(
    np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e6, 1e6, width=32)
)  # fmt: skip


def through_the_wire(packed: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    envelope = Envelope(src=NOBODY, dst=NOBODY, node="d", body=Hello())
    frames = codec.encode(envelope, {name: t.numpy() for name, t in packed.items()})
    return {name: torch.from_numpy(a) for name, a in codec.decode([bytes(f) for f in frames])[1].items()}


@given(arrays)
def test_unpacked_is_what_was_packed(array: np.ndarray) -> None:
    tensor, loss = torch.from_numpy(array), Loss()
    assert torch.equal(unpack("x", through_the_wire(pack("x", tensor, "none", loss))), tensor)
    assert loss == Loss()


@given(arrays, st.sampled_from(["fp16", "int8"]))
def test_what_is_lost_is_bounded_and_told(array: np.ndarray, way: str) -> None:
    tensor, loss = torch.from_numpy(array), Loss()
    found = unpack("g", through_the_wire(pack("g", tensor, way, loss)))
    assert found.dtype == torch.float32
    assert found.shape == tensor.shape
    most = tensor.abs().max().item()
    if way == "int8":
        assert (found - tensor).abs().max() <= most / 127 * 0.51 + 1e-36
    else:
        inside = tensor.abs() <= 65504
        assert torch.all((found - tensor).abs()[inside] <= tensor.abs()[inside] * 2**-11 + 2**-24)
        assert torch.all(found.abs()[~inside] == 65504)
    expected = float((found - tensor).double().norm() / tensor.double().norm()) if most else 0.0
    assert loss.share == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_losses_add_up() -> None:
    loss = Loss()
    pack("x", torch.tensor([1.0]), "fp16", loss)
    assert loss.share == 0
    pack("x", torch.tensor([1e6]), "fp16", loss)
    assert loss.share == pytest.approx((1e6 - 65504) / 1e6, rel=1e-6)


def test_a_message_without_its_tensors() -> None:
    with pytest.raises(WireError, match="without its tensor x"):
        unpack("x", {})
    with pytest.raises(WireError, match="without the scale"):
        unpack("x", {"x": torch.zeros(2, dtype=torch.int8)})
