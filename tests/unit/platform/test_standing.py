"""How a unit says it stands, and when."""

import pytest

from nodes.platform.instances import Pool
from nodes.platform.standing import Standing
from nodes.platform.store import Store
from nodes.wire import control as ctl
from nodes.wire.jobs import UnitSettings
from nodes.wire.platform_messages import UnitState
from tests.unit.platform.fakes import Clock, Fakes


def standing(tmp_path, dilation=2.0, **more):
    said, clock = [], Clock()
    file = ctl.NodeFile(
        "d1", "device", 0.25, "", "", "", "", 1, dilation,
        UnitSettings(memory=300, orchestrator="cloud", store="", at="ea", **more),
    )  # fmt: skip
    pool = Pool(Store(tmp_path / "s"), 300, clock=clock, launch=Fakes())
    return Standing(file, pool, said.append, clock), said, clock


def test_a_unit_says_how_it_stands_when_something_changes_and_every_second(tmp_path):
    unit, said, clock = standing(tmp_path)
    unit.step()
    unit.step()
    assert said == [UnitState(name="d1", kind="device", born=1000.0, speed=0.25, memory=300, at="ea")]
    assert unit.due() == 2.0  # a second of the experiment
    clock.now += 1
    unit.hear(ctl.Notice("", "eb", False, 1.0))
    unit.step()
    assert (said[-1].at, said[-1].coming, unit.due()) == ("ea", "eb", 2.0)
    unit.hear(ctl.Notice("", "eb", True))
    unit.hear(ctl.Battery(12.5))
    unit.hear(ctl.Radio(1e6, 2e6))
    unit.started("f", 0.5)
    unit.step()
    assert (said[-1].at, said[-1].coming, said[-1].battery_j, said[-1].up, said[-1].down) == ("eb", "", 12.5, 1e6, 2e6)
    assert (said[-1].cold, len(said)) == ({"f": 0.5}, 3)
    clock.now += 2
    unit.step()
    assert said[-1] == said[-2]


@pytest.mark.parametrize(("reserve", "spent"), [(None, [False] * 3), (20.0, [False, True, False]), (0.0, [False] * 3)])
def test_a_battery_is_spent_at_its_reserve_and_not_before(tmp_path, reserve, spent):
    unit, _, _ = standing(tmp_path, reserve_j=reserve)
    assert not unit.spent  # as long as nobody has said what is left
    found = []
    for left in (20.5, 20.0, 21.0):
        unit.hear(ctl.Battery(left))
        found.append(unit.spent)
    assert found == spent
    unit.hear(ctl.Battery(0.0))
    assert unit.spent == (reserve is not None)


def test_out_of_reach_nothing_is_said_and_at_once_when_it_is_back(tmp_path):
    unit, said, clock = standing(tmp_path)
    unit.step()
    unit.hear(ctl.Radio(None, None, False))
    clock.now += 10
    unit.step()
    assert (len(said), unit.due() > 0) == (1, True)
    unit.hear(ctl.Radio(None, None, True))
    unit.step()
    assert len(said) == 2
