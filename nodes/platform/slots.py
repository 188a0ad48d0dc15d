"""An invocation under way and an instance, as a pool has them: their state, and where an instance's time goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nodes.platform import messages as ms
from nodes.platform.billing import Life
from nodes.platform.outcomes import Invocation, Outcome
from nodes.platform.processes import Process, Wire

Key = tuple[str, str]
"""Function, and the file that it stands in."""


class Crowd:
    """Those who share something evenly, and how many there were while one of them had its share.

    Args:
        clock: s.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count, self._shares, self._at = 0, 0.0, clock()

    def enter(self) -> tuple[float, float]:
        """One more; what `leave` wants to know of it."""
        self._go_on()
        self._count += 1
        return self._at, self._shares

    def leave(self, entered: tuple[float, float]) -> float:
        """One less; how many there were meanwhile on average, itself among them: what took it so many times longer."""
        self._go_on()
        self._count -= 1
        since, shares = entered
        alone = self._shares - shares
        return (self._at - since) / alone if alone > 0 else 1.0

    def _go_on(self) -> None:
        now = self._clock()
        if self._count:
            self._shares += (now - self._at) / self._count
        self._at = now


@dataclass
class Call:
    """An invocation that has not ended."""

    id: int
    invocation: Invocation
    done: Callable[[Outcome], None]
    outcome: Outcome                # as far as it is known
    begun: bool = False             # an instance was told
    deadline: float | None = None   # to have ended, once it has begun
    early: list[tuple[ms.Passed | ms.Said, ms.Frames]] = field(default_factory=list)  # came before it has begun

    @property
    def key(self) -> Key:
        """What it needs an instance of."""
        return self.invocation.function, self.invocation.source


@dataclass
class Slot:
    """An instance: ``starting`` until it is ready, then ``busy`` with a call or ``idle``, at last ``ending``.

    Attributes:
        reserved: Bytes kept for it. limit: When it has to be ready. call: What it was started for, or is at.
        fate: Kind and reason of its end, if the pool has killed it for one. entered: While it starts, of the `Crowd`.
        polled: What its socket is polled for; 0: it is not.
    """

    number: int
    key: Key
    reserved: int
    process: Process
    wire: Wire
    staging: Path
    born: float
    limit: float
    call: Call | None
    ready: bool = False
    ending: bool = False
    fate: tuple[str, str] | None = None
    entered: tuple[float, float] | None = None
    polled: int = 0
    calls: int = 0
    since: float = 0.0
    _spent: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.since = self.born

    @property
    def state(self) -> str:
        """What its time is spent on now."""
        if self.ending:
            return "ending"
        if not self.ready:
            return "starting"
        return "idle" if self.call is None else "busy"

    def spend(self, now: float) -> None:
        """Book the time since the last change of state; to be called before the next one."""
        self._spent[self.state] = self._spent.get(self.state, 0.0) + now - self.since
        self.since = now

    def life(self, now: float) -> Life:
        """Its account up to now."""
        spent = {**self._spent, self.state: self._spent.get(self.state, 0.0) + now - self.since}
        return Life(
            self.number, self.key[0], self.reserved, self.born, now, starting_s=spent.get("starting", 0.0),
            busy_s=spent.get("busy", 0.0), idle_s=spent.get("idle", 0.0), invocations=self.calls,
        )  # fmt: skip
