"""Envelope and tensors to ZeroMQ frames and back: msgpack header, raw tensor frames, sizes bounded, no pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from nodes.errors import WireError
from nodes.wire.messages import PROTOCOL, Envelope, TensorInfo

Array: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = dict[str, Array]

MAX_HEADER = 1 << 20
MAX_FRAME = 1 << 29
MAX_TENSORS = 4096
DTYPES = frozenset(
    {"float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"}
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope, tensors: Mapping[str, Array] | None = None) -> list[bytes | memoryview]:
    """Frames of one message; tensor frames are views, so the arrays must not change until they are sent.

    Raises:
        WireError: A tensor's type has no wire form or the message is too large.
    """
    infos: list[TensorInfo] = []
    frames: list[bytes | memoryview] = []
    for name, array in (tensors or {}).items():
        if array.dtype.name not in DTYPES:
            raise WireError(f"tensor {name} of type {array.dtype.name} has no wire form")
        flat = np.ascontiguousarray(array)
        # Its own shape, not the flat one's: a scalar would come out as a vector.
        infos.append(TensorInfo(name, flat.dtype.name, tuple(array.shape)))
        # A zero-size array has no buffer to view.
        frames.append(flat.reshape(-1).view(np.uint8).data if flat.nbytes else b"")
    header = _encoder.encode(msgspec.structs.replace(envelope, tensors=tuple(infos)))
    if len(header) > MAX_HEADER or any(len(f) > MAX_FRAME for f in frames):
        raise WireError(f"message {type(envelope.body).__name__} is too large for the wire")
    return [header, *frames]


def decode(frames: Sequence[bytes | memoryview]) -> tuple[Envelope, Tensors]:
    """The message in these frames; arrays own their memory.

    Raises:
        WireError: Not a message of this protocol, or frames that do not fit their header.
    """
    if not frames or len(frames[0]) > MAX_HEADER:
        raise WireError("message without a header of sane size")
    try:
        envelope = _decoder.decode(frames[0])
    except msgspec.MsgspecError as error:
        raise WireError(f"header does not parse: {error}") from None
    if envelope.v != PROTOCOL:
        raise WireError("other protocol version", wanted=str(PROTOCOL), found=str(envelope.v))
    if len(envelope.tensors) != len(frames) - 1 or len(envelope.tensors) > MAX_TENSORS:
        raise WireError(f"{len(frames) - 1} tensor frames for {len(envelope.tensors)} in the header")
    tensors: Tensors = {}
    for info, frame in zip(envelope.tensors, frames[1:], strict=True):
        if info.dtype not in DTYPES or any(n < 0 for n in info.shape):
            raise WireError(f"tensor {info.name}: type {info.dtype}, shape {info.shape}")
        dtype = np.dtype(info.dtype)
        if len(frame) != math.prod(info.shape) * dtype.itemsize or len(frame) > MAX_FRAME:
            raise WireError(f"tensor {info.name}: {len(frame)} bytes for {info.dtype}{list(info.shape)}")
        # Copied once: ZeroMQ frees the frame, and training needs memory it may write.
        tensors[info.name] = np.frombuffer(frame, dtype=dtype).reshape(info.shape).copy()
    return envelope, tensors


def size(frames: Sequence[bytes | memoryview]) -> int:
    """Bytes of all frames, without ZeroMQ's own framing."""
    return sum(len(f) for f in frames)
