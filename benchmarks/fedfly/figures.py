"""The arithmetic: from what cells came to, to the law, the state's time against its limit, and the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.fedfly.cells import FRACTIONS, Cell
from benchmarks.fedfly.settings import GOODPUT
from benchmarks.fedfly.store import Found
from benchmarks.grid import figures as grid
from benchmarks.grid.figures import least, measured, most

Results = Mapping[str, Found]

LIMITS: dict[str, tuple[str, float]] = {
    "law_error_pct_max": ("at most", 5.0),
    "saving_error_points_max": ("at most", 3.0),
    "saving_at_90_pct": ("at least", 45.0),
    "round_over_downtime_min": ("at least", 30.0),
    "state_over_limit_max": ("at most", 1.0),
    "shadow_over_migrate": ("at most", 0.25),
    "shadow_wrong_over_migrate": ("at most", 1.1),
    "accuracy_delta_max": ("at most", 0.0),
}
SLACK, BUSY_SLACK, EXTRA_S = 1.15, 1.5, 0.02
"""What the state may take: so many times its bound (more where edge servers are busy), and so much more."""


@dataclass(frozen=True)
class Law:
    """One device that moved at about the same point of each round: medians over its rounds, s.

    Attributes:
        fraction: Asked for. f: Share of the round that a restart threw away, as it was.
        whole: T, a round without moves. restart, moving: A round with one. downtime: Of the moves of ``moving``.
        n: Rounds that the fewest of these medians is of.
    """

    fraction: float
    f: float
    whole: float
    restart: float
    moving: float
    downtime: float
    n: int

    @property
    def restart_error(self) -> float:
        """How far restarting is from (1 + f) T, as a share."""
        return self.restart / ((1 + self.f) * self.whole) - 1

    @property
    def saving(self) -> float:
        """Share of the restarting round's time that was saved."""
        return 1 - self.moving / self.restart

    @property
    def expected(self) -> float:
        """What the law has: (f - downtime / T) / (1 + f)."""
        return (self.f - self.downtime / self.whole) / (1 + self.f)


@dataclass(frozen=True)
class State:
    """What the training state of a cell's moves took: medians, s and bytes; ``limit`` is None if nothing was sent."""

    n: int
    state_s: float
    worst_s: float
    bytes: float
    limit: float | None
    gap_s: float | None

    @property
    def over(self) -> float | None:
        """Of the limit."""
        return None if self.limit is None else self.state_s / self.limit


def state_limit(state_bytes: float, limit_s: float, rate: float, slack: float = SLACK) -> float:
    """What the state may take, s: 1.15 x (bytes over the slowest link's goodput + round trip) + 20 ms.

    Args:
        state_bytes: Of the state. rate: Of the slowest link on its way, layer-2 bits per second.
        limit_s: A move's own bound: bytes at that rate, plus the round trip, s.
        slack: Instead of 1.15.
    """
    wire = state_bytes * 8 / rate
    return slack * (wire / GOODPUT + (limit_s - wire)) + EXTRA_S


def state(cell: Cell, found: Found) -> State | None:
    """Of all moves of a cell whose state could be timed; None if none could."""
    rows = [move for move in found.moves if move["state_s"] is not None]
    if not rows:
        return None
    rate, slack = cell.bed.backhaul * 1e6, BUSY_SLACK if cell.bed.shared else SLACK
    limits = [
        state_limit(m["state_bytes"], m["limit_s"], rate, slack) for m in rows if m["state_bytes"] and m["limit_s"]
    ]
    gaps = [m["handover_gap_s"] for m in rows if m["handover_gap_s"] is not None]
    return State(
        n=len(rows),
        state_s=median(m["state_s"] for m in rows),
        worst_s=max(m["state_s"] for m in rows),
        bytes=median(m["state_bytes"] or 0 for m in rows),
        limit=median(limits) if limits else None,
        gap_s=median(gaps) if gaps else None,
    )


def law(results: Results, cell: Cell, device: str) -> Law | None:
    """One device of a cell that moves, against the cells that restart and that stand still; None if one is missing."""
    found, base = measured(results, cell), measured(results, cell.base)
    other = measured(results, alike(cell, "restart"))
    if found is None or base is None or other is None:
        return None
    lost = [m["progress"] for m in other.moves if m["device"] == device and m["progress"] is not None]
    down = [m["downtime_s"] for m in found.moves if m["device"] == device and m["downtime_s"] is not None]
    times = [one.rounds.get(device, ()) for one in (base, other, found)]
    if not lost or not down or not all(times):
        return None
    whole, restart, moving = (median(one) for one in times)
    n = min(len(lost), len(down), *map(len, times))
    return Law(FRACTIONS[device], median(lost), whole, restart, moving, median(down), n)


def same_weights(results: Results, cell: Cell) -> bool | None:
    """Whether a cell ended with the weights of the training without moves; None if one of them is not there."""
    found, base = measured(results, cell), measured(results, cell.base)
    if found is None or base is None or not found.weights_sha256 or not base.weights_sha256:
        return None
    return found.weights_sha256 == base.weights_sha256


def accuracy_delta(results: Results, cell: Cell) -> float | None:
    """How much less (or more) accurate a cell's model is than without moves; None if one is not there."""
    found, base = measured(results, cell), measured(results, cell.base)
    if found is None or base is None or found.accuracy is None or base.accuracy is None:
        return None
    return found.accuracy - base.accuracy


def figures(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """All figures. Those of one kind of cell are None if one that they stand on is missing.

    Args:
        results: By name of cell. cells: What was to be measured: the quick list or the whole grid.
    """
    accepted = [cell for cell in cells if cell.kind == "law" and cell.rounds > 1 and cell.strategy == "migrate"]
    laws = {fraction: _of(law(results, cell, device) for cell in accepted)
            for device, fraction in FRACTIONS.items()}  # fmt: skip
    moving = [cell for cell in cells if cell.strategy != "none"]
    deltas = [accuracy_delta(results, cell) for cell in moving]
    ninety = laws[0.9]
    return {
        "saving": {f"{f:g}": None if row is None else round(row.saving, 4) for f, row in laws.items()},
        "saving_expected": {f"{f:g}": None if row is None else round(row.expected, 4) for f, row in laws.items()},
        "law_error_pct_max": most(None if r is None else 100 * abs(r.restart_error) for r in laws.values()),
        "saving_error_points_max": most(
            None if r is None else 100 * abs(r.saving - r.expected) for r in laws.values()
        ),
        "saving_at_90_pct": None if ninety is None else round(100 * ninety.saving, 2),
        "round_over_downtime_min": least(
            (None if r is None else r.whole / max(r.downtime, 1e-3) for r in laws.values()), digits=2
        ),
        "state_over_limit_max": most(
            None if s is None else s.over for s in (_state(results, cell) for cell in states(cells, "migrate"))
        ),
        "shadow_over_migrate": most(against(results, cell) for cell in states(cells, "shadow", "right")),
        "shadow_wrong_over_migrate": most(against(results, cell) for cell in states(cells, "shadow", "wrong")),
        "digests_equal": _all(same_weights(results, cell) for cell in moving),
        "accuracy_delta_max": most(None if d is None else abs(d) for d in deltas),
    }


def states(cells: Iterable[Cell], strategy: str, forecast: str = "") -> list[Cell]:
    """Cells that time the state."""
    return [c for c in cells if c.kind == "state" and c.strategy == strategy and c.forecast == forecast]


def against(results: Results, cell: Cell) -> float | None:
    """What the state of a standby took, of what copying took on the same bed."""
    mine, copied = _state(results, cell), _state(results, alike(cell, "migrate"))
    return None if mine is None or copied is None or copied.state_s <= 0 else mine.state_s / copied.state_s


def as_json(results: Results, cells: Sequence[Cell]) -> dict[str, Any]:
    """What fedfly.json holds."""
    return grid.as_json(figures(results, cells), results, cells, _about, lambda cell, _: _told(results, cell))


def _about(cell: Cell) -> dict[str, Any]:
    return {
        "name": cell.name, "kind": cell.kind, "setting": cell.setting, "strategy": cell.strategy, "cut": cell.cut,
        "split": cell.split, "seed": cell.seed, "rounds": cell.rounds, "forecast": cell.forecast,
    }  # fmt: skip


def _told(results: Results, cell: Cell) -> dict[str, Any]:
    found, timed = results[cell.name], _state(results, cell)
    return {
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "round_s": found.rounds,
        "state_s": None if timed is None else round(timed.state_s, 6),
        "state_limit_s": None if timed is None or timed.limit is None else round(timed.limit, 6),
        "standby_bytes": found.standby_bytes,
        "standby_s": round(found.standby_s, 4),
        "accuracy": found.accuracy,
        "weights_sha256": found.weights_sha256,
        "digest_equal": None if cell.strategy == "none" else same_weights(results, cell),
        "moves": list(found.moves),
    }


def alike(cell: Cell, strategy: str) -> Cell:
    """The same cell with another strategy, and without a forecast."""
    return Cell(cell.kind, cell.setting, strategy, cell.split, cell.cut, cell.seed, cell.rounds)


def _state(results: Results, cell: Cell) -> State | None:
    found = measured(results, cell)
    return None if found is None else state(cell, found)


def _of(rows: Iterable[Law | None]) -> Law | None:
    return next(iter(rows), None)


def _all(values: Iterable[bool | None]) -> bool | None:
    listed = list(values)
    if False in listed:
        return False
    return None if not listed or None in listed else True
