"""Mahimahi's packet-delivery traces, as ``mm-link(1)`` defines them.

A line is a chance to send: the millisecond, counted from the trace's beginning, at which 1500 bytes of IP may pass. A
number that is there twice is two chances. Nothing else may be in the file, blanks neither; lines may end as in DOS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from testbed.emulation.links.shape import MTU_FRAME, Schedule
from testbed.errors import InputError
from testbed.experiment.limits import LEAST_RATE, MOST_RATE
from testbed.experiment.units import format_rate

LONGEST = 7 * 24 * 3600.0
"""Seconds that no trace goes beyond."""
_WHOLE = re.compile(r"[0-9]+")


def is_time(line: str) -> bool:
    """Whether a line, without blanks around it, is one of such a trace."""
    return _WHOLE.fullmatch(line) is not None


def mean_rate(schedule: Schedule) -> float:
    """Layer-2 bits per second of a Mahimahi trace over its length: each chance carries one full frame."""
    return len(schedule.deliveries) * MTU_FRAME * 8 / schedule.length


def parse(path: Path, lines: Sequence[str]) -> Schedule:
    """The schedule of a file with these lines (InputError if one breaks the format)."""
    chances: list[int] = []
    for number, line in enumerate(lines, 1):
        text, where = line.removesuffix("\r"), f"{path}:{number}"
        if not is_time(text):
            bare = text.strip()
            blanks = "take the blanks out" if is_time(bare) else None
            raise InputError(
                "this is no line of a Mahimahi trace", wanted="a whole number of milliseconds, and nothing else",
                found=repr(text[:60]) if blanks else bare[:60] or "an empty line", where=where,
                remedy=blanks or "take the line out; for other columns, make the first line 't,rate,delay,loss'",
            )  # fmt: skip
        if len(text) > 12 or int(text) > LONGEST * 1000:
            raise InputError(
                "the trace is too long", wanted=f"at most {LONGEST * 1000:.0f} ms", found=text[:40], where=where,
                remedy="times count from the trace's beginning: subtract the first",
            )  # fmt: skip
        if chances and int(text) < chances[-1]:
            raise InputError(
                "time runs backwards", wanted=f"at least {chances[-1]}", found=text, where=where,
                remedy="sort the lines",
            )  # fmt: skip
        chances.append(int(text))
    if chances[-1] == 0:
        raise InputError(
            "the trace lasts no time: each chance is at 0 ms", wanted="times that go on", where=f"{path}:{len(lines)}",
            remedy="times are milliseconds since the beginning",
        )  # fmt: skip
    schedule = Schedule(path.name, deliveries=tuple(chances), length=chances[-1] / 1000)
    if not LEAST_RATE <= mean_rate(schedule) < MOST_RATE:
        raise InputError(
            "the trace's rate is out of range", wanted=f"{format_rate(LEAST_RATE)} to {format_rate(MOST_RATE)}",
            found=f"{format_rate(mean_rate(schedule))} on average", where=f"{path}:{len(lines)}",
            remedy="a line is a chance to send 1500 bytes, its number the time in milliseconds",
        )  # fmt: skip
    return schedule
