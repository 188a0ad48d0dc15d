"""Tensors in a file (safetensors, never pickle), written whole or not at all."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

from nodes.errors import InputError, RunError

Array = npt.NDArray[Any]

_KINDS = {
    "BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8", "I16": "int16", "I32": "int32",
    "I64": "int64", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip
_LENGTH = 8


class _Entry(msgspec.Struct):
    """What the header of a safetensors file says of a tensor; offsets are from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str], mode: int = 0o644) -> None:
    """Write the file; readers see the old one or the new one, never half of it.

    It is readable by all: nodes read it as another user. Arrays go to the file from where they are, without a copy.

    Raises:
        RunError: There is no room for it, or no such directory.
    """
    # Not ascontiguousarray, which turns a scalar into a vector of one.
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        save_file(whole, part, dict(metadata))
        part.chmod(mode)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise RunError(
            "tensor file cannot be written",
            where=str(path),
            found=str(error),
            remedy="make room on its file system; of a node that is its memory",
        ) from None
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata of the file: one read into memory that the arrays share, which is half of what mapping costs.

    Raises:
        InputError: It is missing, unreadable or damaged.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = np.empty(os.fstat(file.fileno()).st_size, np.uint8)
            reached, room = 0, data.data
            while reached < len(data) and (more := file.readinto(room[reached:])):
                reached += more
        return parse(data[:reached])
    except (OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
        raise InputError(
            "tensor file cannot be read",
            where=str(path),
            found=str(error),
            remedy="prepare the run again; the file is missing or was cut off",
        ) from None


def parse(data: npt.NDArray[np.uint8]) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays in the bytes of a file; tensors lie one after the other and fill it, as the format wants it."""
    begin = _LENGTH + int.from_bytes(data[:_LENGTH].tobytes(), "little")
    if begin > len(data):
        raise ValueError(f"{len(data)} bytes, and a header to the {begin}th")
    header = msgspec.json.decode(data[_LENGTH:begin].tobytes(), type=dict[str, msgspec.Raw])
    metadata = msgspec.json.decode(header.pop("__metadata__", msgspec.Raw(b"{}")), type=dict[str, str])
    entries = [(name, msgspec.json.decode(raw, type=_Entry)) for name, raw in header.items()]
    arrays: dict[str, Array] = {}
    reached, body = 0, data[begin:]
    for name, entry in sorted(entries, key=lambda one: one[1].data_offsets):
        first, end = entry.data_offsets
        kind = np.dtype(_KINDS[entry.dtype])
        size = math.prod(entry.shape) * kind.itemsize
        if first != reached or end != first + size or min((0, *entry.shape)) < 0 or end > len(body):
            raise ValueError(f"bytes {first} to {end} of {len(body)} for {name}, {entry.dtype}{list(entry.shape)}")
        arrays[name] = body[first:end].view(kind).reshape(entry.shape)
        reached = end
    if reached != len(body):
        raise ValueError(f"{len(body)} bytes of tensors that have {reached}")
    return arrays, metadata
