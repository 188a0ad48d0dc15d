"""The cells of the grid: a question each, answered by a training, a run, or decisions. The lists are committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.grid.store import mark
from benchmarks.serverless.lessons import ALL, BED, CONTROL, LESSONS, RULE, RULES

CASES, PACK = 200, 50
"""Small cases that greedy is held against exact on, and how many of them a cell has."""
SIZES = (100, 1000, 10_000)
"""Units that are decided about; the last one is the accepted figure's."""
SEEDS = tuple(range(1, 6))
"""Of the accepted figures of small data."""
MEMORY, ALONE = "memory", "alone"
"""Beds of what needs no containers: several cells at a time, and one at a time as its time counts."""
SPLIT = ("splitfed", "fedfly", "edgemove")
"""Schemes that send activations."""


@dataclass(frozen=True)
class Cell:
    """One question.

    Attributes:
        kind: ``gap`` (greedy against exact), ``decide`` (time of decisions), ``accuracy`` (of a share of the data, in
            memory), ``small`` (what such a share costs, on containers).
        setting: Lesson; of ``gap`` the first of its cases, of ``decide`` how many units.
        way: Of ``small`` the scheme.
        rule: What is trained on: ``all``, or a share by a rule; empty where it is no matter.
        seed: Of everything random.
    """

    kind: str
    setting: str
    way: str = ""
    rule: str = ""
    seed: int = 1

    @property
    def name(self) -> str:
        """Unique, and readable."""
        parts = (self.kind, self.setting, self.way, self.rule, f"seed{self.seed}" if self.seed != 1 else "")
        return "/".join(part for part in parts if part)

    @property
    def bed(self) -> str:
        """What it runs on."""
        return {"gap": MEMORY, "accuracy": MEMORY, "decide": ALONE}.get(self.kind, BED)

    def by(self, rule: str) -> Cell:
        """The same on other samples."""
        return replace(self, rule=rule)


def quick() -> list[Cell]:
    """The committed list that the figures come from, bed by bed."""
    embedded = [name for name, lesson in LESSONS.items() if lesson.embedded]
    return in_order([
        *_gaps(),
        Cell("decide", str(SIZES[-1])),
        *_accuracies(embedded, (ALL, RULE, CONTROL), SEEDS),
        *_costs(embedded, ("splitfed",), (ALL, RULE), SEEDS),
        *_costs(embedded, ("fedavg",), (ALL, RULE), SEEDS[:1]),
        *_costs(embedded, ("splitfed",), (CONTROL,), SEEDS[:1]),
    ])  # fmt: skip


def full(seeds: Sequence[int], traces: bool = False) -> list[Cell]:
    """The quick list, and the whole grid after it, so that what matters most is there first on each bed.

    Args:
        seeds: Of the grid. traces: No matter here.
    """
    rules = (ALL, *RULES, CONTROL)
    listed = [*quick(), *(Cell("decide", str(units)) for units in SIZES), *_accuracies(LESSONS, rules, seeds)]
    listed += _costs(LESSONS, ("splitfed", "fedavg"), (ALL, RULE, CONTROL), seeds)
    listed += _costs(LESSONS, ("fedfly", "edgemove"), (ALL, RULE), seeds[:1])
    return in_order(dict.fromkeys(listed))


def _gaps() -> Iterator[Cell]:
    yield from (Cell("gap", str(first)) for first in range(0, CASES, PACK))


def _accuracies(lessons: Sequence[str] | dict[str, object], rules: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    return [Cell("accuracy", name, rule=rule, seed=seed) for name in lessons for seed in seeds for rule in rules]


def _costs(
    lessons: Sequence[str] | dict[str, object], schemes: Sequence[str], rules: Sequence[str], seeds: Sequence[int]
) -> list[Cell]:
    return [
        Cell("small", name, scheme, rule, seed)
        for name in lessons for scheme in schemes for seed in seeds for rule in rules
    ]  # fmt: skip


def in_order(listed: Sequence[Cell] | dict[Cell, None]) -> list[Cell]:
    """By bed, and otherwise as they are."""
    beds = (MEMORY, ALONE, BED)
    return sorted(listed, key=lambda cell: beds.index(cell.bed))


def beside(cell: Cell) -> tuple[Cell, ...]:
    """What a cell cannot go without."""
    return (cell.by(ALL),) if cell.kind in ("accuracy", "small") and cell.rule != ALL else ()


def fingerprint(cell: Cell, code: str, data: str) -> str:
    """What a stored result must agree in to count: the cell, what is learnt, the code, the data."""
    return mark(asdict(cell), asdict(LESSONS[cell.setting]) if cell.setting in LESSONS else {}, code, data)
