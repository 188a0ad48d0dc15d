"""When the controller looks after its nodes: every second, but not just before something is due.

A look asks the engine about every container, one after the other. With two dozen of them on a busy machine that takes a
tenth of a second, and what is due in it, a handover above all, would come so late.
"""

from __future__ import annotations

LOOK_S = 1.0
"""Seconds between two looks."""
TAKES_S = 0.25
"""Seconds that a look is given before something is due."""
LATEST_S = 2.0
"""Seconds after which there is one, whatever is due."""
_WAIT_S = 0.25


def may_look(now: float, last: float, due: float | None) -> bool:
    """Whether to look now.

    Args:
        now: Seconds.
        last: When the last look was.
        due: When something is to be done next; None: nothing is.
    """
    if now - last >= LATEST_S:
        return True
    return now - last >= LOOK_S and (due is None or due - now > TAKES_S)


def wait_s(now: float, due: float | None) -> float:
    """Seconds to wait for what nodes say: not beyond what is due, nor for long.

    Args:
        now: Seconds.
        due: When something is to be done next; None: nothing is.
    """
    return _WAIT_S if due is None else min(_WAIT_S, max(0.0, due - now))
