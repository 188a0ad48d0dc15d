"""The arithmetic of small data: what a share of it saves, and what it costs in accuracy, paired over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.grid.figures import interval, measured
from benchmarks.serverless.cells import SPLIT, Cell
from benchmarks.serverless.lessons import ALL, CONTROL, LESSONS
from benchmarks.serverless.store import Found

Results = Mapping[str, Found]


@dataclass(frozen=True)
class Saved:
    """How many times less a share of the data takes than all of it: all over share, a value a seed.

    Attributes:
        time: Of the devices' work, the selection included. energy: Of their active energy. up: Of what they send.
        round: Of rounds, waiting included.
    """

    time: tuple[float, ...]
    energy: tuple[float, ...]
    up: tuple[float, ...]
    round: tuple[float, ...]


def saved(results: Results, cells: Sequence[Cell]) -> Saved | None:
    """Of cells that differ in nothing but the seed, each against its own on all data; None if one is missing."""
    pairs = [(measured(results, cell.by(ALL)), measured(results, cell)) for cell in cells]
    rows = [(a.row, b.row) for a, b in pairs if a is not None and b is not None]
    if not rows or len(rows) < len(pairs):
        return None

    def ratio(key: str) -> tuple[float, ...]:
        return tuple(a[key] / b[key] for a, b in rows)

    return Saved(ratio("busy_s"), ratio("active_j"), ratio("sent_bytes"), ratio("round_s"))


def deltas(results: Results, cells: Sequence[Cell], to: str = ALL) -> list[float] | None:
    """Points of accuracy after the last round, less those on all data (or by another rule) of the same seed.

    None if one is missing.
    """
    pairs = [(measured(results, cell.by(to)), measured(results, cell)) for cell in cells]
    found = [100 * (b.row["accuracy"][-1] - a.row["accuracy"][-1]) for a, b in pairs if a is not None and b is not None]
    return found if found and len(found) == len(pairs) else None


def group(cells: Iterable[Cell], kind: str, rule: str = "") -> dict[tuple[str, str], list[Cell]]:
    """Cells of a kind by lesson and scheme, seed by seed, of a rule; by default of each lesson's own."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.kind == kind and cell.rule == (rule or LESSONS[cell.setting].rule):
            found.setdefault((cell.setting, cell.way), []).append(cell)
    return found


def figures(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """The figures of small data: least over the embedded images and text, and by lesson.

    Accuracy at its least is of those that are not scarce.
    """
    embedded = [cell for cell in cells if cell.kind in ("accuracy", "small") and LESSONS[cell.setting].embedded]
    gains = {at: saved(results, one) for at, one in group(embedded, "small").items()}
    split = {at: one for at, one in gains.items() if at[1] in SPLIT}
    ruled = {at[0]: deltas(results, one) for at, one in group(embedded, "accuracy").items()}
    random = {at[0]: deltas(results, one) for at, one in group(embedded, "accuracy", CONTROL).items()}
    return {
        "small_data_time_ratio": _least(gains.values(), lambda one: mean(one.time)),
        "small_data_energy_ratio": _least(gains.values(), lambda one: mean(one.energy)),
        "small_data_bytes_ratio": _least(split.values(), lambda one: mean(one.up)),
        "small_data_accuracy_delta": _least(_held(ruled), mean),
        "random_accuracy_delta": _least(_held(random), mean),
        "small_data_accuracy_delta_by": {name: None if one is None else round(mean(one), 3)
                                         for name, one in ruled.items()},
        "random_accuracy_delta_by": {name: None if one is None else round(mean(one), 3)
                                     for name, one in random.items()},
    }  # fmt: skip


def _held(found: Mapping[str, list[float] | None]) -> list[list[float] | None]:
    return [one for name, one in found.items() if LESSONS[name].held]


def told(results: Results, cell: Cell) -> dict[str, Any]:
    """A case's own figures, beside what it came to."""
    if cell.rule in ("", ALL):
        return {}
    if cell.kind == "accuracy":
        found = deltas(results, [cell])
        return {} if found is None else {"delta_points": found[0]}
    gain = saved(results, [cell])
    if gain is None:
        return {}
    return {"time_ratio": gain.time[0], "energy_ratio": gain.energy[0], "bytes_ratio": gain.up[0],
            "round_ratio": gain.round[0]}  # fmt: skip


def again(results: Results, cell: Cell) -> bool | None:
    """Whether a training on containers was after each of its rounds as accurate as the one in memory.

    None: unknown, or they are not of the same samples.
    """
    if LESSONS[cell.setting].costed:
        return None
    here = measured(results, cell)
    memory = measured(results, Cell("accuracy", cell.setting, rule=cell.rule, seed=cell.seed))
    if here is None or memory is None or cell.way not in ("splitfed", "fedavg", "fedfly"):
        return None
    mine = here.row["accuracy"]
    return bool(mine) and all(abs(a - b) < 1e-9 for a, b in zip(mine, memory.row["accuracy"], strict=False))


def within(values: Sequence[float]) -> str:
    """Mean and interval of points, with their sign."""
    middle, half = interval(values)
    return f"{middle:+.2f}" + ("" if half is None else f" ± {half:.2f}")


def _least(values: Iterable[Any], of: Callable[[Any], float]) -> float | None:
    listed = list(values)
    if not listed or any(one is None for one in listed):
        return None
    return round(min(of(one) for one in listed), 4)
