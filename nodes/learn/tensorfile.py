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
from safetensors.numpy import save_file

from nodes.errors import InputError, RunError

Array = npt.NDArray[Any]


def write(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
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
        part.chmod(0o644)
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
