"""Decisions that batteries afford."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.platform.deciding import settle
from nodes.policies.energy import MARGIN
from nodes.policies.requests import TRAIN_DEVICE, TRAIN_EDGE, Cut, Owner, Problem, Request, Weights
from nodes.policies.units import Battery, Path, Power, Unit

MB = 10**6
WHOLE = Cut(4, "device", 1.0, device_weights=MB, device_memory=100 * MB)
LITTLE = Cut(1, "split", 0.1, 0.9, MB // 10, MB // 10, MB // 2, MB // 2, 50 * MB, 60 * MB)
POWER = Power(0.1, 3.0, 2.0, 1.5)


def placed(policy: str, spare: float, rounds: int = 1) -> dict[str, int]:
    """Cuts of two devices: on the first one's battery the whole model takes 61.3 J, and 2.2 J are drawn anyway."""
    battery = Battery(1000, 100 + spare, 100)
    units = {
        "a": Unit("a", "device", 0.5, 500 * MB, power=POWER, at="edge",
                  battery=replace(battery, left_j=100 + spare / (1 + MARGIN))),
        "b": Unit("b", "device", 0.5, 500 * MB, power=POWER, at="edge"),
        "edge": Unit("edge", "edge", 0.1, 200 * MB),
        "cloud": Unit("cloud", "cloud", 0.1, 1000 * MB),
    }  # fmt: skip
    paths = {(x, y): Path(8e6, 0.0) for x in units for y in units if x != y}
    owners = (Owner("a", 10), Owner("b", 10))
    request = Request("t", owners, (WHOLE, LITTLE), "cloud", MB, absent=100.0, rounds_left=rounds)
    problem = Problem(units, paths, (request,), Weights(time=1.0))
    found = settle(problem, policy, 1, lambda device: battery if device == "a" else None).placed["t"]
    left_out = 2 - len(found.round.participants)
    assert found.objective == pytest.approx(found.seconds + 100.0 * left_out)
    return {device: does.cut for device, does in found.round.participants.items()}


@pytest.mark.parametrize(("spare", "cuts"), [(80, {"a": 4, "b": 4}), (72, {"a": 1, "b": 4}), (5, {"b": 4})])
def test_a_device_that_cannot_afford_the_time_of_a_round_does_less_of_it(spare: float, cuts: dict[str, int]) -> None:
    assert placed("greedy", spare) == cuts


@pytest.mark.parametrize(("spare", "cuts"), [(160, {"a": 4, "b": 4}), (80, {"a": 1, "b": 4}), (30, {"a": 1, "b": 4})])
def test_a_battery_is_to_last_for_all_rounds_or_for_what_it_can(spare: float, cuts: dict[str, int]) -> None:
    assert placed("greedy", spare, rounds=2) == cuts


def test_who_is_blind_to_batteries_is_not_told_of_them() -> None:
    assert placed("blind-battery", 72)["a"] == 4
    assert placed("blind-battery", 80, rounds=2)["a"] == 4


def test_a_cold_start_more_is_predicted_where_there_are_fewer_instances_than_shares() -> None:
    """Three shares go to one server: what is not warm there starts at once, and shares the server's speed."""
    names = ("a", "b", "c")
    seconds = {}
    for there in (None, 3, 2, 1, 0):
        warm = frozenset({TRAIN_EDGE} if there != 0 else ())
        units = {
            **{name: Unit(name, "device", 0.5, 500 * MB, warm=frozenset({TRAIN_DEVICE}), at="edge") for name in names},
            "edge": Unit("edge", "edge", 1.0, 900 * MB, warm=warm, cold_s=4.0,
                         instances={} if there is None else {TRAIN_EDGE: there}),
        }  # fmt: skip
        paths = {(x, y): Path(8e9, 0.0) for x in units for y in units if x != y}
        request = Request("t", tuple(Owner(name, 10) for name in names), (LITTLE,), "edge", MB, least=3)
        found = settle(Problem(units, paths, (request,), Weights(time=1.0)), "greedy", 1, lambda _: None).placed["t"]
        assert {does.server for does in found.round.participants.values()} == {"edge"}
        seconds[there] = found.seconds
    assert seconds[3] == seconds[None]
    assert seconds[2] == pytest.approx(seconds[3] + 4.0, abs=0.1)
    assert seconds[1] == pytest.approx(seconds[3] + 8.0, abs=0.1)
    assert seconds[0] == pytest.approx(seconds[3] + 12.0, abs=0.1)
