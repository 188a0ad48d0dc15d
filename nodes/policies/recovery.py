"""What a device does when its edge half does not answer: a plain decision on what the edge servers say.

Copies of an edge half that have applied the same batches are the same to the bit, so whichever holds one in step may
go on. Only where none is left is anything lost, and then no more than the device's own round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from nodes.wire.messages import Holds

SURE = 3
"""Askings in vain before a silent edge server counts as lost."""

MOVING = 10
"""Askings after which a move that does not come to an end is given up."""


class Act(Enum):
    """What to do."""

    WAIT = "wait"          # it will come
    IDLE = "idle"          # all is well: the others are not done yet
    RESEND = "resend"      # what was sent last got lost
    ADOPT = "adopt"        # go on with the copy on a node
    RESTART = "restart"    # begin the round again on a node


@dataclass(frozen=True)
class Position:
    """How far the device is.

    Attributes:
        round, attempt, batch: It waits for the gradients of this batch.
        done: It has finished the round and waits for the next one's model.
    """

    round: int
    attempt: int
    batch: int
    done: bool


def decide(
    mine: Position, believed: str, answers: Mapping[str, Holds], asked: int, prefer: str = ""
) -> tuple[Act, str]:
    """What to do, and on which node.

    Args:
        mine: How far the device is.
        believed: Node where the edge half was last known to be.
        answers: What the edge servers that can be reached said, by node, in the order in which they answered.
        asked: How often they have been asked since anything went on, this time included.
        prefer: Edge server to begin anew on, if it answered; otherwise the first to answer is nearest.
    """
    if not answers:
        return Act.WAIT, believed  # out of reach of all: nothing can be done but ask again
    usable = {node: holds for node, holds in answers.items() if holds.held and in_step(mine, holds)}
    others = sorted(
        (node for node in usable if node != believed),
        key=lambda node: (usable[node].standby, -usable[node].version, node),
    )
    here = answers.get(believed)
    if here is not None and believed in usable:
        return _alive(mine, believed, here, usable, others, asked)
    if here is None and asked < SURE:
        return Act.WAIT, believed
    if others:
        return Act.ADOPT, others[0]
    if here is not None and asked < SURE:
        return Act.WAIT, believed  # its state may be on its way there
    if prefer in answers:
        return Act.RESTART, prefer
    return Act.RESTART, believed if here is not None else next(iter(answers))


def _alive(
    mine: Position, believed: str, here: Holds, usable: Mapping[str, Holds], others: list[str], asked: int
) -> tuple[Act, str]:
    if here.leaving:
        arrived = [node for node in others if not usable[node].standby]
        if arrived and asked > 1:
            return Act.ADOPT, arrived[0]
        return (Act.WAIT if asked < MOVING else Act.ADOPT), believed
    if mine.done and here.finished:
        return Act.IDLE, believed
    return (Act.WAIT if asked < 2 else Act.RESEND), believed


def in_step(mine: Position, holds: Holds) -> bool:
    """Whether a copy has applied all the batches before the device's, and at most the one it waits for."""
    if holds.round != mine.round or holds.attempt != mine.attempt:
        return False
    return holds.next_batch == mine.batch or (not mine.done and holds.next_batch == mine.batch + 1)
