"""Messages to frames and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nodes.errors import WireError
from nodes.wire import codec
from nodes.wire.messages import Activations, Envelope, Model, PartId, State, Work

HEAD, TAIL = PartId("t", "head", "d1"), PartId("t", "tail", "d1")


def envelope(body):
    return Envelope(src=HEAD, dst=TAIL, node="d1", body=body, version=3, sent=1.5)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.sampled_from(sorted(codec.DTYPES)).flatmap(
            lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
        ),
        max_size=5,
    )
)
def test_what_is_encoded_is_decoded(tensors):
    frames = [bytes(f) for f in codec.encode(envelope(Activations(Work(2, 7), 1, move_to="eb")), tensors)]
    header, back = codec.decode(frames)
    assert (header.src, header.dst, header.version, header.sent) == (HEAD, TAIL, 3, 1.5)
    assert header.body == Activations(Work(2, 7), 1, move_to="eb")
    assert list(back) == list(tensors)
    for name, array in tensors.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_decoded_arrays_are_writable_and_own_their_memory():
    frames = [bytes(f) for f in codec.encode(envelope(Model(1)), {"w": np.ones(3, np.float32)})]
    _, back = codec.decode(frames)
    back["w"][0] = 5
    assert codec.decode(frames)[1]["w"][0] == 1


def test_tensor_frames_are_views_not_copies():
    array = np.zeros(1000, np.float32)
    frames = codec.encode(envelope(Model(1)), {"w": array})
    array[0] = 1
    assert bytes(frames[1])[:4] == array[:1].tobytes()


@given(st.lists(st.binary(max_size=64), max_size=4))
def test_noise_is_refused_and_never_crashes(frames):
    with pytest.raises(WireError):
        codec.decode(frames)


def test_another_protocol_version_is_refused():
    import msgspec

    header = msgspec.msgpack.encode(msgspec.structs.replace(envelope(Model(1)), v=99))
    with pytest.raises(WireError, match="protocol version"):
        codec.decode([header])


@pytest.mark.parametrize("change", ["missing", "short", "extra"])
def test_frames_that_do_not_fit_their_header_are_refused(change):
    frames = [bytes(f) for f in codec.encode(envelope(State("x", {}, 0.0)), {"w": np.ones(4, np.float32)})]
    frames = {"missing": frames[:1], "short": [frames[0], frames[1][:-1]], "extra": [*frames, b"x"]}[change]
    with pytest.raises(WireError):
        codec.decode(frames)


def test_a_type_without_a_wire_form_is_refused():
    with pytest.raises(WireError, match="no wire form"):
        codec.encode(envelope(Model(1)), {"w": np.array([object()])})
