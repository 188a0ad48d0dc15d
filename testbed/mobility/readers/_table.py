"""Tables of positions: delimited text with a header. The one loop that must be fast."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.errors import InputError
from testbed.mobility.readers._format import (
    MOST_NODES,
    check_name,
    negative_time,
    no_rows,
    not_forward,
    number,
    out_of_range,
)
from testbed.mobility.readers._source import Source
from testbed.mobility.row import FAR, Row

BEFORE = math.nextafter(0.0, -1.0)
"""Just before all times that a trace may have."""


@dataclass(frozen=True)
class Columns:
    """Where a table has what: indices of its columns.

    Attributes:
        place: x and y, or latitude and longitude if ``degrees``.
        kind_else: The kind of nodes where the table has no column for it.
    """

    t: int
    node: int
    place: tuple[int, int]
    speed: int | None = None
    kind: int | None = None
    cell: int | None = None
    degrees: bool = False
    kind_else: str | None = None


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line, stripped (InputError is up to the caller: csv.Error)."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True), [])]


class _Node:
    """A node of the table, as rows need it."""

    __slots__ = ("last", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.last = BEFORE


@dataclass
class _Table:
    source: Source
    header: Sequence[str]
    kinds: Sequence[Columns]
    nodes: dict[str, _Node]

    def slowly(self, cells: list[str], line: int) -> tuple[Columns, _Node] | None:
        """What a row is that is not as most are; None: a comment, or nobody is in it (InputError: it is wrong)."""
        where = self.source.at(line)
        comment = not cells or cells[0].lstrip().startswith("#")
        if any("\n" in cell or "\r" in cell for cell in cells):
            raise _not_csv("a quote is not closed in its line", where)
        if comment or not "".join(cells).strip():
            return None
        if len(cells) != len(self.header):
            raise InputError(
                f"a row has {len(self.header)} values", wanted=",".join(self.header)[:80],
                found=f"{len(cells)}: {','.join(cells)[:60]}", where=where,
                remedy="decimals have a point, values are separated by commas" if "," in ",".join(self.header)
                else "one for each column of the header",
            )  # fmt: skip
        for columns in self.kinds:
            if cells[columns.node].strip():
                break
        else:
            if len(self.kinds) > 1 or not any(cells[i].strip() for i in self.kinds[0].place):
                return None
            columns = self.kinds[0]
        number(cells[columns.t], self.header[columns.t], where)
        for i in (*columns.place, *(() if columns.speed is None or not cells[columns.speed] else (columns.speed,))):
            number(cells[i], self.header[i], where)
        name = cells[columns.node].strip()
        node = self.nodes.get(name)
        if node is None:
            check_name(name, len(self.nodes), where)
            node = self.nodes[name] = _Node(name)
        if len(self.nodes) < 2 * MOST_NODES:  # with blanks around it as well, so that it is found at once next time
            self.nodes[cells[columns.node]] = node
        return columns, node

    def wrong(self, columns: Columns, node: _Node, values: tuple[float, float, float], where: str) -> InputError:
        """What is wrong with a row's time or place."""
        for i, value in zip((columns.t, *columns.place), values, strict=True):
            if not math.isfinite(value):
                number(str(value), self.header[i], where)
            if abs(value) > FAR:
                return out_of_range(self.header[i], value, where)
        t = values[0]
        return negative_time(t, where) if t < 0 else not_forward(node.name, t, node.last, where)


def rows(
    source: Source, header_line: int, header: Sequence[str], kinds: Sequence[Columns], delimiter: str
) -> Iterator[Row]:
    """The rows of a table.

    Args:
        source: The file.
        header_line: Line of the header, which is skipped with all before it.
        header: The columns' names, for errors.
        kinds: Where what is: for each kind of node that has columns of its own, the commonest first.
        delimiter: Between cells.

    Raises:
        InputError: A row breaks the format.
    """
    text = source.text()
    for _ in range(header_line):
        text.readline()
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    source.line = lambda: header_line + reader.line_num
    table = _Table(source, header, kinds, {})
    usual, nodes, make, width = kinds[0], table.nodes, tuple.__new__, len(header)
    t_at, node_at, (x_at, y_at), speed_at, kind_at = usual.t, usual.node, usual.place, usual.speed, usual.kind
    cell_at, degrees, kind_else = usual.cell, usual.degrees, usual.kind_else
    line = 0
    try:
        for cells in reader:
            line = reader.line_num
            columns = usual
            try:  # a usual row costs a look-up, three conversions and a chain of comparisons
                node = nodes[cells[node_at]]
                t, x, y = float(cells[t_at]), float(cells[x_at]), float(cells[y_at])
                speed = float(cells[speed_at]) if speed_at is not None and cells[speed_at] else None
                kind = cells[kind_at] if kind_at is not None else kind_else
                cell = cells[cell_at].strip() if cell_at is not None else None
                if len(cells) != width or not (speed is None or -FAR <= speed <= FAR):
                    raise ValueError
                if "_" in cells[t_at] or "_" in cells[x_at] or "_" in cells[y_at]:  # as `bare_number` has it
                    raise ValueError
                if speed_at is not None and "_" in cells[speed_at]:
                    raise ValueError
            except (KeyError, ValueError, IndexError):
                found = table.slowly(cells, header_line + line)
                if found is None:
                    continue
                columns, node = found
                t, x, y = float(cells[columns.t]), float(cells[columns.place[0]]), float(cells[columns.place[1]])
                speed = float(cells[columns.speed]) if columns.speed is not None and cells[columns.speed] else None
                kind = cells[columns.kind] if columns.kind is not None else columns.kind_else
                cell = cells[columns.cell].strip() if columns.cell is not None else None
            if not (node.last < t <= FAR and -FAR <= x <= FAR and -FAR <= y <= FAR):
                raise table.wrong(columns, node, (t, x, y), source.at(header_line + line))
            if degrees:
                x, y = _metres(source, x, y, header_line + line)
            node.last = t
            yield make(Row, (t, node.name, x, y, speed, kind or None, None, None, cell or None))
    except csv.Error as error:
        raise _not_csv(str(error), source.at(header_line + line + 1)) from None
    if not nodes:
        raise no_rows(source, ",".join(header)[:80])


def _metres(source: Source, latitude: float, longitude: float, line: int) -> tuple[float, float]:
    try:
        return source.project(latitude, longitude)
    except ValueError as error:
        raise InputError(
            f"this is no position: {error}", wanted="latitude and longitude in degrees, WGS 84",
            found=f"{latitude:.10g}, {longitude:.10g}", where=source.at(line), remedy="are they in the right order?",
        ) from None  # fmt: skip


def _not_csv(problem: str, where: str) -> InputError:
    return InputError(
        f"this is not CSV: {problem}", wanted="quotes in pairs, within a line", where=where,
        remedy="take out quotes and control characters",
    )  # fmt: skip
