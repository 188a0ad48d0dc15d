"""Gives every device its own samples and nobody else's: one shard file a node, made before the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.learn import datasets, partition, shards
from testbed.errors import InputError
from testbed.experiment.plan import Plan
from testbed.run import birth


@dataclass(frozen=True)
class Split:
    """A data set and which of its training samples each device owns."""

    data: datasets.DataSet
    owned: Mapping[str, npt.NDArray[np.int64]]
    cloud: str


@dataclass(frozen=True)
class Prepared:
    """What the nodes are told about the data.

    ``paths`` is node to shard inside its container, ``samples`` training samples by device.
    """

    paths: Mapping[str, str]
    samples: Mapping[str, int]
    in_shape: tuple[int, ...]
    classes: int


def split(plan: Plan) -> Split:
    """Read the data set and split it; makes nothing.

    Raises:
        InputError: The data set is missing or damaged, or too small for the split.
    """
    try:
        return _split(plan)
    except InputError as error:
        error.where = error.where or plan.source
        raise


def _split(plan: Plan) -> Split:
    asked, work = plan.workload.data, plan.workload
    data = datasets.load(asked.set, Path(asked.dir) if asked.dir else None, asked.train_samples, asked.test_samples,
                         plan.seed)  # fmt: skip
    devices = sorted(n.name for n in plan.nodes if n.kind == "device")
    owned = partition.split(data.train_y, devices, plan.seed, work.batch, asked.dirichlet, asked.fractions)
    return Split(data, owned, next(n.name for n in plan.nodes if n.kind == "cloud"))


def described(plan: Plan, found: Split) -> dict[str, Any]:
    """What a run's manifest says about its data."""
    data = found.data
    return {
        "set": plan.workload.data.set,
        "synthetic": plan.workload.data.synthetic,
        "train": len(data.train_y),
        "test": len(data.test_y),
        "sha256": data.digest(),
        "notes": list(data.notes),
        "select": asdict(asked) if (asked := plan.workload.data.select) is not None else None,
    }


def write(found: Split, directory: Path, *, name: str = "data", testers: Iterable[str] = ()) -> Prepared:
    """Write the shards of a run: training samples to the devices, the test set to the cloud.

    Args:
        found: What to write.
        directory: The run's own.
        name: Of the shards, where nodes have several.
        testers: Nodes that have the test set, too.
    """
    data = found.data
    samples = {device: (data.train_x[own], data.train_y[own]) for device, own in found.owned.items()}
    samples |= dict.fromkeys([found.cloud, *testers], (data.test_x, data.test_y))
    paths: dict[str, str] = {}
    for node, (x, y) in samples.items():
        host, paths[node] = birth.shard(directory, node, name)
        shards.write(host, x, y, data.classes, data.mean, data.std)
        os.chown(host, birth.NODE_USER, birth.NODE_USER)
        host.chmod(0o400)
    counts = {device: len(own) for device, own in found.owned.items()}
    return Prepared(paths, counts, tuple(data.train_x.shape[1:]), data.classes)
