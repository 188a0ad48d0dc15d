"""How long nothing may go on in a training, and for how long nothing could."""

from __future__ import annotations

from collections.abc import Iterable

TCP_S = 120.0
"""Longest time, real s, after which TCP tries again: as long as it has waited, up to this (RFC 6298, Linux' limit)."""


def excused(downs: Iterable[tuple[float, float | None]], since: float, now: float, *, ahead: bool) -> float:
    """Seconds of a standstill that links were down, which are nobody's fault; times are CLOCK_MONOTONIC.

    A link that was down for long is not used at once when it is back: TCP tries again after as long as it has waited.

    Args:
        downs: When links were down, each from and until; None: it is.
        since: Last sign of progress.
        now: The moment.
        ahead: Whether anything is yet to happen to links: without that one that is down stays so.
    """
    found, until = 0.0, since
    for begin, end in sorted(downs, key=lambda down: down[0]):
        if end is None and not ahead:
            continue
        last = now if end is None else min(now, end + min(end - begin, TCP_S))
        begin = max(begin, until)
        if last > begin:
            found, until = found + last - begin, last
    return found
