"""Links that vary over time, played by the relay: what passes, and when, on real packets."""

from __future__ import annotations

import random
import statistics
import time
from itertools import pairwise

import pytest

from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import Bursts, Schedule, Shape, Step
from testbed.errors import EmulationError
from tests.support import eventually
from tests.system.wires import (
    Places,
    Receiver,
    Seen,
    counters,
    flood,
    numbered,
    raw_socket,
    repeat,
    send_numbered,
    wire,
)

pytestmark = pytest.mark.root

LEAD = 0.3  # s until a schedule begins, for what saturates the link to be running


def wait(until: float) -> None:
    """Until a time of CLOCK_MONOTONIC."""
    time.sleep(max(0.0, until - time.monotonic()))


def collect(receiver: Receiver, until: float) -> list[Seen]:
    """What has come in by then."""
    wait(until)
    return receiver.frames(0.05, until)


def test_each_step_of_a_rate_is_what_was_asked(relay: RelayEmulator, places: Places) -> None:
    """Steps of 250 ms, saturated: within 3 % each."""
    mbits = [20, 60, 5, 40, 10, 55, 8, 30, 5, 50, 12, 25]
    steps = tuple(Step(0.25 * index, rate=mbit * 1e6) for index, mbit in enumerate(mbits))
    ends = wire(relay, places, Shape(rate=20e6, queue=60_000))

    def attempt() -> None:
        with Receiver(ends[1]) as receiver, flood(ends[0], 75e6):
            begin = time.monotonic() + LEAD
            relay.play("l", begin, Schedule("steps", steps, length=3.0))
            frames = collect(receiver, begin + 3.1)
        relay.rest("l")
        for step, mbit in zip(steps, mbits, strict=True):
            within = sum(len(f.data) for f in frames if step.at <= f.at - begin < step.at + 0.25)
            assert within * 8 / 0.25 == pytest.approx(mbit * 1e6, rel=0.03), step

    repeat(attempt)


def test_mahimahis_chances_carry_their_bytes(relay: RelayEmulator, places: Places) -> None:
    """A trace that goes up and down, saturated: its bytes within 1 %, its profile over time the same."""
    chance, seconds = random.Random(3), 6
    per_second = [400, 1500, 90, 2000, 700, 250]
    times = sorted(1000 * at + chance.randrange(1, 1000) for at, n in enumerate(per_second) for _ in range(n))
    schedule = Schedule("trace", deliveries=(*times, seconds * 1000), length=seconds, loop=True)
    ends = wire(relay, places, Shape(rate=10e6, delay=0.005, queue=60_000))

    def attempt() -> None:
        with Receiver(ends[1]) as receiver, flood(ends[0], 30e6):
            begin = time.monotonic() + LEAD
            relay.play("l", begin, schedule)
            frames = collect(receiver, begin + seconds + 0.1)
        relay.rest("l")
        got = [0] * len(per_second)
        for frame in frames:
            at = int(frame.at - begin - 0.005)  # the delay does not count
            if frame.at >= begin + 0.005 and at < len(got):
                got[at] += len(frame.data) - 14
        assert sum(got) == pytest.approx(1500 * len(times), rel=0.01)
        assert statistics.correlation(got, per_second) > 0.99

    repeat(attempt)


def test_a_chance_is_bytes_not_packets(relay: RelayEmulator, places: Places) -> None:
    """Of three packets of 1000 bytes the first chance carries one and a half, the second the rest.

    A packet that comes later finds those chances gone, and waits for the third; then all begins again.
    """
    ends = wire(relay, places, Shape(rate=10e6))
    schedule = Schedule("trace", deliveries=(100, 200, 300, 300), length=0.3, loop=True)

    def attempt() -> None:
        begin = time.monotonic() + LEAD
        with Receiver(ends[1]) as receiver:
            relay.play("l", begin, schedule)
            wait(begin + 0.02)
            send_numbered(ends[0], range(3), 1014)
            wait(begin + 0.25)
            send_numbered(ends[0], [3], 1014)
            wait(begin + 0.35)
            send_numbered(ends[0], range(4, 12), 514)  # three a chance, and what is left of one is not kept
            frames = collect(receiver, begin + 0.75)
        relay.rest("l")
        assert [frame.number for frame in frames] == list(range(12))
        came = [round(frame.at - begin, 2) for frame in frames]
        assert came == [0.1, 0.2, 0.2, 0.3, *[0.4] * 3, *[0.5] * 3, *[0.6] * 2]

    repeat(attempt)


def test_chances_that_are_used_up_let_nothing_pass(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=10e6))
    begin = time.monotonic()
    with Receiver(ends[1]) as receiver:
        relay.play("l", begin, Schedule("trace", deliveries=(50, 100), length=0.1))
        send_numbered(ends[0], range(5), 1514)
        assert [frame.number for frame in collect(receiver, begin + 0.3)] == [0, 1]
        assert relay.stats("l")[0].queue_bytes == 2 * 1514
        relay.rest("l")
        assert receiver.numbers() == [2, 3, 4]


def test_delay_and_loss_of_the_shape_hold_while_chances_play(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=10e6, delay=0.03, loss=0.5, queue=10**6))

    def attempt() -> None:
        begin = time.monotonic()
        with Receiver(ends[1]) as receiver, raw_socket(ends[0]) as sender:
            relay.play("l", begin, Schedule("trace", deliveries=tuple(range(1, 201)), length=0.2, loop=True))
            sent = time.monotonic()
            for number in range(100):
                sender.send(numbered(ends[0], number, 1514))
            frames = collect(receiver, begin + 0.4)
        relay.rest("l")
        assert abs(len(frames) - 50) < 4 * 25**0.5
        for place, frame in enumerate(frames):  # a lost one uses no chance: it is lost before the queue
            assert frame.at - sent == pytest.approx(0.03 + 0.001 * place, abs=0.005)

    repeat(attempt)


def test_a_hundred_thousand_chances_are_handed_over_at_once(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=10e6, queue=10**6))
    schedule = Schedule("long", deliveries=tuple(range(100_000)), length=100.0, loop=True)
    with Receiver(ends[1]) as receiver:
        relay.play("l", time.monotonic() - 1e5 - 50, schedule, schedule)  # in the middle of round 1001
        send_numbered(ends[0], range(200), 1514)
        at = [frame.at for frame in receiver.frames()]
    assert len(at) == 200
    assert at[-1] - at[0] == pytest.approx(0.199, abs=0.01)
    assert counters(relay)["late_max"] < 50e6


def test_a_rate_of_nothing_lets_nothing_pass_and_loses_nothing(relay: RelayEmulator, places: Places) -> None:
    """The frame on the wire stops where it is and goes on from there."""
    ends = wire(relay, places, Shape(rate=1e6, queue=10**6))
    steps = (Step(0.0), Step(0.1, rate=0.0), Step(0.4, rate=2e6))

    def attempt() -> None:
        begin = time.monotonic() + 0.1
        with Receiver(ends[1]) as receiver:
            relay.play("l", begin, Schedule("gap", steps, length=0.5))
            wait(begin)
            sent = time.monotonic() - begin
            send_numbered(ends[0], range(40), 1250)  # 10 ms each at first, then 5
            frames = collect(receiver, begin + 0.8)
        assert [frame.number for frame in frames] == list(range(40))
        before = (0.1 - sent) / 0.01
        for number, frame in enumerate(frames):
            due = sent + 0.01 * (number + 1) if number + 1 <= before else 0.4 + 0.005 * (number + 1 - before)
            assert frame.at - begin == pytest.approx(due, abs=0.003), number

    repeat(attempt)
    assert relay.stats("l")[0].dropped_queue == 0


def test_steps_lose_nothing_and_rescale_what_is_on_the_wire(relay: RelayEmulator, places: Places) -> None:
    """A hundred changes while frames pass; were the frame on the wire not rescaled, each would cost up to a frame.

    Frames of 12 ms at the slow rate change their speed each 10 ms.
    """
    slow, fast = 1e6, 4e6
    steps = tuple(Step(0.01 * index, rate=slow if index % 2 else fast) for index in range(100))
    ends = wire(relay, places, Shape(rate=slow, queue=10**6))
    count = 200  # 2.4 Mbit: 0.97 s at 2.5 Mbit/s

    def attempt() -> None:
        with Receiver(ends[1]) as receiver:
            begin = time.monotonic() + 0.05
            relay.play("l", begin, Schedule("steps", steps, length=1.0, loop=True))
            wait(begin)
            sent = time.monotonic()
            send_numbered(ends[0], range(count), 1514)
            frames = collect(receiver, begin + 1.3)
        assert [frame.number for frame in frames] == list(range(count))
        assert frames[-1].at - sent == pytest.approx(count * 1514 * 8 / 2.5e6, abs=0.012)
        assert max(b.at - a.at for a, b in pairwise(frames)) < 0.013

    repeat(attempt)


def test_steps_change_delay_and_loss(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=10e6, delay=0.01, bursts=Bursts(0.0, 1.0)))
    steps = (Step(0.0, delay=0.05), Step(0.1, loss=1.0), Step(0.2, delay=0.002, loss=0.0), Step(0.3))

    def attempt() -> None:
        begin = time.monotonic() + 0.05
        with Receiver(ends[1]) as receiver, raw_socket(ends[0]) as sender:
            relay.play("l", begin, Schedule("steps", steps, length=0.4))
            sent = []
            for index in range(4):
                wait(begin + 0.1 * index + 0.03)
                sent.append(time.monotonic())
                sender.send(numbered(ends[0], index))
            frames = collect(receiver, begin + 0.5)
        assert [frame.number for frame in frames] == [0, 2, 3]
        took = [frame.at - sent[frame.number] for frame in frames]
        assert took == pytest.approx([0.05, 0.002, 0.01], abs=0.003)

    repeat(attempt)


def test_what_is_in_force_is_told(relay: RelayEmulator, places: Places) -> None:
    """A schedule lies over what is set, which may be changed meanwhile, and is back when it ends."""
    wire(relay, places, Shape(rate=10e6, delay=0.01, queue=50_000), Shape(rate=3e6))
    now = time.monotonic()
    steps = (Step(0.0, rate=5e6), Step(10.0, rate=0.0), Step(20.0, loss=0.25))
    for ago, rate, loss in ((-5, 10e6, 0.0), (5, 5e6, 0.0), (15, 0.0, 0.0), (25, 10e6, 0.25), (35, 10e6, 0.25)):
        relay.play("l", now - ago, Schedule("steps", steps, length=30.0))
        assert relay.read("l")[0] == Shape(rate=rate, delay=0.01, loss=loss, queue=50_000)
    relay.play("l", now - 35, Schedule("steps", steps, length=30.0, loop=True))
    assert relay.read("l")[0].rate == 5e6
    relay.set("l", ab=Shape(rate=20e6, delay=0.03))
    assert relay.read("l")[0] == Shape(rate=5e6, delay=0.03, queue=250_000)
    relay.rest("l")
    assert relay.read("l")[0] == Shape(rate=20e6, delay=0.03, queue=250_000)
    assert relay.read("l")[1] == Shape(rate=3e6, queue=37_500)
    relay.rest("l")


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (Schedule("empty", length=1.0), "it is empty"),
        (Schedule("late", (Step(1.0, rate=1e6),), length=2.0), "does not begin at 0"),
        (Schedule("back", (Step(0.0), Step(2.0), Step(1.0)), length=3.0), "runs backwards"),
        (Schedule("back", deliveries=(3, 2), length=3.0), "runs backwards"),
        (Schedule("still", deliveries=(0, 0), length=0.0, loop=True), "takes no time"),
        (Schedule("loss", (Step(0.0, loss=1.5),), length=1.0), "out of range"),
    ],
)
def test_what_cannot_be_played_is_refused(relay: RelayEmulator, places: Places, schedule: Schedule, why: str) -> None:
    wire(relay, places, Shape(rate=10e6))
    with pytest.raises(EmulationError) as raised:
        relay.play("l", time.monotonic(), schedule)
    assert why in (raised.value.found or "")


def test_a_link_that_varies_but_carries_nothing_costs_nothing(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=10e6))
    steps = tuple(Step(0.001 * index, rate=1e6 + index) for index in range(1000))
    chances = Schedule("trace", deliveries=tuple(range(1000)), length=1.0, loop=True)
    relay.play("l", time.monotonic(), Schedule("steps", steps, length=1.0, loop=True), chances)
    send_numbered(ends[0], range(3))
    assert eventually(lambda: counters(relay)["tx_packets"] == 3)
    before = relay.health().cpu_s
    time.sleep(1.0)
    assert relay.health().cpu_s - before < 0.001
