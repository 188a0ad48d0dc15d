"""How training samples are dealt out to devices.

Every split is a function of the seed and the *set* of devices: names are sorted, so neither their order in
a file nor other nodes change it. Each returns the sorted sample indices of every device; no sample goes to
two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn import keyed

Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]


def equal(labels: Labels, devices: Iterable[str], seed: int) -> dict[str, Indices]:
    """Shares of one size (but for one sample), shuffled over all classes."""
    names = _names(devices)
    _enough(len(labels), len(names), 1)
    order = keyed.permutation(len(labels), seed, "", "partition")
    return {name: np.sort(part) for name, part in zip(names, np.array_split(order, len(names)), strict=True)}


def by_fractions(labels: Labels, fractions: Mapping[str, float], seed: int) -> dict[str, Indices]:
    """Shares of the given sizes, shuffled over all classes; what is left of 1 goes unused."""
    names = _names(fractions)
    total = math.fsum(fractions.values())
    if any(not fractions[name] > 0 for name in names) or total > 1 + 1e-9:
        raise InputError(
            "the devices' fractions of the data do not add up",
            wanted="each above 0, at most 1 together",
            found=", ".join(f"{name}: {fractions[name]:g}" for name in names) + f" = {total:g}",
        )
    # Ends are rounded, not sizes: the errors do not add up and a sum of 1 uses every sample.
    shares = [fractions[name] for name in names]
    ends = [round(min(1.0, math.fsum(shares[: i + 1])) * len(labels)) for i in range(len(names))]
    order = keyed.permutation(len(labels), seed, "", "partition")
    parts = {n: np.sort(order[a:b]) for n, a, b in zip(names, [0, *ends[:-1]], ends, strict=True)}
    empty = [name for name, part in parts.items() if not len(part)]
    if empty:
        raise InputError(f"the fraction of {empty[0]} is less than one of {len(labels)} samples")
    return parts


def by_dirichlet(
    labels: Labels, devices: Iterable[str], seed: int, alpha: float, batch: int
) -> dict[str, Indices]:
    """Label skew: each class is dealt out by shares drawn from a Dirichlet distribution.

    Small ``alpha`` gives each device few classes, large ``alpha`` all alike. A device left with less than
    one batch takes samples from the richest, of the class that one has most of, so the skew is disturbed
    least.
    """
    names = _names(devices)
    if not (alpha > 0 and math.isfinite(alpha)):
        raise InputError("the Dirichlet alpha must be above 0", found=str(alpha))
    _enough(len(labels), len(names), batch)
    owner = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        members = members[keyed.permutation(len(members), seed, "", f"partition/order/{label}")]
        draw = keyed.numpy_generator(seed, "", f"partition/share/{label}")
        shares = draw.dirichlet(np.full(len(names), alpha))
        # A tiny alpha can underflow to no share at all (0/0).
        if not np.all(np.isfinite(shares)):
            shares = np.eye(len(names))[int(draw.integers(len(names)))]
        ends = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for device, part in enumerate(np.split(members, np.minimum(ends, len(members)))):
            owner[part] = device
    _level(owner, labels, len(names), batch)
    return {name: np.flatnonzero(owner == device) for device, name in enumerate(names)}


def split(
    labels: Labels,
    devices: Iterable[str],
    seed: int,
    batch: int,
    dirichlet: float | None = None,
    fractions: Mapping[str, float] | None = None,
) -> dict[str, Indices]:
    """The split that an experiment asks for: Dirichlet, by fractions, else equal.

    Raises:
        InputError: There are two rules, a rule that does not fit the devices, or a device with less than a batch.
    """
    parts = _dealt(labels, devices, seed, batch, dirichlet, fractions)
    poor = min(parts, key=lambda name: len(parts[name]))
    if len(parts[poor]) < batch:
        raise InputError(
            f"{poor} has fewer samples than a batch",
            wanted=f"at least {batch}",
            found=f"{len(parts[poor])} of {len(labels)}",
            remedy=f"set workload.batch to {max(len(parts[poor]), 1)} or less, give {poor} a larger share, or use "
            "more of the data",
        )
    return parts


def _dealt(
    labels: Labels,
    devices: Iterable[str],
    seed: int,
    batch: int,
    dirichlet: float | None,
    fractions: Mapping[str, float] | None,
) -> dict[str, Indices]:
    if dirichlet is not None and fractions is not None:
        raise InputError("data can be split by dirichlet or by fractions, not both")
    if dirichlet is not None:
        return by_dirichlet(labels, devices, seed, dirichlet, batch)
    if fractions is None:
        return equal(labels, devices, seed)
    names = _names(devices)
    if set(names) != set(fractions):
        odd = ", ".join(sorted(set(names) ^ set(fractions)))
        raise InputError("fractions of the data must name every device once", found=f"not in both: {odd}")
    return by_fractions(labels, fractions, seed)


def _level(owner: Indices, labels: Labels, devices: int, least: int) -> None:
    """Move samples, in place, until every device has ``least``."""
    while True:
        sizes = np.bincount(owner, minlength=devices)
        poor = int(np.argmin(sizes))
        if sizes[poor] >= least:
            return
        rich = int(np.argmax(sizes))
        held = np.flatnonzero(owner == rich)
        most = np.bincount(labels[held]).argmax()
        spare = min(int(least - sizes[poor]), int(sizes[rich] - least))
        owner[held[labels[held] == most][:spare]] = poor


def _names(devices: Iterable[str]) -> list[str]:
    names = sorted(devices)
    if not names:
        raise InputError("there is no device to give data to")
    if len(set(names)) != len(names):
        raise InputError("two devices of one name", found=", ".join(names))
    return names


def _enough(samples: int, devices: int, each: int) -> None:
    if samples < devices * each:
        raise InputError(
            "too few samples for the devices",
            wanted=f"{devices} devices x {each} = {devices * each}",
            found=str(samples),
            remedy="take more samples, fewer devices or a smaller batch",
        )
