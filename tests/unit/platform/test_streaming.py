"""What an agent passes on, keeps and drops."""

import pytest

from nodes.errors import WireError
from nodes.platform import messages as ms
from nodes.platform import streaming
from nodes.platform.outcomes import Invocation
from nodes.platform.streaming import HELD_S, Parts
from nodes.wire import codec
from nodes.wire.messages import Awaiting, Envelope, Model, PartId, Query
from tests.unit.platform.fakes import Clock

HEAD, TAIL = PartId("t", "head", "d1"), PartId("t", "tail", "d1")


class FakePool:
    def __init__(self):
        self.calls, self.passed = [], []

    def submit(self, invocation, done):
        self.calls.append((invocation, done))
        return len(self.calls)

    def send(self, id_, message, frames=()):
        self.passed.append((id_, message, list(frames)))
        return True


@pytest.fixture
def bed():
    class Bed:
        pool, clock, sent, notes = FakePool(), Clock(), [], []

    bed = Bed()
    bed.parts = Parts(
        "ea", bed.pool, lambda node, frames: bed.sent.append((node, frames)), note=bed.notes.append, clock=bed.clock
    )
    return bed


def frames(dst=TAIL, node="d1", number=1, hops=0):
    return codec.encode(Envelope(HEAD, dst, node, Model(number), hops=hops))


def test_what_comes_goes_to_whoever_has_the_part(bed):
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), print)
    bed.parts.arrive("d1", frames())
    [(id_, message, passed)] = bed.pool.passed
    assert (id_, message.node, passed) == (1, "d1", frames())
    assert message.sizes == (len(frames()[0]),)


def test_what_comes_early_is_kept_in_order_and_handed_over(bed):
    for number in (1, 2):
        bed.parts.arrive("d1", frames(number=number))
    assert bed.parts.held_bytes == 2 * len(frames()[0])
    bed.parts.submit(Invocation("f", parts=(HEAD,)), print)
    assert not bed.pool.passed
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), print)
    assert [p for _, _, p in bed.pool.passed] == [frames(number=1), frames(number=2)]
    assert bed.parts.held_bytes == 0


def test_what_nobody_comes_for_is_dropped_and_told_of(bed):
    bed.parts.arrive("d1", frames())
    bed.clock.now += HELD_S / 2
    bed.parts.arrive("d1", frames())
    bed.parts.step()
    assert not bed.notes
    bed.clock.now += HELD_S / 2
    bed.parts.step()
    assert ["1 messages for tail:d1 dropped" in note for note in bed.notes] == [True]
    assert bed.parts.held_bytes == len(frames()[0])


def test_what_earlier_tasks_have_left_is_for_nobody(bed):
    bed.parts.arrive("d1", frames())
    bed.parts.afresh()
    assert bed.parts.held_bytes == 0
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), print)
    assert not bed.pool.passed


def test_a_question_is_not_kept_for_who_is_not_there(bed):
    for body in (Query(1), Awaiting(1)):
        bed.parts.arrive("d1", codec.encode(Envelope(HEAD, TAIL, "d1", body)))
    assert bed.parts.held_bytes == 0
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), print)
    bed.parts.arrive("d1", codec.encode(Envelope(HEAD, TAIL, "d1", Query(1))))
    assert len(bed.pool.passed) == 1


def test_no_more_is_kept_than_there_is_room_for(bed, monkeypatch):
    monkeypatch.setattr(streaming, "HELD_BYTES", 2 * len(frames()[0]))
    for _ in range(3):
        bed.parts.arrive("d1", frames())
    assert bed.parts.held_bytes == streaming.HELD_BYTES
    assert len(bed.notes) == 1


def test_nobody_speaks_in_anothers_name(bed):
    with pytest.raises(WireError, match="in the name of eb"):
        bed.parts.arrive("d1", frames(node="eb"))
    bed.parts.arrive("d1", frames(node="eb", hops=1))  # forwarded
    with pytest.raises(WireError, match="parse"):
        bed.parts.arrive("d1", [b"\xff"])
    bed.parts.forward(Invocation("f"), "d1", frames(node="cloud"))
    bed.parts.forward(Invocation("f"), "d1", [])
    assert not bed.sent
    assert len(bed.notes) == 2
    bed.parts.forward(Invocation("f"), "d1", frames(dst=HEAD, node="ea"))
    assert bed.sent == [("d1", frames(dst=HEAD, node="ea"))]


def test_parts_on_one_unit_need_no_network(bed):
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), print)
    bed.parts.forward(Invocation("train-device"), "ea", frames(node="ea"))
    assert len(bed.pool.passed) == 1
    assert not bed.sent


def test_an_invocation_that_has_ended_is_passed_nothing(bed):
    class Ended:
        id = 1

    found = []
    bed.parts.submit(Invocation("train-edge", parts=(TAIL,)), found.append)
    assert bed.parts.tell(TAIL, b"notice")
    assert isinstance(bed.pool.passed.pop()[1], ms.Said)
    bed.pool.calls[0][1](Ended)
    assert found == [Ended]
    assert not bed.parts.tell(TAIL, b"notice")
    bed.parts.arrive("d1", frames())
    assert not bed.pool.passed
    assert bed.parts.held_bytes
