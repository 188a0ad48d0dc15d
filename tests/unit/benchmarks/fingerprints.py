"""What a stored result's fingerprint hangs on, in every grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any


def require_of_all(fingerprint: Callable[[Any, str, str], str], cell: Any, other: Any, data: str) -> None:
    """A result counts for the same cell, code and data alone: not for another seed, nor for another way of the cell."""
    marks = [
        fingerprint(cell, "code", data),
        fingerprint(cell, "other", data),
        fingerprint(cell, "code", "/data/cifar10"),
        fingerprint(replace(cell, seed=2), "code", data),
        fingerprint(other, "code", data),
    ]
    assert len(set(marks)) == len(marks)
    assert marks[0] == fingerprint(cell, "code", data)
