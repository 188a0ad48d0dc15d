"""The benchmark of EdgeMove's pipelines: its cells, their experiment files, and what is measured of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.edgemove import cells, measure
from benchmarks.edgemove.__main__ import GRID
from benchmarks.edgemove.cells import Cell, training
from benchmarks.edgemove.settings import DEVICE, SETTINGS, Training, experiment, pieces
from benchmarks.grid.command import by_bed, main
from testbed.experiment import load_plan
from tests.unit.benchmarks import fingerprints
from tests.unit.benchmarks.edgemove_results import trained

QUICK = cells.quick()


# --- cells --------------------------------------------------------------------------------------------------


def test_the_quick_list_is_of_at_least_twelve_cells_and_has_what_they_are_compared_to() -> None:
    names = [cell.name for cell in QUICK]
    assert len(names) >= 12
    assert len(set(names)) == len(names)
    assert sum(cell.kind == "plans" for cell in QUICK) == 10
    assert sorted(s.slowest for s in SETTINGS.values() if s.slowest) == ["device", "link", "server"]
    for cell in QUICK:
        if cell.kind == "bound":
            assert cell.beside("apart").name in names
        if cell.kind == "steady":
            assert cell.beside("cuts", "split").name in names


def test_the_grid_is_whole_and_each_bed_is_brought_up_once() -> None:
    grid = cells.full([1, 2, 3, 4, 5], traces=True)
    names = {cell.name for cell in grid}
    assert {cell.name for cell in QUICK} <= names
    assert len(names) == len(grid)
    beds = [cell.on.bed.name for cell in grid]
    assert len(by_bed(grid, GRID.bed)) == sum(a != b for a, b in zip(beds, ["", *beds], strict=False))
    for way in cells.VARIANTS:
        assert {c.seed for c in grid if c.kind == "moving" and c.way == way} == {1, 2, 3, 4, 5}
    kinds = {"bound", "plans", "split", "steady", "moving", "load", "accuracy"}
    assert {cell.kind for cell in cells.full([1])} == kinds
    assert {cell.kind for cell in grid} == kinds | {"traces"}


@pytest.mark.parametrize("cell", cells.full([3]), ids=lambda c: c.name)
def test_every_cell_is_an_experiment_that_fits_on_two_cores(cell: Cell, tmp_path: Path) -> None:
    asked = training(cell)
    path = tmp_path / "cell.yaml"
    path.write_text(experiment(cell.on, asked))
    plan = load_plan(path, [])
    assert sum(node.speed for node in plan.nodes) <= 1.7
    work = plan.workload
    assert (plan.seed, work.schemes, work.rounds) == (cell.seed, (asked.scheme,), asked.rounds)
    assert bool(plan.moves) is cell.on.bed.wanders
    assert bool(plan.predictions) is cell.on.bed.wanders
    if cell.kind == "bound":
        assert work.pipeline.plan == cell.on.plan
        assert work.pipeline.micro == 8
    if cell.kind == "split":
        assert (work.pipeline.micro, work.pipeline.schedule) == (1, "sequential")


def test_beds_of_one_name_are_one() -> None:
    beds = {setting.bed.name: setting.bed for setting in SETTINGS.values()}
    assert all(beds[setting.bed.name] == setting.bed for setting in SETTINGS.values())


def test_a_layout_is_written_as_a_plan() -> None:
    assert pieces(["dev", "edge-north", "edge-south"], [0, 2, 3, 7]) == (
        ("device", 2), ("edge-north", 1), ("edge-south", 4)
    )  # fmt: skip


def test_a_plan_and_its_depth_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    asked = Training(plan=(("device", 2), ("edge-south", 5)), depth=3)
    path.write_text(experiment(SETTINGS["even"], asked))
    found = load_plan(path, [])
    assert found.layouts()[DEVICE].nodes == (DEVICE, "edge-south")
    assert found.layouts()[DEVICE].depths == (3, 1)


def test_cifar10_is_read_from_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "bed.yaml"
    path.write_text(experiment(SETTINGS["even"], Training(), str(tmp_path)))
    asked = load_plan(path, []).workload.data
    assert (asked.set, asked.dir) == ("cifar10", str(tmp_path))
    path.write_text(experiment(SETTINGS["slow-servers-motion"], Training(), str(tmp_path)))
    assert load_plan(path, []).workload.data.set == "motion"


def test_a_fingerprint_is_of_all_that_a_result_depends_on() -> None:
    cell = QUICK[0]
    fingerprints.require_of_all(cells.fingerprint, cell, cell.beside("sync"), "digits")


# --- measuring ----------------------------------------------------------------------------------------------


def test_the_best_plan_is_measured_again(tmp_path: Path) -> None:
    took = {"edge-south": 0.4, "edge-north": 0.5}
    asked = training(Cell("plans", "small", "all"))
    ran: list[tuple[str, Training]] = []

    def run(what: str, own: Training) -> measure.Row:
        ran.append((what, own))
        nodes = [DEVICE, *(node for node, _ in own.plan[1:])] if own.plan else [DEVICE, "edge-north"]
        at = own.plan[0][1] if own.plan else 1
        found = trained(Cell("plans", "small", "all"), what, took.get(nodes[-1], 0.9) + 0.01 * (at or 0))
        return found | {"nodes": nodes, "bounds": [0, at, 5], "depths": [3, 1], "scheme": own.scheme}

    rows = measure.plans(_Session(asked, tmp_path), asked, run)
    every = [own for what, own in ran if what == "plan"]
    pipelines = {own.plan for own in every if own.scheme == "edgemove"}
    assert len(pipelines) == 8  # four cuts, two servers
    assert len(every) - len(pipelines) == sum(own.scheme == "local" for own in every) <= 1
    assert ran[-1][0] == "best again"
    assert ran[-1][1].plan == (("device", 1), ("edge-south", 4))
    assert rows[-2]["what"] == "chosen again"
    assert ran[-2][1].plan == ()


def test_cuts_are_measured_and_the_best_one_again_also_as_splitfed(tmp_path: Path) -> None:
    cell = Cell("split", "small", "cuts")
    asked = training(cell)
    ran: list[tuple[str, Training]] = []

    def run(what: str, own: Training) -> measure.Row:
        ran.append((what, own))
        at = own.plan[0][1] if own.plan else 1
        found = trained(cell, what, 1.0 - 0.1 * (at or 0))
        return found | {"nodes": [DEVICE, "edge-north"], "bounds": [0, at, 5], "depths": [1, 1], "scheme": own.scheme}

    measure.cuts(_Session(asked, tmp_path), asked, run)
    most = max(own.plan[0][1] or 0 for what, own in ran if what == "cut")
    assert ran[-2][0] == "best again"
    assert ran[-2][1].plan[0] == ("device", most)
    assert (ran[-1][1].scheme, ran[-1][1].cut) == ("splitfed", most)
    assert all(len(own.plan) == 2 for what, own in ran if what == "cut")


class _Session:
    """A session whose bed is not looked at."""

    def __init__(self, asked: Training, tmp_path: Path) -> None:
        path = tmp_path / "small.yaml"
        path.write_text(experiment(SETTINGS["small"], asked))
        self.plan = load_plan(path, [])
        names = ("conv1", "pool1", "conv2", "pool2", "fc")
        self.layer_times = {f"{way}.{name}": 0.001 for way in ("forward", "backward", "update") for name in names}
        self.layer_times["loss"] = 0.001


def test_the_command_lists_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GRID, ["--quick", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [cell.name for cell in QUICK]
    assert main(GRID, ["--data", "/nowhere"]) == 2
    assert "CIFAR-10" in capsys.readouterr().err
