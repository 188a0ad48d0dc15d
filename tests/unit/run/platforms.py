"""A platform without containers for tests: a plan, what is known of its tasks, a session that answers."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nodes.policies.units import Battery, Power
from nodes.wire import control as ctl
from nodes.wire.jobs import Job, Status
from nodes.wire.platform_messages import CallEnded
from testbed.experiment.plan import DataPlan, Plan, Price, WorkloadPlan
from testbed.experiment.taskplan import PlatformPlan, TaskPlan
from testbed.run.control import Said
from testbed.run.data import Prepared
from testbed.run.live import Live
from testbed.run.platform import known as knowing
from testbed.run.platform.known import Known
from testbed.run.virtual import VirtualTime
from tests import support

MIB = 1 << 20
PHONE = Power(0.3, 3.7, 1.9, 0.5)
OPS = {"head.forward": 0.01, "head.backward": 0.02, "tail.step": 0.05, "whole.step": 0.07, "evaluate": 0.001}


def work(scheme: str = "fedfly", **changes: Any) -> WorkloadPlan:
    """Digits with the small network."""
    data = DataPlan("digits", None, None, None, train_samples=320, test_samples=100)
    made = WorkloadPlan((scheme,), "cnn", 2, data, 2, 16, 1, 0.01, 0.9, 0.0, 1, None)
    return replace(made, **changes)


def task(name: str = "digits", **changes: Any) -> TaskPlan:
    """One entry."""
    made = TaskPlan(name, work(), (1, 2), ("dev-1", "dev-2"), ((name, 0.0),), absent=30.0)
    return replace(made, **changes)


def plan(*tasks: TaskPlan, **changes: Any) -> Plan:
    """Two devices at north, dev-1 on a battery; edges, a cloud that has a price."""
    made = support.loop_plan()
    own = {
        "dev-1": {"power": PHONE, "battery": Battery(300.0, 240.0, 60.0)}, "dev-2": {"power": PHONE},
        "cloud": {"price": Price(2.0, 0.5)},
    }  # fmt: skip
    nodes = tuple(replace(one, image=None, memory=1024 * MIB, **own.get(one.name, {})) for one in made.nodes)
    return replace(made, nodes=nodes, tasks=tasks or (task(),), platform=PlatformPlan(), workload=work(), **changes)


def known(whole: Plan, one: TaskPlan, **changes: Any) -> Known:
    """What is known of a task, as if its data had been written."""
    samples = dict.fromkeys(one.owners, 160)
    paths = dict.fromkeys([*one.owners, "cloud", "edge-north", "edge-south"], f"/run/roambed/task-{one.name}")
    references = {cut: dict(OPS) for cut in knowing.measured_at(one)}
    made = Known(knowing.view(whole, one), one, Prepared(paths, samples, (3, 32, 32), 10), references)
    return replace(made, **changes)


class Orchestra:
    """Stands in for the control plane, and plays the orchestrator: ``play`` says what is said about a task.

    Attributes:
        sent: What was said to whom.
    """

    def __init__(self, play: Any = None) -> None:
        self.inbox: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self.sent: list[tuple[str, Any]] = []
        self.jobs: dict[str, Job] = {}
        self._play = play or well

    def send(self, node: str, message: Any) -> None:
        self.sent.append((node, message))
        match message:
            case ctl.Submit(job=job):
                self.jobs[job.name] = job
                self.say(*self._play(job))
            case ctl.CancelJob(name=name):
                self.say(ctl.JobStatus(Status(name=name, state="cancelled", reason="nobody wants it")))

    def say(self, *messages: Any, node: str = "cloud") -> None:
        import time

        for message in messages:
            self.inbox.put(Said(node, message, time.monotonic()))

    def broadcast(self, message: Any) -> None:
        self.sent.append(("", message))

    def silence(self, _: str) -> float:
        return 0.0

    def said(self, kind: type) -> list[tuple[str, Any]]:
        return [(node, message) for node, message in self.sent if isinstance(message, kind)]


def running(job: Job) -> ctl.JobStatus:
    return ctl.JobStatus(Status(name=job.name, state="running", rounds=job.task.rounds))


def placed(job: Job, number: int = 1, seconds: float = 2.0) -> ctl.PlacedRound:
    rows = (*(("train-device", owner, owner) for owner in job.task.owners), ("aggregate", "", "cloud"))
    return ctl.PlacedRound(task=job.name, round=number, policy="greedy", objective=seconds, predicted_s=seconds,
                           predicted_j={"dev-1": 3.0}, rows=rows, cuts={"dev-1": 2, "dev-2": 1})  # fmt: skip


def charged(job: Job, function: str, unit: str, number: int = 1, **changes: Any) -> ctl.Charged:
    ended = CallEnded(call=1, start_s=0.5, held_s=1.5, reserved=400_000_000, cold=True, **changes)
    owner = unit if unit in job.task.owners else ""
    return ctl.Charged(task=job.name, function=function, unit=unit, ended=ended, owner=owner, round=number)


def well(job: Job) -> list[Any]:
    """Everything goes well."""
    found: list[Any] = [running(job)]
    for number in range(1, job.task.rounds + 1):
        found += [
            placed(job, number), charged(job, "train-device", "dev-1", number, sent=1_000_000),
            charged(job, "aggregate", "cloud", number, fetched=500_000),
            ctl.RoundDone(job.name, number, 0.5 + 0.1 * number, 1.0), ctl.Kept(job.name, "k" * 64, 0.5),
        ]  # fmt: skip
    done = Status(name=job.name, state="done", round=job.task.rounds, rounds=job.task.rounds, accuracy=0.7, best=0.7)
    return [*found, ctl.TaskDone(job.name, "d" * 64, 0.7, 1.0), ctl.JobStatus(done)]


class Watch:
    """A watch that sees nothing."""

    def __init__(self, *_: Any) -> None:
        self.failure, self.watched = "", None

    def start(self, _: float) -> None: ...

    def stop(self) -> None: ...

    def take(self) -> list[Any]:
        return []


def session(whole: Plan, directory: Path, control: Orchestra) -> Any:
    """All of a session that a platform's run needs."""
    sites = {node.name: node.site for node in whole.nodes}

    def handover(device: str, site: str) -> Any:
        import time

        before, sites[device] = sites[device], site
        return SimpleNamespace(begin=time.monotonic(), end=time.monotonic(), command_s=0.0, source=before)

    bed = SimpleNamespace(
        play=lambda _: None, rest=lambda: None, handover=handover,
        record=SimpleNamespace(node=lambda name: SimpleNamespace(site=sites[name])),
    )  # fmt: skip
    return SimpleNamespace(
        plan=whole, real=whole, time=VirtualTime(), live=Live(quiet=True), control=control, bed=bed, lost={},
        directory=directory, calibration=[], versions={}, check=list, training=False, expendable=set(), optional=set(),
        workers=[node.name for node in whole.nodes],
    )  # fmt: skip


def stop() -> threading.Event:
    return threading.Event()
