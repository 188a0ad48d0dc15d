"""Made-up problems for the orchestrator, from a seed: a few units with scarce memory, or thousands.

Everything is drawn anew for each case: speeds (devices 0.06 to 0.35 of a reference core), rates (access links 4 to 40
Mbit/s up), batteries, prices, models, and what the objective weighs. The figures are made up around those of the
testbed's profiles and of its small models; nothing is measured. Many units have servers that grow with their owners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodes.policies.requests import Cut, Owner, Problem, Request, Shared, Weights
from nodes.policies.units import Battery, Path, Power, Unit

MB = 10**6
MBIT = 10**6
_CUTS = ((1, 0.25, 524_288, 0.05), (2, 0.55, 262_144, 0.2), (3, 0.8, 65_536, 0.5))
"""Index; share of work on the device; bytes of activations of a batch; share of weights on the device."""


@dataclass(frozen=True)
class Size:
    """How many there are, and how tight it is.

    Attributes:
        tight: Share of edge halves that edge servers have memory for.
        least: Share of its owners that a task needs, from and to.
        weak: Share that batteries have at least of what training everything alone takes; three at most.
    """

    devices: int
    edges: int
    clouds: int
    tasks: int
    tight: float
    least: tuple[float, float] = (0.5, 0.9)
    weak: float = 0.4
    reach: int = 3

    @property
    def units(self) -> int:
        return self.devices + self.edges + self.clouds


def sized(units: int) -> Size:
    """About 24 devices an edge server, and a task for 150 units."""
    edges, clouds = max(2, round(units * 0.04)), max(1, round(units * 0.0005))
    return Size(units - edges - clouds, edges, clouds, max(1, round(units / 150)), 0.8, (0.3, 0.6), 0.8)


def small(seed: int) -> Problem:
    """4 to 8 owners of 1 to 3 tasks, 2 or 3 edge servers and a cloud: small enough to be solved exactly."""
    draw = np.random.default_rng([20, seed])
    devices = int(draw.integers(3, 7))
    size = Size(devices, int(draw.integers(2, 4)), 1, int(draw.integers(1, 4)), float(draw.uniform(0.4, 0.8)))
    return make(size, draw, overlap=0.3)


def many(units: int, seed: int) -> Problem:
    """So many units in all."""
    return make(sized(units), np.random.default_rng([units, seed]), overlap=0.02)


def make(size: Size, draw: np.random.Generator, overlap: float) -> Problem:
    """One case. ``overlap``: share of devices that have data for a second task."""
    edges, clouds = [f"edge-{i}" for i in range(size.edges)], [f"cloud-{i}" for i in range(size.clouds)]
    devices = [f"dev-{i}" for i in range(size.devices)]
    near = draw.integers(0, size.edges, size.devices)
    requests = _requests(size, draw, devices, clouds[:2], overlap)
    units = _devices(size, draw, devices, [edges[i] for i in near], requests)
    units |= _servers(size, draw, edges, clouds, requests)
    paths = _paths(size, draw, devices, edges, clouds, near)
    behind: dict[int, list[str]] = {}
    for name, i in zip(devices, near.tolist(), strict=True):
        behind.setdefault(i, []).append(name)
    shared = [Shared(f"access point {i}", frozenset(names), float(draw.uniform(20, 60) * MBIT * max(1, len(names) / 4)),
                     float(draw.uniform(40, 120) * MBIT * max(1, len(names) / 4)))
              for i, names in sorted(behind.items())]  # fmt: skip
    weights = Weights(1.0, float(draw.choice([0.0, 0.05, 0.3])), float(draw.choice([0.0, 20.0, 100.0])))
    return Problem(units, paths, tuple(requests), weights, tuple(shared))


def _requests(
    size: Size, draw: np.random.Generator, devices: list[str], clouds: list[str], overlap: float
) -> list[Request]:
    owners: list[list[str]] = [[] for _ in range(size.tasks)]
    for i, name in enumerate(devices):
        first = i % size.tasks
        owners[first].append(name)
        if size.tasks > 1 and draw.random() < overlap:
            owners[(first + 1) % size.tasks].append(name)
    requests = []
    for k, mine in enumerate(owners):
        work, bulk, weights = draw.uniform(0.05, 0.3), draw.uniform(0.3, 2.0), float(draw.uniform(0.3, 8)) * MB
        cuts = [Cut(4, "device", work, device_weights=int(weights), device_memory=int(draw.uniform(250, 400) * MB))]
        for index, part, activations, held in _CUTS:
            up = int(activations * bulk)
            cuts.append(Cut(index, "split", work * part, work * (1 - part), up, up, int(weights * held),
                            int(weights * (1 - held)), int(draw.uniform(200, 300) * MB),
                            int(draw.uniform(120, 300) * MB)))  # fmt: skip
        raw_stays = bool(draw.random() < 0.7)
        if not raw_stays:
            cuts.append(Cut(0, "server", 0.0, work, int(49_152 * bulk), edge_weights=int(weights),
                            edge_memory=int(draw.uniform(250, 400) * MB)))  # fmt: skip
        chosen = draw.random() < 0.5
        requests.append(Request(
            f"task-{k}", tuple(Owner(name, int(draw.integers(8, 60)), 500) for name in mine), tuple(cuts),
            str(draw.choice(clouds)), int(weights), least=max(1, int(np.ceil(len(mine) * draw.uniform(*size.least)))),
            absent=float(draw.choice([0.0, 2.0])), raw_stays=raw_stays, labels_stay=bool(draw.random() < 0.1),
            share=0.3 if chosen else 1.0, select_s=0.0005 if chosen else 0.0, select_memory=150 * MB if chosen else 0,
            aggregate_s=float(draw.uniform(0.01, 0.1)), aggregate_memory=100 * MB,
            evaluate_s=float(draw.uniform(0.1, 1.0)), evaluate_memory=200 * MB, least_rate=1.0 * MBIT,
        ))  # fmt: skip
    return requests


def _devices(
    size: Size, draw: np.random.Generator, names: list[str], at: list[str], requests: list[Request]
) -> dict[str, Unit]:
    whole: dict[str, float] = {}
    for request in requests:
        for owner in request.owners:
            whole[owner.device] = whole.get(owner.device, 0.0) + request.batches(owner) * request.cuts[0].device_s
    units = {}
    for name, edge in zip(names, at, strict=True):
        speed = float(draw.uniform(0.06, 0.35))
        power = Power(1.5, 1.5 + float(draw.uniform(1, 5)), 1.5 + float(draw.uniform(0.5, 2)),
                      1.5 + float(draw.uniform(0.3, 1)))  # fmt: skip
        needs = power.compute_w * whole.get(name, 1.0) / speed
        left = 3_600 + needs * float(draw.uniform(size.weak, 3))
        battery = Battery(36_000, left, 3_600) if draw.random() < 0.5 else None
        warm = frozenset({"train-device"}) if draw.random() < 0.5 else frozenset()
        units[name] = Unit(name, "device", speed, 900 * MB, power=power, battery=battery, warm=warm,
                           cold_s=float(draw.uniform(0.5, 3)), at=edge)  # fmt: skip
    return units


def _servers(
    size: Size, draw: np.random.Generator, edges: list[str], clouds: list[str], requests: list[Request]
) -> dict[str, Unit]:
    owners = sum(len(request.owners) for request in requests)
    held = size.tight * owners * 210 * MB / size.edges
    units = {}
    for name in edges:
        warm = frozenset({"train-edge"}) if draw.random() < 0.5 else frozenset()
        units[name] = Unit(name, "edge", float(draw.uniform(0.4, 1.5)) * max(1.0, owners / size.edges / 4),
                           int(held * draw.uniform(0.7, 1.3)) + 150 * MB, float(draw.uniform(5e-4, 3e-3)), 0.02,
                           warm=warm, cold_s=float(draw.uniform(0.3, 1)))  # fmt: skip
    for name in clouds:
        units[name] = Unit(name, "cloud", float(draw.uniform(0.6, 2)) * max(1.0, owners / size.clouds / 20),
                           int(owners * 100 * MB / size.clouds) + 700 * MB, float(draw.uniform(2e-4, 1e-3)), 0.08,
                           warm=frozenset({"aggregate"}), cold_s=float(draw.uniform(0.2, 0.6)))  # fmt: skip
    return units


def _paths(
    size: Size, draw: np.random.Generator, devices: list[str], edges: list[str], clouds: list[str], near: np.ndarray
) -> dict[tuple[str, str], Path]:
    paths = {}
    up, down = draw.uniform(4, 40, size.devices) * MBIT, draw.uniform(20, 80, size.devices) * MBIT
    reach = min(size.reach, size.edges)
    for i, name in enumerate(devices):
        first = int(near[i])
        for j in range(reach):
            edge, rtt = edges[(first + j) % size.edges], 0.01 + 0.012 * j
            paths[name, edge] = Path(float(up[i]) * (1 - 0.1 * j), rtt)
            paths[edge, name] = Path(float(down[i]) * (1 - 0.1 * j), rtt)
        for cloud in clouds[:2]:
            paths[name, cloud], paths[cloud, name] = Path(float(up[i]) * 0.8, 0.06), Path(float(down[i]) * 0.8, 0.06)
    for i, edge in enumerate(edges):
        for j in range(1, min(6, size.edges)):
            for a, b in ((edge, edges[(i + j) % size.edges]), (edges[(i + j) % size.edges], edge)):
                paths[a, b] = Path(100.0 * MBIT, 0.01)
        for cloud in clouds:
            paths[edge, cloud] = paths[cloud, edge] = Path(50.0 * MBIT, 0.04)
    for a in clouds:
        for b in clouds:
            if a != b:
                paths[a, b] = Path(200.0 * MBIT, 0.02)
    return paths
