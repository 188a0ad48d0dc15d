"""What an experiment asks of the machine, and that it is refused where the machine has less."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from testbed.errors import CapacityError, InputError
from testbed.experiment import check_capacity, load, load_plan
from testbed.experiment.dilate import dilated

ROOT = Path(__file__).parents[3]
GIB = 2**30


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda p: p.name)
def test_topologies_that_ship_fit_on_two_cores(path):
    plan = load_plan(path)
    check_capacity(plan, cores=2, memory_bytes=8 * GIB)
    assert plan.moves or path.stem == "batteries"


def place(file, text):
    """``file:line`` of the first line that has this text."""
    lines = (ROOT / file).read_text().splitlines()
    return f"{ROOT / file}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


def test_more_cpu_than_the_machine_has():
    plan = load_plan(ROOT / "topologies/fedfly.yaml", ["devices.pi4.count=4"])
    check_capacity(plan, cores=2.26, memory_bytes=16 * GIB)
    with pytest.raises(CapacityError) as caught:
        check_capacity(plan, cores=2, memory_bytes=16 * GIB)
    error = caught.value
    assert (error.exit_code, error.where) == (2, place("topologies/fedfly.yaml", "edge: {"))
    assert "1.75" in (error.found or "")
    assert "4 x pi4 at 0.16" in (error.found or "")
    assert "1.70" in (error.wanted or "")
    assert "factor of 1.03" in (error.remedy or "")


def test_a_guard_above_the_machine():
    plan = load_plan(ROOT / "topologies/fedfly.yaml", ["profiles.pi3.cpus=99"])
    with pytest.raises(CapacityError, match="pi3-1 asks for more CPU than this machine has") as caught:
        check_capacity(plan, cores=2, memory_bytes=16 * GIB)
    assert caught.value.where == "--set profiles.pi3.cpus=..."


def test_capacity_is_asked_for_at_the_line_of_who_asks_for_most(write):
    profiles = "profiles:\n  tiny-edge: {speed: 0.1}\n  tiny-device:\n    {speed: 0.8,\n    memory: 3GiB}\nworkload:"
    file = write(("workload:", profiles))
    plan = load_plan(file)
    with pytest.raises(CapacityError, match="more CPU") as caught:
        check_capacity(plan, cores=2, memory_bytes=64 * GIB)
    assert caught.value.where == f"{file}:20"
    with pytest.raises(CapacityError, match="more memory") as caught:
        check_capacity(plan, cores=4, memory_bytes=4 * GIB)
    assert caught.value.where == f"{file}:21"


def test_more_cpu_than_a_machine_without_room():
    with pytest.raises(CapacityError, match="more CPU than this machine has") as caught:
        check_capacity(load_plan(ROOT / "topologies/smoke.yaml"), cores=0.2, memory_bytes=16 * GIB)
    assert caught.value.remedy == "use a machine with 2 cores"


def test_a_node_faster_than_a_core():
    """The file is refused; so is a plan that was made without one."""
    plan = load_plan(ROOT / "topologies/fedfly.yaml", ["profiles.cloud.speed=1"])
    faster = (*plan.nodes[:-1], dataclasses.replace(plan.nodes[-1], speed=1.5))
    with pytest.raises(CapacityError, match="cloud is faster than a core") as caught:
        check_capacity(dataclasses.replace(plan, nodes=faster), cores=64, memory_bytes=16 * GIB)
    assert "profiles.cloud.speed" in (caught.value.remedy or "")
    assert "dilation to 1.5, or auto" in (caught.value.remedy or "")


def test_speeds_above_a_core_fit_where_time_is_dilated():
    file, speed = ROOT / "topologies/fedfly.yaml", "profiles.cloud.speed=1.5"
    plan = load_plan(file, [speed, "dilation=2"])
    check_capacity(dilated(plan), cores=2, memory_bytes=16 * GIB)
    assert load_plan(file, [speed, "dilation=auto"]).dilation == 0.0
    with pytest.raises(InputError, match=r"faster than a core of this machine at a dilation of 1\.25"):
        load_plan(file, [speed, "dilation=1.25"])


@pytest.mark.parametrize("dilation", [1, 1.5])
def test_the_factor_that_is_named_fits(dilation):
    file, devices = ROOT / "topologies/fedfly.yaml", "devices.pi4.count=12"
    plan = dilated(load_plan(file, [devices, f"dilation={dilation}"]))
    with pytest.raises(CapacityError) as caught:
        check_capacity(plan, cores=1, memory_bytes=64 * GIB)
    factor = re.search(r"dilation to ([0-9.]+), or auto", caught.value.remedy or "")
    assert factor is not None
    assert float(factor[1]) == pytest.approx(3.03 / 0.7, abs=0.011)
    check_capacity(dilated(load_plan(file, [devices, f"dilation={factor[1]}"])), 1, 64 * GIB)


def test_more_memory_than_the_machine_has():
    plan = load_plan(ROOT / "topologies/fedfly.yaml")
    with pytest.raises(CapacityError) as caught:
        check_capacity(plan, cores=2, memory_bytes=4 * GIB)
    assert caught.value.found == "6GiB for 7 nodes"
    assert "factor of 1.50" in (caught.value.remedy or "")


def test_loading_does_not_ask_for_the_machine():
    assert load(ROOT / "topologies/fedfly.yaml", ["devices.pi4.count=80"]).spec.devices["pi4"].count == 80
