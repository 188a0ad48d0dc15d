"""When the controller looks after its nodes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from testbed.run.leisure import LATEST_S, LOOK_S, TAKES_S, may_look


def test_nodes_are_looked_after_every_second() -> None:
    assert not may_look(10.0, 10.0 - LOOK_S + 0.01, None)
    assert may_look(10.0, 10.0 - LOOK_S, None)
    assert may_look(10.0, 10.0 - LOOK_S, 10.0 + 2 * TAKES_S)


def test_what_is_due_soon_comes_first() -> None:
    assert not may_look(10.0, 10.0 - LOOK_S, 10.0 + TAKES_S / 2)
    assert not may_look(10.0, 10.0 - LOOK_S, 9.9), "late already"


@given(st.lists(st.floats(0, 0.5), max_size=60))
def test_however_much_is_due_there_is_a_look_in_time(gaps: list[float]) -> None:
    last = now = 0.0
    for gap in gaps:
        now += gap
        if may_look(now, last, now + 0.01):
            assert now - last >= LATEST_S
            last = now
        assert now - last < LATEST_S
