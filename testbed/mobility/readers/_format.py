"""What a format is to the registry, and what all readers check of a row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from testbed.errors import InputError
from testbed.experiment.units import bare_number
from testbed.mobility.readers._source import Source
from testbed.mobility.row import FAR, Row

MOST_NODES = 200_000
"""Different nodes in one trace at most."""
LONGEST_NAME = 200
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)[\s/>]")


@dataclass(frozen=True)
class Head:
    """The beginning of a file, from which its format is told."""

    data: bytes

    @cached_property
    def text(self) -> str:
        """As text; what is none is replaced."""
        return self.data.decode("utf-8-sig", errors="replace")

    @cached_property
    def line(self) -> str:
        """The first line that is neither blank nor a comment (``#``); empty without one."""
        return self.text.splitlines()[self.number - 1].strip() if self.number else ""

    @cached_property
    def number(self) -> int:
        """Its number, 0 without one."""
        lines = enumerate(self.text.splitlines(), 1)
        return next((n for n, line in lines if line.strip() and not line.lstrip().startswith("#")), 0)

    @cached_property
    def root(self) -> str:
        """The root element of an XML file; empty if it is none."""
        if not self.line.startswith("<"):
            return ""
        found = _ROOT.search(re.sub(r"<!--.*?(-->|\Z)|<\?.*?(\?>|\Z)", "", self.text, flags=re.DOTALL))
        return found[1] if found else ""


@dataclass(frozen=True)
class Format:
    """A format of traces.

    Attributes:
        title: As users call it.
        matches: Whether a file that begins so is one.
        rows: Its rows, in the file's order; those of a node go forward in time.
        own_clock: Its time does not begin with the run, but with some day: its first row is the beginning.
        waypoints: Rows are the corners of a node's way, and after the last it stays there.
        own_names: Its nodes are named as the experiment's devices are.
    """

    title: str
    matches: Callable[[Head], bool]
    rows: Callable[[Source], Iterator[Row]]
    own_clock: bool = False
    waypoints: bool = False
    own_names: bool = False


@dataclass
class Checked:
    """Makes rows of values, in order, and refuses what cannot be."""

    source: Source
    _last: dict[str, float] = field(default_factory=dict)

    def row(self, line: int, row: Row) -> Row:
        """The row, if it may follow those before (InputError otherwise)."""
        for name, value in (("t", row.t), ("x", row.x), ("y", row.y)):
            if not -FAR <= value <= FAR:
                raise out_of_range(name, value, self.source.at(line))
        if row.t < 0:
            raise negative_time(row.t, self.source.at(line))
        last = self._last.get(row.node)
        if last is None:
            check_name(row.node, len(self._last), self.source.at(line))
        elif row.t <= last:
            raise not_forward(row.node, row.t, last, self.source.at(line))
        self._last[row.node] = row.t
        return row

    @property
    def any(self) -> bool:
        """Whether there was a row."""
        return bool(self._last)


def number(text: str | None, name: str, where: str) -> float:
    """A finite number within range (InputError otherwise)."""
    try:
        value = bare_number(text if text is not None else "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{name} is not a finite number", wanted="a number such as 12.5", found=(text or "nothing")[:60],
            where=where, remedy="take the row out or fill in the value",
        )  # fmt: skip
    if abs(value) > FAR:
        raise out_of_range(name, value, where)
    return value


def out_of_range(name: str, value: float, where: str) -> InputError:
    """For a value that no trace goes beyond."""
    return InputError(
        f"{name} is out of range", wanted=f"at most {FAR:g} either way", found=f"{value:g}", where=where,
        remedy="times are seconds, places metres",
    )  # fmt: skip


def negative_time(t: float, where: str) -> InputError:
    """For a time before the beginning."""
    return InputError(
        "the time is negative", wanted="seconds after the start, from 0", found=f"{t:g}", where=where,
        remedy="subtract the first time from each",
    )  # fmt: skip


def not_forward(node: str, t: float, last: float, where: str) -> InputError:
    """For a row that is no later than the one before of its node."""
    problem = "stands still" if t == last else "runs backwards"
    return InputError(
        f"time {problem} for {node!r}", wanted=f"more than {last:.10g}", found=f"{t:.10g}", where=where,
        remedy="sort the rows of each node by t, one row a moment",
    )  # fmt: skip


def check_name(name: str, before: int, where: str) -> None:
    """Refuse a name that no node can have, or one too many (InputError)."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(
            "a node has no usable name", wanted=f"1 to {LONGEST_NAME} printable characters", found=repr(name[:40]),
            where=where, remedy="fill it in",
        )  # fmt: skip
    if before >= MOST_NODES:
        raise InputError(
            "the trace has too many nodes", wanted=f"at most {MOST_NODES}", found="more", where=where,
            remedy="take a part of it; is the column of names the right one?",
        )  # fmt: skip


def no_rows(source: Source, wanted: str) -> InputError:
    """For a file of a format that has nothing in it."""
    return InputError(
        "the trace holds no rows", wanted=wanted, found="none", where=source.at(1), remedy="name another file"
    )
