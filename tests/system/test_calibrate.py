"""Real links measured for real: good ones pass, wrong ones are found out, and gaps are as long as they were made."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from testbed.emulation import netlink, netns
from testbed.emulation.calibrate import CalTarget, GapTarget, calibrate, measure_gap
from testbed.emulation.links import NetemEmulator, PlainWire, RelayEmulator, netem_missing
from testbed.emulation.links.base import Emulator
from testbed.emulation.links.mixed import MixedEmulator
from testbed.emulation.links.shape import LinkCalibration, LinkEnd, Shape
from testbed.errors import EmulationError
from testbed.experiment.plan import Tolerances

pytestmark = pytest.mark.root

UP = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001)
DOWN = replace(UP, rate=40e6)
TRUNK = Shape(rate=100e6, delay=0.005)
TOLERANCES = Tolerances()


class WrongRelay(RelayEmulator):
    """Puts something else in force than it tells."""

    def __init__(self, wrong: Callable[[Shape], Shape]) -> None:
        super().__init__()
        self._wrong = wrong
        self._told: dict[str, list[Shape]] = {}

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        told = self._told.setdefault(link, [Shape(), Shape()])
        for index, shape in enumerate((ab, ba)):
            told[index] = shape or told[index]
        super().set(link, *(None if shape is None else self._wrong(shape) for shape in (ab, ba)))

    def read(self, link: str) -> tuple[Shape, Shape]:
        ab, ba = self._told[link]
        return ab, ba


@pytest.fixture
def places() -> Iterator[tuple[str, str]]:
    names = [f"rbt{uuid.uuid4().hex[:10]}" for _ in range(2)]
    yield netns.create(names[0]), netns.create(names[1])
    for name in names:
        netns.delete(name)


def relay() -> Emulator:
    return MixedEmulator(RelayEmulator(seed=1), PlainWire())


def netem() -> Emulator:
    missing = netem_missing()
    if missing:
        pytest.skip(f"this kernel has no netem: {missing}")
    return MixedEmulator(NetemEmulator(), PlainWire())


def made(emulator: Emulator, places: tuple[str, str], shapes: dict[str, tuple[Shape, Shape]]) -> list[CalTarget]:
    targets = []
    for index, (name, (ab, ba)) in enumerate(shapes.items()):
        a = LinkEnd(places[0], f"e{index}", f"02:00:00:00:0a:{index:02x}")
        b = LinkEnd(places[1], f"e{index}", f"02:00:00:00:0b:{index:02x}")
        emulator.add(name, a, b, ab, ba)
        for end in (a, b):
            netns.write_sysctls(end.netns, {"net.ipv6.conf.all.disable_ipv6": "1"})
            with netlink.Netlink(end.netns) as handle:
                handle.run([netlink.set_link(end.ifname, up=True)])
        targets.append(CalTarget(name, "backhaul", "north", "south", a, b, ab, ba))
    return targets


def calibrated(
    emulator: Emulator, places: tuple[str, str], shapes: dict[str, tuple[Shape, Shape]]
) -> dict[str, LinkCalibration]:
    try:
        emulator.open()
        found = calibrate(emulator, made(emulator, places, shapes), TOLERANCES)
        for name, (ab, ba) in shapes.items():
            assert [replace(shape, queue=None) for shape in emulator.read(name)] == [ab, ba], "left as asked"
    finally:
        emulator.close()
    return {link.link: link for link in found}


@pytest.mark.parametrize("emulator", [relay, netem])
def test_links_as_asked_pass(emulator: Callable[[], Emulator], places: tuple[str, str]) -> None:
    shapes = {
        "access": (UP, DOWN),
        "north--south": (TRUNK, TRUNK),
        "edge": (Shape(rate=1e9, delay=0.0002), Shape(rate=1e9, delay=0.0002)),
        "slow": (Shape(rate=500e3, delay=0.05), Shape(rate=2e6, delay=0.05)),
        "wire": (Shape(), Shape()),
    }
    begin = time.monotonic()
    found = calibrated(emulator(), places, shapes)
    took = time.monotonic() - begin
    for link in found.values():
        ways = [(f"{way.rate_error:+.3%}", way.delay, way.jitter, way.loss) for way in (link.ab, link.ba) if way.rate]
        print(link.link, ways, link.rtt_asked, link.rtt_error)
    print(f"took {took:.1f} s")
    assert [p for link in found.values() for p in (*link.problems, *link.notes)] == []
    for name, (ab, ba) in shapes.items():
        for asked, way in ((ab, found[name].ab), (ba, found[name].ba)):
            assert (way.rate is None) == (asked.rate is None)
            assert way.rate is None or way.rate == pytest.approx(asked.rate, rel=TOLERANCES.rate)
    access = found["access"]
    assert access.ab.loss_sample > 1000
    assert access.rtt == pytest.approx(0.008, abs=TOLERANCES.rtt)
    assert found["wire"].rtt is None, "there is nothing to compare"
    assert took < 12


WRONG: dict[str, tuple[Shape, Callable[[Shape], Shape], str]] = {
    "rate": (TRUNK, lambda s: replace(s, rate=96e6, queue=s.queue_bytes), "asked 100 Mbit/s, measured 96"),
    "delay": (TRUNK, lambda s: replace(s, delay=s.delay + 0.001), "round trip 10 ms"),
    "loss": (TRUNK, lambda s: replace(s, loss=0.2), "asked 0 % loss"),
    "more loss": (replace(UP, loss=0.05), lambda s: replace(s, loss=2 * s.loss), "asked 5 % loss"),
    "jitter": (UP, lambda s: replace(s, jitter=2 * s.jitter), "jitter"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_link_that_does_something_else_is_found_out(what: str, places: tuple[str, str]) -> None:
    asked, wrong, words = WRONG[what]
    found = calibrated(WrongRelay(wrong), places, {"north--south": (asked, asked)})["north--south"]
    print(found.problems)
    assert any(words in problem for problem in found.problems)
    assert all("north--south" in problem for problem in found.problems)


def test_a_link_that_passes_nothing_is_found_out(places: tuple[str, str]) -> None:
    found = calibrated(WrongRelay(lambda shape: replace(shape, loss=1.0)), places, {"cut": (TRUNK, TRUNK)})["cut"]
    assert found.rtt is None
    assert any("nothing came through" in problem for problem in found.problems)


def test_an_end_that_is_gone_stops_the_calibration(places: tuple[str, str]) -> None:
    with_relay = relay()
    try:
        with_relay.open()
        target, other = made(with_relay, places, {"one": (UP, DOWN), "two": (UP, DOWN)})
        gone = replace(target, end_b=replace(target.end_b, ifname="gone"))
        with pytest.raises(EmulationError, match="cannot be measured") as caught:
            calibrate(with_relay, [gone, other], TOLERANCES)
        assert "gone" in str(caught.value)
        for link in ("one", "two"):
            ab, ba = with_relay.read(link)
            assert (ab.loss, ba.jitter) == (UP.loss, DOWN.jitter), "loss and jitter are back"
    finally:
        with_relay.close()


# --- gaps -------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(places: tuple[str, str]) -> Iterator[tuple[Emulator, GapTarget]]:
    emulator = relay()
    try:
        emulator.open()
        (target,) = made(emulator, places, {"path": (Shape(rate=20e6, delay=0.004), Shape(rate=20e6, delay=0.004))})
        ends = target.end_a, target.end_b
        yield emulator, GapTarget(ends[0].netns, ends[0].ifname, ends[1].netns, ends[1].ifname, ends[1].mac)
    finally:
        emulator.close()


def test_a_gap_is_as_long_as_the_cut(path: tuple[Emulator, GapTarget]) -> None:
    emulator, target = path
    begin = time.monotonic()
    with measure_gap(target) as gap:
        started = time.monotonic() - begin
        time.sleep(0.1)
        cut = time.monotonic()
        emulator.carrier("path", up=False)
        time.sleep(0.15)
        emulator.carrier("path", up=True)
        back = time.monotonic()
        time.sleep(0.2)
        assert gap.gap_s is None, "not known as long as it is being measured"
    print(f"started in {started * 1e3:.1f} ms; cut {back - cut:.4f} s, gap {gap.gap_s}, lost {gap.lost} of {gap.sent}")
    assert gap.gap_s is not None
    assert gap.begin is not None
    assert gap.end is not None
    assert gap.lost is not None
    # What is on its way when the link is cut is gone as well, and the first frame back takes the delay again.
    assert gap.gap_s == pytest.approx(back - cut, abs=0.02)
    assert cut - 0.02 < gap.begin < gap.end < back + 0.02
    assert gap.lost == pytest.approx((back - cut) / 0.002, abs=10)
    assert not gap.open
    assert started < 0.5


def test_two_gaps_at_the_same_server_do_not_disturb_each_other(path: tuple[Emulator, GapTarget]) -> None:
    _, target = path
    with measure_gap(target) as one, measure_gap(target) as two:
        time.sleep(0.3)
    assert one.lost == two.lost == 0
    for gap in (one, two):
        assert gap.sent is not None
        assert gap.sent > 100
        assert gap.gap_s is not None
        assert gap.gap_s < 0.05, "nothing was silent"


def test_a_path_that_stays_silent_is_silent_to_the_end(path: tuple[Emulator, GapTarget]) -> None:
    emulator, target = path
    with measure_gap(target) as gap:
        time.sleep(0.1)
        emulator.carrier("path", up=False)
        time.sleep(0.2)
    assert gap.open
    assert gap.gap_s == pytest.approx(0.2, abs=0.03)


def test_a_gap_between_what_is_not_there_cannot_begin(path: tuple[Emulator, GapTarget]) -> None:
    with pytest.raises(EmulationError, match="cannot be measured"), measure_gap(replace(path[1], target_ifname="gone")):
        pytest.fail("it must not begin")


def test_a_gap_without_a_namespace_stays_unknown(path: tuple[Emulator, GapTarget]) -> None:
    emulator, target = path
    with measure_gap(target) as gap:
        time.sleep(0.05)
        emulator.remove("path")
        time.sleep(0.05)
    assert gap.gap_s is None
    assert gap.problem
