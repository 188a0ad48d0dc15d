"""What nodes are given before tasks come: everybody's own samples and nobody else's, test sets, users' functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodes.learn import shards
from testbed.errors import InputError
from testbed.experiment.taskplan import OwnFunction
from testbed.run import reference
from testbed.run.platform import known, training
from testbed.run.platform.requests import Preparing
from tests.unit.run import platforms


@pytest.fixture
def directory(tmp_path):
    for node in platforms.plan().nodes:
        (tmp_path / "n" / node.name).mkdir(parents=True)
    return tmp_path


def there(directory: Path) -> dict[str, list[str]]:
    return {node.name: sorted(path.name for path in node.iterdir()) for node in (directory / "n").iterdir()}


def test_owners_have_their_samples_and_servers_the_test_set(directory):
    plan = platforms.plan(platforms.task(), platforms.task("alone", owners=("dev-2",)))
    prepared = known.write(plan, known.split(plan), directory)
    assert there(directory) == {
        "dev-1": ["task-digits.safetensors"],
        **{name: ["task-alone.safetensors", "task-digits.safetensors"]
           for name in ("dev-2", "edge-north", "edge-south", "cloud")},
    }  # fmt: skip
    assert prepared["digits"].samples == {"dev-1": 160, "dev-2": 160}
    assert prepared["alone"].samples == {"dev-2": 320}
    assert prepared["digits"].paths["edge-north"] == "/run/roambed/task-digits.safetensors"
    first, second, test = (
        shards.read(directory / "n" / name / "task-digits.safetensors") for name in ("dev-1", "dev-2", "edge-north")
    )
    assert (len(first), len(second), len(test)) == (160, 160, 100)
    rows = [{one.numpy().tobytes() for one in part.x} for part in (first, second, test)]
    assert not rows[0] & rows[2], "no sample of a device is elsewhere"
    assert len(rows[0] | rows[1]) > 310
    assert np.array_equal(test.y.numpy(), shards.read(directory / "n" / "cloud" / "task-digits.safetensors").y.numpy())


def test_data_that_does_not_go_round_names_its_task():
    from dataclasses import replace

    work = platforms.work()
    work = replace(work, data=replace(work.data, set="cifar10", dir="/nowhere"))
    with pytest.raises(InputError, match="task 'big'"):
        known.split(platforms.plan(platforms.task("big", work=work)))


def test_own_functions_are_given_to_all_units(directory):
    from dataclasses import replace
    from types import SimpleNamespace

    plan = platforms.plan()
    asked = replace(plan.platform, replaced={"aggregate": OwnFunction(30.0, 96 << 20)})
    session = SimpleNamespace(plan=replace(plan, platform=asked), directory=directory,
                              workers=[node.name for node in plan.nodes])  # fmt: skip
    assert training._given(session, "# fonctions à moi\n") == {"aggregate": "/run/roambed/functions.py"}
    assert set(map(tuple, there(directory).values())) == {("functions.py",)}
    [path, *_] = directory.rglob("functions.py")
    assert path.read_bytes() == "# fonctions à moi\n".encode()


# --- tasks that are submitted while others run ---


@pytest.fixture
def preparing(directory, tmp_path, monkeypatch):
    monkeypatch.setenv(reference.VARIABLE, str(tmp_path / "reference.json"))
    text = """
name: t
sites: {north: {}, south: {}}
cloud: {}
devices: {dev: {profile: tiny-device, count: 2, at: north}}
links: {north -- south: {rate: 100Mbit}, north -- cloud: {rate: 100Mbit}}
tasks: {digits: {model: cnn, cuts: [1, 2], data: {train: 320, test: 100}}}
"""
    from testbed.experiment import load_plan

    (tmp_path / "t.yaml").write_text(text)
    plan = load_plan(tmp_path / "t.yaml")
    entries = {"digits": platforms.known(platforms.plan(), platforms.task())}
    return Preparing(plan, directory, "9.9", entries), entries


def test_a_task_of_the_run_is_ready(preparing):
    prepare, entries = preparing
    assert prepare({"do": "submit", "name": "digits"}) == [entries["digits"]]
    assert prepare({"do": "status"}) is None


def test_a_task_whose_steps_were_never_measured_is_refused(preparing, tmp_path):
    prepare, _ = preparing
    (tmp_path / "more.yaml").write_text("tasks: {extra: {like: digits}}\n")
    with pytest.raises(InputError, match="not measured yet") as caught:
        prepare({"do": "submit", "file": str(tmp_path / "more.yaml")})
    assert "cnn cut at 1" in caught.value.wanted


def test_a_task_of_a_file_gets_its_data_and_its_times(preparing, directory, tmp_path):
    from nodes.policies.samples import FORMS

    prepare, _ = preparing
    for cut in (1, 2):
        reference.store(reference.key("cnn", cut, 16, 1, "9.9", FORMS["digits"]), platforms.OPS)
    (tmp_path / "more.yaml").write_text("tasks: {extra: {like: digits, owners: [dev-2]}}\n")
    (ready,) = prepare({"do": "submit", "file": str(tmp_path / "more.yaml")})
    assert ready.task.name == "extra"
    assert set(ready.references) == {1, 2}
    assert ready.prepared.samples == {"dev-2": 320}
    assert there(directory)["dev-2"] == ["task-extra.1.safetensors"]
    assert there(directory)["dev-1"] == []


def test_the_data_of_a_task_that_runs_is_not_written_over(preparing, directory, tmp_path):
    """By a task of a file whose name, numbered, is that of one of the run."""
    from nodes.policies.samples import FORMS

    prepare, _ = preparing
    for cut in (1, 2):
        reference.store(reference.key("cnn", cut, 16, 1, "9.9", FORMS["digits"]), platforms.OPS)
    mine = directory / "n" / "dev-2" / "task-extra-1.safetensors"
    mine.write_bytes(b"of the run")
    (tmp_path / "more.yaml").write_text("tasks: {extra: {like: digits, owners: [dev-2]}}\n")
    prepare({"do": "submit", "file": str(tmp_path / "more.yaml")})
    assert mine.read_bytes() == b"of the run"
