"""Distributions of jitter, as tables like those of iproute2: the inverse of the distribution function."""

from __future__ import annotations

from statistics import NormalDist

from testbed.emulation.links.shape import UNIFORM, Spread

_SIZE, _UNIT = 4096, 8192
_MOST = 32767


def tabulated(name: str, inverse: list[float]) -> Spread:
    """A table of values in units of the jitter."""
    return Spread(name, tuple(max(-_MOST, min(_MOST, round(value * _UNIT))) for value in inverse))


def spreads() -> dict[str, Spread]:
    """Those that are measured: uniform, normal, and a lopsided one with a long tail (Pareto, shape 3)."""
    middle = [(i + 0.5) / _SIZE for i in range(_SIZE)]
    normal = NormalDist()
    # Mean 1.5 and standard deviation sqrt(3)/2 of a Pareto distribution of shape 3 and scale 1.
    pareto = [((1 - p) ** (-1 / 3) - 1.5) / (3**0.5 / 2) for p in middle]
    return {
        "uniform": UNIFORM,
        "normal": tabulated("normal", [normal.inv_cdf(p) for p in middle]),
        "pareto": tabulated("pareto", pareto),
    }
