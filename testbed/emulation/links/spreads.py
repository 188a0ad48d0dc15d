"""How delays may vary around their mean: by formula, or by a table in a file.

A table holds values of the inverse distribution function at evenly spaced probabilities, in 1/8192 of the jitter: the
format of iproute2's ``.dist`` files, in which netem takes them too. A packet's delay is ``delay + jitter x value /
8192`` for a value drawn at random; what comes out below 0 is 0.

``normal`` and ``pareto`` are computed here, at the same probabilities at which iproute2 computes its own, so that both
back ends draw from the same numbers whatever is installed.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from statistics import NormalDist

from testbed.emulation.links.shape import UNIFORM, Spread
from testbed.errors import InputError

SCALE = 8192
"""Table units in one jitter."""
ENTRIES = 4096
"""Values of a table made by formula."""
MOST_ENTRIES = 16384
"""Values that the kernel takes at most."""
LEAST, MOST = -32768, 32767
"""What the kernel holds a value in."""
MOST_BYTES = 1 << 20
SUFFIX = ".dist"
NAMES = ("uniform", "normal", "pareto")
"""What needs no file."""

_PARETO_SHAPE = 3.0
_NUMBER = re.compile(r"[-+]?[0-9]{1,6}")


def spread(name: str, base_dir: Path, *, named_at: str | None = None) -> Spread:
    """The spread of that name.

    Args:
        name: ``uniform``, ``normal``, ``pareto``, or a file that ends in ``.dist``.
        base_dir: Where a relative file name begins.
        named_at: Place that names it, for errors.

    Raises:
        InputError: There is no such spread, or its file cannot be used.
    """
    if name == "uniform":
        return UNIFORM
    if name == "normal":
        return Spread(name, normal())
    if name == "pareto":
        return Spread(name, pareto())
    if not name.endswith(SUFFIX):
        near = difflib.get_close_matches(name.casefold(), NAMES, n=1, cutoff=0.6)
        raise InputError(
            f"unknown distribution {name!r}",
            wanted=f"{', '.join(NAMES)}, or a file that ends in {SUFFIX}",
            found=name,
            where=named_at,
            remedy=f"did you mean {near[0]!r}?" if near else "tables come with iproute2: /usr/lib/*/tc/*.dist",
        )
    return Spread(name, read(base_dir / name, named_at=named_at))


@cache
def normal() -> tuple[int, ...]:
    """The normal distribution, one jitter its standard deviation, cut off at four."""
    deviate = NormalDist().inv_cdf
    return tuple(_held(deviate((4 * k + 0.5) / (4 * ENTRIES))) for k in range(ENTRIES))


@cache
def pareto() -> tuple[int, ...]:
    """The Pareto distribution of shape 3, moved to mean 0: many delays a little early, few very late.

    From 2/3 of a jitter before ``delay`` to 4 after it, where it is cut off. So its standard deviation is 0.82 of a
    jitter, and its mean lies 0.03 of one before ``delay``: iproute2's own table has the same numbers.
    """
    mean = _PARETO_SHAPE / (_PARETO_SHAPE - 1)
    return tuple(
        _held(4 / 3 * ((1 - k / ENTRIES) ** (-1 / _PARETO_SHAPE) - mean)) for k in range(ENTRIES)
    )


def read(path: Path, *, named_at: str | None = None) -> tuple[int, ...]:
    """The table of a file in iproute2's format: whole numbers between blanks, comments after ``#``.

    Raises:
        InputError: It cannot be read or is no such table.
    """
    values: list[int] = []
    for number, line in enumerate(_text(path, named_at).split("\n"), 1):
        for word in line.partition("#")[0].split():
            if not _NUMBER.fullmatch(word) or not LEAST <= int(word) <= MOST:
                raise InputError(
                    "a distribution is a table of whole numbers", wanted=f"{LEAST} to {MOST}, 8192 being one jitter",
                    found=word[:40], where=f"{path}:{number}", remedy="make the table with iproute2's maketable",
                )  # fmt: skip
            values.append(int(word))
            if len(values) > MOST_ENTRIES:
                raise InputError(
                    "the distribution is longer than the kernel takes", wanted=f"at most {MOST_ENTRIES} values",
                    where=f"{path}:{number}", remedy="take every other value",
                )  # fmt: skip
    if not values:
        raise InputError(
            "the distribution holds no values", wanted=f"{ENTRIES} whole numbers, say", where=f"{path}:1",
            remedy="make the table with iproute2's maketable",
        )  # fmt: skip
    if values[0] == values[-1] == min(values) == max(values):
        raise InputError(
            "the distribution has one value only: nothing would vary", found=str(values[0]), where=f"{path}:1",
            remedy="leave the jitter out, or use a table of several values",
        )  # fmt: skip
    return tuple(sorted(values))


def below_zero(spread: Spread, delay: float, jitter: float) -> float:
    """Share of delays that would come out below 0."""
    if not jitter:
        return 0.0
    if not spread.table:
        return max(0.0, (jitter - delay) / (2 * jitter))
    return sum(delay + jitter * value / SCALE < 0 for value in spread.table) / len(spread.table)


def longest(spread: Spread, delay: float, jitter: float) -> float:
    """The longest delay that can come out, s."""
    return delay + jitter * (max(spread.table) / SCALE if spread.table else 1.0)


def _held(deviate: float) -> int:
    return min(max(round(SCALE * deviate), LEAST), MOST)


def _text(path: Path, named_at: str | None) -> str:
    try:
        if path.exists() and not path.is_file():
            raise InputError("the distribution is not a file", found=str(path), where=named_at)
        if path.stat().st_size > MOST_BYTES:
            raise InputError("the file is too large for a distribution", wanted="1 MiB at most", where=str(path))
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(
                "the distribution is not text", wanted="whole numbers between blanks", where=str(path),
                remedy="make the table with iproute2's maketable",
            ) from None  # fmt: skip
        raise InputError(
            f"the distribution cannot be read ({getattr(error, 'strerror', None) or error})",
            wanted=str(path),
            where=named_at or str(path),
            remedy="a distribution is found relative to the experiment file",
        ) from None
