"""Links through the relay for real, between namespaces that each test makes for itself."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from testbed.emulation import measure, native, netlink, netns
from testbed.emulation.links.plain import PlainWire
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import LinkEnd, Shape
from testbed.errors import EmulationError
from tests.support import eventually
from tests.system.wires import (
    MAC_A,
    MAC_B,
    Receiver,
    carry,
    counters,
    cpu_ticks,
    ones_sum,
    pseudo_sum,
    send_large,
    send_numbered,
    wire,
)

pytestmark = pytest.mark.root


def rates(ends, ab: float, ba: float, window: float = 0.6) -> dict[str, measure.RateSeen]:
    return measure.rate(*ends, ab, ba, warmup=0.2, window=window, patience=5)




def test_interfaces_come_up_with_their_names_and_addresses_only_where_they_belong(relay, places):
    before = set(os.listdir("/sys/class/net"))
    ends = LinkEnd(places(), "eth0", MAC_A), LinkEnd(places(), "p0b", MAC_B)
    relay.add("north -- south", *ends, Shape(rate=1e6), Shape(rate=2e6))
    assert set(os.listdir("/sys/class/net")) == before
    for end in ends:
        with netlink.Netlink(end.netns) as handle:
            interface = handle.interfaces()[end.ifname]
        assert (interface.mac, interface.up) == (end.mac, False)


@pytest.mark.parametrize("rate", [1e6, 20e6, 100e6, 1e9], ids=lambda rate: f"{rate / 1e6:g}M")
def test_rates_are_exact_in_both_directions(relay, places, rate):
    ends = wire(relay, places, Shape(rate=rate, delay=0.002), Shape(rate=rate / 2, delay=0.002))
    seen = rates(ends, rate, rate / 2)
    if seen["ab"].offered < rate * 1.03:
        pytest.skip(f"this machine offers only {seen['ab'].offered / 1e6:.0f} Mbit/s")
    assert seen["ab"].rate == pytest.approx(rate, rel=0.02)
    assert seen["ba"].rate == pytest.approx(rate / 2, rel=0.02)


def test_delay_is_that_of_its_direction(relay, places):
    ends = wire(relay, places, Shape(rate=100e6, delay=0.003), Shape(rate=100e6, delay=0.012))
    seen = measure.stream(*ends, count=100, interval=0.004)
    assert seen.ab.p50 == pytest.approx(0.003, abs=0.0005)
    assert seen.ba.p50 == pytest.approx(0.012, abs=0.0005)


def test_jitter_spreads_evenly_and_keeps_order(relay, places):
    ends = wire(relay, places, Shape(rate=100e6, delay=0.008, jitter=0.003))
    seen = measure.stream(*ends, count=400, interval=0.007)
    assert seen.ab.half_width == pytest.approx(0.003, abs=0.0005)
    crowded = measure.stream(*ends, count=400, interval=0.001)
    assert crowded.ab.reordered == crowded.ba.reordered == 0
    assert crowded.ab.received == 400


def test_losses_are_as_many_as_asked_and_counted(relay, places):
    ends = wire(relay, places, Shape(rate=100e6, delay=0.001, loss=0.05), Shape(rate=100e6, delay=0.001))
    seen = measure.stream(*ends, count=500, interval=0.002, burst=4)
    lost = seen.ab.sent - seen.ab.received
    assert abs(lost - 100) < 4 * (2000 * 0.05 * 0.95) ** 0.5
    assert seen.ba.received == 2000
    assert relay.stats("l")[0].dropped_loss == lost


def test_loss_is_decided_for_each_segment_of_a_large_frame(relay, places):
    ends = wire(relay, places, Shape(delay=0.001, loss=0.5))  # without a rate the relay has no other reason to cut
    segments = 40
    send_large(ends[0], segments)
    assert eventually(lambda: _settled(relay) == segments)
    # that all of them share their fate has a chance of 2 to the -39th
    assert 0 < relay.stats("l")[0].dropped_loss < segments
    assert relay.stats("l")[0].tx_bytes == relay.stats("l")[0].tx_packets * 1514


def test_pieces_of_a_large_frame_have_headers_of_their_own(relay, places):
    ends = wire(relay, places, Shape(rate=100e6))  # at this rate a piece is four segments
    segments, mss = 10, 1460
    ipv4 = socket.htons(0x0800)
    receiver = netns.inside(ends[1].netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ipv4))
    with receiver:
        receiver.bind((ends[1].ifname, 0x0800))
        receiver.settimeout(2)
        send_large(ends[0], segments)
        pieces = [receiver.recv(1 << 16) for _ in range(3)]
    expected = 0
    for piece, count in zip(pieces, (4, 4, 2), strict=True):
        ip, tcp = piece[14:34], piece[34:54]
        assert len(piece) == 54 + count * mss
        assert struct.unpack_from("!HH", ip, 2) == (40 + count * mss, 1 + expected // mss)
        assert ones_sum(ip) == 0xFFFF
        assert struct.unpack_from("!I", tcp, 4)[0] == expected
        assert struct.unpack_from("!H", tcp, 16)[0] == pseudo_sum(ip, 20 + count * mss)
        expected += count * mss


def test_a_piece_of_a_frame_that_came_in_one_stretch_is_taken(relay, places):
    """Frames below a page are linear behind a bridge, and say so: TAP refuses pieces that are shorter than that."""
    ends = wire(relay, places, Shape(rate=55e6))  # at this rate a piece is two segments
    send_large(ends[0], 2, more=100, linear=54 + 2 * 1460 + 100)
    assert eventually(lambda: counters(relay)["tx_packets"] + counters(relay)["errors"] == 3)
    assert counters(relay)["errors"] == 0


def test_the_same_seed_loses_the_same_frames(relay, places):
    shape = Shape(rate=100e6, loss=0.2)

    def pattern() -> list[int]:
        ends = wire(relay, places, shape)
        with Receiver(ends[1]) as receiver:
            send_numbered(ends[0], range(200))
            assert eventually(lambda: _settled(relay) >= 200)
            numbers = receiver.numbers()
        relay.remove("l")
        return numbers

    first = pattern()
    assert 100 < len(first) < 200
    assert pattern() == first


def test_a_full_queue_drops_the_tail(relay, places):
    shape = Shape(rate=1e6, queue=10 * 1014)
    ends = wire(relay, places, shape)
    with Receiver(ends[1]) as receiver:
        send_numbered(ends[0], range(50), size=1014)
        assert eventually(lambda: relay.stats("l")[0].tx_packets == 11)
        # one on the wire and ten that wait; what came later found the queue full
        assert receiver.numbers() == list(range(11))
    assert relay.stats("l")[0].dropped_queue == 39


def test_a_rate_changes_in_place_without_loss(relay, places):
    """Frames that wait, and the one on the wire, go on at the new rate: not one is lost, nor late."""
    frames, size, slow, fast = 90, 1514, 2e6, 5e6
    ends = wire(relay, places, Shape(rate=slow, queue=10**6))
    with Receiver(ends[1]) as receiver:
        begin = time.monotonic()
        send_numbered(ends[0], range(frames), size=size)
        time.sleep(0.15)
        relay.set("l", ab=Shape(rate=fast, queue=10**6))
        changed = time.monotonic() - begin
        assert eventually(lambda: relay.stats("l")[0].tx_packets == frames)
        took = time.monotonic() - begin
        assert receiver.numbers() == list(range(frames))
    assert relay.stats("l")[0].dropped_queue == 0
    expected = changed + (frames * size * 8 - changed * slow) / fast
    assert took == pytest.approx(expected, abs=0.04)


def test_the_frame_on_the_wire_takes_the_new_rate(relay, places):
    """A single frame of 12 s at the old rate arrives at once at the new one."""
    ends = wire(relay, places, Shape(rate=1e3))
    with Receiver(ends[1]) as receiver:
        send_numbered(ends[0], [7], size=1514)
        assert eventually(lambda: int(relay.stats("l")[0].tx_packets) == 0 and counters(relay)["rx_packets"] == 1)
        relay.set("l", ab=Shape(rate=10e6))
        assert eventually(lambda: relay.stats("l")[0].tx_packets == 1, 1.0)
        assert receiver.numbers() == [7]


def test_steps_of_rate_are_followed(relay, places):
    ends = wire(relay, places, Shape(rate=100e6))
    for rate in (100e6, 20e6, 50e6):
        relay.set("l", Shape(rate=rate, queue=30_000), Shape(rate=rate, queue=30_000))
        # So short a queue runs dry when the machine stands still for a few milliseconds.
        assert eventually(lambda rate=rate: rates(ends, rate, rate, 0.4)["ab"].rate == pytest.approx(rate, rel=0.02))


def test_a_cut_link_passes_nothing_and_comes_back(relay, places):
    ends = wire(relay, places, Shape(rate=100e6, delay=0.001))
    relay.carrier("l", False)
    assert measure.stream(*ends, count=10, interval=0.002, patience=0.1).ab.received == 0
    relay.carrier("l", True)
    assert eventually(lambda: measure.stream(*ends, count=10, interval=0.002, patience=0.1).ab.received == 10)


def test_a_dead_namespace_leaves_other_links_and_costs_nothing(relay, places):
    doomed = wire(relay, places, Shape(rate=10e6), name="doomed")
    others = wire(relay, places, Shape(rate=10e6), name="other")
    netns.delete(doomed[0].netns.rpartition("/")[2])
    send_numbered(doomed[1], range(20))
    seen = measure.stream(*others, count=20, interval=0.002)
    assert seen.ab.received == seen.ba.received == 20
    before = cpu_ticks(relay.pids()[0])
    time.sleep(1.0)
    assert cpu_ticks(relay.pids()[0]) == before
    relay.remove("doomed")
    wire(relay, places, Shape(rate=10e6), name="doomed")  # the name is free again


def test_it_ends_with_its_controller(places):
    a, b = places(), places()
    script = (
        "import pathlib, time\n"
        "from testbed.emulation.links.relay import RelayEmulator\n"
        "from testbed.emulation.links.shape import LinkEnd, Shape\n"
        f"relay = RelayEmulator(program=pathlib.Path({str(native.build().relay)!r}))\n"
        "relay.open()\n"
        f"ends = LinkEnd({a!r}, 'eth0', {MAC_A!r}), LinkEnd({b!r}, 'eth0', {MAC_B!r})\n"
        "relay.add('l', *ends, Shape(rate=1e6), Shape())\n"
        "print(relay.pids()[0], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        pid = int(controller.stdout.readline())
        handle = os.pidfd_open(pid)
        try:
            controller.send_signal(signal.SIGKILL)
            assert eventually(lambda: _ended(handle), 2.0)
        finally:
            os.close(handle)
    with netlink.Netlink(a) as socket_:
        assert "eth0" not in socket_.interfaces()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("loss", [0.0, 0.01], ids=["clean", "lossy"])
def test_tcp_arrives_whole(relay, places, family, loss):
    """Large frames are cut, around lost segments too: every byte must come out as it went in."""
    assert carry(wire(relay, places, Shape(rate=80e6, delay=0.001, loss=loss)), 4, family)
    assert (relay.stats("l")[0].dropped_loss > 0) == (loss > 0)


def test_a_second_link_of_a_name_or_an_interface_is_refused(relay, places):
    ends = wire(relay, places, Shape(rate=1e6))
    with pytest.raises(EmulationError, match="exists already"):
        relay.add("l", *ends, Shape(), Shape())
    with pytest.raises(EmulationError, match="refused") as raised:
        relay.add("m", *ends, Shape(), Shape())
    assert "busy" in (raised.value.found or "").lower()


def test_a_plain_wire_passes_counts_and_goes(places):
    emulator = PlainWire()
    ends = wire(emulator, places, Shape())
    try:
        # A veth gets its carrier a moment after its peer is up; frames sent before that are gone.
        assert eventually(lambda: measure.stream(*ends, count=20, interval=0.002, patience=0.1).ab.received == 20)
        assert emulator.stats("l")[0].tx_packets >= 20
        emulator.carrier("l", False)
        with pytest.raises(EmulationError, match="cannot be measured"):
            measure.stream(*ends, count=5, interval=0.002, patience=0.1)
    finally:
        emulator.close()
    with netlink.Netlink(ends[0].netns) as handle:
        assert set(handle.interfaces()) == {"lo"}


def _settled(relay: RelayEmulator) -> int:
    seen = relay.stats("l")[0]
    return seen.tx_packets + seen.dropped_loss


def _ended(handle: int) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(0))
