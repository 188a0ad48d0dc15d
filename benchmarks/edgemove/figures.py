"""The arithmetic: from what cells came to, to efficiencies, speed-ups, stalls, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from benchmarks.edgemove.cells import ADAPTS, Cell
from benchmarks.edgemove.settings import DEVICE, GOODPUT, Setting
from benchmarks.edgemove.store import Found
from benchmarks.grid import figures as grid
from benchmarks.grid.figures import count, least, measured, most

Results = Mapping[str, Found]
Row = Mapping[str, Any]

EFFICIENCY = {("1f1b", "link"): 0.95, ("1f1b", "device"): 0.9, ("1f1b", "server"): 0.9, "sync": 0.85}
"""Share of the bound that is to be reached, by schedule and what bounds."""
LIMITS: dict[str, tuple[str, float]] = {
    "speedup_over_split_max": ("at least", 2.1),
    "speedup_shortfalls": ("at most", 0.0),
    "bound_efficiency_min": ("at least", 0.9),
    "bound_shortfalls": ("at most", 0.0),
    "plans_within_5pct": ("at least", 9.0),
    "probe_share_max": ("at most", 0.02),
    "stall_over_reactive": ("at most", 0.25),
    "stall_over_static": ("at most", 1.0),
    "slower_overall_pct": ("at most", 1.0),
}
WITHIN = 1.05
OF_BOUND, WORTH, AT_LEAST = 0.85, 1.6, 1.3
"""A speed-up is to be this share of its bound, and where that is ``WORTH`` at least, ``AT_LEAST``."""


@dataclass(frozen=True)
class Bound:
    """How close a pipeline came to what bounds it.

    Attributes:
        parts: Seconds of a batch by node and wire, measured apart.
        slowest: The largest of them.
        batch_s: Seconds a batch, median of the rounds, fill and drain of each left out.
        wanted: Share of the bound that is to be reached.
    """

    parts: Mapping[str, float]
    slowest: str
    batch_s: float
    wanted: float

    @property
    def efficiency(self) -> float:
        """Share of the bound that was reached."""
        return self.parts[self.slowest] / self.batch_s


@dataclass(frozen=True)
class Speedup:
    """What a pipeline gained over unpipelined training, seconds a batch.

    Attributes:
        split: Unpipelined, whole batches, at its best measured cut. splitfed: The scheme of that name there.
        sequential: One micro-batch at a time, at the cut that is best for that; None if it was not measured.
        pipeline: The chosen pipeline.
        bound: What its slowest part allows at most over the best split training that is predicted: what `testbed plan`
            prints. over_turns: The same over one micro-batch at a time.
    """

    split: float
    splitfed: float
    sequential: float | None
    pipeline: float
    bound: float
    over_turns: float | None

    @property
    def gained(self) -> float:
        """Over the faster of the two that do without a pipeline."""
        return min(self.split, self.splitfed) / self.pipeline

    @property
    def overlap(self) -> float | None:
        """Over one micro-batch at a time: what overlap alone gains."""
        return None if self.sequential is None else self.sequential / self.pipeline

    @property
    def falls_short(self) -> bool:
        """Whether it is less than was promised."""
        return self.gained < OF_BOUND * self.bound or (self.bound >= WORTH and self.gained < AT_LEAST)


@dataclass(frozen=True)
class Chosen:
    """The chosen plan beside the best of those that were measured: seconds a batch, both measured again."""

    chosen: Row
    best: Row
    measured: int

    @property
    def ratio(self) -> float:
        """Chosen over best."""
        return seconds(self.chosen) / seconds(self.best)

    @property
    def near(self) -> bool:
        """Whether it is within 5 %."""
        return self.ratio <= WITHIN


@dataclass(frozen=True)
class Moving:
    """A training while the device moves: what it lost to each handover, how long it was, what probes took of it."""

    handovers: int
    stall_s: float
    duration_s: float
    usual_s: float
    changes: int
    probe_time: float
    probe_bytes: float


def seconds(row: Row) -> float:
    """Seconds a batch, fill and drain left out: the median of its rounds."""
    return median(one["steady_s"] for one in row["rounds"] if one["steady_s"] is not None)


def rate(row: Row) -> float:
    """Samples a second over whole rounds: the median of them, the first left out where there are more."""
    rounds = row["rounds"][1:] or row["rounds"]
    return median(one["batches"] * row["samples"] / one["s"] for one in rounds)


def parts(setting: Setting, row: Row) -> dict[str, float]:
    """Seconds that a batch takes of each node and wire, by a training in which they took turns.

    Of a wire that is what its bytes take at the rate of the link, as TCP carries them; messages to or from the device
    share its link, whatever server they go to.
    """
    up, down = setting.bed.access[setting.bed.sites.index(setting.home)]
    found: dict[str, float] = {}
    for part in row["parts"].values():
        found[part["node"]] = found.get(part["node"], 0.0) + part["s"] * row["micro"]
    for way, crossing in row["crossings"].items():
        source, _, target = way.partition(" -> ")
        wire = f"{DEVICE} up" if source == DEVICE else f"{DEVICE} down" if target == DEVICE else way
        mbit = up if source == DEVICE else down if target == DEVICE else setting.bed.backhaul
        found[wire] = found.get(wire, 0.0) + row["micro"] * 8 * crossing["bytes"] / (mbit * 1e6 * GOODPUT)
    return found


def bound(results: Results, cell: Cell) -> Bound | None:
    """Of a cell of that kind; None if it or what was measured apart is missing."""
    apart, row = only(results, cell.beside("apart")), only(results, cell)
    if apart is None or row is None:
        return None
    every = parts(cell.on, apart)
    slowest = max(every, key=lambda name: every[name])
    wanted = EFFICIENCY["sync"] if cell.way == "sync" else EFFICIENCY["1f1b", kind(slowest)]
    return Bound(every, slowest, seconds(row), wanted)


def kind(part: str) -> str:
    """Of a node or wire: ``device``, ``link`` or ``server``."""
    return "device" if part == DEVICE else "link" if " " in part else "server"


def speedup(results: Results, cell: Cell) -> Speedup | None:
    """Of the pipeline that is chosen, by a cell that measures it; None if something is missing."""
    pipeline, split = only(results, cell), measured(results, cell.beside("cuts", "split"))
    if pipeline is None or split is None or pipeline["predicted"] is None:
        return None
    again, splitfed = _rows(split, "best again"), _rows(split, "splitfed")
    cuts = [row for row in split.rows if row["what"] == "cut"]
    if not again or not splitfed or not cuts:
        return None
    least = min(row["predicted"]["batch_s"] for row in cuts)
    one = only(results, cell.beside("sequential"))
    return Speedup(
        seconds(again[0]), seconds(splitfed[0]), None if one is None else seconds(one), seconds(pipeline),
        least / pipeline["predicted"]["bound_s"], pipeline["over_turns_bound"],
    )  # fmt: skip


def chosen(results: Results, cell: Cell) -> Chosen | None:
    """Of a cell that measures all plans; None if it failed."""
    found = measured(results, cell)
    if found is None:
        return None
    mine, best, plans = (_rows(found, what) for what in ("chosen again", "best again", "plan"))
    return Chosen(mine[0], best[0], len(plans)) if mine and best else None


def moving(results: Results, cell: Cell) -> Moving | None:
    """Of a cell whose device moves; None if it failed, or no device moved."""
    row = only(results, cell)
    if row is None or not row["stalls"]:
        return None
    return Moving(
        row["handovers"], mean(row["stalls"]), row["duration_s"], row["usual_s"], row["changes"],
        row["probes"]["time_share"], row["probes"]["bytes_share"],
    )  # fmt: skip


def figures(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """All figures. One is None if something that it stands on is missing.

    Args:
        results: By name of cell. cells: What was to be measured: the quick list or the whole grid.
    """
    bounds = {cell: bound(results, cell) for cell in cells if cell.kind == "bound" and cell.way != "apart"}
    gains = [speedup(results, cell) for cell in cells if cell.kind == "steady" and cell.way == "auto"]
    plans = [chosen(results, cell) for cell in cells if cell.kind == "plans"]
    quick = [cell for cell in cells if cell.kind == "moving" and cell.way in ADAPTS]
    proactive = [cell for cell in quick if cell.way == "proactive"]
    return {
        "speedup_over_split_max": most(None if g is None else g.gained for g in gains),
        "speedup_shortfalls": count(None if g is None else g.falls_short for g in gains),
        "bound_efficiency_min": least(
            None if b is None else b.efficiency for cell, b in bounds.items() if cell.way == "1f1b"
        ),
        "bound_efficiency": {
            cell.name.partition("/")[2]: None if b is None else round(b.efficiency, 4) for cell, b in bounds.items()
        },
        "bound_shortfalls": count(None if b is None else b.efficiency < b.wanted for b in bounds.values()),
        "plans_within_5pct": count(None if c is None else c.near for c in plans),
        "plans_settings": len(plans) or None,
        "probe_share_max": most(_shares(results, cell) for cell in cells if cell.way in ("proactive", "reactive")),
        "stall_over_reactive": most(stall_against(results, cell, "reactive") for cell in _scenarios(proactive)),
        "stall_over_static": most(stall_against(results, cell, "static") for cell in _scenarios(proactive)),
        "slower_overall_pct": most(
            slower(results, [c for c in proactive if c.setting == cell.setting], way)
            for cell in _scenarios(proactive) for way in ("reactive", "static")
        ),
    }  # fmt: skip


def stall_against(results: Results, cell: Cell, way: str, seeds: Iterable[int] = range(1, 100)) -> float | None:
    """Stall per handover over that of another way, means over the seeds that both were measured with."""
    mine, other = [], []
    for seed in seeds:
        a = moving(results, Cell(cell.kind, cell.setting, cell.way, seed))
        b = moving(results, Cell(cell.kind, cell.setting, way, seed))
        if a is not None and b is not None:
            mine.append(a.stall_s)
            other.append(b.stall_s)
    return mean(mine) / mean(other) if other and mean(other) > 0 else None


def slower(results: Results, group: Sequence[Cell], way: str) -> float | None:
    """By how much trainings took longer than paired ones of another way, percent, mean; below 0 if shorter."""
    pairs = [(moving(results, cell), moving(results, cell.beside(way))) for cell in group]
    shares = [a.duration_s / b.duration_s - 1 for a, b in pairs if a is not None and b is not None]
    return 100 * mean(shares) if shares else None


def only(results: Results, cell: Cell) -> Row | None:
    """The one training of a cell."""
    found = measured(results, cell)
    return None if found is None or not found.rows else found.rows[0]


def as_json(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """What edgemove.json holds."""

    def told(cell: Cell, found: Found) -> dict[str, Any]:
        return {**_told(results, cell), "trainings": list(found.rows)}

    return grid.as_json(figures(results, cells), results, cells, _about, told)


def _about(cell: Cell) -> dict[str, Any]:
    return {"name": cell.name, "kind": cell.kind, "setting": cell.setting, "way": cell.way, "seed": cell.seed}


def _told(results: Results, cell: Cell) -> dict[str, Any]:
    """The case's own figures."""
    if cell.kind == "bound" and cell.way != "apart" and (b := bound(results, cell)) is not None:
        return {"efficiency": b.efficiency, "wanted": b.wanted, "slowest": b.slowest, "parts_s": dict(b.parts)}
    if cell.kind == "steady" and cell.way == "auto" and (g := speedup(results, cell)) is not None:
        return {"speedup": g.gained, "speedup_bound": g.bound, "overlap": g.overlap, "falls_short": g.falls_short}
    if cell.kind == "plans" and (c := chosen(results, cell)) is not None:
        return {"chosen_over_best": c.ratio, "plans": c.measured}
    if (m := moving(results, cell)) is not None:
        return {"stall_s": m.stall_s, "handovers": m.handovers, "changes": m.changes}
    return {}


def _scenarios(cells: Sequence[Cell]) -> list[Cell]:
    """One cell of each setting."""
    return list({cell.setting: cell for cell in cells}.values())


def _shares(results: Results, cell: Cell) -> float | None:
    row = only(results, cell)
    return None if row is None else max(row["probes"]["time_share"], row["probes"]["bytes_share"])


def _rows(found: Found, what: str) -> list[Row]:
    return [row for row in found.rows if row["what"] == what]
