"""What functions cost: GB-seconds and bytes, as plain data of plain data.

A **GB-second** is a GB (10^9 bytes) of memory kept for an instance during one second, as serverless platforms bill it.
What an invocation is charged for is the time that it holds its instance, and its cold start if it has one; what an
instance waits in vain for the next invocation is the platform's, and told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nodes.platform.outcomes import Outcome

GB = 1e9


@dataclass(frozen=True)
class Life:
    """The account of an instance.

    Attributes:
        number: Of the instance. function: What it ran. memory: Bytes that were kept for it.
        born, ended: CLOCK_MONOTONIC; of one that is there still, ``ended`` is when the account was drawn up.
        starting_s, busy_s, idle_s: Seconds of its life, apart. What is left is its process being ended.
        invocations: How many it ran.
    """

    number: int
    function: str
    memory: int
    born: float
    ended: float
    starting_s: float = 0.0
    busy_s: float = 0.0
    idle_s: float = 0.0
    invocations: int = 0


@dataclass(frozen=True)
class Charge:
    """What is charged for one invocation or, added up, for several.

    Attributes:
        calls: Invocations. cold: Those of them that an instance was started for. failed: Those that did not succeed.
        start_gb_s: GB-seconds of cold starts. work_gb_s: Of the invocations themselves.
        cpu_s: CPU time, of starting and of all around the work, too.
        sent, received: Bytes streamed to and from other units.
    """

    calls: int = 0
    cold: int = 0
    failed: int = 0
    start_gb_s: float = 0.0
    work_gb_s: float = 0.0
    cpu_s: float = 0.0
    sent: int = 0
    received: int = 0

    @property
    def gb_s(self) -> float:
        """GB-seconds in all."""
        return self.start_gb_s + self.work_gb_s

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            self.calls + other.calls, self.cold + other.cold, self.failed + other.failed,
            self.start_gb_s + other.start_gb_s, self.work_gb_s + other.work_gb_s, self.cpu_s + other.cpu_s,
            self.sent + other.sent, self.received + other.received,
        )  # fmt: skip


def gb_seconds(memory: int, seconds: float, dilation: float = 1.0) -> float:
    """GB-seconds of the experiment of so many bytes during so many real seconds."""
    return memory / GB * seconds / dilation


def of_invocation(outcome: Outcome, dilation: float = 1.0) -> Charge:
    """What an invocation is charged; one that never had an instance costs nothing."""
    return Charge(
        calls=1, cold=int(outcome.cold), failed=int(not outcome.ok),
        start_gb_s=gb_seconds(outcome.reserved, outcome.start_s, dilation),
        work_gb_s=gb_seconds(outcome.reserved, outcome.held_s, dilation),
        cpu_s=outcome.start_cpu_s + outcome.cpu_s + outcome.around_cpu_s,
        sent=outcome.sent_bytes, received=outcome.received_bytes,
    )  # fmt: skip


def by_task(found: Iterable[Outcome], dilation: float = 1.0) -> dict[tuple[str, str], Charge]:
    """Charges by task and function, sorted."""
    charges: dict[tuple[str, str], Charge] = {}
    for outcome in found:
        key = outcome.invocation.task, outcome.invocation.function
        charges[key] = charges.get(key, Charge()) + of_invocation(outcome, dilation)
    return dict(sorted(charges.items()))


def idle_gb_s(lives: Iterable[Life], dilation: float = 1.0) -> float:
    """GB-seconds during which instances were kept and had nothing to do."""
    return sum(gb_seconds(life.memory, life.idle_s, dilation) for life in lives)


def price(charge: Charge, gb_s: float, gb: float) -> float:
    """What a charge comes to, at these prices of a GB-second and of a GB that is sent."""
    return charge.gb_s * gb_s + charge.sent / GB * gb


def total(charges: Mapping[tuple[str, str], Charge], task: str) -> Charge:
    """All that a task is charged."""
    return sum((charge for (of, _), charge in charges.items() if of == task), Charge())
