"""Links between interfaces: one interface (``base``), several ways to make them, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable

from testbed.emulation.links.base import Emulator
from testbed.emulation.links.mixed import MixedEmulator
from testbed.emulation.links.netem import NetemEmulator, netem_missing, require_netem, single_segments
from testbed.emulation.links.plain import PlainWire
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import LinkCalibration, LinkEnd, LinkStats, Shape
from testbed.errors import InputError

__all__ = [
    "BACKENDS",
    "Emulator",
    "LinkCalibration",
    "LinkEnd",
    "LinkStats",
    "MixedEmulator",
    "NetemEmulator",
    "PlainWire",
    "RelayEmulator",
    "Shape",
    "choose",
    "named",
    "netem_missing",
    "require_netem",
]


def _relay(seed: int) -> Emulator:
    return MixedEmulator(RelayEmulator(seed), PlainWire())


def _netem(_: int) -> Emulator:
    require_netem()
    # Frames that start on a plain wire cross shaped links later: they must be single segments from the start.
    return MixedEmulator(NetemEmulator(), PlainWire(prepare=single_segments))


BACKENDS: dict[str, Callable[[int], Emulator]] = {"netem": _netem, "relay": _relay}
"""Every way to shape links; a new one is a line here. All leave unshaped links to `PlainWire`."""


def named(backend: str) -> str:
    """The kind of links that ``auto`` comes to on this machine; other names as they are."""
    return ("relay" if netem_missing() else "netem") if backend == "auto" else backend


def choose(backend: str, seed: int = 0) -> Emulator:
    """The emulator of that name; ``auto`` is netem where the kernel has it, the relay elsewhere.

    Args:
        backend: ``auto`` or a name in `BACKENDS`.
        seed: Of the run. Losses and jitter follow from it (but the kernel's cannot be seeded).

    Raises:
        InputError: There is none of that name.
        EnvironmentProblem: netem was asked for and this kernel has it not.
    """
    backend = named(backend)
    if backend not in BACKENDS:
        raise InputError("no such link emulator", wanted=f"auto, {', '.join(BACKENDS)}", found=backend)
    return BACKENDS[backend](seed)
