"""Does the experiment fit on a machine? Asked before a run, not on loading: files are shared between machines."""

from __future__ import annotations

import math

from testbed.errors import CapacityError
from testbed.experiment.dilate import factor_that_fits
from testbed.experiment.plan import Plan
from testbed.experiment.units import format_size

RESERVE = 0.3
"""Cores left for the controller, the links and the engine."""


def check_capacity(plan: Plan, cores: float, memory_bytes: int) -> None:
    """Refuse a plan that asks for more CPU or memory than there is.

    Args:
        plan: As it is to be made real: dilated, if it is to be.
        cores: Of this machine.
        memory_bytes: Of this machine.

    Raises:
        CapacityError: One node is faster than a core, or all together are more than the machine has.
    """
    room = cores - RESERVE
    factor = plan.dilation * factor_that_fits(plan, room)
    slower = f"set dilation to {factor:.6g}, or auto"
    for node in plan.nodes:
        if node.speed > 1:
            raise CapacityError(
                f"{node.name} is faster than a core of this machine",
                wanted="a speed of at most 1",
                found=f"speed {node.speed:g} (profile {node.profile!r})",
                where=plan.where(f"profiles.{node.profile}.speed"),
                remedy=f"{slower}; or set profiles.{node.profile}.speed to 1 or less, and lower all speeds alike to "
                "keep their ratios",
            )
    speed = math.fsum(node.speed for node in plan.nodes)
    if speed > room + 1e-9:
        lower = f"lower every speed by a factor of {math.ceil(100 * speed / room - 1e-6) / 100:.2f}" if room > 0 else ""
        raise CapacityError(
            "the experiment asks for more CPU than this machine has",
            wanted=f"speeds that add up to at most {room:.2f} ({cores:g} cores less {RESERVE} for the testbed)",
            found=f"{speed:.2f}: {_shares(plan)}",
            where=plan.where(f"profiles.{_most(plan, 'speed')}.speed"),
            remedy=f"{slower}; or {lower}, or use fewer nodes"
            if lower
            else f"use a machine with {math.ceil(speed + RESERVE)} cores",
        )
    for node in plan.nodes:
        if node.cpus > cores:
            raise CapacityError(
                f"{node.name} asks for more CPU than this machine has",
                wanted=f"at most {cores:g} cores",
                found=f"cpus {node.cpus:g} (profile {node.profile!r})",
                where=plan.where(f"profiles.{node.profile}.cpus"),
                remedy=f"leave profiles.{node.profile}.cpus out: it follows the speed then",
            )
    memory = sum(node.memory for node in plan.nodes)
    if memory > memory_bytes:
        raise CapacityError(
            "the experiment asks for more memory than this machine has",
            wanted=f"at most {format_size(memory_bytes)} for all nodes",
            found=f"{format_size(memory)} for {len(plan.nodes)} nodes",
            where=plan.where(f"profiles.{_most(plan, 'memory')}.memory"),
            remedy=f"lower the profiles' memory by a factor of {memory / memory_bytes:.2f}, or use fewer nodes",
        )


def _most(plan: Plan, key: str) -> str:
    """The profile whose nodes ask for most of something, all together."""
    sums: dict[str, float] = {}
    for node in plan.nodes:
        sums[node.profile] = sums.get(node.profile, 0.0) + getattr(node, key)
    return max(sums, key=lambda profile: sums[profile], default="")


def _shares(plan: Plan) -> str:
    counts: dict[tuple[str, float], int] = {}
    for node in plan.nodes:
        key = (node.profile, node.speed)
        counts[key] = counts.get(key, 0) + 1
    return " + ".join(f"{n} x {profile} at {speed:g}" for (profile, speed), n in counts.items())
