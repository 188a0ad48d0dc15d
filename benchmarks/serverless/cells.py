"""The cells of the grid: a question each, answered by a training, a run, or decisions. The lists are committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.grid.store import mark
from benchmarks.serverless.lessons import ALL, BED, CONTROL, LESSONS, RULES
from benchmarks.serverless.scenarios import BASELINES, FAR, FLEET, GREEDY, SCENARIOS

CASES, PACK = 200, 25
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
            memory), ``small`` (what such a share costs, on containers), ``platform`` (tasks in a scenario).
        setting: Lesson, or scenario; of ``gap`` the first of its cases, of ``decide`` how many units.
        way: Of ``small`` the scheme, of ``platform`` who decides.
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
        if self.kind == "platform":
            return SCENARIOS[self.setting].fleet.name
        return {"gap": MEMORY, "accuracy": MEMORY, "decide": ALONE}.get(self.kind, BED)

    def by(self, rule: str) -> Cell:
        """The same on other samples."""
        return replace(self, rule=rule)


def quick() -> list[Cell]:
    """The committed list that the figures come from, bed by bed."""
    held = [name for name, lesson in LESSONS.items() if lesson.held]
    told = [name for name, lesson in LESSONS.items() if lesson.embedded and lesson.scarce]
    return in_order([
        *_gaps(),
        Cell("decide", str(SIZES[-1])),
        *_accuracies(held, (CONTROL,), SEEDS),
        *_accuracies(told, (CONTROL,), SEEDS[:1]),
        *_costs(held, ("splitfed",), (), SEEDS),
        *_costs(held[:1], ("fedavg",), (), SEEDS[:1]),
        *(run(name, who, seed) for name, who, seeds in _ASKED for seed in seeds),
    ])  # fmt: skip


def full(seeds: Sequence[int], traces: bool = False) -> list[Cell]:
    """The quick list, and the whole grid after it, so that what matters most is there first on each bed.

    Args:
        seeds: Of the grid. traces: No matter here.
    """
    others = (*RULES, CONTROL)
    listed = [*quick(), *(Cell("decide", str(units)) for units in SIZES), *_accuracies(LESSONS, others, seeds)]
    listed += _costs(LESSONS, ("splitfed", "fedavg"), (CONTROL,), seeds)
    listed += _costs(LESSONS, ("fedfly", "edgemove"), (), seeds[:1])
    listed += [run(name, who, seed) for seed in seeds for name in SCENARIOS for who in (GREEDY, *BASELINES)]
    listed += [run(name, GREEDY, seed, rule) for seed in seeds for name in _RULED for rule in (_rule(name), CONTROL)]
    return in_order(dict.fromkeys(listed))


def run(scenario: str, policy: str, seed: int, rule: str = ALL) -> Cell:
    """Tasks in a scenario, decided about by a policy."""
    return Cell("platform", scenario, policy, rule, seed)


_THRICE, _TWICE, _ONCE = (1, 2, 3), (1, 2), (1,)
_ASKED = (
    *((name, who, _TWICE if name == "weak-batteries" else _THRICE)
      for name, at in SCENARIOS.items() if at.blind for who in (GREEDY, at.blind)),
    *(("one", who, _ONCE) for who in BASELINES if not who.startswith("blind")),
)  # fmt: skip
"""Scenarios, policies and seeds of the quick list: intervals where a baseline is blind, one run of others. Where it is
twice as bad, two runs are enough to say so: their interval is that of one degree of freedom.

Many tasks and moving devices are the whole grid's: no accepted figure is of them alone, and a quick run is short."""
_RULED = ("one", "one-text", "one-motion")
"""Scenarios in which the platform also trains on shares of the data: each is of one lesson."""


def _gaps() -> Iterator[Cell]:
    yield from (Cell("gap", str(first)) for first in range(0, CASES, PACK))


def _rule(scenario: str) -> str:
    """The rule of the lesson that a scenario is of."""
    (asked,) = SCENARIOS[scenario].tasks.values()
    return LESSONS[asked.lesson].rule


def _accuracies(lessons: Iterable[str], more: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """On all data, by each lesson's own rule, and by more of them."""
    return [
        Cell("accuracy", name, rule=rule, seed=seed)
        for name in lessons for seed in seeds for rule in (ALL, LESSONS[name].rule, *more)
    ]  # fmt: skip


def _costs(lessons: Iterable[str], schemes: Sequence[str], more: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """The same on containers."""
    return [
        Cell("small", name, scheme, rule, seed)
        for name in lessons for scheme in schemes for seed in seeds for rule in (ALL, LESSONS[name].rule, *more)
    ]  # fmt: skip


def in_order(listed: Sequence[Cell] | dict[Cell, None]) -> list[Cell]:
    """By bed, and otherwise as they are."""
    beds = (MEMORY, ALONE, BED, FLEET.name, FAR.name)
    return sorted(listed, key=lambda cell: beds.index(cell.bed))


def beside(cell: Cell) -> tuple[Cell, ...]:
    """What a cell cannot go without."""
    if cell.kind == "platform":
        return () if cell.way == GREEDY else (replace(cell, way=GREEDY),)
    return (cell.by(ALL),) if cell.kind in ("accuracy", "small") and cell.rule != ALL else ()


def needs_data(cell: Cell) -> bool:
    """Whether it is of data that come from a directory of standard files."""
    return cell.kind in ("accuracy", "small") and LESSONS[cell.setting].given


def fingerprint(cell: Cell, code: str, data: str) -> str:
    """What a stored result must agree in to count: the cell, what is learnt, the code, the data."""
    what = (LESSONS if cell.kind != "platform" else SCENARIOS).get(cell.setting)
    return mark(asdict(cell), {} if what is None else asdict(what), code, data)
