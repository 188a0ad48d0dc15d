"""Tasks by the orchestrator, on units that are processes: the same weights as without the platform, to the bit."""

import msgspec
import pytest

from nodes.policies.requests import Cut
from nodes.wire import control as ctl
from nodes.wire.jobs import Job, PlatformSettings
from nodes.wire.task import Select
from tests.unit.platform.loopback import Fleet
from tests.unit.runtime.memory import Net

pytest.importorskip("nodes.platform.orchestrator")

MEMORY = 400 << 20
SPLIT = Cut(2, "split", 0.01, 0.01, 20_000, 20_000, 16_000, 100_000, MEMORY, MEMORY)
WHOLE = Cut(5, "device", 0.02, device_weights=116_000, device_memory=MEMORY)


@pytest.fixture
def fleet(tmp_path):
    made = []

    def make(*names, **more):
        devices, servers = [n for n in names if n[0] == "d"], [n for n in names if n[0] != "d"]
        pairs = [(a, b) for a in names for b in servers if a != b] + [(b, a) for a in devices for b in servers]
        settings = PlatformSettings(
            sites=dict.fromkeys(devices, "ea"),
            paths=tuple((a, b, 2e6 if "cloud" in (a, b) else 1e8, 0.001) for a, b in dict.fromkeys(pairs)),
        )  # fmt: skip
        made.append(Fleet(tmp_path, names, settings=settings, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def job(task, cut, **more):
    owners = task.owners
    return Job(
        name=task.id, task=task, cuts=(cut,), weights=116_000, batches=dict.fromkeys(owners, 5),
        samples=dict.fromkeys(owners, 80), least=len(owners), aggregate_s=0.01, evaluate_s=0.01,
        memories=dict.fromkeys(("aggregate", "evaluate", "initialise", "select-data"), MEMORY), **more,
    )  # fmt: skip


def ends(bed, name="t", seconds=120.0):
    """How a task has ended."""
    def last():
        found = [m.status for _, m in bed.said if isinstance(m, ctl.JobStatus) and m.status.name == name]
        return found[-1] if found else None

    bed.wait(lambda: last() is not None and last().state not in ("queued", "running"), seconds)
    return last()


def digest(bed):
    [done] = [m for _, m in bed.said if isinstance(m, ctl.TaskDone)]
    return done.weights_sha256


def test_a_split_task_ends_with_the_same_weights(tmp_path, fleet):
    net = Net(tmp_path, "splitfed", rounds=2)
    task = net.hosts["cloud"].task
    done = net.run()
    bed = fleet("cloud", "d1", "d2", "ea")
    bed.control.send("cloud", ctl.Submit(job(task, SPLIT)))
    status = ends(bed)
    assert (status.state, status.round, status.accuracy) == ("done", 2, done.accuracy)
    assert digest(bed) == done.weights_sha256
    charged = [m for _, m in bed.said if isinstance(m, ctl.Charged)]
    assert all(m.ended.kind == "" for m in charged)
    trained = [(m.unit, m.ended.cold) for m in charged if m.function == "train-device"]
    assert sorted(trained) == [("d1", False), ("d1", True), ("d2", False), ("d2", True)]
    assert not bed.notes()


def test_a_task_on_selected_data_ends_with_the_same_weights(tmp_path, fleet):
    select = Select("hard", 0.4)
    net = Net(tmp_path, "fedavg", rounds=1, select=select)
    task = net.hosts["cloud"].task
    done = net.run()
    bed = fleet("cloud", "d1", "d2", "ea")
    bed.control.send("cloud", ctl.Submit(job(task, WHOLE, select=select, share=0.4, select_s=1e-4)))
    assert ends(bed).state == "done"
    assert digest(bed) == done.weights_sha256


def test_a_task_survives_the_loss_of_a_server(tmp_path, fleet):
    net = Net(tmp_path, "splitfed", rounds=1)
    task = net.hosts["cloud"].task
    done = net.run()
    slow = msgspec.structs.replace(task, reference=dict.fromkeys(task.reference, 0.3))
    bed = fleet("cloud", "d1", "d2", "ea", "eb", speeds={"d1": 1.0, "d2": 1.0})
    bed.control.send("cloud", ctl.Submit(job(slow, SPLIT)))
    bed.progress("t", 2)
    used = {m.rows for _, m in bed.said if isinstance(m, ctl.PlacedRound)}
    server = next(unit for rows in used for function, _, unit in rows if function == "train-edge")
    assert server in ("ea", "eb")
    bed.said.clear()
    bed.kill(server)
    status = ends(bed)
    assert (status.state, status.round) == ("done", 1)
    assert digest(bed) == done.weights_sha256
