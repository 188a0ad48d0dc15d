"""What units of the platform begin with."""

from __future__ import annotations

from pathlib import Path

from testbed.experiment import load_plan
from testbed.experiment.plan import Plan
from testbed.run.platform import settings

SERVERLESS = Path(__file__).parents[3] / "topologies" / "serverless.yaml"


def begun(*overrides: str, file: Path = SERVERLESS) -> dict[str, dict[str, int]]:
    """Instances by node and function."""
    plan: Plan = load_plan(file, overrides)
    found = {}
    for node in plan.nodes:
        if node.kind == "host":
            continue
        there = settings.provisioned(plan, node)
        assert sum(count * needed for count, needed in there.values()) <= settings.unit(plan, node).memory
        found[node.name] = {name: count for name, (count, _) in there.items()}
    return found


def test_units_begin_with_what_all_tasks_may_ask_of_them_as_far_as_their_memory_goes() -> None:
    found = begun("platform.provisioned=true", "profiles.centre.memory=6GiB")
    assert found["phone"] == found["board"] == {"train-device": 2}
    assert found["cloud"] == {"aggregate": 1, "evaluate": 1, "initialise": 1, "train-edge": 6, "broadcast": 2}
    less = begun("platform.provisioned=true", "profiles.server.memory=1GiB")["edge-north"]
    assert less.keys() < found["cloud"].keys()


def test_nothing_is_provisioned_unasked(tmp_path: Path) -> None:
    asked = SERVERLESS.read_text()
    silent = tmp_path / "serverless.yaml"
    silent.write_text(asked.replace("  provisioned: yes\n", ""))
    assert silent.read_text() != asked
    assert not any(begun(file=silent).values())
