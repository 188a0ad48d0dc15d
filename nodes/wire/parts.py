"""Addresses of the pieces of a task."""

from __future__ import annotations

import msgspec


class PartId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Address of a piece of a task: ``("fedfly", "tail", "pi3-1")`` is the edge half of pi3-1's model."""

    task: str
    role: str
    owner: str

    def __str__(self) -> str:
        """``role:owner``, as it stands in events."""
        return f"{self.role}:{self.owner}" if self.owner else self.role
