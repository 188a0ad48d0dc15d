"""One unit, one speed: paced steps of its instances take turns, as the parts of a worker do, which has one thread."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from nodes.platform.store import STAGING


class Turns:
    """Held by who does a step; the kernel takes it back from a process that ends.

    The locks are two directories of the unit's store, which are there anyway. One would not be fair: who has just had
    it would have it again before any who waits is awake. So there is a door to the room, and who waits for the room
    stands in the door.

    Args:
        store: The unit's directory of blobs.
    """

    def __init__(self, store: Path) -> None:
        self._room = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
        self._door = os.open(store / STAGING, os.O_RDONLY | os.O_DIRECTORY)

    def __enter__(self) -> None:
        """Wait for a turn."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one have it."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
