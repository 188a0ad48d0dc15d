from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan
from testbed.run import data

TOPOLOGIES = Path(__file__).parents[3] / "topologies"


def changed(plan: Plan, **settings: object) -> Plan:
    return replace(plan, workload=replace(plan.workload, data=replace(plan.workload.data, **settings)))


@pytest.mark.parametrize(("name", "synthetic"), [("motion", True), ("text", False), ("smoke", False)])
def test_a_manifest_tells_which_data_it_was(name: str, synthetic: bool) -> None:
    plan = load_plan(TOPOLOGIES / f"{name}.yaml")
    found = data.split(plan)
    about = data.described(plan, found)
    assert about["set"] == plan.workload.data.set
    assert about["synthetic"] is synthetic is plan.workload.data.synthetic
    assert (about["train"], about["test"]) == (len(found.data.train_y), len(found.data.test_y))
    assert about == data.described(plan, data.split(plan))
    less = changed(plan, train_samples=about["train"] - 1)
    assert data.described(less, data.split(less))["sha256"] != about["sha256"]
    other = replace(plan, seed=plan.seed + 1)
    assert (data.described(other, data.split(other))["sha256"] != about["sha256"]) is synthetic


@pytest.mark.parametrize(
    "rule", [{}, {"dirichlet": 0.3}, {"fractions": {"phone-1": 0.5, "phone-2": 0.25, "phone-3": 0.25}}]
)
def test_every_split_deals_out_windows(rule: dict[str, object]) -> None:
    plan = changed(load_plan(TOPOLOGIES / "motion.yaml"), **{"dirichlet": None, **rule})
    found = data.split(plan)
    owned = np.concatenate(list(found.owned.values()))
    assert sorted(owned.tolist()) == list(range(1440))
    assert min(len(own) for own in found.owned.values()) >= plan.workload.batch


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "SMSSpamCollection").write_text("eggs\tand spam\n" * 10)
    plan = changed(load_plan(TOPOLOGIES / "text.yaml"), set="sms", dir=str(tmp_path))
    with pytest.raises(InputError, match="damaged") as caught:
        data.split(plan)
    assert caught.value.where == f"{tmp_path / 'SMSSpamCollection'}:1"
