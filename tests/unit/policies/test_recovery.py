"""What a device does when its edge half does not answer."""

from __future__ import annotations

import pytest

from nodes.policies.recovery import SURE, Act, Position, decide
from nodes.wire.messages import Holds

MINE = Position(round=2, attempt=1, batch=5, done=True)


def holds(node, **more):
    return Holds(node=node, number=1, held=True, **{"round": 2, "attempt": 1, "next_batch": 5} | more)


@pytest.mark.parametrize("asked", [1, 2, 20])
def test_who_has_passed_the_round_on_waits_for_the_others(asked):
    assert decide(MINE, "ea", {"ea": holds("ea", finished=True)}, asked) == (Act.IDLE, "ea")


def test_weights_that_were_not_passed_on_are_sent_again():
    """The edge half has come from elsewhere, and what was passed on there may have died with it."""
    answers = {"ea": holds("ea", finished=False)}
    assert [decide(MINE, "ea", answers, asked)[0] for asked in (1, 2)] == [Act.WAIT, Act.RESEND]


def test_a_round_that_is_done_is_begun_again_if_its_edge_half_is_gone():
    answers = {"ea": Holds(node="ea", number=1, held=False)}
    acts = [decide(MINE, "ea", answers, asked)[0] for asked in range(1, SURE + 1)]
    assert acts == [Act.WAIT] * (SURE - 1) + [Act.RESTART]
