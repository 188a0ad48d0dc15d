"""The hardware classes that ship. Users add to them or override single fields under ``profiles:``.

``speed`` is a share of one unthrottled core of the machine that emulates, to which training steps are paced.
It is relative by design: what an experiment needs right is how much slower one node is than another, and that
all of them together fit on a small machine (the four devices, two edge servers and the cloud of
``topologies/fedfly.yaml`` add up to 1.63 cores). To follow a board you own, measure one training step on it and
on this machine, and write the quotient.
"""

from __future__ import annotations

from typing import Final

BUILTIN: Final[dict[str, dict[str, str | float]]] = {
    # FedFly's testbed (IEEE Communications Magazine 60(11), 2022; its README) has two Raspberry Pi 3 and two
    # Raspberry Pi 4. Pi 3: 4 x Cortex-A53 at 1.2 GHz, 1 GB; Pi 4: 4 x Cortex-A72 at 1.5 GHz. An A72 does about
    # twice an A53's work on convolutions, hence the factor of two; memory is what training needs, not the board's.
    "pi3": {"speed": 0.08, "memory": "512MiB"},
    "pi4": {"speed": 0.16, "memory": "1GiB"},
    # 4 x Cortex-A57 and a 128-core GPU. No figure of ours: placed between a Pi 4 and an edge server.
    "jetson-nano": {"speed": 0.3, "memory": "1GiB"},
    # A mid-range phone training on its CPU. No figure of ours: one and a half Pi 4.
    "phone": {"speed": 0.24, "memory": "1GiB"},
    # FedFly's edge servers are desktop-class machines: six Pi 3 here, bounded by a 2-core host.
    "edge-server": {"speed": 0.4, "memory": "1GiB"},
    # The cloud aggregates and evaluates only, so it is not given what a real one has.
    "cloud": {"speed": 0.15, "memory": "1GiB"},
    # For smoke tests: quick to train on, small enough for any machine.
    "tiny-device": {"speed": 0.15, "memory": "384MiB"},
    "tiny-edge": {"speed": 0.4, "memory": "512MiB"},
    # For programs that are not part of the training (kind `host`).
    "small-host": {"speed": 0.05, "memory": "128MiB"},
}

GUARD: Final = 2.5
"""Most CPU quota over speed, unless the profile says. A quota alone is not a slow device (a node saves it up while it
waits for the network, and gets 0.7 to 0.95 of it while it computes), so speed is held by pacing and the quota
only keeps a node from taking more than it should. A step takes up to 1.7 times its CPU time when the other cores are
busy, too (they share caches and, on many machines, the core itself), and a node does more than its steps."""
GUARD_CORES: Final = 0.5
"""Cores that the quota is above the speed, at most: a fast node has little to gain from more."""

TORCH_MEMORY: Final = 256 * 2**20
"""Least memory of a node that trains: importing torch alone holds about 220 MB."""


def guard(speed: float) -> float:
    """CPU quota in cores of a node of this speed, unless its profile says."""
    return min(GUARD * speed, speed + GUARD_CORES)
