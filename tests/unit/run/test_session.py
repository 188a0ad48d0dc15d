"""Who may die while others train, and what is said when training cannot go on."""

from __future__ import annotations

import queue
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nodes.wire import control as ctl
from testbed.emulation.fleet import NodeState
from testbed.errors import NodeError
from testbed.run.control import Said
from testbed.run.live import Live
from testbed.run.session import Session
from tests import support

UP = NodeState(running=True, exit_code=None, oom_killed=False, oom_child_kills=0)
KILLED = replace(UP, running=False, exit_code=137)
STARVED = replace(KILLED, oom_killed=True)
DEVICES, EDGES = {"dev-1", "dev-2"}, {"edge-north", "edge-south"}


@pytest.fixture
def session():
    made = Session(support.loop_plan(), "r", Live(quiet=True))
    states = {node.name: UP for node in made.plan.nodes}
    made._bed = SimpleNamespace(states=lambda: dict(states), logs=lambda node, tail: "out of luck", now=states,
                                emulator=SimpleNamespace(check=lambda: None))  # fmt: skip
    made._control = SimpleNamespace(silence=lambda name: 0.0)
    made.training = True
    return made


def test_a_device_that_dies_ends_the_training_and_the_error_says_how_it_would_not(session):
    session.expendable = set(EDGES)
    session.bed.now["dev-1"] = KILLED
    with pytest.raises(NodeError) as caught:
        session.check()
    assert caught.value.message == "dev-1 died (exit code 137)"
    assert "workload.late: {drop: 30s}" in caught.value.remedy
    assert caught.value.found == "out of luck"
    assert set(session.lost) == {"dev-1"}, "nothing is asked of it any more"
    session.training = False
    session.lost.clear()
    with pytest.raises(NodeError) as caught:
        session.check()
    assert "drop" not in caught.value.remedy, "before training it would not help"


def test_nodes_that_may_die_are_written_down_until_none_of_their_kind_is_left(session):
    session.expendable = DEVICES | EDGES
    session.bed.now |= {"dev-1": STARVED, "edge-south": KILLED}
    assert session.check() == []
    assert session.lost["dev-1"].how == "ran out of memory and was killed (limit 256 MiB)"
    assert session.lost["edge-south"].how == "died (exit code 137)"
    assert not {"dev-1", "edge-south"} & set(session.workers)
    assert session.check() == []
    session.bed.now["dev-2"] = KILLED
    with pytest.raises(NodeError, match=r"dev-2 died .* and no device is left to train with") as caught:
        session.check()
    assert "drop" not in caught.value.remedy


def test_all_devices_that_die_at_once_end_the_training(session):
    session.expendable = DEVICES | EDGES
    session.bed.now |= dict.fromkeys(DEVICES, KILLED)
    with pytest.raises(NodeError, match="no device is left"):
        session.check()
    assert set(session.lost) == DEVICES


def test_where_none_of_a_kind_has_to_be_left_the_last_one_may_die_too(session):
    session.expendable, session.optional = DEVICES | EDGES, {"edge"}
    session.bed.now |= dict.fromkeys(EDGES, KILLED)
    assert session.check() == []
    assert set(session.lost) == EDGES
    session.bed.now |= dict.fromkeys(DEVICES, KILLED)
    with pytest.raises(NodeError, match="no device is left"):
        session.check()


def test_the_cloud_is_not_to_be_missed(session):
    session.expendable = DEVICES | EDGES
    session.bed.now["cloud"] = KILLED
    with pytest.raises(NodeError, match="cloud died") as caught:
        session.check()
    assert "drop" not in caught.value.remedy


def test_nobody_waits_for_what_the_dead_have_to_say(session):
    session.expendable = DEVICES | EDGES
    session.bed.now["dev-1"] = KILLED
    session.check()
    inbox = queue.SimpleQueue()
    session._control.inbox = inbox
    inbox.put(Said("dev-2", ctl.Started("t"), 1.0))
    said = session.collect(ctl.Started, ["dev-1", "dev-2"], 5.0, "start")
    assert [one.node for one in said] == ["dev-2"]
