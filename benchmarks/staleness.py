"""What stale weights cost: accuracy of `1f1b` pipelines against training on one node, in the same micro-batches.

    sudo .venv/bin/python -m benchmarks.staleness [--tasks digits motion docstrings] [--seeds 5] [--out FILE]

Each of the tasks whose data is embedded is trained on containers by `edgemove`, where gradients may be of weights that
are a batch old, and by `local`, where they are not. Both have the seed's initial weights, samples and batches, so their
accuracies are paired: the table has the mean difference over the seeds and its 95 % interval (Student's t). One bed a
task stands for all its runs. Nodes are as fast as fit on two cores: weights hang on no timing.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from scipy.stats import t as student

from testbed import Experiment
from testbed.experiment.plan import PipelinePlan
from testbed.run import data
from testbed.run.experiment import StandingBed
from testbed.run.live import Live
from testbed.run.record import RunDirectory, new_run_id
from testbed.run.runner import train

MICRO = 4
DEVICE, SERVER, CLOUD = 0.8, 0.35, 0.15
"""Speeds: for `local` the device's alone counts, and in pipelines it has most of the work."""


@dataclass(frozen=True)
class Job:
    """A task: settings of the file in topologies/ that shows it, on all of its data.

    ``first`` is the number of layers on the device; ``middle`` of those on the first of two edge servers.
    """

    name: str
    model: str
    batch: int
    lr: float
    rounds: int
    first: int
    middle: int

    def plan(self, stages: int) -> tuple[tuple[str, int | None], ...]:
        """Its layers by stage."""
        between = () if stages == 2 else (("edge-north", self.middle),)
        return (("device", self.first), *between, ("edge-south" if between else "edge-north", None))


JOBS = {
    job.name: job
    for job in (
        Job("digits", "vgg5", batch=32, lr=0.01, rounds=4, first=4, middle=1),
        Job("motion", "cnn1d", batch=16, lr=0.01, rounds=4, first=2, middle=2),
        Job("docstrings", "transformer", batch=16, lr=0.03, rounds=8, first=2, middle=1),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One seed: accuracies by round (0 to 1), and by how many updates weights were behind: mean, and at most."""

    seed: int
    local_by_round: list[float]
    pipelined_by_round: list[float]
    stale: float
    stale_most: int

    @property
    def local(self) -> float:
        """At the end."""
        return self.local_by_round[-1]

    @property
    def pipelined(self) -> float:
        """At the end."""
        return self.pipelined_by_round[-1]

    @property
    def points(self) -> float:
        """How much better the pipeline's model is, percentage points."""
        return 100 * (self.pipelined - self.local)


def experiment(job: Job) -> str:
    """The experiment file of a task's bed."""
    return f"""
name: staleness-{job.name}
sites:
  north: {{edge: {{profile: server}}}}
  south: {{edge: {{profile: server}}}}
cloud: {{profile: centre}}
devices:
  dev: {{profile: thing, at: north}}
profiles:
  thing: {{speed: {DEVICE}, cpus: 1, memory: 512MiB}}
  server: {{speed: {SERVER}, cpus: 1, memory: 512MiB}}
  centre: {{speed: {CLOUD}, cpus: 1, memory: 512MiB}}
links:
  access: {{rate: 1Gbit}}
  north -- south: {{rate: 1Gbit}}
  north -- cloud: {{rate: 1Gbit}}
workload:
  scheme: [local, edgemove]
  model: {job.model}
  batch: {job.batch}
  rounds: {job.rounds}
  optimizer: {{lr: {job.lr}}}
  data: {{set: {job.name}}}
emulation: {{speed_check: 0s}}
tolerances: {{late_steps: 100%, starved: 100%, link_late: 1s}}
"""


def measure(job: Job, stages: int, seeds: Sequence[int]) -> list[Pair]:
    """Both trainings of every seed, on one bed."""
    pairs = []
    with tempfile.TemporaryDirectory(prefix="roambed-staleness-") as scratch:
        path = Path(scratch, "experiment.yaml")
        path.write_text(experiment(job))
        with Experiment.load(path).up(runs=scratch) as bed:
            for seed in seeds:
                pairs.append(pair(bed, job, stages, seed, Path(scratch, "runs")))
                tell("pair", task=job.name, points=round(pairs[-1].points, 2), **asdict(pairs[-1]))
    return pairs


def pair(bed: StandingBed, job: Job, stages: int, seed: int, runs: Path) -> Pair:
    """Both trainings of a seed."""
    session = bed.session
    pipeline = PipelinePlan(micro=MICRO, schedule="1f1b", stages=stages, plan=job.plan(stages))
    plan = replace(session.plan, seed=seed, workload=replace(session.plan.workload, pipeline=pipeline))
    session.plan = session.real = plan
    directory = RunDirectory(runs, new_run_id("staleness"))
    names = ("local", "edgemove")
    outcomes = train(session, names, data.split(plan), directory, Live(quiet=True), threading.Event(), [])
    for outcome in outcomes:
        if outcome.failure is not None:
            raise outcome.failure
    local, pipelined = (outcome.row for outcome in outcomes)
    if local["weights_sha256"] == pipelined["weights_sha256"]:
        raise AssertionError("the pipeline's weights are those of one node: nothing was stale")
    lines = (directory.path / "edgemove" / "events.jsonl").read_text().splitlines()
    told = [event["attrs"] for event in map(json.loads, lines) if event.get("kind") == "pipeline"]
    stale, most = mean(attrs["staleness"] for attrs in told), max(attrs["staleness_most"] for attrs in told)
    return Pair(seed, local["accuracy_by_round"], pipelined["accuracy_by_round"], round(stale, 3), most)


def described(job: Job, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What a task came to, in percent and points."""
    points = [one.points for one in pairs]
    quantile = float(student.ppf(0.975, len(points) - 1))  # of one seed alone there is no interval
    half = quantile * stdev(points) / math.sqrt(len(points)) if len(points) > 1 else None
    return {
        **asdict(job), "micro": MICRO, "seeds": len(pairs),
        "local_pct": 100 * mean(one.local for one in pairs),
        "pipelined_pct": 100 * mean(one.pipelined for one in pairs),
        "difference_points": mean(points), "half_width_points": half,
        "stale": mean(one.stale for one in pairs), "stale_most": max(one.stale_most for one in pairs),
        "pairs": [asdict(one) | {"points": one.points} for one in pairs],
    }  # fmt: skip


def table(found: Sequence[dict[str, Any]]) -> str:
    """All tasks, a line each."""
    lines = ["| task | model | rounds | local, % | 1f1b, % | difference, points | updates behind |", "|---" * 7 + "|"]
    for row in found:
        half = row["half_width_points"]
        difference = f"{row['difference_points']:+.2f}" + ("" if half is None else f" ± {half:.2f}")
        lines.append(
            f"| {row['name']} | {row['model']} | {row['rounds']} | {row['local_pct']:.1f} | {row['pipelined_pct']:.1f} "
            f"| {difference} | {row['stale']:.2f} (at most {row['stale_most']}) |"
        )
    return "\n".join(lines)


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=sorted(JOBS), default=list(JOBS))
    parser.add_argument("--stages", type=int, choices=(2, 3), default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    asked = parser.parse_args()
    found = []
    for name in asked.tasks:
        pairs = measure(JOBS[name], asked.stages, range(1, asked.seeds + 1))
        found.append(described(JOBS[name], pairs))
        if asked.out is not None:  # what there is, should the rest fail
            asked.out.write_text(json.dumps({"stages": asked.stages, "tasks": found}, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
