"""Tensors in a file (safetensors, never pickle), written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nodes.errors import InputError

Array = npt.NDArray[Any]


def write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the file; readers see the old one or the new one, never half of it.

    It is readable by all: nodes read it as another user.
    """
    # Not ascontiguousarray, which turns a scalar into a vector of one.
    data = save({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata))
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(data)
        part.chmod(0o644)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Arrays and metadata of the file.

    Raises:
        InputError: It is missing, unreadable or damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            "tensor file cannot be read",
            where=str(path),
            found=str(error),
            remedy="prepare the run again; the file is missing or was cut off",
        ) from None
