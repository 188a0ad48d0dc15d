"""How an invocation ends: plain data, for whoever asked for it and for billing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REFUSED = "refused"
"""It was not taken: no room for it ever, too many wait, or it names what is not there."""
GIVEN = "given"
"""What the function was given is not what it declares."""
DAMAGED = "damaged"
"""A blob is missing or damaged (and dropped): fetch it again and invoke again."""
MISSING = "missing"
"""A blob is not here, and could not be fetched from where it was said to be."""
NO_START = "no-start"
"""The process did not come to run the function: its file does not load, an import fails or takes too long."""
RAISED = "raised"
"""The function raised."""
RETURNED = "returned"
"""The function returned what it does not declare."""
TIME = "time"
"""It took longer than it may, and was killed."""
MEMORY = "memory"
"""It took more memory than it may, and was killed."""
DIED = "died"
"""Its process ended by itself, or was killed by somebody else."""
CANCELLED = "cancelled"
"""Whoever asked for it did not want it any more, or the unit ends."""
NO_ROOM = "no-room"
"""The store has no room for what it returned."""

INNOCENT = frozenset({GIVEN, DAMAGED, NO_ROOM})
"""Failures that are not the function's: its instance stays."""


@dataclass(frozen=True)
class Invocation:
    """A function to be run once.

    Attributes:
        function: Its name. source: The file that it stands in; empty: it is built in.
        inputs: Digests by input (or digests by name). values: Plain inputs.
        memory: Bytes that its instance may have resident. None: as declared, where that is known by now.
        time_limit: Most seconds of the experiment from the begin of the work on. None: as declared.
        parts: Addresses (`nodes.wire.messages.PartId`) whose messages are for it, of an invocation that streams.
        task: Whom it is charged to.
        idle: Whether it is only to have an instance started, which then has nothing to do.
    """

    function: str
    source: str = ""
    inputs: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    memory: int | None = None
    time_limit: float | None = None
    parts: tuple[Any, ...] = ()
    task: str = ""
    idle: bool = False

    def digests(self) -> list[str]:
        """All blobs that it needs."""
        found: list[str] = []
        for digests in self.inputs.values():
            found += [digests] if isinstance(digests, str) else digests.values()
        return found


@dataclass(frozen=True)
class Outcome:
    """What became of an invocation. Times are CLOCK_MONOTONIC; those of what did not happen are 0.

    Attributes:
        id: As `Pool.submit` returned it. invocation: What was asked for. instance: Which one ran it; 0: none.
        kind: Empty if it succeeded, else one of this module's. reason: What went wrong, for a person.
        outputs: Digests, which are in the store and pinned once for the receiver. values: Plain outputs.
        asked: When it was submitted. sent: When an instance was told. ended: When the agent knew of its end.
        begin, end: Of the work itself, as the instance has it.
        cold: Whether an instance was started for it. process_s, imports_s: What that took. crowd: How many instances
            were starting on the unit meanwhile, on average, its own among them.
        start_cpu_s, cpu_s, around_cpu_s: CPU time of starting, of the work, of all around the work in the instance.
        read, written: Bytes of tensors. sent_bytes, received_bytes: Of frames that it streamed.
        memory: Most bytes resident while it ran. reserved: Bytes that were kept free for its instance.
    """

    id: int
    invocation: Invocation
    kind: str = ""
    reason: str = ""
    instance: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    asked: float = 0.0
    sent: float = 0.0
    ended: float = 0.0
    begin: float = 0.0
    end: float = 0.0
    cold: bool = False
    process_s: float = 0.0
    imports_s: float = 0.0
    crowd: float = 1.0
    start_cpu_s: float = 0.0
    cpu_s: float = 0.0
    around_cpu_s: float = 0.0
    read: int = 0
    written: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    memory: int = 0
    reserved: int = 0

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return not self.kind

    @property
    def start_s(self) -> float:
        """Seconds of its cold start; 0 of a warm one."""
        return self.process_s + self.imports_s

    @property
    def alone_s(self) -> float:
        """Seconds that its cold start would have taken with no other one under way: those on a unit share its speed."""
        return self.start_s / self.crowd

    @property
    def held_s(self) -> float:
        """Seconds that it held its instance, from being told to the end that the agent knew of."""
        return max(self.ended - self.sent, 0.0) if self.instance else 0.0
