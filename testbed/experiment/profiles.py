"""The hardware classes that ship. Users add to them or override single fields under ``profiles:``.

``speed`` is a share of one unthrottled core of the machine that emulates, to which training steps are paced.
It is relative by design: what an experiment needs right is how much slower one node is than another, and that
all of them together fit on a small machine (the four devices, two edge servers and the cloud of
``topologies/fedfly.yaml`` add up to 1.63 cores). To follow a board you own, measure one training step on it and
on this machine, and write the quotient.
"""

from __future__ import annotations

from typing import Any, Final

_WIFI: Final = {"send": "1.3W", "receive": "310mW"}
"""What a board's Wi-Fi adds. We have no measurement of the boards' own: these are medians of four phones, transmitting
and receiving less listening, from their makers' power profiles in LineageOS (Apache-2.0): Pixel 3
(android_device_google_crosshatch@f9e0ef6), Pixel 6a (android_device_google_bluejay@65186d7), Redmi Note 8
(android_device_xiaomi_ginkgo@df414b5) at 3.7 V, Nexus 6 (android_device_moto_shamu@80fa688) at 3.6 V: 1.00, 1.60, 0.55,
1.62 W and 0.17, 0.22, 0.81, 0.40 W."""

BUILTIN: Final[dict[str, dict[str, Any]]] = {
    # FedFly's testbed (IEEE Communications Magazine 60(11), 2022; its README) has two Raspberry Pi 3 and two
    # Raspberry Pi 4. Pi 3: 4 x Cortex-A53 at 1.2 GHz, 1 GB; Pi 4: 4 x Cortex-A72 at 1.5 GHz. An A72 does about
    # twice an A53's work on convolutions, hence the factor of two; memory is what training needs, not the board's.
    # Power, idle and all cores busy: Pi 3B 260 and 730 mA, Pi 4B 540 and 1280 mA at about 5 V, measured by
    # pidramble.com (wiki, power consumption).
    "pi3": {"speed": 0.08, "memory": "512MiB", "power": {"idle": "1.4W", "busy": "3.7W", **_WIFI}},
    "pi4": {"speed": 0.16, "memory": "1GiB", "power": {"idle": "2.7W", "busy": "6.4W", **_WIFI}},
    # 4 x Cortex-A57 and a 128-core GPU. No figure of ours: placed between a Pi 4 and an edge server.
    # Power: input of the module in its 5 W mode, idle and with the GPU above 90 %, medians of 863 and 18259 rows of
    # umr-ds/jetson-power (jetson-nano-clients_10-minpower-vhf.csv).
    "jetson-nano": {"speed": 0.3, "memory": "1GiB", "power": {"idle": "2.15W", "busy": "3.2W", **_WIFI}},
    # A mid-range phone training on its CPU. No figure of ours: one and a half Pi 4. Power: the Pixel 6a's profile
    # (LineageOS, android_device_google_bluejay@65186d7, Apache-2.0) at 3.7 V, the screen off. Idle: suspended, cpu.idle
    # and Wi-Fi listening, 10 + 28.6 + 38 mA. Busy: with all eight cores at their highest frequency, 12.37 (active) +
    # 9.41 (clusters) + 4 x 58.45 + 2 x 79.04 + 2 x 254.25 mA more. Wi-Fi: 470 and 98 mA, less 38. Its battery holds
    # 4410 mAh.
    "phone": {
        "speed": 0.24, "memory": "1GiB", "power": {"idle": "0.28W", "busy": "3.7W", "send": "1.6W", "receive": "220mW"},
    },
    # FedFly's edge servers are desktop-class machines: six Pi 3 here, bounded by a 2-core host. They are on the mains:
    # what they draw counts only where a file says it. Prices are illustrations: those of the cloud are of the order of
    # public clouds' list prices for functions and for traffic that leaves them, in dollars; at the edge, where there is
    # less of everything, a second costs twice that, and traffic, which has not far to go, less.
    "edge-server": {"speed": 0.4, "memory": "1GiB", "price": {"gb_second": 3.4e-5, "gb": 0.02}},
    # The cloud aggregates and evaluates only, so it is not given what a real one has.
    "cloud": {"speed": 0.15, "memory": "1GiB", "price": {"gb_second": 1.7e-5, "gb": 0.09}},
    # For smoke tests: quick to train on, small enough for any machine. Power as of a Pi 4, which is about as fast.
    "tiny-device": {"speed": 0.15, "memory": "384MiB", "power": {"idle": "2.7W", "busy": "6.4W", **_WIFI}},
    "tiny-edge": {"speed": 0.4, "memory": "512MiB", "price": {"gb_second": 3.4e-5, "gb": 0.02}},
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
