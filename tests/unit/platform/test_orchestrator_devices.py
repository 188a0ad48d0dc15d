"""Devices that run out of energy in the middle of a task, and devices that move."""

from __future__ import annotations

from nodes.wire.platform_messages import CallEnded
from tests.unit.platform.fleet import MB, SPLIT, Fleet, Sim, job, one_on_battery


def test_a_device_at_its_reserve_is_let_go_and_the_rest_goes_on():
    fleet = Fleet(one_on_battery())
    fleet.takes["train"] = 5.0
    fleet.orchestrator.submit(job(least=1, absent=100.0))
    fleet.run(4)
    assert any(call.values.get("owner") == "d1" for call in fleet.open())
    fleet.units["d1"].battery_j = 105.0
    fleet.run(1.5)
    assert not any(call.values.get("owner") == "d1" for call in fleet.open())
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2"}


def test_a_device_that_stopped_at_its_reserve_out_of_reach_is_let_go_when_it_is_back():
    fleet = Fleet(one_on_battery())
    fleet.takes["train"] = 30.0
    fleet.orchestrator.submit(job(least=1, absent=100.0))
    fleet.run(4)
    device = fleet.units["d1"]
    [call] = [call for call in device.calls.values() if call.function == "train-device"]
    device.silent, device.battery_j = True, 100.0
    reason = "the battery is at its reserve"
    fleet._end(device, call, CallEnded(call=call.call, kind="cancelled", reason=reason))
    fleet.run(8)
    device.silent = False
    fleet.run(120)
    assert fleet.status().state == "done"
    assert fleet.owners(1) == fleet.owners(2) == {"d2"}
    assert max(at for at, unit, _ in fleet.invoked if unit == "d1") < 4


def test_a_task_whose_devices_run_out_ends_with_its_best_model():
    units = [Sim("d1", "device", 100 * MB, at="e1", battery_j=9000), Sim("e1", "edge", 300 * MB, 2.0),
             Sim("cloud", "cloud", 1000 * MB, 4.0)]  # fmt: skip
    fleet = Fleet(units)
    fleet.orchestrator.submit(job(owners=("d1",), of_task={"rounds": 50}))
    while fleet.status().round < 2:
        fleet.run(0.5)
    fleet.units["d1"].battery_j = 101.0
    fleet.run(30)
    status = fleet.status()
    assert status.state == "failed"
    assert "d1: its battery is at its reserve" in status.reason
    assert "the model of round" in status.reason
    assert not fleet.open()


def moving(**changes):
    fleet = Fleet(**changes)
    fleet.takes["train"] = 5.0
    fleet.orchestrator.submit(job(owners=("d1",), cuts=(SPLIT,), of_task={"rounds": 1}))
    while not any(call.function == "train-edge" for call in fleet.open()):
        fleet.run(0.1)
    fleet.run(1)
    at = next(name for name, unit in fleet.units.items()
              if any(call.function == "train-edge" for call in unit.calls.values()))  # fmt: skip
    return fleet, at, next(name for name in ("e1", "e2") if name != at)


def test_an_edge_half_is_awaited_where_its_device_goes():
    fleet, old, new = moving()
    fleet.move("d1", new)
    waiting = next(call for call in fleet.units[new].calls.values() if call.function == "train-edge")
    assert {row.part.role: row.node for row in waiting.values["task"].placement}["tail"] == old
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.functions().count("train-edge") == 2
    assert fleet.functions().count("train-device") == 1
    assert not fleet.cancelled


def test_who_waited_in_vain_is_cancelled():
    fleet, _, new = moving()
    fleet.move("d1", new, follows=False)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert len(fleet.cancelled) == 1
    assert fleet.functions().count("train-device") == 1
    assert not fleet.open()


def test_an_edge_half_is_awaited_even_if_nobody_had_heard_of_the_handover():
    fleet, _, new = moving()
    fleet.units["d1"].at = new
    fleet.report("d1")
    assert [call.function for call in fleet.units[new].calls.values()] == ["train-edge"]
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.functions().count("train-device") == 1


def test_without_room_there_the_round_begins_again():
    fleet, _, new = moving()
    fleet.die(new)
    fleet.units[new].memory = 10 * MB
    fleet.revive(new)
    fleet.move("d1", new)
    fleet.run(60)
    assert fleet.status().state == "done"
    assert fleet.functions().count("train-device") == 2


def test_a_link_that_gets_much_worse_has_a_round_begin_elsewhere():
    fleet = Fleet(rate=8e7)
    fleet.takes["train"] = 50.0
    fleet.orchestrator.submit(job(owners=("d1",), batches={"d1": 200}, of_task={"rounds": 1}))
    fleet.run(4)
    assert [call.parts[0].role for call in fleet.open() if call.function == "train-device"] == ["head"]
    fleet.units["d1"].up = 1e5
    fleet.run(3)
    assert [call.parts[0].role for call in fleet.open() if call.function == "train-device"] == ["whole"]


def test_a_link_that_does_not_settle_has_no_round_begin_again_for_ever():
    fleet = Fleet(rate=8e7)
    fleet.takes["train"] = 50.0
    fleet.orchestrator.submit(job(owners=("d1",), batches={"d1": 200}, of_task={"rounds": 1}))
    fleet.run(4)
    for up in (1e5, 8e7) * 12:
        fleet.units["d1"].up = up
        fleet.run(4)
    assert 2 <= fleet.functions().count("train-device") <= 4
    assert fleet.status().state == "done"
