"""Gives every device its own samples and nobody else's: one shard file a node, made before the run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nodes.learn import datasets, partition, shards
from testbed.experiment.plan import Plan
from testbed.run import birth


@dataclass(frozen=True)
class Prepared:
    """What the nodes are told about the data.

    ``paths`` is node to shard inside its container, ``samples`` training samples by device.
    """

    paths: Mapping[str, str]
    samples: Mapping[str, int]
    in_shape: tuple[int, ...]
    classes: int


def prepare(plan: Plan, directory: Path) -> Prepared:
    """Write the shards of a run: training samples to the devices, the test set to the cloud.

    Raises:
        InputError: The data set is missing or damaged, or too small for the split.
    """
    asked, work = plan.workload.data, plan.workload
    data = datasets.load(asked.set, Path(asked.dir) if asked.dir else None, asked.train_samples, asked.test_samples)
    devices = sorted(n.name for n in plan.nodes if n.kind == "device")
    split = partition.split(data.train_y, devices, plan.seed, work.batch, asked.dirichlet, asked.fractions)
    paths: dict[str, str] = {}
    for device in devices:
        x, y = data.train_x[split[device]], data.train_y[split[device]]
        host, inside = birth.shard(directory, device)
        shards.write(host, x, y, data.classes, data.mean, data.std)
        paths[device] = inside
    cloud = next(n.name for n in plan.nodes if n.kind == "cloud")
    host, paths[cloud] = birth.shard(directory, cloud)
    shards.write(host, data.test_x, data.test_y, data.classes, data.mean, data.std)
    for name in paths:
        file = birth.shard(directory, name)[0]
        os.chown(file, birth.NODE_USER, birth.NODE_USER)
        file.chmod(0o400)
    samples = {device: len(split[device]) for device in devices}
    return Prepared(paths, samples, tuple(data.train_x.shape[1:]), data.classes)
