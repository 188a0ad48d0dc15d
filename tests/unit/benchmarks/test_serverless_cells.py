"""The cells of the serverless platform's benchmark, and their experiment files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.grid.command import by_bed, main
from benchmarks.serverless import cells, foreseen, lessons, scenarios
from benchmarks.serverless.__main__ import GRID
from benchmarks.serverless.cells import PACK, Cell
from benchmarks.serverless.figures import figures
from benchmarks.serverless.lessons import ALL, CONTROL, LESSONS
from benchmarks.serverless.scenarios import ABSENT, BASELINES, GREEDY, SCENARIOS
from nodes.policies.baselines import POLICIES
from nodes.policies.orchestrating import predict
from nodes.policies.samples import FORMS
from nodes.policies.selection import RULES
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan
from tests.unit.benchmarks.serverless_results import FULL, QUICK, RULE, recorded, result


def fitting(text: str, directory: Path) -> Plan:
    """The plan of an experiment file, which fits on two cores."""
    path = directory / "cell.yaml"
    path.write_text(text)
    plan = load_plan(path, [])
    assert sum(node.speed for node in plan.nodes) <= 1.7
    return plan


@pytest.mark.parametrize("cell", [c for c in FULL if c.kind == "platform" and c.seed == 1], ids=lambda c: c.name)
def test_every_run_is_an_experiment_that_fits_on_two_cores(cell: Cell, tmp_path: Path) -> None:
    scenario = SCENARIOS[cell.setting]
    plan = fitting(scenarios.experiment(scenario, cell.way, cell.rule, cell.seed), tmp_path)
    assert (plan.seed, plan.platform.policy, plan.platform.weights) == (cell.seed, cell.way, scenario.weights)
    assert [one.name for one in plan.tasks] == list(scenario.tasks)
    assert {one.absent for one in plan.tasks} == {ABSENT}
    for one in plan.tasks:
        asked = one.work.data.select
        assert (None if asked is None else (asked.rule, asked.share)) == (
            None if cell.rule == ALL else (cell.rule, 0.3)
        )  # fmt: skip
    assert len(plan.moves) == len(scenario.moves)
    batteries = {node.name: node.battery for node in plan.nodes if node.battery is not None}
    assert bool(batteries) is bool(scenario.left)
    for name, left in scenario.left:
        assert batteries[name].spare_j == pytest.approx(left)


@pytest.mark.parametrize("name", [name for name, at in SCENARIOS.items() if at.blind])
def test_a_scenario_is_about_what_its_baseline_is_blind_to(name: str, tmp_path: Path) -> None:
    """By prediction: it decides otherwise than the orchestrator, and worse, or against a constraint."""
    scenario = SCENARIOS[name]
    path = tmp_path / "cell.yaml"
    path.write_text(scenarios.experiment(scenario, GREEDY, ALL, 1))
    problem = foreseen.problem(load_plan(path, []))
    judged = {}
    for policy in (GREEDY, *(one for one in BASELINES if one.startswith("blind"))):
        placement = POLICIES[policy](problem).placement
        assert placement is not None
        found = predict(problem, placement)
        judged[policy] = (found.objective, [one.name for one in found.violations])
    ours, broken = judged[GREEDY]
    assert not broken
    objective, broken = judged[scenario.blind]
    assert objective > 1.25 * ours or broken == ["battery"]
    assert not broken or name == "weak-batteries"


# --- cells --------------------------------------------------------------------------------------------------


def test_the_quick_list_has_all_that_the_figures_need() -> None:
    names = [cell.name for cell in QUICK]
    assert len(names) >= 12
    assert len(set(names)) == len(names)
    assert sum(PACK for cell in QUICK if cell.kind == "gap") == cells.CASES == 200
    for cell in QUICK:
        assert all(other.name in names for other in cells.beside(cell))
    for name in ("images", "passages", "text"):
        own = LESSONS[name].rule
        wanted = {1} if name == "text" else {1, 2, 3, 4, 5}  # of which nothing but a row of the page is made
        for rule in (ALL, own, CONTROL):
            assert {c.seed for c in QUICK if (c.kind, c.setting, c.rule) == ("accuracy", name, rule)} == wanted
        costs = {c.seed for c in QUICK if (c.kind, c.setting, c.way, c.rule) == ("small", name, "splitfed", own)}
        assert costs == (set() if name == "text" else {1, 2, 3, 4, 5})


def test_the_grid_is_whole_and_each_bed_is_brought_up_once() -> None:
    names = {cell.name for cell in FULL}
    assert {cell.name for cell in QUICK} <= names
    assert len(names) == len(FULL)
    beds = [cell.bed for cell in FULL]
    assert len(by_bed(FULL, GRID.bed)) == sum(a != b for a, b in zip(beds, ["", *beds], strict=False))
    assert {cell.rule for cell in FULL if cell.kind == "accuracy"} == {ALL, *RULES}
    assert {cell.way for cell in FULL if cell.kind == "small"} == {"splitfed", "fedavg", "fedfly", "edgemove"}


@pytest.mark.parametrize(
    "cell", [c for c in FULL if c.kind == "small" and c.seed == 1], ids=lambda cell: cell.name
)  # fmt: skip
def test_every_training_is_an_experiment_that_fits_on_two_cores(cell: Cell, tmp_path: Path) -> None:
    lesson = LESSONS[cell.setting]
    plan = fitting(lessons.experiment(lesson, cell.way, cell.rule, cell.seed), tmp_path)
    work = plan.workload
    assert (plan.seed, work.schemes, work.model, work.rounds) == (cell.seed, (cell.way,), lesson.model, lesson.short)
    assert work.batch == lesson.batch
    if cell.rule == ALL:
        assert work.data.select is None
    else:
        asked = work.data.select
        assert asked is not None
        assert (asked.rule, asked.share, asked.control) == (cell.rule, 0.3, False)
    if cell.way == "splitfed":
        assert work.cut == lesson.cut
    assert all(node.power is not None for node in plan.nodes if node.kind == "device")


def test_what_is_trained_in_memory_is_what_is_trained_on_containers(tmp_path: Path) -> None:
    for lesson in [one for one in LESSONS.values() if not one.given]:
        path = tmp_path / "cell.yaml"
        path.write_text(lessons.experiment(lesson, "splitfed", RULE, 3))
        work = load_plan(path, []).workload
        job, chosen = lesson.job, lessons.choice(RULE)
        assert (job.name, job.model, job.batch, job.lr) == (work.data.set, work.model, work.batch, work.lr)
        assert (work.momentum, work.weight_decay) == (0.9, 0.0)
        assert work.data.select is not None
        assert (chosen.rule, chosen.share, chosen.by, chosen.features) == (
            work.data.select.rule, work.data.select.share, work.data.select.by, work.data.select.features
        )  # fmt: skip
        form = FORMS[lesson.data]
        assert (work.data.train_samples, work.data.test_samples) == (lesson.costed or form.train, form.test)


def test_with_a_directory_cifar10_stands_beside_what_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not in its place: the figures are of the embedded tasks."""
    path = tmp_path / "cell.yaml"
    path.write_text(lessons.experiment(LESSONS["cifar"], "splitfed", RULE, 1, str(tmp_path)))
    asked = load_plan(path, []).workload.data
    assert (asked.set, asked.dir) == ("cifar10", str(tmp_path))
    path.write_text(lessons.experiment(LESSONS["images"], "splitfed", RULE, 1, str(tmp_path)))
    assert load_plan(path, []).workload.data.set == "digits"
    listed = {}
    for words in ([], ["--data", str(tmp_path)]):
        assert main(GRID, ["--list", *words]) == 0
        listed[bool(words)] = capsys.readouterr().out.splitlines()
    more = set(listed[True]) - set(listed[False])
    assert "accuracy/cifar/hard" in more
    assert all("/cifar/" in name for name in more)
    assert [name for name in listed[True] if name not in more] == listed[False]
    found = recorded(FULL)
    for cell in cells.full([1]):
        if cells.needs_data(cell):
            found[cell.name] = replace(result(cell), rows=[{**result(cell).row, "accuracy": [0.0], "busy_s": 99.0}])
    with_data = [*FULL, *(cell for cell in cells.full([1]) if cells.needs_data(cell))]
    assert figures(found, with_data) == figures(recorded(FULL), FULL)
