"""What the relay leaves to chance, counted on real packets: losses, bursts, disorder, copies, errors, delays."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace
from itertools import groupby

import pytest

from testbed.emulation import measure
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import Bursts, Shape, Spread
from testbed.emulation.links.spreads import normal, pareto
from tests.support import eventually
from tests.system.wires import (
    Ends,
    Places,
    Receiver,
    carry,
    counters,
    numbered,
    repeat,
    send_large,
    send_numbered,
    wire,
)

pytestmark = pytest.mark.root

PLENTY = 10_000


def sigma(count: int, share: float) -> float:
    return (count * share * (1 - share)) ** 0.5


def numbers_sent(relay: RelayEmulator, ends: Ends, count: int) -> list[int]:
    """What of so many numbered frames comes in, as often as it does."""
    with Receiver(ends[1]) as receiver:
        send_numbered(ends[0], range(count))
        assert eventually(lambda: passed(relay) == count)
        return receiver.numbers()


def passed(relay: RelayEmulator) -> int:
    seen = counters(relay)
    return seen["tx_packets"] + seen["dropl"] - seen["duplicated"]


def test_one_and_five_per_cent_are_lost_of_ten_thousand(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(loss=0.01), Shape(loss=0.05))
    seen = measure.stream(*ends, count=PLENTY // 4, interval=0.001, burst=4)
    for way, counted, share in ((seen.ab, 0, 0.01), (seen.ba, 1, 0.05)):
        lost = way.sent - way.received
        assert way.sent == PLENTY
        assert abs(lost - PLENTY * share) < 4 * sigma(PLENTY, share)
        assert relay.stats("l")[counted].dropped_loss == lost


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_of_tcp_in_bulk_each_segment_takes_its_own_chance(relay: RelayEmulator, places: Places, share: float) -> None:
    """TCP hands over large frames: counted are segments, and they are lost one by one, not frame by frame."""
    ends = wire(relay, places, Shape(loss=share))
    assert carry(ends, 16)
    seen = counters(relay)
    count = seen["tx_packets"] + seen["dropl"]
    assert count > PLENTY
    assert abs(seen["dropl"] - count * share) < 4 * sigma(count, share)
    assert seen["tx_bytes"] / seen["tx_packets"] > 1400


def test_bursts_are_as_long_and_as_frequent_as_asked(relay: RelayEmulator, places: Places) -> None:
    bursts = Bursts(enter=0.05, leave=0.25)
    ends = wire(relay, places, Shape(bursts=bursts))
    count = 40_000
    there = set(numbers_sent(relay, ends, count))
    runs = [(lost, len(list(run))) for lost, run in groupby(number not in there for number in range(count))]
    lengths = [length for lost, length in runs if lost]
    between = [length for lost, length in runs if not lost]
    assert len(lengths) > 1000
    assert sum(lengths) / len(lengths) == pytest.approx(1 / bursts.leave, rel=0.1)
    assert sum(between) / len(between) == pytest.approx(1 / bursts.enter, rel=0.1)
    assert relay.stats("l")[0].dropped_loss == sum(lengths)


def test_either_state_of_bursts_has_its_own_losses(relay: RelayEmulator, places: Places) -> None:
    bursts = Bursts(enter=0.01, leave=0.01, bad=0.6, good=0.1)
    ends = wire(relay, places, Shape(bursts=bursts))
    count = 20_000
    lost = count - len(numbers_sent(relay, ends, count))
    # runs of about 100 segments share a state, so that the spread is wider than of independent losses
    assert lost / count == pytest.approx(bursts.share, abs=0.06)
    assert bursts.share == pytest.approx(0.35)


def test_copies_follow_their_originals(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=100e6, duplicate=0.3))
    found = numbers_sent(relay, ends, 2000)
    often = Counter(Counter(found).values())
    assert set(often) == {1, 2}
    assert abs(often[2] - 600) < 4 * sigma(2000, 0.3)
    assert counters(relay)["duplicated"] == often[2]
    assert found == sorted(found)


def test_copies_pass_the_wire_and_are_not_copied_again(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=1e6, duplicate=1.0, queue=10**6))
    with Receiver(ends[1]) as receiver:
        send_numbered(ends[0], range(10), 1250)
        frames = receiver.frames(0.5)
    assert [frame.number for frame in frames] == [number for number in range(10) for _ in range(2)]
    assert frames[-1].at - frames[0].at == pytest.approx(19 * 0.01, abs=0.003)


def test_a_copy_may_be_lost_and_a_lost_original_with_a_copy_goes_on(relay: RelayEmulator, places: Places) -> None:
    """As netem: with both drawn it passes once; a copy takes its own chance."""
    ends = wire(relay, places, Shape(duplicate=1.0, loss=0.5))
    count = 2000
    found = Counter(numbers_sent(relay, ends, count))
    assert len(found) == count  # the original always passes
    assert abs(sum(found.values()) - count * 1.25) < 4 * count**0.5  # half have a copy, half of those lose it


def test_segments_that_skip_the_delay_overtake(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=100e6, delay=0.02, reorder=0.25), Shape(rate=100e6, delay=0.02))
    seen = measure.stream(*ends, count=800, interval=0.004)
    assert seen.ab.received == seen.ba.received == 800
    assert seen.ab.p10 == pytest.approx(0.0, abs=0.001)
    assert seen.ab.p50 == pytest.approx(0.02, abs=0.001)
    assert abs(counters(relay)["reordered"] - 200) < 4 * sigma(800, 0.25)
    assert seen.ab.reordered > 100
    assert seen.ba.reordered == 0


def test_one_bit_of_a_corrupt_segment_is_turned_over(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(corrupt=1.0))
    with Receiver(ends[1], Receiver.ALL) as receiver:
        send_numbered(ends[0], [7] * 400)
        assert eventually(lambda: counters(relay)["tx_packets"] == 400)
        frames = receiver.frames()
    whole = int.from_bytes(numbered(ends[0], 7), "big")
    wrong = [int.from_bytes(frame.data, "big") ^ whole for frame in frames if len(frame.data) == 100]
    assert len(wrong) == 400
    assert {bits.bit_count() for bits in wrong} == {1}
    assert len(set(wrong)) > 250  # of 800 places
    assert counters(relay)["corrupted"] == 400


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_tcp_notices_what_was_corrupted(relay: RelayEmulator, places: Places, family: int) -> None:
    """Senders leave checksums to the network card: unless the relay puts them in, the receiver takes anything."""
    ends = wire(relay, places, Shape(corrupt=0.02), Shape())
    assert carry(ends, 4, family)
    assert counters(relay)["corrupted"] > 30


def test_a_corrupt_segment_of_a_large_frame_is_alone(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(corrupt=0.1))
    with Receiver(ends[1], Receiver.ALL) as receiver:
        send_large(ends[0], 40)
        assert eventually(lambda: counters(relay)["tx_packets"] == 40)
        frames = receiver.frames()
    wrong = counters(relay)["corrupted"]
    assert 0 < wrong < 15
    assert sum(len(frame.data) == 1514 for frame in frames) >= wrong
    assert sum(len(frame.data) - 54 for frame in frames) == 40 * 1460


def test_a_table_says_how_delays_vary(relay: RelayEmulator, places: Places) -> None:
    """Half of the packets come a jitter early, half two jitters late."""
    shape = Shape(delay=0.004, jitter=0.001, spread=Spread("two", (-8192, 2 * 8192)))
    ends = wire(relay, places, shape, Shape())

    def attempt() -> None:
        seen = measure.stream(*ends, count=300, interval=0.008)
        assert (seen.ab.p10, seen.ab.p90) == pytest.approx((0.003, 0.006), abs=0.0005)

    repeat(attempt)


def test_tables_that_are_common(relay: RelayEmulator, places: Places) -> None:
    shape = Shape(delay=0.008, jitter=0.001)
    even, late = Spread("normal", normal()), Spread("pareto", pareto())
    ends = wire(relay, places, replace(shape, spread=even), replace(shape, spread=late))
    assert [own.spread.name for own in relay.read("l")] == ["normal", "pareto"]

    def attempt() -> None:
        seen = measure.stream(*ends, count=400, interval=0.008)
        assert seen.ab.p50 == pytest.approx(0.008, abs=0.0003)
        assert seen.ab.p90 - seen.ab.p10 == pytest.approx(2 * 1.2816e-3, rel=0.15)
        assert seen.ba.p50 == pytest.approx(0.008 + 0.001 * sorted(pareto())[len(pareto()) // 2] / 8192, abs=0.0003)
        assert seen.ba.p10 > 0.008 - 0.0007

    repeat(attempt)


def test_a_delay_is_never_below_nothing(relay: RelayEmulator, places: Places) -> None:
    shape = Shape(delay=0.001, jitter=0.002, spread=Spread("two", (-8192, 8192)))
    ends = wire(relay, places, shape, Shape())

    def attempt() -> None:
        seen = measure.stream(*ends, count=200, interval=0.008)
        assert seen.ab.p10 == pytest.approx(0.0, abs=0.0005)
        assert seen.ab.p90 == pytest.approx(0.003, abs=0.0005)

    repeat(attempt)


def test_a_queue_counted_in_packets_counts_segments(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=1e6, queue_packets=10))
    send_large(ends[0], 40)
    assert eventually(lambda: counters(relay)["tx_packets"] == 11)
    assert counters(relay)["dropq"] == 29  # one was on the wire, ten waited
    send_numbered(ends[0], range(20), 1250)
    assert eventually(lambda: counters(relay)["tx_packets"] == 22)
    assert counters(relay)["dropq"] == 38


def test_a_seed_decides_all_that_is_left_to_chance(relay: RelayEmulator, places: Places) -> None:
    shape = Shape(bursts=Bursts(0.1, 0.3), duplicate=0.1, corrupt=0.1)

    def frames(shape: Shape) -> list[bytes]:
        ends = wire(relay, places, shape)
        with Receiver(ends[1]) as receiver:
            send_numbered(ends[0], range(500))
            assert eventually(lambda: passed(relay) == 500)
            found = [frame.data for frame in receiver.frames()]
        relay.remove("l")
        return found

    first = frames(shape)
    assert frames(shape) == first
    lost = {frame[14:18] for frame in frames(replace(shape, duplicate=0.0, corrupt=0.0))}
    # which are lost does not hang on what else is asked: netem lets pass what is both lost and doubled
    assert len(lost) > 300
    assert {frame[14:18] for frame in frames(replace(shape, duplicate=0.0, corrupt=0.0, reorder=0.3))} == lost
