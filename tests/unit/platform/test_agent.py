"""Units as processes over loopback: rounds by functions, the same weights to the bit, whatever breaks in between."""

import os
import signal
import time

import msgspec
import numpy as np
import pytest

from nodes.learn import models
from nodes.platform.agent import Agent
from nodes.platform.outcomes import Invocation
from nodes.platform.store import Store
from nodes.schemes._arrays import to_arrays
from nodes.wire import control as ctl
from nodes.wire.jobs import UnitSettings
from nodes.wire.messages import PartId
from nodes.wire.platform_messages import CallEnded, CancelCall, InvokeOn, KeepBlobs, UnitLost, UnitState
from nodes.wire.task import Placed, Select
from testbed.run.control import make_keys
from tests.unit.platform.loopback import Fleet
from tests.unit.runtime.memory import Net

HEAD, TAIL = PartId("t", "head", "d1"), PartId("t", "tail", "d1")


@pytest.fixture
def fleet(tmp_path):
    made = []

    def make(*names, **more):
        made.append(Fleet(tmp_path, names, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def first(task):
    return to_arrays(models.build(task.model, task.seed, tuple(task.in_shape), task.classes).state_dict())


def on(task, server):
    """The task with its edge half on another server."""
    rows = [Placed(p.part, server if p.part.role == "tail" else p.node) for p in task.placement]
    return msgspec.structs.replace(task, placement=tuple(rows))


def pair(bed, task, number, model, server, head=None):
    """Both halves of d1's round, from blobs that the cloud has."""
    task = on(task, server)
    values = {"task": task, "owner": "d1", "round": number}
    more = {"values": values, "task": "t", "owner": "d1", "round": number}
    head = head or model
    return (
        bed.invoke("d1", "train-device", parts=(HEAD,), inputs={"weights": head}, where={head: "cloud"}, **more),
        bed.invoke(server, "train-edge", parts=(TAIL,), inputs={"weights": model}, where={model: "cloud"}, **more),
    )


def test_split_rounds_over_units_end_with_the_same_weights(tmp_path, fleet):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=2)
    task = net.hosts["cloud"].task
    done = net.run()
    bed = fleet("cloud", "d1", "ea")
    made = bed.run("cloud", "initialise", values={"task": task})
    model = made.outputs["weights"]
    assert (made.cold, made.work_s < made.held_s, made.start_s > 0.05) == (True, True, True)
    assert made.sizes[model] > 50_000
    for number in (1, 2):
        part = bed.run("cloud", "broadcast", inputs={"weights": model}, values={"layers": ["conv1", "conv2"]})
        layers = part.outputs["part"]
        head, tail = bed.over(*pair(bed, task, number, model, "ea", layers))
        assert (head.reason, tail.reason) == ("", "")
        assert head.sent == tail.received > 10_000
        # The device is sent its layers and no more; what is on a unit already is not sent again.
        assert head.fetched == pytest.approx(part.sizes[layers], abs=1500)
        assert tail.fetched > 2 * head.fetched if number == 1 else tail.fetched == 0  # the mean of one is that one
        assert (head.cold, tail.cold) == (number == 1, number == 1)
        got = bed.run(
            "cloud", "aggregate", inputs={"models": {"d1": tail.outputs["weights"]}},
            values={"samples": {"d1": float(tail.values["samples"])}}, where={tail.outputs["weights"]: "ea"},
        )  # fmt: skip
        assert got.fetched > 50_000
        model = got.outputs["weights"]
    assert model == done.weights_sha256
    found = bed.run("cloud", "evaluate", inputs={"weights": model}, values={"task": task}, task="t", round=2)
    assert (found.values["accuracy"], found.values["loss"]) == (done.accuracy, done.loss)
    bed.wait(lambda: any(s.kind == "evaluate" for s in bed.spans))
    kinds = {s.kind for s in bed.spans}
    assert kinds >= {"function", "fetch", "forward", "tail-step", "send"}
    functions = [(s.attrs["function"], s.attrs["owner"], s.round) for s in bed.spans
                 if s.kind == "function" and s.node == "ea"]  # fmt: skip
    assert functions == [("train-edge", "d1", 1), ("train-edge", "d1", 2)]
    assert [m.done for _, m in bed.said if isinstance(m, ctl.Progress)] == [*range(1, 11)] * 2
    assert not bed.notes()
    state = bed.script.states["ea"]
    assert (state.kind, state.warm, state.in_reach) == ("edge", ("train-edge",), True)
    assert 0.05 < state.cold["train-edge"] == pytest.approx(bed.script.states["ea"].cold["train-edge"])


def test_a_round_is_begun_again_from_the_same_blobs(tmp_path, fleet):
    net = Net(tmp_path, "splitfed", devices=("d1",), rounds=1)
    task = net.hosts["cloud"].task
    done = net.run()
    slow = msgspec.structs.replace(task, reference=dict.fromkeys(task.reference, 0.2))  # until something happens to it
    bed = fleet("cloud", "d1", "ea", speeds={"d1": 1.0})
    model = bed.run("cloud", "initialise", values={"task": task}).outputs["weights"]

    # Cancelled by the orchestrator, both halves.
    calls = pair(bed, slow, 1, model, "ea")
    bed.progress("t", 2)
    for unit, call in zip(("d1", "ea"), calls, strict=True):
        bed.do(lambda unit=unit, call=call: bed.script.act.cancel(unit, call))
    assert [ended.kind for ended in bed.over(*calls)] == ["cancelled", "cancelled"]
    assert not bed.instances("d1")
    assert not bed.instances("ea")

    # The device's instance dies.
    bed.said.clear()
    head, tail = pair(bed, slow, 1, model, "ea")
    bed.progress("t", 1)
    [process] = bed.instances("d1")
    os.kill(process, signal.SIGKILL)
    [ended] = bed.over(head)
    assert (ended.kind, ended.fetched) == ("died", 0)
    bed.do(lambda: bed.script.act.cancel("ea", tail))
    assert [ended.kind for ended in bed.over(tail)] == ["cancelled"]

    head, tail = bed.over(*pair(bed, task, 1, model, "ea"))
    assert (head.kind, tail.kind, tail.outputs["weights"]) == ("", "", done.weights_sha256)
    assert head.cold
    assert not [note for note in bed.notes() if "dropped" not in note]


def test_a_round_goes_on_at_another_server_and_ends_without_the_first(tmp_path, fleet):
    net = Net(tmp_path, "fedfly", devices=("d1",), rounds=1)
    task = net.hosts["cloud"].task
    done = net.run()
    slow = msgspec.structs.replace(task, reference=dict.fromkeys(task.reference, 0.1))
    bed = fleet("cloud", "d1", "ea", "eb", speeds={"d1": 1.0})
    model = bed.run("cloud", "initialise", values={"task": task}).outputs["weights"]

    # A handover in the middle of the round: the tail comes to the other server with its state.
    head, tail = pair(bed, slow, 1, model, "ea")
    bed.progress("t", 2)
    bed.control.send("d1", ctl.Notice("", "eb", False, 1.0))
    bed.wait(lambda: bed.script.states["d1"].coming == "eb")
    values = {"task": on(slow, "ea"), "owner": "d1", "round": 1}
    more = {"values": values, "inputs": {"weights": model}, "where": {model: "cloud"}, "parts": (TAIL,)}
    new = bed.invoke("eb", "train-edge", **more)
    head, tail, new = bed.over(head, tail, new)
    assert (head.reason, tail.values["moved"], new.outputs["weights"]) == ("", "eb", done.weights_sha256)
    assert min(tail.fetched, new.fetched) > 50_000  # each server got the model by itself
    bed.control.send("d1", ctl.Notice("", "eb", True))
    bed.wait(lambda: (bed.script.states["d1"].at, bed.script.states["d1"].coming) == ("eb", ""))

    # The server is lost in the middle of a round, which is done by another one from the same blobs.
    bed.said.clear()
    head, tail = pair(bed, slow, 1, model, "eb")
    bed.progress("t", 2)
    children = bed.instances("eb")
    bed.kill("eb")
    bed.wait(lambda: bed.script.gone == ["eb"])
    assert children
    bed.wait(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))
    bed.do(lambda: bed.script.act.cancel("d1", head))
    assert bed.over(head)[0].kind == "cancelled"
    head, tail = bed.over(*pair(bed, task, 1, model, "ea"))
    assert (head.kind, tail.kind, tail.outputs["weights"]) == ("", "", done.weights_sha256)
    assert tail.fetched == 0  # it had the model already

    # What nobody has any more is not waited for.
    gone = "0" * 64
    ended = bed.run("cloud", "broadcast", inputs={"weights": gone}, values={"layers": []}, where={gone: "ea"})
    assert (ended.kind, "ea says" in ended.reason) == ("missing", True)
    ended = bed.run("cloud", "broadcast", inputs={"weights": gone}, values={"layers": []})
    assert (ended.kind, "nobody was named" in ended.reason) == ("missing", True)


def test_data_is_selected_on_the_device_and_only_counts_leave(tmp_path, fleet):
    net = Net(tmp_path, "fedavg", devices=("d1",), rounds=1, select=Select("mixed", 0.4))
    task = net.hosts["cloud"].task
    done = net.run()
    bed = fleet("cloud", "d1")
    model = bed.run("cloud", "initialise", values={"task": task}).outputs["weights"]
    got = bed.run("d1", "select-data", values={"task": task, "owner": "d1"})
    assert got.reason == ""
    assert (got.values["samples"], got.values["kept"], sum(got.values["by_class"])) == (160, 64, 64)
    keep = got.outputs["keep"]
    ended = bed.run(
        "d1", "train-device", inputs={"weights": model, "keep": keep}, where={model: "cloud"},
        values={"task": task, "owner": "d1", "round": 1}, parts=(PartId("t", "whole", "d1"),),
    )  # fmt: skip
    assert ended.outputs["weights"] == done.weights_sha256
    assert ended.values["samples"] == 64
    bed.wait(lambda: any(s.kind == "select" and s.attrs.get("kept") == 64 for s in bed.spans))
    assert sum("kept" in s.attrs for s in bed.spans if s.kind == "select") == 1  # the part has not chosen once more
    # Which samples they are stays there, even if somebody asks.
    asked = {"inputs": {"weights": keep}, "where": {keep: "d1"}, "values": {"layers": ["indices"]}}
    ended = bed.run("cloud", "broadcast", **asked)
    assert (ended.kind, "does not leave" in ended.reason) == ("missing", True)


def test_a_blob_is_fetched_once_however_many_want_it(tmp_path, fleet):
    bed = fleet("cloud", "ea")
    arrays = {f"{layer}.weight": np.full((100, 100), i, np.float32) for i, layer in enumerate("abc")}
    digest = bed.agent._blobs.store.put(arrays)
    asked = {"inputs": {"weights": digest}, "where": {digest: "cloud"}}
    calls = [bed.invoke("ea", "broadcast", values={"layers": [layer]}, **asked) for layer in "abc"]
    ended = bed.over(*calls)
    assert [e.kind for e in ended] == ["", "", ""]
    assert sorted(e.fetched > 0 for e in ended) == [False, False, True]
    assert len({e.outputs["part"] for e in ended}) == 3
    assert [s.kind for s in bed.spans].count("fetch") <= 1
    bed.do(lambda: bed.script.act.keep("ea", KeepBlobs(pin=(digest,))))
    bed.wait(lambda: set(bed.script.states["ea"].warm) == {"broadcast"})
    assert digest in Store(tmp_path / "store-ea")


def test_provisioned_instances_are_there_before_the_first_task(tmp_path, fleet):
    bed = fleet("cloud", "ea")

    def begin(count: int, memory: int = 100 << 20) -> set[int]:
        bed.said.clear()
        bed.control.send("ea", ctl.Afresh({"broadcast": (count, memory)}))
        bed.wait(lambda: any(name == "ea" and isinstance(m, ctl.Fresh) for name, m in bed.said))
        bed.wait(lambda: bed.script.states["ea"].warm == ("broadcast",) * count)
        return set(bed.instances("ea"))

    two = begin(2)
    assert bed.script.states["ea"].cold["broadcast"] > 0
    digest = bed.agent._blobs.store.put({"a.weight": np.ones((10, 10), np.float32)})
    asked = {"inputs": {"weights": digest}, "where": {digest: "cloud"}, "values": {"layers": ["a"]}}
    assert not bed.run("ea", "broadcast", **asked).cold
    one = begin(1)
    assert two > one, "what is there is not started again, and what is too much ends"
    assert not one & begin(1, 90 << 20), "what has another size does, and another one starts"


def test_a_unit_that_begins_afresh_has_nothing_left_of_earlier_tasks(tmp_path, fleet):
    """Else the next tasks on a bed that stands would find their weights where earlier ones have sent them."""
    bed = fleet("cloud", "d1", reserve_j=20.0)
    arrays = {"a.weight": np.ones((100, 100), np.float32)}
    digest = bed.agent._blobs.store.put(arrays)
    asked = {"inputs": {"weights": digest}, "where": {digest: "cloud"}, "values": {"layers": ["a"]}}
    first = bed.run("d1", "broadcast", **asked)
    assert (first.cold, first.fetched > 10_000) == (True, True)
    bed.control.send("d1", ctl.Notice("", "eb", True))
    bed.control.send("d1", ctl.Battery(5.0))
    bed.wait(lambda: (bed.script.states["d1"].at, bed.script.states["d1"].battery_j) == ("eb", 5.0))
    before = bed.script.states["d1"]
    bed.control.send("d1", ctl.Afresh())
    bed.wait(lambda: bed.script.states["d1"].warm == ())
    state = bed.script.states["d1"]
    assert state.born > before.born  # who had counted on anything there does so no more
    assert (state.at, state.battery_j, "broadcast" in state.cold) == ("ea", None, True)
    assert digest not in Store(tmp_path / "store-d1")
    bed.wait(lambda: not bed.instances("d1"))
    again = bed.run("d1", "broadcast", **asked)
    assert (again.cold, again.fetched) == (True, first.fetched)


def test_nobody_gives_orders_but_the_orchestrator_or_speaks_for_another_unit(fleet):
    bed = fleet("cloud", "ea")
    state = UnitState(name="d1", kind="device")
    for body in (InvokeOn(call=99, function="broadcast"), CancelCall(1), KeepBlobs(), UnitLost("d1"), state):
        bed.do(lambda body=body: bed.agent._hear("ea", body, {}, 0))
    bed.do(lambda: bed.agent._post("ea", CallEnded(call=1)))
    bed.do(lambda: bed.agent._said(Invocation("f"), ctl.encode(ctl.Failed("the run is over"))))
    bed.wait(lambda: len(bed.notes()) == 7)
    assert sorted({note.split()[0] for note in bed.notes()}) == ["cloud", "ea", "function"]
    assert not bed.script.outcomes
    assert "d1" not in bed.script.states
    for message in (ctl.CancelJob("t"), ctl.StopTask("t")):
        bed.control.send("ea", message)
        said = bed.control.inbox.get(timeout=60)
        while not isinstance(said.message, ctl.Failed):
            said = bed.control.inbox.get(timeout=60)
        assert type(message).__name__ in said.message.reason


def test_a_device_that_nobody_reaches_stops_at_its_reserve(tmp_path, fleet):
    task = Net(tmp_path, "fedavg", devices=("d1",), rounds=1).hosts["cloud"].task
    task = msgspec.structs.replace(task, reference=dict.fromkeys(task.reference, 1.0))  # it would take long
    bed = fleet("cloud", "d1", speeds={"d1": 1.0}, reserve_j=20.0)
    model = bed.run("cloud", "initialise", values={"task": task}).outputs["weights"]
    more = {"inputs": {"weights": model}, "where": {model: "cloud"}, "parts": (PartId("t", "whole", "d1"),),
            "values": {"task": task, "owner": "d1", "round": 1}}  # fmt: skip
    call = bed.invoke("d1", "train-device", **more)
    bed.progress("t", 1)
    bed.control.send("d1", ctl.Radio(None, None, False))
    bed.control.send("d1", ctl.Battery(20.0))
    [ended] = bed.over(call)
    assert (ended.kind, ended.reason) == ("cancelled", "the battery is at its reserve")
    assert not bed.instances("d1")
    assert bed.run("d1", "train-device", **more).kind == "cancelled"  # what has come late is not begun
    bed.control.send("d1", ctl.Battery(30.0))
    call = bed.invoke("d1", "train-device", **more)
    bed.wait(lambda: bed.instances("d1"))
    bed.do(lambda: bed.script.act.cancel("d1", call))
    assert bed.over(call)[0].kind == "cancelled"


def test_a_unit_is_measured_before_there_are_tasks(tmp_path, fleet):
    bed = fleet("cloud", "d1", speeds={"d1": 0.5})
    bed.control.send("d1", ctl.Measure("cnn", 2, 8, 1, (1, 8, 8), 0.1))
    bed.wait(lambda: any(isinstance(m, ctl.Measured) for _, m in bed.said))
    [ops] = [m.ops for _, m in bed.said if isinstance(m, ctl.Measured)]
    assert ops["head.forward"] > 0
    ops = {"whole.step": 0.01}
    bed.control.send("d1", ctl.PrepareSpeed("cnn", 2, 8, 1, (1, 8, 8), ("whole.step",), ops))
    bed.wait(lambda: any(isinstance(m, ctl.SpeedReady) for _, m in bed.said))
    bed.control.send("d1", ctl.CheckSpeed(time.monotonic() + 0.1, 0.5, 0.5))
    bed.wait(lambda: any(isinstance(m, ctl.SpeedChecked) for _, m in bed.said))
    [window] = next(m.windows for _, m in bed.said if isinstance(m, ctl.SpeedChecked))
    assert window.asked_s / window.steps == pytest.approx(0.02)
    assert bed.script.states["d1"].warm == ()
    assert bed.script.states["d1"].speed == 0.5


def test_before_it_knows_of_others_a_unit_has_nothing_to_say_and_waits(tmp_path):
    keys, pairs = make_keys(["d1"])
    file = ctl.NodeFile(
        name="d1", kind="device", speed=None, control=f"ipc://{tmp_path / 'control'}", control_key=keys.public,
        public_key=pairs["d1"].public, secret_key=pairs["d1"].secret, data_port=0,
        platform=UnitSettings(memory=1 << 30, orchestrator="cloud", store=str(tmp_path / "store")),
    )  # fmt: skip
    agent = Agent(file, listen="127.0.0.1")
    agent._standing._told_at -= 10
    assert agent._standing.due() == 0
    assert agent.wait_s() > 0
    agent._configured = True
    assert agent.wait_s() == 0
    agent._lines.stop()
    assert agent.run() == 0
