"""What is measured when, what is made of it, and that links are left as they were asked to be."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import replace

import pytest

from testbed.emulation import measure, sampling
from testbed.emulation.calibrate import CalTarget, calibrate
from testbed.emulation.judge import binomial_tails
from testbed.emulation.links.shape import LinkCalibration, LinkEnd, LinkStats, Shape
from testbed.errors import EmulationError, NotAppliedError
from testbed.experiment.plan import Tolerances

FRAME = 60
TRUNK = Shape(rate=100e6, delay=0.005)
ACCESS = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.01)
TOLERANCES = Tolerances()


def target(name: str, ab: Shape = TRUNK, ba: Shape | None = None, kind: str = "backhaul") -> CalTarget:
    ends = LinkEnd("a", name, ""), LinkEnd("b", name, "")
    return CalTarget(name, kind, "north", "south", *ends, ab, ab if ba is None else ba)


class World:
    """Links that do exactly what they are set to, unless told to be wrong; emulator and probe in one."""

    name = "world"

    def __init__(self, *links: CalTarget) -> None:
        self.shapes = {link.link: (link.ab, link.ba) for link in links}
        self.rate_factor: dict[str, list[float]] = defaultdict(list)  # one a measurement, then 1
        self.delay_more: dict[str, list[float]] = defaultdict(list)
        self.loss_factors = [1.0]  # one a sample, the last for all others
        self.jitter_factor = 1.0
        self.offered: float | None = None
        self.token_bucket = False
        self.lost_quietly = 0
        self.sets: list[str] = []
        self.rated: list[str] = []
        self.saturated_with_chance = False
        self.fail_at: str | None = None
        self._guard = threading.Lock()

    # as the emulator

    def set(self, link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        old = self.shapes[link]
        self.sets.append(link)
        self.shapes[link] = (ab or old[0], ba or old[1])

    def read(self, link: str) -> tuple[Shape, Shape]:
        return self.shapes[link]

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        return LinkStats(), LinkStats()

    # as the probe

    def rate(self, a: LinkEnd, b: LinkEnd, ab: float, ba: float, **_: float) -> dict[str, measure.RateSeen]:
        with self._guard:
            if a.ifname == self.fail_at:
                raise EmulationError("told to fail")
            self.rated.append(a.ifname)
            self.saturated_with_chance |= any(s.loss or s.jitter for s in self.shapes[a.ifname])
            queue = self.rate_factor[a.ifname]
            factor = queue.pop(0) if queue else 1.0
        return {
            name: measure.RateSeen(rate * factor, self.offered or rate * 1.2, 1000, 0)
            for name, rate in (("ab", ab), ("ba", ba))
            if rate
        }

    def stream(
        self, a: LinkEnd, b: LinkEnd, *, count: int, interval: float, burst: int = 1, patience: float = 0.5
    ) -> measure.Streams:
        with self._guard:
            queue = self.delay_more[a.ifname]
            more = queue.pop(0) if queue else 0.0
            chancy = any(shape.loss for shape in self.shapes[a.ifname])
            self.loss_factor = self.loss_factors.pop(0) if chancy and self.loss_factors[1:] else self.loss_factors[0]
        ways = [self._way(shape, count, burst, more) for shape in self.shapes[a.ifname]]
        assert ways[0].p50 is not None
        assert ways[1].p50 is not None
        return measure.Streams(ways[0], ways[1], ways[0].p50 + ways[1].p50, FRAME)

    def _way(self, shape: Shape, count: int, burst: int, more: float) -> measure.StreamSeen:
        on_wire = FRAME * 8 / shape.rate if shape.rate and not self.token_bucket else 0.0
        middle, spread = shape.delay + on_wire + more, 0.8 * shape.jitter * self.jitter_factor
        sent = count * burst
        lost = round(sent * shape.loss * self.loss_factor) + self.lost_quietly
        return measure.StreamSeen(sent, sent - lost, 0, count, middle - spread, middle, middle + spread)


def calibrated(world: World, links: list[CalTarget], monkeypatch: pytest.MonkeyPatch) -> dict[str, LinkCalibration]:
    monkeypatch.setattr(measure, "rate", world.rate)
    monkeypatch.setattr(measure, "stream", world.stream)
    found = calibrate(world, links, TOLERANCES)  # type: ignore[arg-type]
    assert [link.link for link in found] == [link.link for link in links]
    return {link.link: link for link in found}


def one(world: World, link: CalTarget, monkeypatch: pytest.MonkeyPatch) -> LinkCalibration:
    return calibrated(world, [link], monkeypatch)[link.link]


def test_links_that_do_what_is_asked_have_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    access_link = target("access", ACCESS, replace(ACCESS, rate=40e6))
    links = [target("trunk"), access_link, target("wire", Shape(), kind="wire")]
    world = World(*links)
    found = calibrated(world, links, monkeypatch)
    assert [link.problems for link in found.values()] == [[], [], []]
    assert world.shapes == {link.link: (link.ab, link.ba) for link in links}
    assert not world.saturated_with_chance, "rates are measured with losses and jitter off"
    assert set(world.sets) == {"access"}, "others have nothing to be switched off"
    access = found["access"]
    assert access.ab.rate == pytest.approx(20e6)
    assert access.ba.rate == pytest.approx(40e6)
    assert access.ab.delay == pytest.approx(0.004)
    assert access.ab.jitter == pytest.approx(0.001)
    assert access.ab.loss == pytest.approx(0.01, rel=0.1)
    assert access.rtt_error == pytest.approx(0, abs=1e-6)
    assert found["wire"].ab.rate is None
    assert sorted(world.rated) == ["access", "trunk"]


def test_a_rate_that_is_missed_twice_is_a_problem_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("north--south")
    world = World(link)
    world.rate_factor["north--south"] = [0.969, 0.969]
    found = one(world, link, monkeypatch)
    assert len(found.problems) == 2, "both directions"
    assert found.problems[0] == "north--south (north to south): asked 100 Mbit/s, measured 96.9 (-3.1 %)"
    assert found.problems[1].startswith("north--south (south to north): ")
    assert found.ab.rate_error == pytest.approx(-0.031)


def test_what_a_busy_machine_spoilt_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    links = [target("rate"), target("delay")]
    world = World(*links)
    world.rate_factor["rate"] = [0.9]
    world.delay_more["delay"] = [0.004]
    found = calibrated(world, links, monkeypatch)
    assert found["rate"].problems == found["delay"].problems == []
    assert found["rate"].ab.rate_error == pytest.approx(0)
    assert found["delay"].rtt_error == pytest.approx(0, abs=1e-6)
    assert all("measured twice" in link.notes[0] for link in found.values())


@pytest.mark.parametrize(("more", "missed"), [(0.0002, False), (0.0003, True), (-0.0003, True)])
def test_a_round_trip_is_held_to_its_tolerance(more: float, missed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("far")  # tolerated: 0.5 ms, there and back
    world = World(link)
    world.delay_more["far"] = [more] * 10
    found = one(world, link, monkeypatch)
    assert bool(found.problems) is missed
    assert found.rtt_error == pytest.approx(2 * more, abs=1.1e-5)
    if missed:
        assert "round trip 10 ms" in found.problems[0]


def test_neither_a_serialiser_nor_a_token_bucket_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = target("slow", Shape(rate=200e3, delay=0.02))  # a small frame takes 2.4 ms
    for token_bucket in (False, True):
        world = World(slow)
        world.token_bucket = token_bucket
        found = one(world, slow, monkeypatch)
        assert found.problems == []
        assert found.rtt_error == pytest.approx(0, abs=1e-6)
        assert found.ab.delay == pytest.approx(0.02)


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_losses_beyond_chance_are_a_problem(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("lossy", ACCESS)
    world = World(link)
    world.loss_factors = [factor]
    found = one(world, link, monkeypatch)
    assert len(found.problems) == 2
    assert "asked 1 % loss, measured" in found.problems[0]


@pytest.mark.parametrize(("factors", "missed"), [([1.8, 1.0], False), ([3.0, 1.0], True)])
def test_losses_of_both_samples_count(factors: list[float], missed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("lossy", ACCESS)  # about 4000 frames of which 40 are to be lost; 72 are too many, 112 of 8000 are not
    world = World(link)
    world.loss_factors = list(factors)
    found = one(world, link, monkeypatch)
    assert bool(found.problems) is missed
    assert found.ab.loss == pytest.approx(0.01 * sum(factors) / 2, rel=0.05)
    assert "sampled twice" in found.notes[0]


def test_a_single_frame_lost_where_none_should_be_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("trunk")
    world = World(link)
    world.lost_quietly = 1
    assert "asked 0 % loss" in one(world, link, monkeypatch).problems[0]


@pytest.mark.parametrize(("factor", "missed"), [(0.5, True), (1.02, False), (1.5, True)])
def test_jitter_is_held_to_what_was_asked(factor: float, missed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("access", ACCESS)
    world = World(link)
    world.jitter_factor = factor
    problems = one(world, link, monkeypatch).problems
    assert bool(problems) is missed
    assert all("jitter" in problem for problem in problems)


def test_a_machine_too_slow_to_saturate_a_link_is_no_fault_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("fast", Shape(rate=40e9))
    world = World(link)
    world.offered, world.rate_factor["fast"] = 12e9, [0.3] * 4
    found = one(world, link, monkeypatch)
    assert found.problems == []
    assert found.ab.rate == pytest.approx(12e9)
    assert found.ab.rate_error is None
    assert "at least" in found.notes[0]


def test_shapes_come_back_when_a_measurement_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    links = [target("good", ACCESS), target("bad", ACCESS)]
    world = World(*links)
    world.fail_at = "bad"
    with pytest.raises(EmulationError, match="told to fail"):
        calibrated(world, links, monkeypatch)
    assert world.shapes == {link.link: (link.ab, link.ba) for link in links}
    assert set(world.sets) == {"good", "bad"}, "they had been switched off"


def test_a_link_that_cannot_be_restored_does_not_keep_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    links = [target("stuck", ACCESS), target("good", ACCESS)]
    world = World(*links)
    working = world.set

    def stuck(link: str, ab: Shape | None = None, ba: Shape | None = None) -> None:
        if link == "stuck" and ab == ACCESS:
            raise EmulationError("it is stuck")
        working(link, ab, ba)

    monkeypatch.setattr(world, "set", stuck)
    with pytest.raises(EmulationError, match="it is stuck"):
        calibrated(world, links, monkeypatch)
    assert world.shapes["good"] == (ACCESS, ACCESS)


def test_a_link_that_reads_back_otherwise_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    link = target("trunk")
    world = World(link)
    world.shapes["trunk"] = (TRUNK, replace(TRUNK, delay=0.006))
    with pytest.raises(NotAppliedError, match="not as asked") as caught:
        calibrated(world, [link], monkeypatch)
    assert caught.value.where == "trunk"


def test_links_are_saturated_together_only_as_far_as_the_machine_goes() -> None:
    links = [target(f"access{i}", Shape(rate=20e6), Shape(rate=40e6)) for i in range(30)]
    links += [target(f"edge{i}", Shape(rate=1e9)) for i in range(3)]
    groups = sampling.groups(links)
    assert sorted(link.link for group in groups for link in group) == sorted(link.link for link in links)
    for group in groups:
        together = sum(shape.rate or 0 for link in group for shape in link.shapes)
        assert together <= 300e6 or len(group) == 1
    assert 30 / 5 + 3 <= len(groups) <= 30 / 3 + 3, "three to five access links at once, and each fast one alone"


def test_tails_of_the_binomial_distribution_are_exact() -> None:
    n, p = 40, 0.13
    whole = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    for count in (0, 1, 5, 12, 40):
        most, least = binomial_tails(count, n, p)
        assert most == pytest.approx(sum(whole[: count + 1]), rel=1e-9)
        assert least == pytest.approx(sum(whole[count:]), rel=1e-9, abs=1e-15)
    assert binomial_tails(0, 100, 0.0) == (1.0, 1.0)
    assert binomial_tails(1, 100, 0.0) == (1.0, 0.0)
    assert binomial_tails(99, 100, 1.0) == (0.0, 1.0)
