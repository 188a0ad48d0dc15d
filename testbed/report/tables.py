"""What a run came to, for the terminal: the end of ``testbed run`` and ``make demo``."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from testbed.report import grids, selectiongrids, taskgrids, words
from testbed.report.grids import Cell, Grid
from testbed.report.records import RunRecord

_STYLES = {grids.BAD: "bold red", grids.GOOD: "green", grids.QUIET: "dim"}


def comparison_table(record: RunRecord) -> Table | None:
    """What moving the state saved against restarting; None unless the run has both."""
    grid = grids.comparison_grid(record)
    if grid is None:
        return None
    # The page shows the law without downtime as well; eighty columns do not hold it.
    keep = [i for i, name in enumerate(grid.head) if name != "f/(1+f)"]
    narrow = Grid(grid.title, tuple(grid.head[i] for i in keep), names=grid.names)
    for row in grid.rows:
        narrow.add(*(row[i] for i in keep))
    return rich_table(narrow)


def summary_table(record: RunRecord) -> RenderableType:
    """Schemes, rounds, moves and verdict, as far as they are known."""
    parts: list[RenderableType] = [rich_table(grids.scheme_grid(record))] if record.schemes else []
    parts += [rich_table(_narrow_tasks(record))] if any(scheme.tasks for scheme in record.schemes) else []
    shown = (selectiongrids.rule_grid(record), grids.rounds_grid(record))
    parts += [rich_table(grid) for grid in shown if grid.rows]
    moves = _moves(record)
    if moves.rows:
        parts.append(rich_table(moves))
    return Group(*parts, _verdict(record))


def _narrow_tasks(record: RunRecord) -> Grid:
    """The tasks, without what eighty columns do not hold."""
    grid = taskgrids.task_grid(record)
    keep = [i for i, name in enumerate(grid.head)
            if name in ("task", "state", "came", "took", "rounds", "accuracy", "active energy", "cost")]  # fmt: skip
    narrow = Grid(grid.title, tuple(grid.head[i] for i in keep), names=2)
    for row in grid.rows:
        narrow.add(*(row[i] for i in keep))
    return narrow


def print_summary(record: RunRecord, console: Console) -> None:
    """Print the summary, and the comparison where there is one."""
    comparison = comparison_table(record)
    if comparison is not None:
        console.print(comparison)
    console.print(summary_table(record))


def rich_table(grid: Grid) -> Table:
    """A table of the report for the terminal."""
    look = {"title_justify": "left", "title_style": "bold", "padding": (0, 1, 0, 0), "pad_edge": False}
    table = Table(title=grid.title, box=box.SIMPLE_HEAD, **look)  # type: ignore[arg-type]
    for i, name in enumerate(grid.head):
        first = i < grid.names
        table.add_column(name, justify="left" if first else "right", overflow="fold", no_wrap=first)
    for row in grid.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _moves(record: RunRecord) -> Grid:
    # The page has every field; here are those that answer "what did it cost?".
    grid = Grid("Moves", ("device", "scheme", "move", "down", "gap", "state", "limit", "lost"), names=3)
    for scheme in record.schemes:
        for move in scheme.moves:
            point = f"{move.to}, {words.percent(move.progress, 0)} of {words.plain(move.round)}"
            waited = move.state_s is not None and move.strategy == "migrate"
            grid.add(
                move.device, scheme.name, point,
                Cell(words.seconds(move.downtime_s), "" if scheme.went_on(move) else grids.BAD),
                words.seconds(move.gap_s), words.seconds(move.state_s if waited else None),
                words.seconds(move.limit_s if waited else None), words.seconds(move.lost_s or None),
            )  # fmt: skip
    return grid


def _verdict(record: RunRecord) -> Text:
    good = record.verdict == "ok"
    text = Text(f"verdict: {record.verdict}", style="bold green" if good else "bold red")
    for reason in (*record.reasons, *record.missing):
        text.append(f"\n  {reason}", style="default")
    return text


def _text(cell: Cell) -> Text:
    return Text(cell.text, style=_STYLES.get(cell.mark, ""))
