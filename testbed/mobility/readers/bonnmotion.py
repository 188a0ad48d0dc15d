"""BonnMotion's ``.movements``: a line a node, ``t x y t x y …``, or ``t x y z …`` in three dimensions.

Nodes are called ``0``, ``1``, … by line. Rows are the corners of a node's way, straight and even between them; heights
are left out. How many dimensions there are is told from the lines themselves; where both would do, a first line
``# 2D`` or ``# 3D`` says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from testbed.errors import InputError
from testbed.mobility.readers._format import Checked, Format, Head, no_rows, number
from testbed.mobility.readers._source import HEAD, Source
from testbed.mobility.row import Row

_WANTED = "t x y t x y …, or t x y z t x y z …"
_SAID = re.compile(r"\s*#\s*([23])D\b", re.IGNORECASE)


def matches(head: Head) -> bool:
    """Whether the first line is of numbers only, three at least, with blanks between them.

    Also of such as no trace may have (``nan``, ``1_0``): what is wrong with those is told when they are read.
    """
    words = head.line.split()[:12]
    if len(head.data) == HEAD and len(words) == 12:
        words.pop()  # it may be cut off
    return len(words) >= 3 and all(_is_number(word) for word in words)


def read(source: Source) -> Iterator[Row]:
    """The rows of a file, node by node."""
    checked = Checked(source)
    width = _width(source)
    node = line = 0
    source.line = lambda: line
    for line, text in enumerate(source.text(), 1):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) % width:
            raise InputError(
                "a node's line is cut off", wanted=f"numbers by {width}: {_WANTED}", found=f"{len(words)} numbers",
                where=source.at(line), remedy="is the file cut off?",
            )  # fmt: skip
        last: Row | None = None
        for i in range(0, len(words), width):
            t, x, y = (number(words[i + j], name, source.at(line)) for j, name in enumerate(("t", "x", "y")))
            row = Row(t, str(node), x, y)
            if row != last:  # BonnMotion repeats a corner now and then
                yield checked.row(line, row)
            last = row
        node += 1
    if not checked.any:
        raise no_rows(source, _WANTED)


def _width(source: Source) -> int:
    """Numbers a corner has: 3 or 4 (InputError if that cannot be told)."""
    head = Head(source.head)
    lines = head.text.splitlines()
    if len(source.head) == HEAD and len(lines) > 1:
        lines.pop()  # it may be cut off
    for text in lines[: head.number]:
        if said := _SAID.match(text):
            return int(said[1]) + 1
    ways = [words for words in map(str.split, lines) if words and not words[0].startswith("#")]
    cut = len(source.head) == HEAD and len(lines) == 1
    fit = [width for width in (3, 4) if all(_fits(words, width, cut) for words in ways)]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        return 3  # the line that is wrong is told when it is read
    raise InputError(
        "these lines may be of two or of three dimensions", wanted=_WANTED, found=head.line[:80],
        where=source.at(head.number), remedy="make '# 2D' or '# 3D' the first line",
    )  # fmt: skip


def _fits(words: Sequence[str], width: int, cut: bool) -> bool:
    if len(words) % width and not cut:
        return False
    times = [float(word) if _is_number(word) else -1.0 for word in words[: len(words) - 1 : width]]
    return all(0 <= a <= b for a, b in pairwise(times)) and times[0] >= 0


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


FORMAT = Format("BonnMotion movements", matches, read, waypoints=True)
