"""Scripted moves that repeat: ``dev1 to south every 10 rounds``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from testbed.experiment.changes import Move


def repeated(
    device: str, home: str, stops: Sequence[str], every: int, rounds: int, progress: float = 0.0
) -> Iterator[Move]:
    """Moves of one device at ``progress`` of each ``every``-th round: to one stop after the other, then home, and on.

    So ``every 10 rounds`` to one stop goes there in round 10, back in round 20, there again in round 30. There are none
    after the last of ``rounds``, nor at its end.

    Args:
        device: Which.
        home: Site where it starts.
        stops: Sites that it goes to, in turn; neighbours in the list differ, and none at its ends is ``home``.
        every: Rounds from move to move, at least 1.
        rounds: Rounds of the training.
        progress: Share of the device's batches of that round that are done, 0 to 1.

    Raises:
        ValueError: A stop is where the device already is, or ``every`` is below 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 round, not {every}")
    cycle = [*stops, home]
    before = [home, *stops]
    for here, there in zip(before, cycle, strict=True):
        if here == there:
            raise ValueError(f"{device} is at {there} already when it is to move there")
    last = rounds - 1 if progress == 1 else rounds
    for n, number in enumerate(range(every, last + 1, every)):
        yield Move(device, cycle[n % len(cycle)], round=number, progress=progress)
