"""Who may run: what invocations need, which are refused, and which instance one gets, as plain data of plain data."""

from __future__ import annotations

from collections.abc import Iterable

from nodes.errors import RoambedError
from nodes.platform import library, outcomes
from nodes.platform.functions import MIB, Interface
from nodes.platform.outcomes import Invocation
from nodes.platform.slots import Key, Slot

UNKNOWN_MEMORY = 512 * MIB
"""Bytes reserved for a function that has not said how much it needs; it says so once it has been started."""
QUEUE = 256
"""Invocations that may wait for memory."""


class Needs:
    """What functions need, as far as it is known.

    Args:
        limit: Bytes that all instances together may have.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._interfaces: dict[Key, Interface] = {}

    def learn(self, key: Key, interface: Interface) -> None:
        """Take what a function has said of itself."""
        self._interfaces[key] = interface

    def memory(self, invocation: Invocation) -> int:
        """Bytes to be reserved for an instance (RoambedError: there is no such function)."""
        if invocation.memory is not None:
            return invocation.memory
        known = self._known(invocation)
        return known.memory if known is not None else min(UNKNOWN_MEMORY, self.limit)

    def time_limit(self, invocation: Invocation) -> float:
        """Seconds of the experiment that it may take, once its function is known."""
        return self._interfaces[_key(invocation)].time_limit if invocation.time_limit is None else invocation.time_limit

    def refusal(self, invocation: Invocation, waiting: int) -> tuple[str, str] | None:
        """Why an invocation is not taken, as a kind of `nodes.platform.outcomes` and for a person; None: it is.

        Args:
            invocation: What is asked for.
            waiting: How many wait already.
        """
        name = invocation.function
        try:
            needed = self.memory(invocation)
        except RoambedError as error:
            return outcomes.REFUSED, str(error)
        if needed > self.limit:
            return self.too_much(name, needed)
        if needed <= 0 or (invocation.time_limit is not None and not invocation.time_limit > 0):
            return outcomes.REFUSED, f"function {name} needs memory and time above 0"
        if waiting >= QUEUE:
            return outcomes.REFUSED, f"{QUEUE} invocations wait for memory already"
        return None

    def too_much(self, function: str, needed: int) -> tuple[str, str]:
        """The refusal of what the unit can never have room for."""
        words = f"function {function} needs {needed} bytes of memory, and the unit has {self.limit} for instances"
        return outcomes.REFUSED, words

    def _known(self, invocation: Invocation) -> Interface | None:
        key = _key(invocation)
        if key not in self._interfaces and not invocation.source:
            self._interfaces[key] = library.find(invocation.function).interface
        return self._interfaces.get(key)


def _key(invocation: Invocation) -> Key:
    return invocation.function, invocation.source


def warm(slots: Iterable[Slot], key: Key, needed: int) -> Slot | None:
    """The instance that has nothing to do and can run this: of several the last one used, so that others may end."""
    fitting = [s for s in slots if s.state == "idle" and s.key == key and s.reserved >= needed]
    return max(fitting, key=_recent, default=None)


def dispensable(slots: Iterable[Slot], needed: int, memory: int) -> Slot | None:
    """The instance to be ended so that there will be room: the one used longest ago of those with nothing to do.

    Args:
        slots: All instances.
        needed: Bytes that one more is to have.
        memory: Bytes that all together may have.

    Returns:
        None: There is none, or none is needed, for there will be room when those have ended that are ending.
    """
    there = list(slots)
    idle = [s for s in there if s.state == "idle"]
    if sum(s.reserved for s in there if not s.ending) + needed <= memory:
        return None
    return min(idle, key=_recent, default=None)


def _recent(slot: Slot) -> tuple[float, int]:
    return slot.since, slot.number
