"""What a share of the data costs in accuracy, by the rule that selects it, and what the selection itself costs.

    .venv/bin/python -m benchmarks.selection [--tasks digits motion docstrings passages] [--shares 0.1 0.3 0.5]
        [--seeds 5] [--rules hard easy mixed balanced random] [--by centroid logistic] [--features samples half]
        [--out FILE]

Each of the tasks whose data is embedded is trained in memory, as the schemes do it on containers: devices train the
model on their own samples, batch by batch, and are averaged after each round (cutting the model changes no weight). All
trainings of a seed have the same initial weights, the same shards and as many epochs; so a share of the data is that
share of the batches. Differences are paired over the seeds, with their 95 % interval (Student's t), in percentage
points of accuracy after the last round: to all data, and to a random subset of the same size. Selection is what nodes
do (`nodes.schemes._data`); its cost is CPU time, as a share of an epoch's on all data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.grid.figures import interval
from nodes.learn import aggregate, datasets, evaluate, keyed, models, partition, scoring
from nodes.learn.shards import Batches, Shard
from nodes.learn.stage import Sgd, Stage, use_threads
from nodes.policies import selection
from nodes.policies.samples import FORMS


@dataclass(frozen=True)
class Job:
    """A task: settings of its training, on all of its data, by four devices."""

    name: str
    model: str
    cut: int
    batch: int
    lr: float
    rounds: int
    devices: int = 4


JOBS = {
    job.name: job
    for job in (
        Job("digits", "vgg5", cut=2, batch=16, lr=0.01, rounds=12),
        Job("motion", "cnn1d", cut=2, batch=16, lr=0.01, rounds=12),
        Job("docstrings", "transformer", cut=2, batch=16, lr=0.03, rounds=12),
        Job("passages", "transformer", cut=2, batch=8, lr=0.03, rounds=6),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A way to select; None of a rule that looks at no scores."""

    rule: str
    share: float
    by: str | None = None
    features: str | None = None

    def __str__(self) -> str:
        return self.rule if self.by is None else f"{self.rule}, {self.by} on {self.features}"


FULL = Choice("all", 1.0)


@dataclass(frozen=True)
class Trained:
    """One training: accuracy by round (0 to 1), batches, and CPU seconds of the selection and of the training."""

    seed: int
    choice: Choice
    accuracy: list[float]
    batches: int
    select_s: float
    train_s: float


class Bed:
    """One seed of a task: shards, test set and initial weights; ``data`` if it is not what is embedded."""

    def __init__(self, job: Job, seed: int, data: datasets.DataSet | None = None) -> None:
        self.job, self.seed = job, seed
        data = datasets.load(job.name, seed=seed) if data is None else data
        names = [f"dev-{n}" for n in range(1, job.devices + 1)]
        self.shards = {
            name: _shard(data, data.train_x[own], data.train_y[own])
            for name, own in partition.equal(data.train_y, names, seed).items()
        }
        self.test = _shard(data, data.test_x, data.test_y)
        self.shape = FORMS[job.name].shape
        self._scores: dict[tuple[str, str, str], tuple[np.ndarray[Any, Any], float]] = {}

    def train(self, choice: Choice) -> Trained:
        """Train on what is chosen."""
        job, spent = self.job, 0.0
        batches = {}
        for name, shard in self.shards.items():
            batches[name] = Batches(shard, self.seed, name, job.batch)
            if choice != FULL:
                kept, seconds = self._select(name, choice)
                batches[name].keep(kept)
                spent += seconds
        begin, accuracy = time.thread_time(), []
        model = models.build(job.model, self.seed, self.shape, self.test.classes)
        stage = Stage(model, Sgd(job.lr, momentum=0.9, weight_decay=0.0), first=True)
        weights = {k: v.clone() for k, v in stage.layers.state_dict().items()}
        tested = 0.0
        for number in range(1, job.rounds + 1):
            came = {}
            for name, own in batches.items():
                stage.load(weights)
                for index in range(len(own)):
                    stage.train_step_tail(*own.get(number, index))
                came[name] = {k: v.clone() for k, v in stage.layers.state_dict().items()}
            weights = aggregate.fedavg(came, {name: float(own.samples) for name, own in batches.items()})
            stage.load(weights)
            paused = time.thread_time()
            accuracy.append(evaluate.evaluate(stage.layers, self.test).accuracy)
            tested += time.thread_time() - paused
        count = job.rounds * sum(map(len, batches.values()))
        return Trained(self.seed, choice, accuracy, count, spent, time.thread_time() - begin - tested)

    def _select(self, name: str, choice: Choice) -> tuple[np.ndarray[Any, Any], float]:
        shard, scores, before = self.shards[name], None, 0.0
        if choice.by is not None and choice.features is not None:
            scores, before = self._scored(name, choice.by, choice.features)
        begin = time.thread_time()
        key = keyed.key(self.seed, name, "select")
        kept = selection.keep(scores, shard.y.numpy(), shard.classes, choice.rule, choice.share, key, self.job.batch)
        return kept, before + time.thread_time() - begin

    def _scored(self, name: str, by: str, features: str) -> tuple[np.ndarray[Any, Any], float]:
        """Scores, and the CPU seconds that they took; the same for all rules and shares."""
        if (name, by, features) not in self._scores:
            half = None
            if features == "half":
                whole = models.build(self.job.model, self.seed, self.shape, self.test.classes)
                half, _ = models.cut(whole, self.job.cut)
            begin = time.thread_time()
            found = scoring.score(self.shards[name], by, half)
            self._scores[name, by, features] = found, time.thread_time() - begin
        return self._scores[name, by, features]


def choices(asked: argparse.Namespace) -> Iterator[Choice]:
    """What is to be compared, random always among it."""
    for share in asked.shares:
        for rule in dict.fromkeys([*asked.rules, selection.CONTROL]):
            if rule in selection.BLIND:
                yield Choice(rule, share)
            else:
                yield from (Choice(rule, share, by, features) for by in asked.by for features in asked.features)


def described(job: Job, found: Sequence[Trained]) -> list[dict[str, Any]]:
    """A row a choice: accuracies in percent, differences in points."""
    by_choice: dict[Choice, dict[int, Trained]] = {}
    for one in found:
        by_choice.setdefault(one.choice, {})[one.seed] = one
    full, rows = by_choice.pop(FULL), []
    epoch = statistics.mean(one.train_s for one in full.values()) / job.rounds
    for choice, ours in by_choice.items():
        control = by_choice[Choice(selection.CONTROL, choice.share)]
        to_full, half = interval([100 * (ours[s].accuracy[-1] - full[s].accuracy[-1]) for s in ours])
        to_random, half_random = interval([100 * (ours[s].accuracy[-1] - control[s].accuracy[-1]) for s in ours])
        rows.append({
            "task": job.name, "choice": str(choice), **asdict(choice), "seeds": len(ours),
            "full_pct": 100 * statistics.mean(one.accuracy[-1] for one in full.values()),
            "accuracy_pct": 100 * statistics.mean(one.accuracy[-1] for one in ours.values()),
            "to_full": to_full, "to_full_half_width": half,
            "to_random": to_random, "to_random_half_width": half_random,
            "batches_ratio": ours[min(ours)].batches / full[min(full)].batches,
            "cpu_ratio": statistics.mean((one.train_s + one.select_s) / full[s].train_s for s, one in ours.items()),
            "select_epochs": statistics.mean(one.select_s for one in ours.values()) / epoch,
        })  # fmt: skip
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """All of it, a line each."""
    lines = [
        "| task | share | rule | accuracy, % | to all data, points | to random, points | CPU time | selection, "
        "epochs |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        control = "-" if row["rule"] == selection.CONTROL else _points(row, "to_random")
        lines.append(
            f"| {row['task']} ({row['full_pct']:.1f} %) | {row['share']:.0%} | {row['choice']} | "
            f"{row['accuracy_pct']:.1f} | {_points(row, 'to_full')} | {control} | {row['cpu_ratio']:.2f} | "
            f"{row['select_epochs']:.3f} |"
        )
    return "\n".join(lines)


def _points(row: dict[str, Any], name: str) -> str:
    half = row[f"{name}_half_width"]
    return f"{row[name]:+.2f}" + ("" if half is None else f" ± {half:.2f}")


def _shard(data: datasets.DataSet, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Shard:
    return Shard(torch.from_numpy(x), torch.from_numpy(y), data.classes, data.mean, data.std)


def tell(what: str, **figures: Any) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=sorted(JOBS), default=list(JOBS))
    parser.add_argument("--rules", nargs="+", choices=selection.RULES, default=list(selection.RULES))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.3])
    parser.add_argument("--by", nargs="+", choices=scoring.CLASSIFIERS, default=["centroid"])
    parser.add_argument("--features", nargs="+", choices=scoring.FEATURES, default=["samples"])
    parser.add_argument("--seeds", type=int, default=5)
    for name, kind in (("rounds", int), ("batch", int), ("lr", float), ("devices", int), ("model", str)):
        parser.add_argument(f"--{name}", type=kind, help="instead of the task's own")
    parser.add_argument("--out", type=Path, help="file for the figures as JSON")
    asked = parser.parse_args()
    use_threads(1)
    rows: list[dict[str, Any]] = []
    own = {name: getattr(asked, name) for name in ("rounds", "batch", "lr", "devices", "model")}
    for name in asked.tasks:
        job = replace(JOBS[name], **{key: value for key, value in own.items() if value is not None})
        found = []
        for seed in range(1, asked.seeds + 1):
            bed = Bed(job, seed)
            for choice in (FULL, *choices(asked)):
                found.append(bed.train(choice))
                tell("trained", task=name, **asdict(found[-1]))
        rows += described(job, found)
        if asked.out is not None:  # what there is, should the rest fail
            asked.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
