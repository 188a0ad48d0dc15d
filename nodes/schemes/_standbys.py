"""Standbys of a pipeline's stages, as its driver has asked for them, and moves to where they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Relocate(Protocol):
    """Keep a standby of a stage on a node (empty: none any more), or with ``go`` move it there."""

    def __call__(self, stage: int, node: str, *, go: bool, behind: float | None = None) -> None:
        """See the class."""


class Standbys:
    """The standbys of one owner's stages.

    Args:
        relocate: How stages are told.
    """

    def __init__(self, relocate: Relocate) -> None:
        self._relocate = relocate
        self._homes: dict[int, str] = {}     # by stage, as they were asked for
        self._standing: dict[int, str] = {}  # of them, those that have the state

    def __bool__(self) -> bool:
        """Whether any was asked for."""
        return bool(self._homes)

    @property
    def ready(self) -> bool:
        """Whether there are some, and all of them have the state."""
        return bool(self._homes) and self._standing == self._homes

    def want(self, homes: Mapping[int, str]) -> None:
        """Have these, nodes by stage, and no others."""
        for stage in self._homes.keys() - homes.keys():
            self._relocate(stage, "", go=False)
        for stage, node in homes.items():
            if self._homes.get(stage) != node:
                self._standing.pop(stage, None)
                self._relocate(stage, node, go=False)
        self._homes = dict(homes)
        self._standing = {stage: node for stage, node in self._standing.items() if homes.get(stage) == node}

    def go(self, moves: Mapping[int, str], behind: float | None = None) -> None:
        """Move these stages, to their standbys where they have one there; nobody needs any other.

        Now, or ``behind`` a time; see `LeadingStage.relocate`.
        """
        self.want({stage: node for stage, node in self._homes.items() if stage in moves})
        for stage, node in moves.items():
            self._relocate(stage, node, go=True, behind=behind)
        self.forget()

    def stands(self, stage: int, node: str) -> None:
        """A standby has the state."""
        if self._homes.get(stage) == node:
            self._standing[stage] = node

    def anew(self) -> None:
        """Stages begin with other weights, which their standbys are to be sent."""
        self._standing = {}

    def lost(self, node: str) -> None:
        """A node has died."""
        self._homes = {stage: home for stage, home in self._homes.items() if home != node}
        self._standing = {stage: home for stage, home in self._standing.items() if home != node}

    def forget(self) -> None:
        """There are none any more, or stages see to that themselves."""
        self._homes, self._standing = {}, {}
