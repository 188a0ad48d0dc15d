"""The relay over time: ends that die and come back, its own load, what it tells of itself."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from testbed.emulation import measure, netlink, netns
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import LinkEnd, Schedule, Shape, Step
from testbed.errors import EmulationError
from tests.support import eventually
from tests.system.wires import Places, Receiver, carry, counters, cpu_ticks, flood, send_numbered, up, wire, within

pytestmark = pytest.mark.root


def index_of(end: LinkEnd) -> int:
    with netlink.Netlink(end.netns) as handle:
        return handle.interfaces()[end.ifname].index


def told(relay: RelayEmulator) -> dict[str, int]:
    return counters(relay, "l", "ba")


def take_away(end: LinkEnd) -> None:
    within(end, "ip", "link", "delete", end.ifname)


def end_namespace(end: LinkEnd) -> None:
    netns.delete(end.netns.rpartition("/")[2])


@pytest.mark.parametrize("death", [take_away, end_namespace])
def test_an_end_comes_back_after_it_died(
    relay: RelayEmulator, places: Places, death: Callable[[LinkEnd], None]
) -> None:
    """The other end, settings, schedule and counters stay; the name is that of the same link."""
    shape = Shape(rate=10e6, delay=0.002)
    a, b = wire(relay, places, shape)
    relay.play("l", time.monotonic() - 1, ba=Schedule("s", (Step(0.0, rate=5e6),), length=2.0))
    send_numbered(b, range(10))
    assert eventually(lambda: counters(relay, "l", "ba")["tx_packets"] == 10)
    stayed, before = index_of(b), relay.read("l")
    death(a)
    send_numbered(b, range(5))  # a namespace lives on as long as the relay has an interface in it
    assert eventually(lambda: told(relay)["errors"] == 5 if death is take_away else told(relay)["tx_packets"] == 15)
    before_anew, ticks = told(relay)["tx_packets"], cpu_ticks(relay.pids()[0])
    time.sleep(0.5)
    assert cpu_ticks(relay.pids()[0]) == ticks

    anew = replace(a, netns=places())
    relay.replace("l", a=anew)
    up(anew)
    seen = measure.stream(anew, b, count=20, interval=0.002)
    assert seen.ab.received == seen.ba.received == 20
    assert index_of(b) == stayed
    assert relay.read("l") == before
    assert told(relay)["tx_packets"] == before_anew + 20


def test_what_is_held_comes_afterwards(relay: RelayEmulator, places: Places) -> None:
    """Until it is let go, or the time is over; the other way nothing is held."""
    a, b = wire(relay, places, Shape(rate=10e6, delay=0.002))

    def passed() -> tuple[int, int]:
        seen = counters(relay, "l", "ab")
        return seen["rx_packets"], seen["tx_packets"]

    relay.hold("l", 1.0)
    send_numbered(a, range(10))
    send_numbered(b, range(10))
    assert eventually(lambda: told(relay)["tx_packets"] == 10)
    time.sleep(0.05)  # far longer than the delay
    assert passed() == (10, 0)
    relay.hold("l", 0)
    assert eventually(lambda: passed() == (10, 10))
    relay.hold("l", 0.05)
    send_numbered(a, range(10))
    assert eventually(lambda: passed() == (20, 20))
    with pytest.raises(EmulationError, match="at most a second"):
        relay.hold("l", 2.0)


def test_an_end_that_lives_can_be_replaced_in_its_place(relay: RelayEmulator, places: Places) -> None:
    a, b = wire(relay, places, Shape(rate=10e6))
    was = index_of(a)
    relay.replace("l", a=a, b=b)
    up(a, b)
    assert index_of(a) != was
    assert measure.stream(a, b, count=10, interval=0.002).ab.received == 10


def test_what_is_cut_stays_cut_when_an_end_comes_back(relay: RelayEmulator, places: Places) -> None:
    a, b = wire(relay, places, Shape(rate=10e6))
    relay.carrier("l", False)
    relay.replace("l", a=a)
    up(a)
    assert measure.stream(a, b, count=5, interval=0.002, patience=0.1).ab.received == 0
    relay.carrier("l", True)
    assert eventually(lambda: measure.stream(a, b, count=5, interval=0.002, patience=0.1).ab.received == 5)


def test_an_end_that_cannot_be_made_leaves_the_link_to_another_attempt(relay: RelayEmulator, places: Places) -> None:
    a, b = wire(relay, places, Shape(rate=10e6))
    with pytest.raises(EmulationError, match="refused"):
        relay.replace("l", a=replace(a, netns="/run/netns/rbt-there-is-none"))
    send_numbered(b, range(5))
    assert eventually(lambda: counters(relay, "l", "ba")["errors"] == 5)
    before = cpu_ticks(relay.pids()[0])
    time.sleep(0.5)
    assert cpu_ticks(relay.pids()[0]) == before
    relay.replace("l", a=a)
    up(a)
    assert measure.stream(a, b, count=5, interval=0.002).ab.received == 5


def test_what_is_on_its_way_survives_the_death_of_its_sender(relay: RelayEmulator, places: Places) -> None:
    a, b = wire(relay, places, Shape(rate=10e6, delay=0.3))
    with Receiver(b) as receiver:
        send_numbered(a, range(10))
        assert eventually(lambda: counters(relay)["rx_packets"] == 10)
        end_namespace(a)
        assert receiver.frames(0.5)[-1].number == 9


def test_real_time_priority_is_given_up_under_load_and_taken_again(relay: RelayEmulator, places: Places) -> None:
    """So that a busy relay does not keep the machine from all others; here "busy" is a hundredth of a core."""
    if not relay.priority.startswith("fifo"):
        pytest.skip("this machine does not allow real-time priority")
    ends = wire(relay, places, Shape(rate=100e6))
    relay._ask("all links", "budget", "1", "0.9")
    with flood(ends[0], 60e6):
        assert eventually(lambda: relay.health().priority == "nice:-20", 4.0)
    assert relay.health().yields == 1
    assert relay.priority == "nice:-20"
    assert eventually(lambda: relay.health().priority.startswith("fifo"), 8.0)
    assert relay.health().yields == 1


def test_lateness_is_told_since_last_asked(relay: RelayEmulator, places: Places) -> None:
    ends = wire(relay, places, Shape(rate=100e6, delay=0.002))
    measure.stream(*ends, count=100, interval=0.004)
    health = relay.health()
    assert health.frames == 200
    assert 0 < health.late_p50_s <= health.late_p99_s <= health.late_p999_s <= health.late_max_s
    assert health.late_p50_s < 0.001
    assert health.late_max_s == pytest.approx(max(own.late_max_s or 0 for own in relay.stats("l")))
    assert 0 < health.cpu_s < 5
    again = relay.health()
    assert (again.frames, again.late_max_s) == (0, 0.0)


def test_all_links_are_told_in_one_answer_within_a_millisecond(relay: RelayEmulator, places: Places) -> None:
    ends = [wire(relay, places, Shape(rate=10e6), name=f"link {index}") for index in range(20)]
    for index in (3, 17):
        send_numbered(ends[index][0], range(index))
        assert eventually(lambda: counters(relay, f"link {index}")["tx_packets"] == index)  # noqa: B023
    found = relay.stats_all()
    assert list(found) == [f"link {index}" for index in range(20)]
    assert found == {link: relay.stats(link) for link in found}
    took = []
    for _ in range(50):
        begin = time.perf_counter()
        relay.stats_all()
        relay.health()
        took.append(time.perf_counter() - begin)
    assert statistics.median(took) < 0.001
    relay.remove("link 3")
    assert "link 3" not in relay.stats_all()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_tcp_arrives_whole_whatever_happens_on_the_way(relay: RelayEmulator, places: Places, family: int) -> None:
    """Everything at once, and a rate that changes all the time."""
    shape = Shape(
        rate=80e6, delay=0.002, jitter=0.001, loss=0.005, reorder=0.01, duplicate=0.01, corrupt=0.005, queue_packets=100
    )
    steps = tuple(Step(0.02 * index, rate=rate) for index, rate in enumerate((80e6, 0.0, 20e6, None, 160e6)))
    ends = wire(relay, places, shape, replace(shape, queue_packets=None))
    relay.play("l", time.monotonic(), Schedule("steps", steps, length=0.1, loop=True))
    assert carry(ends, 3, family)
    seen = counters(relay)
    assert all(seen[name] for name in ("dropl", "reordered", "duplicated", "corrupted"))
