"""The order of work on each stage of a pipeline: fixed ahead, so that weights do not hang on what arrives when.

A batch is divided into micro-batches. `Op`s of a stage are ``forward`` and ``backward`` of a micro-batch and the
``update`` of the weights after the last micro-batch of a batch; the last stage has ``tail`` instead of the first two:
forward, loss and backward of a micro-batch at once, as nobody has to be waited for in between.

    sync        as GPipe (Huang et al., 2019): all forwards of a batch, all backwards, the update. Exact gradients. That
                is the first stage; those in the middle take turns within the batch, which changes no gradient.
    sequential  one micro-batch at a time, all the way there and back; the same weights as ``sync``. What is compared
                with, to tell the gain of overlap from that of smaller batches.
    1f1b        as PipeDream (Narayanan et al., 2019): ``depth`` forwards, then one backward, one forward, in turn, on
                through all batches of a round. Forwards of a batch may come before the update of the one before.

In each of them at most ``depth`` micro-batches are under way on a stage, which is all the back-pressure there is.
Depths must not grow along the chain, else a stage would wait for a forward pass that the one before does not do yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from nodes.errors import InputError

SCHEDULES = ("sync", "1f1b", "sequential")

BETWEEN = 3
"""What a further stage adds to the depth of the first: the way there, its work, and the way back."""


class Op(NamedTuple):
    """One piece of work on a stage: ``forward``, ``backward``, ``tail`` or ``update`` (its micro is the last)."""

    kind: str
    batch: int
    micro: int


def depths(schedule: str, stages: int, micro: int, depth: int | None = None) -> tuple[int, ...]:
    """Micro-batches under way on each stage at most.

    Args:
        schedule: One of `SCHEDULES`.
        stages: How many there are.
        micro: Micro-batches of a batch.
        depth: Of ``1f1b`` on the first stage; None: enough to keep all stages and links busy if no link takes longer
            for a micro-batch than the slowest stage, but no more than a batch: staleness is 1 then, at most.

    Returns:
        Depths that go down evenly to 1 on the last stage (our own rule). Two neighbours of one depth would take turns:
        the second goes backward only when the first has sent all that it may.

    Raises:
        InputError: There is no such schedule, or a number is below 1.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"no schedule {schedule!r}", wanted=", ".join(SCHEDULES), found=schedule)
    if min(stages, micro, 1 if depth is None else depth) < 1:
        raise InputError(
            "a pipeline needs stages, micro-batches and a depth", wanted="at least 1 of each",
            found=f"{stages} stages, {micro} micro-batches, depth {depth}",
        )  # fmt: skip
    if schedule == "sequential":
        return (1,) * stages
    enough, behind = 1 + BETWEEN * (stages - 1), max(1, stages - 1)
    first = micro if schedule == "sync" else min(micro, enough) if depth is None else depth
    if stages == 1:
        return (1,)
    down = (1 + (min(first, enough) - 1) * (stages - 1 - stage) // behind for stage in range(1, stages))
    return (first, *down)


def order(schedule: str, micro: int, batches: int, depth: int, *, last: bool, first: int = 0) -> Iterator[Op]:
    """What a stage does in a round, or in a segment of it, in this order.

    An order that ends with an earlier batch has the same operations until the first one of the batch after that would
    be due. So it can still be made to end before a batch that has not begun.

    Args:
        schedule: One of `SCHEDULES`.
        micro: Micro-batches of a batch.
        batches: Batches of the round; it ends before the one of this number.
        depth: Micro-batches under way on this stage at most; of no matter to the last stage.
        last: Whether it is the last stage.
        first: The batch that it begins with.
    """
    numbers = range(first, batches)
    if last:
        return _last(micro, numbers)
    if schedule == "1f1b":
        return _turns(micro, numbers, depth)
    return (op for batch in numbers for op in _turns(micro, (batch,), min(depth, micro)))


def staleness(micro: int, depth: int, index: int) -> int:
    """Updates that a stage in ``1f1b`` is behind when a micro-batch, counted from the round's first, goes forward.

    That is the batches before its own whose update it does not have: with a depth of at most ``micro`` none or one.
    """
    return index // micro - max(0, index - depth + 1) // micro


def require_depths(found: Sequence[int]) -> None:
    """Refuse depths under which a pipeline would stand still (InputError)."""
    if not found or min(found) < 1 or any(a < b for a, b in pairwise(found)):
        raise InputError(
            "a pipeline of these depths would stand still", wanted="at least 1 each, and none above the one before it",
            found=", ".join(map(str, found)),
        )  # fmt: skip


def _turns(micro: int, batches: Sequence[int], depth: int) -> Iterator[Op]:
    """``depth`` forwards, then a backward and a forward in turn, through these batches."""
    every = [(batch, piece) for batch in batches for piece in range(micro)]
    for batch, piece in every[:depth]:
        yield Op("forward", batch, piece)
    for i, (batch, piece) in enumerate(every):
        yield Op("backward", batch, piece)
        if piece == micro - 1:
            yield Op("update", batch, piece)
        if i + depth < len(every):
            yield Op("forward", *every[i + depth])


def _last(micro: int, batches: Sequence[int]) -> Iterator[Op]:
    for batch in batches:
        for piece in range(micro):
            yield Op("tail", batch, piece)
        yield Op("update", batch, micro - 1)
