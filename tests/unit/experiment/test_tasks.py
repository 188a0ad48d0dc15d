"""Tasks of the serverless platform: what is written, what it comes to, what is refused and where."""

# ruff: noqa: E501  (a table of one fault a line reads better)

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies.baselines import POLICIES
from testbed.cli import show, showtasks
from testbed.errors import InputError
from testbed.experiment import load_plan, submitting, tasking
from testbed.experiment.taskplan import OwnFunction
from testbed.experiment.units import UnitError

GOOD = """\
name: tasks
seed: 5
sites:
  north: {at: [0, 0]}
  south: {at: [100, 0]}
cloud: {}
devices:
  dev: {profile: tiny-device, count: 2, at: north}
  lone: {profile: pi4, at: south}
links:
  north -- south: {rate: 100Mbit}
  north -- cloud: {rate: 50Mbit}
platform: {policy: greedy, weights: {energy: 0.1}}
tasks:
  digits:
    scheme: fedfly
    model: cnn
    cuts: [3, pool1]
    data: {set: digits, train: 300, test: 100, select: {rule: random, share: 50%}}
    owners: [dev]
    target: 90%
    deadline: 1min
  more:
    like: digits
    data: {train: 200}
    rounds: 2
    arrivals: {poisson: 0.5/s, count: 3}
"""
"""``tasks`` is on line 14, ``digits`` on 15, its cuts on 18, ``more`` on 23."""


@pytest.fixture
def write(tmp_path):
    def write(*replacements, text=GOOD):
        for old, new in replacements:
            assert text.count(old) == 1, f"{old!r} is in the text {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / "exp.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_plan_has_tasks_with_every_name_resolved(write):
    plan = load_plan(write())
    first, more = plan.tasks
    assert (first.name, first.cuts, first.owners, first.work.schemes) == ("digits", (2, 3), ("dev-1", "dev-2"), ("fedfly",))
    assert (first.target, first.deadline, first.least, first.comes) == (0.9, 60.0, 1, (("digits", 0.0),))
    assert plan.platform.weights == (1.0, 0.1, 0.0)
    assert plan.workload.model == "cnn", "bring-up measures speeds with it"
    assert more.cuts == first.cuts, "of the one that it is like"


def test_a_task_like_another_has_all_but_what_it_says_and_when_that_comes(write):
    first, more = load_plan(write(("    deadline: 1min", "    deadline: 1min\n    at: 7s"))).tasks
    assert (more.work.rounds, first.work.rounds) == (2, 4)
    assert (more.work.data.train_samples, more.work.data.test_samples) == (200, 100), "mappings are joined"
    assert more.work.data.select == first.work.data.select
    assert [name for name, _ in more.comes] == ["more-1", "more-2", "more-3"]
    assert first.comes == (("digits", 7.0),)


def test_what_is_wrong_with_a_value_of_another_task_is_placed_where_it_was_written(write):
    with pytest.raises(InputError) as caught:
        load_plan(write(("    data: {train: 200}\n", "    data: {train: 200}\n    batch: 150\n")))
    assert caught.value.where.endswith("exp.yaml:26")
    assert "task 'more'" in caught.value.message
    with pytest.raises(InputError) as caught:
        load_plan(write(("    owners: [dev]\n", "    owners: [dev]\n    least: 3\n")))
    assert all(problem.where.endswith("exp.yaml:21") for problem in caught.value.problems)


@given(seed=st.integers(0, 2**32), rate=st.floats(0.01, 100.0), count=st.integers(1, 50))
def test_arrivals_follow_from_their_seed_and_grow(seed, rate, count):
    from types import SimpleNamespace

    from testbed.experiment.taskplanner import _comes

    task = tasking.Task(arrivals=tasking.Arrivals(poisson=f"{rate:.6f}/s", count=count))
    spec = SimpleNamespace(seed=seed)
    found = list(_comes(spec, "t", task))
    assert found == list(_comes(spec, "t", task))
    times = [at for _, at in found]
    assert len(times) == count
    assert times == sorted(times)
    assert times[0] > 0
    own = tasking.Task(arrivals=tasking.Arrivals(poisson=f"{rate:.6f}/s", count=count, seed=seed))
    assert list(_comes(SimpleNamespace(seed=seed + 1), "t", own)) == found


def test_arrivals_have_the_rate_that_was_asked_for():
    from types import SimpleNamespace

    from testbed.experiment.taskplanner import _comes

    task = tasking.Task(arrivals=tasking.Arrivals(poisson="6/min", count=1000))
    last = list(_comes(SimpleNamespace(seed=1), "t", task))[-1][1]
    assert last / 1000 == pytest.approx(10.0, rel=0.15)


def test_times_of_several_copies_are_in_order_and_an_empty_list_is_never(write):
    digits, more = load_plan(write(("    deadline: 1min", "    deadline: 1min\n    at: [9s, 0s]"), ("    arrivals: {poisson: 0.5/s, count: 3}", "    at: []"))).tasks
    assert digits.comes == (("digits-2", 0.0), ("digits-1", 9.0))
    assert more.comes == ()


def test_the_file_as_it_was_understood_is_understood_alike(write, tmp_path):
    plan = load_plan(write())
    again = tmp_path / "again.yaml"
    again.write_text(plan.rendered)
    assert load_plan(again).tasks == plan.tasks
    assert "like" not in yaml.safe_load(plan.rendered)["tasks"]["more"]


def test_policies_are_those_that_there_are():
    assert tuple(POLICIES) == tasking.POLICIES


def test_cuts_may_be_the_whole_model_and_are_all_by_default(write):
    (whole, _) = load_plan(write(("[3, pool1]", "[whole, 1]"))).tasks
    assert whole.cuts == (1, 5)
    (every, _) = load_plan(write(("    cuts: [3, pool1]\n", ""))).tasks
    assert every.cuts == (1, 2, 3, 4)


BAD = {
    "a workload beside": (("seed: 5", "seed: 5\nworkload: {rounds: 2}"), 3, "tasks and a workload", "take one out"),
    "no tasks": (("tasks:\n  digits:", "tasks: {}\nhosts:\n  digits:"), None, None, None),
    "a model nobody has": (("    model: cnn\n", "    model: lenet\n"), 17, "unknown model 'lenet'", None),
    "a data set for another model": (("    model: cnn\n", "    model: transformer\n"), None, "does not take images", None),
    "a pipeline": (("scheme: fedfly", "scheme: edgemove"), 16, "does not run 'edgemove'", "use one of them"),
    "a cut outside": (("[3, pool1]", "[3, 5]"), 18, "leaves nothing on one of the sides", "1 to 4, or whole"),
    "no such layer": (("[3, pool1]", "[3, pool9]"), 18, "no layer or cut 'pool9'", "did you mean"),
    "a cut twice": (("[3, pool1]", "[2, pool1]"), 18, "cut pool1 is there twice", None),
    "cuts of a whole model": (("scheme: fedfly", "scheme: fedavg"), 18, "cuts no model", "take cuts out"),
    "no such owner": (("owners: [dev]", "owners: [dev-3]"), 20, "no device 'dev-3'", "did you mean"),
    "no such policy": (("policy: greedy", "policy: gredy"), 13, "unknown policy 'gredy'", "did you mean 'greedy'"),
    "nothing counts": (("weights: {energy: 0.1}", "weights: {time: 0}"), 13, "nothing counts", None),
    "no time": (("deadline: 1min", "deadline: 0s"), 22, "this is nothing", None),
    "no target": (("target: 90%", "target: 0%"), 21, "this is nothing", None),
    "a target above": (("target: 90%", "target: 120%"), 21, "more than the whole", None),
    "raw samples leave": (("    owners: [dev]\n", "    owners: [dev]\n    privacy: {raw: leaves}\n"), 21, "never leave a device", None),
    "labels stay": (("    owners: [dev]\n", "    owners: [dev]\n    privacy: {labels: stay}\n"), 21, "labels are to stay", "cuts: [whole]"),
    "a share of nothing": (("share: 50%", "share: 0%"), 19, "a share of the data that is none", None),
    "a share above": (("share: 50%", "share: 130%"), 19, "more than the whole", None),
    "a share below a batch": (("share: 50%", "share: 5%"), 19, "less than a batch", "tasks.digits.batch"),
    "a control": (("share: 50%}", "share: 50%, control: random}"), 19, "no control of its own", "digits-random"),
    "too many owners": (("    owners: [dev]\n", "    owners: [dev]\n    least: 5\n"), 21, "more owners than there are", None),
    "like nobody": (("like: digits", "like: digit"), 24, "there is no task 'digit'", "did you mean"),
    "in a circle": (("    deadline: 1min\n", "    deadline: 1min\n    like: more\n"), None, "in a circle", None),
    "two ways": (("    rounds: 2\n", "    rounds: 2\n    at: 3s\n"), None, "comes in two ways", None),
    "an unbounded queue": (("policy: greedy", "queue: 100000"), 13, None, "1000 or less"),
    "unbounded arrivals": ((", count: 3", ""), 27, "'count' is missing", None),
    "arrivals of no rate": (("0.5/s", "0/s"), 27, "not how often", "0.1/s"),
    "a rate without unit": (("0.5/s", "0.5"), 27, "not how often", "0.1/s"),
    "a name": (("  more:\n", "  More_x:\n"), 23, "cannot be the name of a task", "more-x"),
    "names that clash": (("  digits:\n", "  more-2:\n"), None, None, None),
    "a move by rounds": (("platform:", "mobility: {moves: [dev-1 to south at 50% of round 2]}\nplatform:"), 13, "whose rounds?", "at 12s"),
    "a fault by rounds": (("platform:", "faults: [{kill: lone, device: dev-1, round: 1}]\nplatform:"), 13, "whose rounds?", None),
    "a standby": (("    owners: [dev]\n", "    owners: [dev]\n    strategy: shadow\n"), 21, "no standbys", None),
    "a cut of devices": (("profile: pi4, at", "profile: pi4, cut: 2, at"), 9, "chooses one", "take it out"),
    "epochs without end": (("    owners: [dev]\n", f"    owners: [dev]\n    local_epochs: 1{'0' * 30}\n"), 21, "so many local epochs", "tasks.digits.local_epochs"),
    "no functions": (("policy: greedy", "functions: nowhere.py"), None, "cannot be read", "is it there"),
}


@pytest.mark.parametrize("name", [name for name, row in BAD.items() if row[1:] != (None, None, None)])
def test_what_is_refused_is_told_where_it_stands_and_what_to_do(write, name):
    replacement, line, message, remedy = BAD[name]
    with pytest.raises(InputError) as caught:
        load_plan(write(replacement))
    problems = getattr(caught.value, "problems", [caught.value])
    assert any(
        (line is None or problem.where.endswith(f"exp.yaml:{line}"))
        and (message is None or message in problem.message)
        and (remedy is None or remedy in (problem.remedy or ""))
        for problem in problems
    ), str(caught.value)


def test_a_run_to_which_no_task_would_come_is_refused(write):
    """It would end as it begins, and be ok; with a file of tasks for a run that stands, they are to come at once."""
    never = (("    deadline: 1min\n", "    deadline: 1min\n    at: []\n"),
             ("    arrivals: {poisson: 0.5/s, count: 3}\n", "    at: []\n"))  # fmt: skip
    with pytest.raises(InputError, match="no task comes") as caught:
        load_plan(write(*never))
    assert caught.value.where.endswith("exp.yaml:14")
    assert "platform.linger" in caught.value.remedy
    plan = load_plan(write(*never, ("policy: greedy", "policy: greedy, linger: 1min")))
    assert [task.comes for task in plan.tasks] == [(), ()]
    assert load_plan(write(never[0])).tasks[0].comes == ()


def test_tasks_of_one_name_are_refused(write):
    with pytest.raises(InputError, match="two tasks are called 'more-2'"):
        load_plan(write(("  digits:\n", "  more-2:\n"), ("like: digits", "like: more-2")))


def test_a_platform_to_which_nothing_comes_is_refused(write):
    text = GOOD[: GOOD.index("tasks:\n  digits")]
    with pytest.raises(InputError, match="nothing comes to it"):
        load_plan(write(text=text))


@pytest.mark.parametrize(("text", "rate"), [("0.1/s", 0.1), ("6/min", 0.1), ("360 / h", 0.1), (".5/s", 0.5)])
def test_how_often(text, rate):
    assert tasking.parse_often(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["0.1", 0.1, "-1/s", "1/d", "", None, "1e3/s", "0/s", "inf/s"])
def test_what_is_not_how_often(text):
    with pytest.raises(UnitError):
        tasking.parse_often(text)


def test_the_plan_is_shown_in_words(write, capsys):
    plan = load_plan(write())
    text = "\n".join(showtasks.platform(plan))
    assert "decided by greedy: 1 for a second, 0.1 for a joule" in text
    assert "task digits: fedfly with cnn cut at 2 or 3 on digits of dev-1, dev-2, 4 rounds of batch 16" in text
    assert "or 90% accuracy within 60s; comes at the start" in text
    show.show(plan, show.Format.table)
    assert "2 tasks on the serverless platform (digits, more)" in capsys.readouterr().out


def test_the_topology_that_ships_fits_on_two_cores():
    plan = load_plan("topologies/serverless.yaml")
    assert math.fsum(node.speed for node in plan.nodes) <= 1.7
    assert {task.name for task in plan.tasks} == {"digits", "moves", "later"}


# --- a user's own functions, and tasks that are submitted ---

OWN = """\
from nodes.platform.functions import MIB, Tensors, function

@function(inputs={"models": Tensors(many=True), "samples": dict[str, float]}, outputs={"weights": Tensors()},
          memory=96 * MIB, name="%s")
def mine(models, samples):
    return {"weights": next(iter(models.values()))}
"""


def test_functions_that_nothing_would_invoke_are_refused(write, tmp_path):
    (tmp_path / "my.py").write_text(OWN % "median")
    with pytest.raises(InputError) as caught:
        load_plan(write(("policy: greedy", "functions: my.py")))
    assert "nothing would ever invoke them" in caught.value.message
    assert "aggregate" in caught.value.wanted


def test_functions_that_stand_in_for_built_in_ones_are_known_with_their_limits(write, tmp_path):
    (tmp_path / "my.py").write_text((OWN % "aggregate").replace("memory=", "time_limit=900, memory="))
    plan = load_plan(write(("policy: greedy", "functions: my.py")))
    assert plan.platform.replaced == {"aggregate": OwnFunction(900.0, 96 << 20)}


def test_the_function_that_the_docs_have_is_one(write, tmp_path):
    page = (Path(__file__).resolve().parents[3] / "docs" / "serverless-functions.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my.py").write_text(example)
    plan = load_plan(write(("policy: greedy", "functions: my.py")))
    assert list(plan.platform.replaced) == ["aggregate"]
    own: dict[str, Any] = {}
    exec(example, own)
    models = {name: {"w": np.array([value, 1.0], np.float32)} for name, value in (("a", 1), ("b", 2), ("c", 90))}
    made = own["aggregate"](models, dict.fromkeys(models, 1.0))["weights"]["w"]
    assert (made.tolist(), made.dtype) == ([2.0, 1.0], np.float32)


def test_functions_that_cannot_be_called_as_built_in_ones_are_refused_with_their_line(write, tmp_path):
    (tmp_path / "my.py").write_text((OWN % "aggregate").replace("def mine(models, samples)", "def mine(models)"))
    with pytest.raises(InputError, match="inputs that it does not take") as caught:
        load_plan(write(("policy: greedy", "functions: my.py")))
    assert "my.py:" in caught.value.where


def test_tasks_of_another_file_are_those_of_a_run(write, tmp_path):
    plan = load_plan(write())
    other = tmp_path / "more.yaml"
    other.write_text("tasks:\n  extra: {like: digits, rounds: 7, at: 3s}\n  own: {model: cnn, scheme: fedavg}\n")
    extra, own = submitting.tasks_of(other, plan)
    assert (extra.name, extra.work.rounds, extra.cuts, extra.comes) == ("extra", 7, (2, 3), (("extra", 3.0),))
    assert extra.owners == ("dev-1", "dev-2")
    assert (own.name, own.cuts, own.owners) == ("own", (5,), ("dev-1", "dev-2", "lone"))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("tasks:\n  extra: {like: digits, batch: 5000}\n", "a batch is more than", 2),
        ("tasks:\n  extra: {model: lenet}\n", "unknown model 'lenet'", 2),
        ("tasks:\n  extra: {owners: [nobody]}\n", "no device 'nobody'", 2),
        ("tasks:\n  extra: {like: nothing}\n", "no task 'nothing'", 2),
        ("sites: {north: {}}\ntasks:\n  extra: {model: cnn}\n", "this is no file of tasks", 1),
        ("tasks: 5\n", "this is no file of tasks", 1),
        ("tasks: {}\n", "there are no tasks", 1),
    ],
)
def test_what_cannot_be_submitted_is_told_where_it_stands(write, tmp_path, text, message, line):
    plan = load_plan(write())
    other = tmp_path / "more.yaml"
    other.write_text(text)
    with pytest.raises(InputError) as caught:
        submitting.tasks_of(other, plan)
    assert message in caught.value.message
    assert caught.value.where == f"{other}:{line}"
